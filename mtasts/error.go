package mtasts

import "errors"

// ErrDomain says that what was given as a domain is none: an address literal,
// an IP address, or a malformed name. MTA-STS does not apply to address
// literals (RFC 8461 section 3.4).
var ErrDomain = errors.New("not a domain name")

// Kind says in which step the search for a policy failed.
type Kind string

const (
	// KindDNS: the TXT record could not be looked up.
	KindDNS Kind = "dns"
	// KindRecord: the TXT record is malformed, there are several, or the one
	// of a policy in force is gone.
	KindRecord Kind = "record"
	// KindFetch: the policy could not be fetched over HTTPS.
	KindFetch Kind = "fetch"
	// KindCertificate: the certificate of the policy host is not valid.
	KindCertificate Kind = "certificate"
	// KindPolicy: what was fetched is not a valid policy.
	KindPolicy Kind = "policy"
)

// Error tells why no policy, or no newer policy, was found. Its text is
// printable ASCII whatever a server sent.
type Error struct {
	// Domain is the policy domain in A-labels; empty from the parsers.
	Domain string
	Kind   Kind
	// ReasonCode is a short word for the exact cause, such as
	// "http-status-404", "x509-expired" or "policy-mode". It is fit for the
	// failure-reason-code of a TLS-RPT report.
	ReasonCode string
	// Err is the cause in detail.
	Err error
}

func (e *Error) Error() string {
	text := "mtasts: "
	if e.Domain != "" {
		text += e.Domain + ": "
	}
	text += string(e.Kind) + " (" + e.ReasonCode + ")"
	if e.Err != nil {
		text += ": " + printable(e.Err.Error())
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// TLSReport returns the TLS-RPT result type (RFC 8460 section 4.3.2.2) and the
// failure-reason-code of the error. Whether it is to be reported at all is
// told by [Result.Reportable].
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
