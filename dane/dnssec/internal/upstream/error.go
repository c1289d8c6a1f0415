package upstream

// Kind is what went wrong with one attempt at one server.
type Kind uint8

// These are the kinds of an Error.
const (
	Unreachable      Kind = iota + 1 // the server could not be connected to, or the connection ended
	Timeout                          // no reply in time
	NotAuthenticated                 // the certificate of a TLS server is not valid
	Malformed                        // the reply breaks the protocol
	TooManyRecords                   // the reply exceeds Config.Records
	TooLarge                         // the reply exceeds Question.Memory
	BadQuestion                      // the question cannot be written in a message
	Busy                             // Bounds, or this host, left no room: says nothing about the server
)

// Error reports that an attempt at a server brought no reply.
type Error struct {
	Kind   Kind
	Final  bool // an attempt at another server would fail in the same way
	Server string
	Detail string // printable; may be empty
	Err    error  // the cause, or nil
	// Failing means that the server failed a check, so the question was not sent, or not
	// waited for. The Kind is that of the check.
	Failing bool
}

// Error returns the detail, or else the cause.
func (e *Error) Error() string {
	if e.Detail == "" && e.Err != nil {
		return e.Err.Error()
	}
	return e.Detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
