package policy

import (
	"errors"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/tlsrpt"
)

// These are the causes for which a domain gets no plan that could ever be
// carried out. Each is in an *Error that is permanent.
var (
	// ErrNullMX is for a domain that accepts no mail (RFC 7505).
	ErrNullMX = errors.New("null MX")
	// ErrNoDomain is for a domain that does not exist.
	ErrNoDomain = errors.New("no such domain")
	// ErrNotADomain is for what is neither a domain name nor an address literal.
	ErrNotADomain = errors.New("not a domain name")
	// ErrLoop is for a domain whose best mail host is this one (Config.Self).
	ErrLoop = errors.New("mail loop")
)

// Error is the one type of error of this package. A policy failure is
// temporary: mail waits, and is neither sent with less protection nor bounced
// (RFC 7672 section 2.1.2, RFC 8461 section 5). Only mail with the option
// RequireTLS is given up where a host does not have what it requires (RFC 8689
// section 4.2.1).
type Error struct {
	// Domain is the recipient domain.
	Domain string
	// Host is the mail host concerned, or empty for the domain as a whole.
	Host string
	// Reason is the TLS-RPT result type, or empty for what no report counts,
	// such as a refused connection.
	Reason tlsrpt.ResultType
	// Code is the failure-reason-code that goes with Reason, or empty.
	Code string
	// By is what stood in the way; none for what no policy asked for.
	By Mechanism
	// Permanent is true when trying again cannot help.
	Permanent bool
	// SMTPCode is the reply code to give for it, such as 451 or 556; 0 stands
	// for 451, or for 550 when permanent.
	SMTPCode int
	// Status is the enhanced status code of RFC 3463, such as "4.7.5".
	Status string
	// Detail says in plain words what is wrong, and what to do where that is
	// known.
	Detail string
	// Err is the cause, or nil.
	Err error
}

// Error names domain, host, what is wrong and the cause in one line.
func (e *Error) Error() string {
	domain := printable(e.Domain)
	if domain == "" {
		domain = `""`
	}
	text := "policy: " + domain + e.within(e.Domain)
	if e.Status != "" {
		text += " (" + e.Status + ")"
	}
	return text
}

// within is what the error says to one who knows that it is about domain.
func (e *Error) within(domain string) string {
	var b strings.Builder
	if e.Host != "" && e.Host != domain {
		b.WriteString(": host ")
		b.WriteString(printable(e.Host))
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(printable(e.Detail))
	}
	if inner, ok := e.Err.(*Error); ok && inner.Host == e.Host {
		b.WriteString(inner.within(inner.Host))
	} else if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(printable(e.Err.Error()))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether trying again later can help.
func (e *Error) Temporary() bool { return !e.Permanent }

// Reply returns the SMTP reply code that fits: SMTPCode, or the general one.
func (e *Error) Reply() int {
	switch {
	case e.SMTPCode != 0:
		return e.SMTPCode
	case e.Permanent:
		return 550
	default:
		return 451
	}
}

// TLSReport returns the result type and the failure-reason-code.
func (e *Error) TLSReport() (resultType, reasonCode string) {
	if e.Reason != "" {
		return string(e.Reason), e.Code
	}
	var inner interface{ TLSReport() (string, string) }
	if errors.As(e.Err, &inner) {
		return inner.TLSReport()
	}
	return "", ""
}

// printable is s for a log or a terminal: names and texts in errors come from
// addresses, from certificates and from the network. Whatever is not printable
// ASCII is escaped as in a Go string.
func printable(s string) string {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			quoted := strconv.QuoteToASCII(s)
			return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
		}
	}
	return s
}
