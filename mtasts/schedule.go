package mtasts

import "time"

const (
	// refreshMost is when a policy in use is fetched again at the latest, if a
	// fifth of its time is left then; two fifths of the time to there are the
	// window of which a moment is picked. So it is about once a day.
	refreshMost = 30 * time.Hour
	// retryMost is the longest time between two tries if the first failed.
	retryMost = 4 * time.Hour
)

// schedule is what decides when a policy is fetched again.
type schedule struct {
	fetched, expires time.Time
	failed           int       // fetches since
	lastFailed       time.Time // of these the last one
}

// at returns the moment that luck picks, from 0 for the earliest to 1 for the
// latest. After a fetch that failed it is five minutes later, and then twice as
// long each time, but ever sooner as the end comes nearer.
func (s schedule) at(luck float64) time.Time {
	if s.failed == 0 || s.lastFailed.IsZero() {
		most := min(refreshMost, s.expires.Sub(s.fetched)*4/5)
		return s.fetched.Add(most - part(most*2/5, 1-luck))
	}
	wait := min(fetchRetry<<min(s.failed-1, 8), retryMost)
	wait += part(wait/4, luck)
	wait = min(wait, s.expires.Sub(s.lastFailed)/2)
	return s.lastFailed.Add(max(wait, fetchRetry))
}

func part(d time.Duration, of float64) time.Duration { return time.Duration(float64(d) * of) }

// schedule returns that of the policy, which is not nil.
func (s *state) schedule() schedule {
	plan := schedule{fetched: s.fetched, expires: s.expires()}
	if last := s.lastFailure(); s.isFailing() && last != nil {
		plan.failed, plan.lastFailed = s.trouble.failed, last.when
	}
	return plan
}

// refreshAt returns when luck has the policy fetched again.
func (s *state) refreshAt(luck float64) time.Time { return s.schedule().at(luck) }

// schedule returns that of a stored policy. It goes by what the entry says, for
// a million of them are looked at again and again; the work is only done after
// the entry was read with care.
func (e *Entry) schedule() schedule {
	plan := schedule{fetched: e.Fetched, expires: e.Expires}
	if n := len(e.Failures); n > 0 && !e.FailingSince.IsZero() {
		plan.failed, plan.lastFailed = e.Failed, e.Failures[n-1].When
	}
	return plan
}
