package mtasts

import (
	"strings"
	"time"
)

const (
	// fetchRetry is how long a policy is not fetched again after it could not
	// be, for the same id (RFC 8461 section 3.3).
	fetchRetry = 5 * time.Minute
	// maxFailures is how many fetches for one domain may fail in that time,
	// each for an id of its own. A new id may be fetched at once, but whoever
	// forges ids must not be able to make the sender fetch without end.
	maxFailures = 3
	// maxFailedText bounds what is kept of a broken policy, for reports.
	maxFailedText = 4 << 10
)

// state is what is known about one domain. It is immutable: a change makes a
// new one, so a reader needs no lock.
type state struct {
	result   Result
	made     time.Time // never later than now, or the clock was set back
	failures []failure // of the last fetchRetry, oldest first
}

// failure is a fetch that failed.
type failure struct {
	id   string
	when time.Time
	err  *Error
	text string // of a policy that is not valid
}

// isFresh reports whether the state needs no look at DNS. A clock that was set
// back leaves nothing fresh.
func (s *state) isFresh(now time.Time) bool {
	return now.Before(s.result.NextCheck) && !now.Before(s.made)
}

// at returns the state as of now: without a policy whose time has run out, and
// with no time in it that lies ahead. So a clock that was set back does not
// make a policy last; its age starts at zero again at worst.
func (s *state) at(now time.Time) *state {
	r := s.result
	if r.Policy != nil && r.Fetched.After(now) {
		r.Fetched = now
		r.Expires = now.Add(r.Policy.MaxAge)
	}
	if r.Policy != nil && now.After(r.Expires) {
		r.Policy, r.ID, r.Fetched, r.Expires = nil, "", time.Time{}, time.Time{}
	}
	return &state{result: r, made: now, failures: recent(s.failures, now)}
}

// recent returns the failures of the last fetchRetry.
func recent(failures []failure, now time.Time) []failure {
	var kept []failure
	for _, f := range failures {
		if f.when.After(now) {
			f.when = now
		}
		if now.Sub(f.when) < fetchRetry {
			kept = append(kept, f)
		}
	}
	return kept
}

// backOff returns the failure that forbids to fetch the policy of that id now,
// and until when; nil if nothing forbids it.
func (s *state) backOff(id string) (last *failure, retry time.Time) {
	for i := range s.failures {
		if s.failures[i].id == id {
			last = &s.failures[i]
			return last, last.when.Add(fetchRetry)
		}
	}
	if n := len(s.failures); n >= maxFailures {
		return &s.failures[n-1], s.failures[0].when.Add(fetchRetry)
	}
	return nil, time.Time{}
}

// failed notes a failed fetch.
func (s *state) failed(f failure) {
	s.failures = append(s.failures, f)
	s.fail(f.err, f.text)
}

// fail sets what went wrong, nil for nothing.
func (s *state) fail(err error, text string) {
	s.result.Err, s.result.FailedText = err, text
}

// succeed takes a policy that was fetched now. An identical one in force only
// begins its time anew.
func (s *state) succeed(id string, now time.Time, policy *Policy) {
	if old := s.result.Policy; old != nil && old.Text == policy.Text {
		policy = old
	}
	s.result.Policy, s.result.ID = policy, id
	s.result.Fetched, s.result.Expires = now, now.Add(policy.MaxAge)
	s.fail(nil, "")
	s.failures = nil
}

// shorten returns the beginning of a broken policy, copied, so that the rest
// of it is not kept in memory.
func shorten(text string) string {
	if len(text) <= maxFailedText {
		return text
	}
	return strings.Clone(text[:maxFailedText])
}

// checkAt sets when DNS is to be asked again: at t, or when the policy in force
// runs out.
func (s *state) checkAt(t time.Time) {
	if s.result.Policy == nil {
		s.result.Expires = t
	} else if s.result.Expires.Before(t) {
		t = s.result.Expires
	}
	s.result.NextCheck = t
}
