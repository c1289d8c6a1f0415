// Package protection notices what changes in the protection of a domain's mail, from one
// plan to the next.
package protection

import (
	"time"

	"github.com/mxseal/mxseal/dane"
)

// DANE is what DANE does for a domain, by its weakest host. The zero value means that it
// is not known.
type DANE uint8

const (
	Unknown   DANE = iota
	None           // DANE requires nothing
	Encrypted      // TLS is required
	Hosts          // hosts are authenticated
	Route          // and so is the route to them
)

// With returns the weaker of d and what DANE does at one more host. Hosts that could not be
// looked up do not count. secure reports whether the route to the host is secure.
func (d DANE) With(host dane.State, secure bool) DANE {
	at := None
	switch {
	case host == dane.Unknown:
		return d
	case host == dane.Unusable:
		at = Encrypted
	case host == dane.Usable && secure:
		at = Route
	case host == dane.Usable:
		at = Hosts
	}
	if d == Unknown {
		return at
	}
	return min(d, at)
}

// RefusedLong is how long all hosts of a domain must have been refused for [Refused]: a
// failure that passes sooner is not reported.
const RefusedLong = time.Hour

// State is the protection of a domain at one time. The zero value means that nothing is
// known.
type State struct {
	DANE DANE
	// RefusedSince is when all hosts were first refused; zero if one may be used.
	RefusedSince time.Time
	// Told means that Refused has been returned for these refusals.
	Told bool
}

// Change is what an operator should know.
type Change uint8

const (
	Appeared    Change = iota // DANE applies
	Weakened                  // DANE does less than before
	Disappeared               // DANE no longer applies
	Refused                   // all hosts are refused, for long
	Permitted                 // after Refused: a host may be used again
)

// Now returns the state that follows s, and what has changed. What is not known now counts
// as before, so that a failed lookup in between hides no change. refused reports whether
// all hosts are refused at that time.
func (s State) Now(now DANE, refused bool, at time.Time) (next State, changes []Change) {
	next = State{DANE: now}
	switch before := s.DANE; {
	case now == Unknown:
		next.DANE = before
	case before == Unknown || now == before:
	case before == None:
		changes = append(changes, Appeared)
	case now == None:
		changes = append(changes, Disappeared)
	case now < before:
		changes = append(changes, Weakened)
	}
	switch {
	case !refused && s.Told:
		changes = append(changes, Permitted)
	case !refused:
	case s.RefusedSince.IsZero() || at.Before(s.RefusedSince): // the clock was set back
		next.RefusedSince, next.Told = at, s.Told
	default:
		next.RefusedSince, next.Told = s.RefusedSince, s.Told
		if !s.Told && at.Sub(s.RefusedSince) >= RefusedLong {
			next.Told = true
			changes = append(changes, Refused)
		}
	}
	return next, changes
}
