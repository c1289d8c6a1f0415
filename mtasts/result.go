package mtasts

import (
	"errors"
	"time"
)

// State says where a domain stands in the cache's life. The package comment has
// the table of what leads from one to another.
type State uint8

const (
	// Unknown: DNS could not be asked for a policy, or never was.
	Unknown State = iota
	// NoPolicy: DNS says that there is none, or has no valid record of one.
	NoPolicy
	// BackingOff: there is a record, but the policy could not be fetched, and
	// none is in force.
	BackingOff
	// InForce: a policy is in force, also one of mode none.
	InForce
	// Failing: a policy is in force, and could not be fetched again the last time.
	Failing
)

// String returns the state in words, such as "in force".
func (s State) String() string {
	switch s {
	case NoPolicy:
		return "no policy"
	case BackingOff:
		return "backing off"
	case InForce:
		return "in force"
	case Failing:
		return "in force, failing to refresh"
	default:
		return "unknown"
	}
}

// Result is what is known about the policy of a domain.
type Result struct {
	// Domain is the policy domain in A-labels, lower case, without final dot.
	Domain string
	// State sums up the other fields.
	State State
	// Policy is the policy in force; nil if there is none. It is shared and
	// read-only, and stays the same pointer until another one replaces it. A
	// policy of mode None is returned as such.
	Policy *Policy
	// ID is the id that the TXT record had when Policy was fetched.
	ID string
	// Fetched is when Policy was fetched; zero without one.
	Fetched time.Time
	// Expires is when Policy ceases to be in force unless fetched again. Without
	// a Policy it is NextCheck.
	Expires time.Time
	// NextCheck is when a Lookup will ask DNS again. Who keeps a Result for
	// longer misses changes of the policy.
	NextCheck time.Time
	// Err is what went wrong in the search for a policy, or for a newer one
	// than Policy: an [*Error], or nil. It is no reason to refuse mail: with a
	// Policy, that one counts; without, mail goes out as though the domain had
	// none (RFC 8461 section 3.3).
	Err error
	// FailedText is the beginning of what was fetched if that is no valid
	// policy, for reports; see [Lines].
	FailedText string
}

// report sets r, which is zero, to what is told about the state. A Result is
// large, and this is the path of every message, so it is not copied about.
func (s *state) report(r *Result) {
	r.Domain, r.State = s.domain, s.state()
	r.Policy, r.ID, r.Fetched = s.policy, s.id, s.fetched
	r.Expires, r.NextCheck = s.next, s.next
	if s.policy != nil {
		r.Expires = s.expires()
	}
	if s.trouble != nil {
		r.Err, r.FailedText = s.trouble.err, s.trouble.text
	}
}

// state returns where the domain stands.
func (s *state) state() State {
	switch {
	case s.policy != nil && s.isFailing():
		return Failing
	case s.policy != nil:
		return InForce
	case s.next.IsZero():
		return Unknown
	}
	var err *Error
	if s.trouble == nil || !errors.As(s.trouble.err, &err) {
		return NoPolicy
	}
	switch err.Kind {
	case KindDNS:
		return Unknown
	case KindRecord:
		return NoPolicy
	default:
		return BackingOff
	}
}

// Reportable reports whether Err is a failure that a TLS-RPT report should
// show: the policy could not be had although there is a record of one, or
// anything went wrong while a policy is in force whose mode is not none
// (RFC 8461 section 6).
func (r *Result) Reportable() bool {
	var err *Error
	if !errors.As(r.Err, &err) {
		return false
	}
	if r.Policy != nil {
		return r.Policy.Mode != None
	}
	return err.Kind != KindDNS && err.Kind != KindRecord
}
