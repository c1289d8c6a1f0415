package tlsrpt

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
)

// ErrNoSTARTTLS says that a mail host does not offer STARTTLS. [Classify] makes
// [STARTTLSNotSupported] of it.
var ErrNoSTARTTLS = errors.New("tlsrpt: the server does not offer STARTTLS")

// Classify returns what a report says about the error that kept a TLS session
// with a mail host, or a policy, from coming about.
//
// An error in the chain of err with a method
//
//	TLSReport() (resultType, reasonCode string)
//
// decides, if the result type is a registered one; a chain may have several,
// and the first one counts. Next come the errors of crypto/x509 and crypto/tls.
// What nothing is known about is a [ValidationFailure].
//
// Timeouts, cancelled contexts and connections that never came about need no
// report (RFC 8460 section 4.3.4): for these, and for nil, the Failure is zero.
func Classify(err error) Failure {
	if err == nil {
		return Failure{}
	}
	for _, classify := range [...]func(error) (Failure, bool){
		byReporter, byTransience, byCertificate, byHandshake,
	} {
		if failure, ok := classify(err); ok {
			failure.ReasonCode = sanitize(failure.ReasonCode)
			return failure
		}
	}
	return Failure{Type: ValidationFailure}
}

// reporter is an error that knows what a report says about it.
type reporter interface {
	error
	TLSReport() (resultType, reasonCode string)
}

// byReporter asks the reporters in the chain of err, outermost first.
func byReporter(err error) (Failure, bool) {
	for err != nil {
		var r reporter
		if !errors.As(err, &r) {
			return Failure{}, false
		}
		resultType, reasonCode := r.TLSReport()
		if t := ResultType(resultType); t.Valid() {
			return Failure{t, reasonCode}, true
		}
		err = errors.Unwrap(r)
	}
	return Failure{}, false
}

// byTransience knows what says nothing about the peer's TLS.
func byTransience(err error) (Failure, bool) {
	var timeout net.Error
	var op *net.OpError
	transient := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout() ||
		errors.As(err, &op) && op.Op == "dial"
	return Failure{}, transient
}

// byHandshake knows the errors of a negotiation that failed but for the
// certificate.
func byHandshake(err error) (Failure, bool) {
	var op *net.OpError
	var alert tls.AlertError
	var header tls.RecordHeaderError
	var reply *textproto.Error
	switch {
	case errors.Is(err, ErrNoSTARTTLS):
		return Failure{Type: STARTTLSNotSupported}, true
	case errors.As(err, &op) && op.Op == "remote error" && op.Err != nil:
		// crypto/tls wraps the alerts of a peer so, and their type is its own.
		return Failure{ValidationFailure, "tls-alert-" + oneWord(op.Err)}, true
	case errors.As(err, &alert):
		return Failure{ValidationFailure, "tls-alert-" + oneWord(alert)}, true
	case errors.As(err, &header):
		return Failure{ValidationFailure, "tls-record-header"}, true
	case errors.As(err, &reply):
		return Failure{ValidationFailure, "smtp-" + strconv.Itoa(reply.Code)}, true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Failure{ValidationFailure, "connection-closed"}, true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Failure{ValidationFailure, "connection-reset"}, true
	}
	if cause := innermost(err); strings.HasPrefix(cause.Error(), tlsPrefix) {
		return Failure{ValidationFailure, "tls-" + oneWord(cause)}, true
	}
	return Failure{}, false
}

// tlsPrefix begins the texts of crypto/tls, whose errors mostly have no type.
const tlsPrefix = "tls: "

// oneWord returns the text of an error of crypto/tls in one word, such as
// "handshake-failure".
func oneWord(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), tlsPrefix), " ", "-")
}

// innermost returns the error at the end of the chain of err.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// maxReasonCode bounds a failure-reason-code, "a short text field" (RFC 8460
// section 4.3.3).
const maxReasonCode = 64

// sanitize returns a failure-reason-code that may be reported.
func sanitize(code string) string { return printable(code, maxReasonCode) }

// printable returns s in printable ASCII and at most max octets long. What else
// is in it becomes a question mark.
func printable(s string, max int) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), max*utf8.UTFMax)])
	return strings.TrimSpace(clean[:min(len(clean), max)])
}
