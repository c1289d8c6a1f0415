package mtasts

import (
	"errors"
	"fmt"

	"github.com/mxseal/mxseal/internal/names"
)

var (
	// ErrDomain is wrapped by errors about a name that is not a domain: an
	// address literal, an IP address, or a malformed name. MTA-STS does not apply
	// to address literals (RFC 8461 section 3.4).
	ErrDomain = errors.New("not a domain name")
	// ErrNoRecord is returned by [SelectRecord] if none of the TXT records at
	// _mta-sts begins with "v=STSv1;" (RFC 8461 section 3.1). Such a domain has
	// no MTA-STS policy, which is not a failure. While a policy is in force, its
	// [Result.Err] wraps ErrNoRecord.
	ErrNoRecord = errors.New("mtasts: no MTA-STS record")
	// ErrNoPolicy is returned by [Client.Remembered] if neither memory nor the
	// [Store] has a policy in force.
	ErrNoPolicy = errors.New("mtasts: no policy in force is remembered")
	// ErrStoreUnread is returned if no policy is known and the [Store] could not be
	// read, so there may be one. Mail must wait then. A [StoreFailed] event has the
	// cause. [Client.Lookup] and [Client.Recheck] return it only if the Store has given
	// no answer about the domain since the Client was made; see also
	// [Config.ProceedUnread].
	ErrStoreUnread = errors.New("mtasts: the store could not be read, and it may have a policy; the mail waits until it can be read")
	// ErrClosed is returned by lookups after [Client.Close].
	ErrClosed = errors.New("mtasts: the client is closed")
)

// Kind is the step in which the search for a policy failed.
type Kind string

const (
	// KindDNS means that the lookup of the TXT record failed.
	KindDNS Kind = "dns"
	// KindRecord means that the TXT record is malformed, that there are several, or
	// that the record of a policy in force is gone.
	KindRecord Kind = "record"
	// KindFetch means that the fetch of the policy over HTTPS failed.
	KindFetch Kind = "fetch"
	// KindCertificate means that the certificate of the policy host is not valid.
	KindCertificate Kind = "certificate"
	// KindPolicy means that the fetched text is not a valid policy.
	KindPolicy Kind = "policy"
)

// Error is the reason why no policy, or no newer policy, was found. Its text is
// one line of printable ASCII, whatever a server sent.
type Error struct {
	// Domain is the policy domain in A-labels. It is empty in errors of the
	// parsers.
	Domain string
	Kind   Kind
	// ReasonCode is a short name of the exact cause, such as "http-status-404",
	// "leaf-expired" or "policy-mode". It is the failure-reason-code of a TLS-RPT
	// report. tlsrpt.Reasons explains all of them.
	ReasonCode string
	// Err is the cause in detail.
	Err error
}

// Error returns the domain, the kind, the reason code and the cause.
func (e *Error) Error() string {
	text := "mtasts: "
	if e.Domain != "" {
		text += e.Domain + ": "
	}
	if e.Kind == KindCertificate && e.Domain != "" {
		text += "the certificate of the policy host mta-sts." + e.Domain + " is not valid (" + e.ReasonCode + ")"
	} else {
		text += string(e.Kind) + " (" + e.ReasonCode + ")"
	}
	if e.Err != nil {
		text += ": " + printable(e.Err.Error())
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// TLSReport returns the TLS-RPT result type of the error (RFC 8460 section
// 4.3.2.2) and its failure-reason-code. [Result.Reportable] reports whether the
// error belongs in a report.
func (e *Error) TLSReport() (resultType, reasonCode string) {
	switch e.Kind {
	case KindCertificate:
		return "sts-webpki-invalid", e.ReasonCode
	case KindPolicy:
		return "sts-policy-invalid", e.ReasonCode
	default:
		return "sts-policy-fetch-error", e.ReasonCode
	}
}

// failf returns an Error without a domain.
func failf(kind Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: kind, ReasonCode: reason, Err: fmt.Errorf(format, args...)}
}

const (
	maxQuoted = 64  // what an error repeats of a text from the network, in octets
	maxDetail = 256 // and of the text of an error from another package
)

// quote returns a text from the network for an error or a log line.
func quote(s string) string { return names.Quote(s, maxQuoted) }

// printable returns the text of an error from another package, which may repeat
// anything that a server sent.
func printable(s string) string { return names.Printable(s, maxDetail) }
