package policy

import (
	"errors"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy/internal/reply"
	"github.com/mxseal/mxseal/tlsrpt"
)

// These sentinels say why Resolve returns no plan. They are found with
// errors.Is in its *Error.
var (
	// ErrNullMX means that the domain accepts no mail (RFC 7505).
	ErrNullMX = errors.New("null MX")
	// ErrNoDomain means that the domain does not exist.
	ErrNoDomain = errors.New("no such domain")
	// ErrDomain means that the text is neither a domain name nor an address
	// literal.
	ErrDomain = errors.New("not a domain name")
	// ErrLoop means that the best mail host of the domain is the sending host
	// (Config.Self).
	ErrLoop = errors.New("mail loop")
	// ErrConfig means that the operator's settings for this call cannot be used: an
	// option is not valid, options or overrides contradict each other, or
	// Config.OverrideFor returned an Override that is not valid. The mail waits
	// until that is corrected.
	ErrConfig = errors.New("settings that cannot be used")
)

// These sentinels say why a host is refused. They are found with errors.Is in
// Host.Refusal, and in the errors made of it.
var (
	// ErrLookupFailed means that the lookup of the addresses or TLSA records
	// of the host failed.
	ErrLookupFailed = errors.New("address or TLSA lookup failed")
	// ErrPolicyUnknown means that it is not known which MTA-STS policy applies.
	ErrPolicyUnknown = errors.New("MTA-STS policy unknown")
	// ErrNotListed means that the enforced MTA-STS policy does not list the
	// host (RFC 8461 section 4.1).
	ErrNotListed = errors.New("host not listed in the MTA-STS policy")
	// ErrNoDANE means that the operator requires DANE, and the MX records or
	// the TLSA records do not provide it (RFC 7672 section 6).
	ErrNoDANE = errors.New("required DANE missing")
	// ErrRoute means that RequireTLS was asked for, and nothing authenticates
	// the host as a mail host of the domain (RFC 8689 section 4.2.1).
	ErrRoute = errors.New("route not authenticated")
	// ErrUnreachable means that the host has no address, or that the MX record
	// does not name a host.
	ErrUnreachable = errors.New("host has no address")
	// ErrSpecialAddress means that mail is not sent to any address of the host,
	// such as 127.0.0.1. Config.AllowMailHost permits such addresses.
	ErrSpecialAddress = errors.New("special-purpose address")
)

// Error is the error type of this package and of package delivery. A policy
// failure is temporary: the mail waits. It is not sent with less protection and
// not bounced (RFC 7672 section 2.1.2, RFC 8461 section 5). Only mail with the
// option RequireTLS fails permanently if the hosts lack what it requires
// (RFC 8689 section 4.2.1).
//
// The method Error returns one line of printable ASCII, whatever servers and
// certificates say. It cuts each text that it repeats, such as the cause, after
// 4096 octets.
type Error struct {
	// Domain is the recipient domain.
	Domain string
	// Host is the mail host concerned; empty for the domain as a whole.
	Host string
	// Reason is the TLS-RPT result type; empty for what reports do not count,
	// such as a refused connection.
	Reason tlsrpt.ResultType
	// ReasonCode is the TLS-RPT failure-reason-code that goes with Reason; it
	// may be empty.
	ReasonCode string
	// By is the set of mechanisms that prevented the delivery; zero if none did.
	By Mechanism
	// Permanent is true if another attempt cannot help.
	Permanent bool
	// ReplyCode is the SMTP reply code for the sender of the mail, such as 451 or 556.
	// 0 means 451, or 550 if the failure is permanent. Code returns the one that
	// applies.
	ReplyCode int
	// Status is the enhanced status code of RFC 3463, such as "4.7.5".
	// EnhancedCode returns it as numbers.
	Status string
	// Detail says what happened, and what to do if that is known.
	Detail string
	// Floor is what the operator demands of all mail hosts of the domain, for a client that
	// has a list of its own. Refused means that it is not known.
	Floor Level
	// Err is the cause; nil if there is no other error.
	Err error

	kind error // a sentinel that is not in Err; may be nil
	// reported is the domain that gets a report about a failed MX lookup; empty for other
	// failures.
	reported string
}

// Error returns one line of printable ASCII: the domain, if there is one, the host, what
// happened, the cause and the enhanced status code.
func (e *Error) Error() string {
	text := "policy: " + strings.TrimPrefix(oneLine(e.Domain)+e.within(e.Domain), ": ")
	if e.Status != "" {
		text += " (" + oneLine(e.Status) + ")"
	}
	return text
}

// within returns the part of the text that follows the name of the domain or
// host that the reader knows already.
func (e *Error) within(known string) string {
	var b strings.Builder
	if e.Host != "" && e.Host != known {
		b.WriteString(": host ")
		b.WriteString(oneLine(e.Host))
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(oneLine(e.Detail))
	}
	if inner, ok := e.Err.(*Error); ok && inner.Host == e.Host {
		b.WriteString(inner.within(inner.Host))
	} else if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(causeText(e.Err))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the sentinel for the reason of a refusal or failure,
// such as ErrNotListed. It is for errors.Is.
func (e *Error) Is(target error) bool { return e.kind != nil && e.kind == target }

// Temporary reports whether another attempt can help.
func (e *Error) Temporary() bool { return !e.Permanent }

// Code returns the SMTP reply code: ReplyCode, or the general one of its class.
func (e *Error) Code() int {
	switch {
	case e.ReplyCode != 0:
		return e.ReplyCode
	case e.Permanent:
		return 550
	default:
		return 451
	}
}

// EnhancedCode returns the enhanced status code as numbers, such as {4, 7, 5},
// always of the same class as Code (RFC 2034 section 4). If Status is empty,
// malformed or of another class, the last two numbers are 0.
func (e *Error) EnhancedCode() [3]int {
	class := e.Code() / 100
	if code, ok := reply.ParseStatus(e.Status); ok && code[0] == class {
		return code
	}
	return [3]int{class, 0, 0}
}

// TLSReport returns the TLS-RPT result type and the failure-reason-code, both
// empty for what reports do not count. It makes tlsrpt.Classify return them.
func (e *Error) TLSReport() (resultType, reasonCode string) {
	if e.Reason != "" {
		return string(e.Reason), e.ReasonCode
	}
	var inner interface{ TLSReport() (string, string) }
	if errors.As(e.Err, &inner) {
		return inner.TLSReport()
	}
	return "", ""
}

// causeText returns the text of a cause. net/textproto quotes the server's reply,
// which needs no quotes here.
func causeText(err error) string {
	if reply, ok := err.(*textproto.Error); ok {
		return oneLine(strconv.Itoa(reply.Code) + " " + reply.Msg)
	}
	return oneLine(err.Error())
}

// maxText bounds, in octets, what an error or an explanation repeats of one text
// from elsewhere: a name, a cause with all its causes, or the replies of a server.
const maxText = 4096

// oneLine returns s as one line of printable ASCII of at most maxText octets, for
// a log or a terminal: names and texts in errors come from addresses, certificates
// and servers. errors.Join separates errors by line feeds; they become semicolons.
func oneLine(s string) string {
	return names.Printable(strings.NewReplacer("\r\n", "; ", "\n", "; ").Replace(s), maxText)
}
