// Package schedule says when a policy is fetched again.
package schedule

import "time"

const (
	// FirstRetry is how long after the first failed fetch the next one is made, and the
	// shortest time between two (RFC 8461 section 3.3).
	FirstRetry = 5 * time.Minute
	// latest is the age at which a policy in use is fetched again at the
	// latest, unless less than a fifth of max_age would be left then. The fetch
	// is at a random moment in the last two fifths of that time, so about once a
	// day.
	latest = 30 * time.Hour
	// maxRetry is the longest time between two attempts after a failed refresh.
	maxRetry = 4 * time.Hour
)

// Schedule is what decides when a policy is fetched again.
type Schedule struct {
	Fetched, Expires time.Time
	Failed           int       // fetches since Fetched
	LastFailed       time.Time // when the last of these failed
}

// At returns when to fetch the policy, for a jitter from 0 (earliest) to 1
// (latest). After a failed fetch, that is five minutes later. The time doubles
// with each failure, and gets shorter again as the policy comes close to its
// end.
func (s Schedule) At(jitter float64) time.Time {
	if s.Failed == 0 || s.LastFailed.IsZero() {
		last := min(latest, s.Expires.Sub(s.Fetched)*4/5)
		return s.Fetched.Add(last - Part(last*2/5, 1-jitter))
	}
	wait := min(FirstRetry<<min(s.Failed-1, 8), maxRetry)
	wait += Part(wait/4, jitter)
	wait = min(wait, s.Expires.Sub(s.LastFailed)/2)
	return s.LastFailed.Add(max(wait, FirstRetry))
}

// Part returns that part of d.
func Part(d time.Duration, of float64) time.Duration { return time.Duration(float64(d) * of) }

const (
	// minRefreshed is the shortest max_age with which a policy is fetched ahead
	// of a lookup. It leaves time for the sweeps, and prevents a domain from
	// making the sender fetch every few seconds without mail.
	minRefreshed = time.Hour
	// startSpread is the time over which work that is due at the start is spread.
	startSpread = time.Hour
)

// Due returns when the policy has to be fetched again, or has expired, for a sender that
// has been running since start. used reports whether the policy was used since it was
// fetched.
func (s Schedule) Due(used bool, start, now time.Time, jitter float64) time.Time {
	if s.Fetched.After(now) { // by a clock that was wrong; the refresh corrects it
		return start.Add(Part(startSpread, jitter))
	}
	over := s.Expires.Add(1)
	if maxAge := s.Expires.Sub(s.Fetched); !used || maxAge < minRefreshed {
		return over
	}
	due := s.At(jitter)
	if due.Before(start) && over.After(start) {
		due = start.Add(Part(min(startSpread, s.Expires.Sub(start)/2), jitter))
	}
	return due
}
