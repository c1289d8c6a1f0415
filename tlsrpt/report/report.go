package report

import (
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
)

// Report contains the TLS results of one sender for one recipient domain and one
// day (RFC 8460 section 4).
type Report struct {
	// Organization is the name of the sender's organization, as free text.
	Organization string
	// Dates is the period that the report covers.
	Dates DateRange
	// Contact is the mail address of the person or team responsible for the
	// report. Its domain is the submitter of the report (RFC 8460 section 5.3).
	Contact string
	// ID identifies the report. A report that is sent again keeps its ID.
	ID string
	// Policies has one element for each policy that was applied.
	Policies []PolicyResult
}

// DateRange is the period that a report covers: a UTC day, from its first second
// to its last (RFC 8460 section 4.1). A report has both in whole seconds.
type DateRange struct {
	Start time.Time
	End   time.Time
}

// PolicyResult contains the results of the sessions to which one policy applied.
type PolicyResult struct {
	Policy  tlsrpt.Policy
	Summary Summary
	// Details lists the ways in which sessions failed. A session that failed in
	// several ways is counted in several elements, so their sum may be greater
	// than Summary.Failures (RFC 8460 section 4). Failures of the search for an MTA-STS
	// policy also count in sessions that met the policy, because the sender remembered it.
	Details []Detail
}

// Summary counts sessions. Each session is in one of the two counts.
type Summary struct {
	// Successes is the number of sessions that met the policy (RFC 8460 section
	// 4.2.1).
	Successes int64
	// Failures is the number of sessions that did not (RFC 8460 section 4.2.2).
	Failures int64
}

// MaxSessions returns the greatest number of sessions that a [Detail] of this type counts:
// those that failed, and for the search for an MTA-STS policy all.
func (s Summary) MaxSessions(t tlsrpt.ResultType) int64 {
	if t.AboutHost() {
		return s.Failures
	}
	return s.Successes + s.Failures
}

// Detail is one way in which sessions failed. A field is empty if its value is
// unknown, or differs among the sessions that are counted.
type Detail struct {
	// Type is the result type. In received reports it may be unregistered; see
	// [tlsrpt.ResultType.Valid].
	Type tlsrpt.ResultType
	// SendingIP and ReceivingIP are the two ends of the connections.
	SendingIP netip.Addr
	// MXHost is the host as named in the MX record.
	MXHost string
	// HELO is the name in the greeting of the host.
	HELO        string
	ReceivingIP netip.Addr
	// Sessions is the number of sessions in which this failed.
	Sessions int64
	// Info is a URI with more information about the failure.
	Info string
	// ReasonCode is a code or short text, such as "self-signed".
	ReasonCode string
}

// Error describes a report that cannot be read or written. All errors of this
// package except [ErrTooLarge] have this type.
type Error struct {
	// Part is the part of the report that is wrong, such as
	// "policies[0].summary". It is empty if the whole text is.
	Part string
	// Err is the reason.
	Err error
}

// Error returns one line of text with the part and the reason.
func (e *Error) Error() string {
	if e.Part == "" {
		return "report: " + e.Err.Error()
	}
	return "report: " + e.Part + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }
