package message

import (
	"errors"
	"fmt"
)

var (
	// ErrBareCR reports a CR without LF. It must not be sent (RFC 5321 section
	// 2.3.8): a server that takes it for a line end can be made to see a second
	// message in the first (SMTP smuggling).
	ErrBareCR = errors.New("CR without LF; write line ends as CRLF or LF")

	// ErrHeader8Bit reports an 8-bit header of the message, of a part or of an
	// embedded message. Convert does not change headers; the message needs a
	// server with SMTPUTF8 (RFC 6531 section 3.5: code 5.6.7).
	ErrHeader8Bit = errors.New("header with 8-bit octets, which needs SMTPUTF8; use encoded words")

	// ErrNotMIME reports 8-bit text in a message without the fields MIME-Version
	// and Content-Type. Nothing says how to encode it.
	ErrNotMIME = errors.New("8-bit text without MIME header fields; add MIME-Version and Content-Type")

	// ErrSigned reports 8-bit text inside multipart/signed. Converting it would
	// break the signature (RFC 1847 section 2.1).
	ErrSigned = errors.New("8-bit text covered by a signature; sign 7-bit text")

	// ErrMalformed reports 8-bit text where the MIME structure does not say how
	// to encode it: in a preamble or epilogue, in a part that claims to be encoded
	// already, or below a header field that cannot be read.
	ErrMalformed = errors.New("8-bit text where MIME does not permit it; encode it as 7-bit text")

	// ErrLimit reports 8-bit text in parts nested too deeply, or below a header
	// that is too large.
	ErrLimit = errors.New("8-bit text below too many or too large MIME headers; encode it as 7-bit text")
)

// Error is an error about the message or about reading it. Errors of the writer
// that a message is written to are returned unchanged instead.
type Error struct {
	// Offset is the place in the message, in octets from its beginning. For
	// ErrBareCR it is the CR; for errors of Convert, the part concerned.
	Offset int64
	// Err is one of the errors of this package, or the reader's error.
	// A message that is shorter than its size is io.ErrUnexpectedEOF.
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("message: at octet %d: %v", e.Offset, e.Err) }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }
