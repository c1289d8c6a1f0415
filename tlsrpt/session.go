package tlsrpt

import (
	"net/netip"
	"time"
)

// Policy names the policy that a session was held against, as a report shows
// it (RFC 8460 section 4.4).
type Policy struct {
	Type PolicyType
	// Domain is the policy domain in A-labels, without final dot: the TLSA
	// base domain for TLSA, the recipient (or next-hop) domain otherwise.
	Domain string
	// Strings is the policy as found (RFC 8460 section 4.5), empty for
	// NoPolicyFound. For TLSA it has one element for each record: usage,
	// selector, matching type and data with one space between them, the data in
	// hexadecimal without spaces or parentheses, such as "3 1 1 1F85...". For
	// STS it has one element for each line of the policy, errors included.
	Strings []string
	// MXHosts are the mx patterns of an MTA-STS policy in A-labels.
	MXHosts []string
}

// Failure is one way in which a session did not meet a policy. The zero value
// is none.
type Failure struct {
	Type ResultType
	// ReasonCode is the failure-reason-code: short, printable ASCII, or empty.
	ReasonCode string
}

// Outcome is how a session fared under one policy.
type Outcome struct {
	Policy Policy
	// Failures is empty for a session that met the policy.
	Failures []Failure
}

// Session is one attempt to deliver to one mail server, and what became of it
// under every policy that applied (RFC 8460 section 4.4). A recipient domain
// with DANE and MTA-STS gets one Outcome for each.
type Session struct {
	// Domain is the recipient (or next-hop) domain in A-labels whose
	// _smtp._tls record is looked up for the report.
	Domain string
	// Time is when the attempt ended. Its UTC day is that of the report.
	Time time.Time
	// MXHost is the host as the MX record names it, without final dot; empty
	// when no host was reached, as after a failed policy fetch.
	MXHost string
	// HELO is the name in the server's greeting, or empty.
	HELO string
	// SendingIP and ReceivingIP are the ends of the connection; the zero Addr
	// when there was none.
	SendingIP, ReceivingIP netip.Addr
	Outcomes               []Outcome
	// CarriesReport marks a session in which a TLS-RPT report was delivered. It
	// is not counted: two domains would go on for ever telling each other about
	// their reports (RFC 8460 section 3).
	CarriesReport bool
}

// Recorder takes note of sessions for later reports. Record must not block,
// must not keep s or change it, and must be safe for concurrent use.
type Recorder interface {
	Record(s *Session)
}

// RecorderFunc is a function that is a [Recorder].
type RecorderFunc func(s *Session)

// Record calls f.
func (f RecorderFunc) Record(s *Session) { f(s) }
