package dsn

import "errors"

var (
	// ErrNullReturnPath reports a report without an addressee. A message with
	// the null return path must not be answered by a report (RFC 3461 section
	// 5.2); tell the local postmaster instead.
	ErrNullReturnPath = errors.New("null return path; do not send a report")

	// ErrMissing reports a required value that is missing.
	ErrMissing = errors.New("missing")

	// ErrCharacter reports a value with a character that it must not have.
	ErrCharacter = errors.New("character not permitted")

	// ErrLength reports a value that is longer than the RFCs permit.
	ErrLength = errors.New("too long")

	// ErrValue reports a number outside its range, or a combination of values
	// that means nothing.
	ErrValue = errors.New("value not permitted")
)

// Error says which value is wrong.
type Error struct {
	// Field is the name of the parameter, such as "ENVID", or of the field of
	// the report, such as "Reporting-MTA".
	Field string
	// Err is one of the errors of this package.
	Err error
}

func (e *Error) Error() string { return "dsn: " + e.Field + ": " + e.Err.Error() }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }
