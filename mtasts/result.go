package mtasts

import (
	"errors"
	"time"
)

// Result is what is known about the policy of a domain.
type Result struct {
	// Domain is the policy domain in A-labels, lower case, without final dot.
	Domain string
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
