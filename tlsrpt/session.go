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
	// Strings is the policy as found: a TLSA record per element in the form
	// of RFC 8460 section 4.5, or a line of the MTA-STS policy per element,
	// errors included. Empty for NoPolicyFound.
	Strings []string
	// MXHosts are the mx patterns of an MTA-STS policy in A-labels.
	MXHosts []string
}

// Failure is one way in which a session did not meet a policy.
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
	Time   time.Time
	// MXHost is the host as the MX record names it, without final dot; empty
	// when no host was reached, as after a failed policy fetch.
	MXHost string
	// HELO is the name in the server's greeting, or empty.
	HELO string
	// SendingIP and ReceivingIP are the ends of the connection; the zero Addr
	// when there was none.
	SendingIP, ReceivingIP netip.Addr
	Outcomes               []Outcome
}

// Recorder takes note of sessions for later reports. Record must not block,
// must not keep s or change it, and must be safe for concurrent use.
type Recorder interface {
	Record(s *Session)
}
