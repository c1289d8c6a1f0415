package dnssec

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// Reason says why a lookup failed. The zero value is no reason.
type Reason uint8

// The reasons of an Error. Those from SignatureMissing to AliasInvalid mean
// that the answer is bogus.
const (
	Timeout              Reason = iota + 1 // no usable reply in time
	Unreachable                            // the server could not be talked to
	ServerFailure                          // SERVFAIL
	Refused                                // REFUSED
	OtherRcode                             // another error code, such as NOTIMP
	Malformed                              // a reply that breaks the protocol
	NoRecursion                            // a referral instead of an answer
	BadQuestion                            // a name or type that cannot be asked for
	Canceled                               // the caller gave up
	WorkLimit                              // a bound of Limits was reached
	SignatureMissing                       // no RRSIG where the zone is signed
	SignatureExpired                       // RRSIG expiration is in the past
	SignatureNotYetValid                   // RRSIG inception is in the future
	SignatureInvalid                       // the signature does not verify
	KeyMissing                             // no key of the zone made the signature
	DSMismatch                             // no DNSKEY matches the DS RRset and signs
	AnchorMismatch                         // no DNSKEY matches the trust anchor and signs
	DenialMissing                          // absence is claimed and not proven
	AliasInvalid                           // a CNAME or DNAME that cannot be true
	AliasLoop                              // aliases lead back or are too many
	NotAuthenticated                       // the certificate of a server reached over TLS is not good
)

// String returns the reason in the form of a TLS-RPT failure-reason-code
// (RFC 8460 section 4.4), such as "bogus-signature-expired" or "servfail".
func (r Reason) String() string {
	switch r {
	case Timeout:
		return "timeout"
	case Unreachable:
		return "unreachable"
	case ServerFailure:
		return "servfail"
	case Refused:
		return "refused"
	case OtherRcode:
		return "server-error"
	case Malformed:
		return "malformed-reply"
	case NoRecursion:
		return "no-recursion"
	case BadQuestion:
		return "bad-question"
	case Canceled:
		return "canceled"
	case WorkLimit:
		return "work-limit"
	case SignatureMissing:
		return "bogus-signature-missing"
	case SignatureExpired:
		return "bogus-signature-expired"
	case SignatureNotYetValid:
		return "bogus-signature-not-yet-valid"
	case SignatureInvalid:
		return "bogus-signature-invalid"
	case KeyMissing:
		return "bogus-key-missing"
	case DSMismatch:
		return "bogus-ds-mismatch"
	case AnchorMismatch:
		return "bogus-trust-anchor-mismatch"
	case DenialMissing:
		return "bogus-denial-missing"
	case AliasInvalid:
		return "bogus-alias"
	case AliasLoop:
		return "alias-loop"
	case NotAuthenticated:
		return "server-not-authenticated"
	default:
		return "unknown"
	}
}

// bogus reports whether the reason speaks about the data, not the way to it.
func (r Reason) bogus() bool { return r >= SignatureMissing && r <= AliasInvalid }

// advice tells the administrator what to do about the reason.
func (r Reason) advice() string {
	switch r {
	case Timeout, Unreachable:
		return "check that the DNS server is up and that UDP and TCP port 53 to it are open"
	case ServerFailure, Refused, OtherRcode, NoRecursion:
		return "ask the server's log, or use another recursive server"
	case Malformed:
		return "the DNS server or a device in between is broken: use another recursive server"
	case SignatureMissing, DenialMissing:
		return "if this happens for every signed domain, the DNS server strips DNSSEC records: " +
			"use one that passes them on; if for one domain, its administrator must fix it"
	case SignatureExpired, SignatureNotYetValid:
		return "check this host's clock; if it is right, the domain's administrator must sign again"
	case SignatureInvalid, KeyMissing, DSMismatch, AliasInvalid, AliasLoop:
		return "the domain's DNSSEC is broken or the answer is forged; its administrator must fix it"
	case NotAuthenticated:
		return "check the name behind # in the server's configuration, and whether somebody impersonates the server"
	case AnchorMismatch:
		return "update the trust anchors; if they are current, the DNS server or the network forges answers"
	case WorkLimit:
		return "the answer costs more work than Limits permits, as an attack would"
	default:
		return ""
	}
}

// ExtendedError is an Extended DNS Error (RFC 8914) of a server. It is
// unauthenticated and for diagnosis only.
type ExtendedError struct {
	Code uint16 // INFO-CODE
	Text string // EXTRA-TEXT, printable and at most 200 bytes
}

// String returns the registered name of the code and the text.
func (e ExtendedError) String() string {
	name := dns.ExtendedErrorCodeToString[e.Code]
	if name == "" {
		name = fmt.Sprintf("EDE %d", e.Code)
	}
	if e.Text == "" {
		return name
	}
	return fmt.Sprintf("%s (%q)", name, e.Text)
}

// Error is the failure of a lookup. It never means that there are no records. A
// caller knows nothing about the name, and must not continue as if it had no TLSA,
// MX or other records (RFC 7672 section 2.1.2).
type Error struct {
	Name   string // the name asked for, canonical
	Type   Type   // the type asked for
	Server string // the server that answered; empty if several failed
	// Status is Bogus if a server's answer contradicts the chain of trust, or
	// Indeterminate if there is no answer to judge.
	Status   Status
	Reason   Reason
	Detail   string          // more about the reason, printable
	Extended []ExtendedError // what the server says about it
	Err      error           // the causes: of each server, or of the chain above

	// final means that no other server can help: the context has ended, or the
	// work that the whole lookup may cost is spent.
	final bool
}

// Error names the question, the server and the reason, and says what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dnssec: ")
	e.describe(&b)
	if advice := e.Reason.advice(); advice != "" {
		b.WriteString("; ")
		b.WriteString(advice)
	}
	return b.String()
}

// describe writes the error without package name and advice, which are said
// once for a whole tree of causes.
func (e *Error) describe(b *strings.Builder) {
	fmt.Fprintf(b, "%s of %q", e.Type, e.Name)
	if e.Server != "" {
		fmt.Fprintf(b, " from %s", e.Server)
	}
	fmt.Fprintf(b, ": %s", e.Reason)
	if e.Detail != "" {
		fmt.Fprintf(b, ": %s", e.Detail)
	}
	for _, x := range e.Extended {
		fmt.Fprintf(b, ", %s", x)
	}
	if e.Err != nil {
		b.WriteString(" [")
		describeCause(b, e.Err)
		b.WriteString("]")
	}
}

// describeCause writes one cause. The text of an error that is not ours may have
// in it what came over the network, as that of a certificate has its names.
func describeCause(b *strings.Builder, err error) {
	switch err := err.(type) {
	case *Error:
		err.describe(b)
	case interface{ Unwrap() []error }:
		for i, cause := range err.Unwrap() {
			if i > 0 {
				b.WriteString("; ")
			}
			describeCause(b, cause)
		}
	default:
		b.WriteString(printable(err.Error(), 300))
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports true: a lookup that failed may succeed later, and mail
// waits for it.
func (e *Error) Temporary() bool { return true }

// Timeout reports whether no server answered in time.
func (e *Error) Timeout() bool {
	return e.Reason == Timeout || errors.Is(e.Err, context.DeadlineExceeded)
}

// TLSReport returns the result type of RFC 8460 section 4.3.2.1 and a
// failure-reason-code for it.
func (e *Error) TLSReport() (resultType, reasonCode string) {
	return "dnssec-invalid", e.Reason.String()
}

// failure is an Error about q, its Status set from the reason.
func failure(q question, reason Reason, format string, args ...any) *Error {
	status := Indeterminate
	if reason.bogus() {
		status = Bogus
	}
	return &Error{Name: q.name, Type: Type(q.rtype), Status: status, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// within returns the failure of q that e, about another question, has caused.
func (e *Error) within(q question) *Error {
	return &Error{Name: q.name, Type: Type(q.rtype), Status: e.Status, Reason: e.Reason, Err: e, final: e.final}
}

// cause is the reason in short.
func (e *Error) cause() string {
	text := e.Reason.String()
	if e.Detail != "" {
		text += ", " + e.Detail
	}
	if e.Err != nil {
		var b strings.Builder
		describeCause(&b, e.Err)
		text += " [" + b.String() + "]"
	}
	return text
}

// noting returns e with a remark on the servers that were asked.
func (e *Error) noting(problem error) *Error {
	noted := *e
	if noted.Detail != "" {
		noted.Detail += "; "
	}
	noted.Detail += "older servers were asked: " + printable(problem.Error(), 300)
	return &noted
}

// interrupted is the Error of a lookup whose context ended.
func interrupted(q question, err error) *Error {
	reason := Canceled
	if errors.Is(err, context.DeadlineExceeded) {
		reason = Timeout
	}
	e := failure(q, reason, "the caller stopped waiting")
	e.Err, e.final = err, true
	return e
}

// final reports whether no other server can help.
func final(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.final
	}
	var limit *proof.LimitError
	return errors.As(err, &limit) && limit.Total
}

// asError makes an *Error of any error. It is about q unless err names another
// RRset.
func asError(q question, err error) *Error {
	var e *Error
	var unproven *proof.Error
	var limit *proof.LimitError
	var failed *upstream.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &unproven):
		return failure(question{unproven.Name, unproven.Type}, reasonOfFault(unproven.Fault), "%s", unproven.Detail)
	case errors.As(err, &limit):
		e = failure(q, WorkLimit, "%v", limit)
		e.final = limit.Total
	case errors.As(err, &failed):
		e = failure(q, reasonOfKind(failed.Kind), "%s", failed.Detail)
		e.Server, e.Err = failed.Server, failed.Err
	default:
		e = failure(q, Unreachable, "")
		e.Err = err
	}
	return e
}

func reasonOfFault(fault proof.Fault) Reason {
	switch fault {
	case proof.SignatureMissing:
		return SignatureMissing
	case proof.SignatureExpired:
		return SignatureExpired
	case proof.SignatureNotYetValid:
		return SignatureNotYetValid
	case proof.KeyMissing:
		return KeyMissing
	case proof.DenialMissing:
		return DenialMissing
	case proof.Malformed:
		return Malformed
	default:
		return SignatureInvalid
	}
}

func reasonOfKind(kind upstream.Kind) Reason {
	switch kind {
	case upstream.Timeout:
		return Timeout
	case upstream.NotAuthenticated:
		return NotAuthenticated
	case upstream.Malformed:
		return Malformed
	case upstream.TooManyRecords:
		return WorkLimit
	case upstream.BadQuestion:
		return BadQuestion
	default:
		return Unreachable
	}
}

// concernsServer reports whether the failure is one that other names will meet as
// well: no contact, a refusal, or keys without signatures from a server that
// strips DNSSEC.
func (e *Error) concernsServer() bool {
	return e.Reason == Timeout || e.Reason == Unreachable || e.Reason == NotAuthenticated || e.Reason == Refused ||
		e.Reason == SignatureMissing && e.Type == TypeDNSKEY
}

// printable replaces what could trick a terminal or a log, and shortens.
func printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), limit)]
}
