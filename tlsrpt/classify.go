package tlsrpt

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strings"
	"syscall"

	"github.com/mxseal/mxseal/internal/names"
)

// ErrNoSTARTTLS means that a mail host does not offer STARTTLS. [Classify] maps
// it to [STARTTLSNotSupported].
var ErrNoSTARTTLS = errors.New("tlsrpt: the server does not offer STARTTLS")

// MaxReasonCode is the greatest length of a failure-reason-code in octets. RFC
// 8460 section 4.3.3 calls it "a short text field".
const MaxReasonCode = 64

// Classify returns the [Failure] to report for err, the error that prevented a
// TLS session with a mail host, or prevented the sender from getting a policy.
//
// The first error in the chain of err that has the method
//
//	TLSReport() (resultType, reasonCode string)
//
// and returns a registered result type decides. If none does, and one returns a reason code
// without a result type, err is not reported. Errors of crypto/x509 and crypto/tls come
// next. Any other error is a [ValidationFailure].
//
// Timeouts, canceled contexts and failed connection attempts are not reported
// (RFC 8460 section 4.3.4). For these, and for nil, Classify returns the zero
// Failure.
func Classify(err error) Failure {
	if err == nil {
		return Failure{}
	}
	for _, classify := range [...]func(error) (Failure, bool){
		byMethod, byTransience, byCertificate, byHandshake,
	} {
		if failure, ok := classify(err); ok {
			failure.ReasonCode = names.Mask(failure.ReasonCode, MaxReasonCode)
			return failure
		}
	}
	return Failure{Type: ValidationFailure}
}

// byMethod uses the TLSReport methods in the chain of err, outermost first.
func byMethod(err error) (_ Failure, decided bool) {
	for err != nil {
		var reported interface {
			error
			TLSReport() (resultType, reasonCode string)
		}
		if !errors.As(err, &reported) {
			break
		}
		resultType, reasonCode := reported.TLSReport()
		if t := ResultType(resultType); t.Valid() {
			return Failure{t, reasonCode}, true
		}
		decided = decided || resultType == "" && reasonCode != ""
		err = errors.Unwrap(reported)
	}
	return Failure{}, decided
}

// byTransience matches errors that say nothing about the peer's TLS.
func byTransience(err error) (Failure, bool) {
	var timeout net.Error
	var op *net.OpError
	transient := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout() ||
		errors.As(err, &op) && op.Op == "dial"
	return Failure{}, transient
}

// byHandshake matches errors of a negotiation that failed for a reason other than
// the certificate.
func byHandshake(err error) (Failure, bool) {
	var op *net.OpError
	var alert tls.AlertError
	var header tls.RecordHeaderError
	var reply *textproto.Error
	switch {
	case errors.Is(err, ErrNoSTARTTLS):
		return Failure{Type: STARTTLSNotSupported}, true
	case errors.As(err, &reply):
		return Failure{STARTTLSNotSupported, "starttls-refused"}, true
	case errors.As(err, &op) && op.Op == "remote error" && op.Err != nil:
		// crypto/tls wraps the alerts of a peer like this, in an unexported type.
		return Failure{ValidationFailure, "tls-alert-" + oneWord(op.Err)}, true
	case errors.As(err, &alert):
		return Failure{ValidationFailure, "tls-alert-" + oneWord(alert)}, true
	case errors.As(err, &header):
		return Failure{ValidationFailure, "tls-record-header"}, true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Failure{ValidationFailure, "connection-closed"}, true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Failure{ValidationFailure, "connection-reset"}, true
	}
	switch cause := innermost(err); {
	case strings.HasPrefix(cause.Error(), tlsPrefix+"server selected unsupported protocol version"):
		return Failure{ValidationFailure, "tls-version"}, true
	case strings.HasPrefix(cause.Error(), tlsPrefix+"failed to parse certificate from server"):
		return Failure{ValidationFailure, "unreadable-certificate"}, true
	case strings.HasPrefix(cause.Error(), tlsPrefix):
		return Failure{ValidationFailure, "tls-error-" + oneWord(cause)}, true
	}
	return Failure{}, false
}

// tlsPrefix begins the texts of crypto/tls errors, most of which have no type of
// their own.
const tlsPrefix = "tls: "

// oneWord returns the text of a crypto/tls error as one word, such as
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
