package tlsrpt

import (
	"net/netip"
	"slices"
	"time"
)

// Policy identifies the policy that a session had to meet, in the form in which
// a report shows it (RFC 8460 section 4.4).
type Policy struct {
	Type PolicyType
	// Domain is the policy domain in A-labels, without final dot: the TLSA
	// base domain for TLSA, the recipient (or next-hop) domain otherwise.
	Domain string
	// Strings is the policy as found (RFC 8460 section 4.5), empty for
	// NoPolicyFound. For TLSA it has one element for each record: usage,
	// selector, matching type and data, separated by single spaces, with the data
	// in hexadecimal without spaces or parentheses, such as "3 1 1 1F85...". For
	// STS it has one element for each line of the policy, errors included.
	Strings []string
	// MXHosts are the mx patterns of an MTA-STS policy in A-labels.
	MXHosts []string
}

// Failure is one way in which a session did not meet a policy. The zero value
// means no failure.
type Failure struct {
	Type ResultType
	// ReasonCode is the failure-reason-code: short, printable ASCII, or empty.
	// [Reasons] has the codes of this module.
	ReasonCode string
}

// Outcome is the result of a session under one policy.
type Outcome struct {
	Policy Policy
	// Failures is empty for a session that met the policy, except as Met says.
	Failures []Failure
	// Met is true if the session met a policy that the sender remembers, and Failures
	// says why the sender did not get a newer one. The session then counts as a success,
	// "a policy-compliant TLS connection" (RFC 8460 section 4.2.1), and the failures are
	// reported. The zero value means that a session with failures failed.
	Met bool
}

// Failed reports whether the session counts as failed: it has a failure, and Met is false or
// the failure is about the mail host.
func (o *Outcome) Failed() bool {
	return slices.ContainsFunc(o.Failures, func(f Failure) bool { return !o.Met || f.Type.AboutHost() })
}

// Session is one attempt to deliver to one mail server, with its outcome under
// every policy that applied (RFC 8460 section 4.4). A recipient domain with DANE
// and MTA-STS gets one Outcome for each.
type Session struct {
	// Domain is the recipient (or next-hop) domain in A-labels whose
	// _smtp._tls record is looked up for the report.
	Domain string
	// Time is when the attempt ended. Its UTC day is the day of the report. The zero
	// Time means the time at which the session is recorded.
	Time time.Time
	// MXHost is the host as named in the MX record, without final dot. It is
	// empty if no host was reached, for example after a failed policy fetch.
	MXHost string
	// HELO is the name in the server's greeting, or empty.
	HELO string
	// SendingIP and ReceivingIP are the two ends of the connection, or the zero
	// Addr if there was no connection.
	SendingIP, ReceivingIP netip.Addr
	Outcomes               []Outcome
	// CarriesReport marks a session in which a TLS-RPT report was delivered. Such
	// a session is not counted. Otherwise two domains would report to each other
	// about their reports forever (RFC 8460 section 3).
	CarriesReport bool
}

// Recorder records sessions for later reports. Record must not block, must not
// retain or change s, and must be safe for concurrent use.
type Recorder interface {
	Record(s *Session)
}

// RecorderFunc is a function that is a [Recorder].
type RecorderFunc func(s *Session)

// Record calls f.
func (f RecorderFunc) Record(s *Session) { f(s) }
