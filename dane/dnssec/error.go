package dnssec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/advice"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/names"
)

// Reason says why a lookup failed. The zero value means no reason.
type Reason uint8

// The reasons of an Error. From SignatureMissing to AliasInvalid they mean that the
// answer is bogus.
const (
	Timeout              Reason = iota + 1 // no usable reply arrived in time
	Unreachable                            // the connection to the server failed
	ServerFailure                          // SERVFAIL
	Refused                                // REFUSED
	OtherRcode                             // another error code, such as NOTIMP
	Malformed                              // a reply violates the protocol
	NoRecursion                            // the reply is a referral, not an answer
	BadQuestion                            // the name or the type cannot be looked up
	Canceled                               // the context of the caller was canceled
	WorkLimit                              // one of the Limits was reached
	SignatureMissing                       // an RRSIG is missing in a signed zone
	SignatureExpired                       // RRSIG expiration is in the past
	SignatureNotYetValid                   // RRSIG inception is in the future
	SignatureInvalid                       // the signature does not verify
	KeyMissing                             // no DNSKEY of the zone matches the signature
	DSMismatch                             // no DNSKEY that matches the DS RRset signed the keys
	AnchorMismatch                         // no DNSKEY that matches the trust anchor signed the keys
	DenialMissing                          // the absence of the records is not proven
	AliasInvalid                           // a CNAME or DNAME is contradictory or malformed
	AliasLoop                              // the aliases form a loop, or are too many
	NotAuthenticated                       // the certificate of a server reached over TLS is not valid
	NotValidating                          // a server that is trusted to validate does not
	Busy                                   // no room within Bounds, or this host lacks files, ports or memory
	NAT64Unknown                           // the prefix of the NAT64 could not be discovered
)

// String returns the reason as one word, such as "bogus-signature-expired" or
// "servfail".
func (r Reason) String() string {
	codes := [...]string{
		Timeout:              "timeout",
		Unreachable:          "unreachable",
		ServerFailure:        "servfail",
		Refused:              "refused",
		OtherRcode:           "server-error",
		Malformed:            "malformed-reply",
		NoRecursion:          "no-recursion",
		BadQuestion:          "bad-question",
		Canceled:             "canceled",
		WorkLimit:            "work-limit",
		SignatureMissing:     "bogus-signature-missing",
		SignatureExpired:     "bogus-signature-expired",
		SignatureNotYetValid: "bogus-signature-not-yet-valid",
		SignatureInvalid:     "bogus-signature-invalid",
		KeyMissing:           "bogus-key-missing",
		DSMismatch:           "bogus-ds-mismatch",
		AnchorMismatch:       "bogus-trust-anchor-mismatch",
		DenialMissing:        "bogus-denial-missing",
		AliasInvalid:         "bogus-alias",
		AliasLoop:            "alias-loop",
		NotAuthenticated:     "server-not-authenticated",
		NotValidating:        "server-not-validating",
		Busy:                 "busy",
		NAT64Unknown:         "nat64-unknown",
	}
	if r == 0 || int(r) >= len(codes) {
		return "unknown"
	}
	return codes[r]
}

// bogus reports whether the reason means that the answer is bogus.
func (r Reason) bogus() bool { return r >= SignatureMissing && r <= AliasInvalid }

// ExtendedError is an Extended DNS Error (RFC 8914) that a server sent. It is not
// authenticated. Use it for diagnosis only. If a lookup fails because the server does not
// answer, the text of the [Error] says what to do about the code.
type ExtendedError struct {
	Code uint16 // INFO-CODE
	Text string // EXTRA-TEXT, printable ASCII, at most 200 octets
}

// String returns the registered name of the code, and the text in quotes.
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

// Error reports that a lookup failed. It never means that there are no records. The
// caller knows nothing about the name, and must not continue as if it had no TLSA,
// MX or other records (RFC 7672 section 2.1.2).
type Error struct {
	Name   string // the name that was looked up, canonical
	Type   Type   // the type that was looked up
	Server string // the server that failed; empty if several did
	// Status is Bogus if a server's answer contradicts the chain of trust, or
	// Indeterminate if there is no answer to judge.
	Status   Status
	Reason   Reason
	Detail   string          // details of the reason, printable; may be empty
	Extended []ExtendedError // the Extended DNS Errors of the server
	Err      error           // the errors of each server, or of a zone above; may be nil

	// final means that no other server can help: the context has ended, or a limit
	// of the whole lookup was reached.
	final bool
	// fleeting means that the failure is not remembered.
	fleeting bool
}

// Error returns one line of printable ASCII: the question, the server, the reason,
// the causes, and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dnssec: ")
	e.describe(&b)
	if todo := e.advice(); todo != "" {
		b.WriteString("; ")
		b.WriteString(todo)
	}
	return b.String()
}

// advice says what the administrator should do. If a server says why it does not answer,
// that decides.
func (e *Error) advice() (said string) {
	if e.Reason == ServerFailure || e.Reason == Refused || e.Reason == OtherRcode {
		said = first(e, func(e *Error) string { return ofCodes(e.Extended, advice.OfExtended) })
	}
	return cmp.Or(said, advice.OfReason(e.Reason.String()))
}

// first returns the first text that is not empty, of e and of its causes.
func first(err error, text func(*Error) string) string {
	switch err := err.(type) {
	case *Error:
		return cmp.Or(text(err), first(err.Err, text))
	case interface{ Unwrap() []error }:
		for _, cause := range err.Unwrap() {
			if found := first(cause, text); found != "" {
				return found
			}
		}
	}
	return ""
}

// ofCodes returns the text for the first code that has one.
func ofCodes(list []ExtendedError, text func(code uint16) string) string {
	for _, x := range list {
		if found := text(x.Code); found != "" {
			return found
		}
	}
	return ""
}

// describe writes the error without the package name and the advice, which appear
// once for a whole tree of causes.
func (e *Error) describe(b *strings.Builder) {
	fmt.Fprintf(b, "%s of %q", e.Type, e.Name)
	if e.Server != "" {
		fmt.Fprintf(b, " from %s", e.Server)
	}
	b.WriteString(": ")
	b.WriteString(e.cause())
}

// describeCause writes one cause. The text of a foreign error may contain data from
// the network, such as the names in a certificate.
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
		b.WriteString(names.Printable(err.Error(), 300))
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary returns true. A lookup that failed may succeed later, and mail waits
// until it does.
func (e *Error) Temporary() bool { return true }

// Busy reports whether this host is the reason, and not a server or the domain: the Reason
// is Busy.
func (e *Error) Busy() bool { return e.Reason == Busy }

// Timeout reports whether no server answered in time.
func (e *Error) Timeout() bool {
	return e.Reason == Timeout || errors.Is(e.Err, context.DeadlineExceeded)
}

// TLSReport returns the result type (RFC 8460 section 4.3.2.1) and the reason code under which
// TLS-RPT reports the error: the reason, with "dns-" in front unless it is about DNSSEC. The
// type is empty, and the error not reported, unless the answer is bogus or a server says so by
// an Extended DNS Error. Other failures may be due to this host, and so may bogus answers about
// the root or a top-level domain: its clock or trust anchor.
func (e *Error) TLSReport() (resultType, reasonCode string) {
	if code := first(e, (*Error).bogusCode); code != "" {
		return "dnssec-invalid", code
	}
	if e.Reason.bogus() {
		return "", e.Reason.String()
	}
	return "", "dns-" + e.Reason.String()
}

// bogusCode returns the reason code if e itself, and no error that it wraps, is about a
// bogus answer below the top-level domains.
func (e *Error) bogusCode() string {
	switch cause := new(Error); {
	case errors.As(e.Err, &cause) || len(proof.Ancestors(e.Name)) <= 2:
	case e.Status == Bogus:
		return e.Reason.String()
	case e.Reason == ServerFailure:
		return ofCodes(e.Extended, advice.BogusReason)
	}
	return ""
}

// failure returns an Error about q. Its Status follows from the reason.
func failure(q question, reason Reason, format string, args ...any) *Error {
	status := Indeterminate
	if reason.bogus() {
		status = Bogus
	}
	return &Error{Name: q.name, Type: Type(q.rtype), Status: status, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// within returns the error of q that e, which is about another question, caused.
func (e *Error) within(q question) *Error {
	return &Error{Name: q.name, Type: Type(q.rtype), Status: e.Status, Reason: e.Reason, Err: e, final: e.final, fleeting: e.fleeting}
}

// cause returns the reason, the detail, what the server says about it, and the causes.
func (e *Error) cause() string {
	var b strings.Builder
	b.WriteString(e.Reason.String())
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for _, x := range e.Extended {
		fmt.Fprintf(&b, ", %s", x)
	}
	if e.Err != nil {
		b.WriteString(" [")
		describeCause(&b, e.Err)
		b.WriteString("]")
	}
	return b.String()
}

// noting returns e with a remark on the list of servers.
func (e *Error) noting(problem error) *Error {
	noted := *e
	if noted.Detail != "" {
		noted.Detail += "; "
	}
	noted.Detail += names.Printable(problem.Error(), 300)
	return &noted
}

// interrupted returns the Error of a lookup whose context ended.
func interrupted(q question, err error) *Error {
	reason, detail := Canceled, "the caller stopped waiting"
	if errors.Is(err, context.DeadlineExceeded) {
		reason, detail = Timeout, "the time for the lookup is over"
	}
	e := failure(q, reason, "%s", detail)
	e.Err, e.final = err, true
	return e
}

// final reports whether no other server can help.
func final(err error) bool {
	if err == nil {
		return false // and nothing was allocated
	}
	var e *Error
	if errors.As(err, &e) {
		return e.final
	}
	var limit *proof.LimitError
	return errors.As(err, &limit) && limit.Total
}

// asError turns any error into an *Error. It is about q unless err names another
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
		e.Server, e.Err, e.final, e.fleeting = failed.Server, failed.Err, failed.Final, failed.Failing
	default:
		e = failure(q, Unreachable, "")
		e.Err = err
	}
	return e
}

func reasonOfFault(fault proof.Fault) Reason {
	return cmp.Or(map[proof.Fault]Reason{
		proof.SignatureMissing:     SignatureMissing,
		proof.SignatureExpired:     SignatureExpired,
		proof.SignatureNotYetValid: SignatureNotYetValid,
		proof.KeyMissing:           KeyMissing,
		proof.DenialMissing:        DenialMissing,
		proof.AliasInvalid:         AliasInvalid,
		proof.Malformed:            Malformed,
	}[fault], SignatureInvalid)
}

func reasonOfKind(kind upstream.Kind) Reason {
	return cmp.Or(map[upstream.Kind]Reason{
		upstream.Timeout:          Timeout,
		upstream.NotAuthenticated: NotAuthenticated,
		upstream.Malformed:        Malformed,
		upstream.TooManyRecords:   WorkLimit,
		upstream.TooLarge:         WorkLimit,
		upstream.BadQuestion:      BadQuestion,
		upstream.Busy:             Busy,
	}[kind], Unreachable)
}

// weight orders errors by how much they say about the name.
func (e *Error) weight() int {
	switch {
	case e.Status == Bogus:
		return 3
	case e.Reason == Busy && e.final:
		return 1
	case e.Reason == Busy: // for one server only
		return -1
	case e.concernsServer() && e.Reason != Refused:
		return 0
	default:
		return 2
	}
}

// concernsServer reports whether lookups of other names are likely to fail in the same
// way: no reply, a refusal, or no signatures of keys.
func (e *Error) concernsServer() bool {
	return e.Reason == Timeout || e.Reason == Unreachable || e.Reason == NotAuthenticated || e.Reason == NotValidating || e.Reason == Refused ||
		e.stripsKeys()
}

// stripsKeys reports whether the server does not return the signatures of the keys of a
// zone that no attacker controls: the root, or a top-level domain.
func (e *Error) stripsKeys() bool {
	return e.Reason == SignatureMissing && e.Type == TypeDNSKEY && len(proof.Ancestors(e.Name)) <= 2
}
