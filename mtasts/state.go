package mtasts

import (
	"strings"
	"time"
)

const (
	// fetchRetry is how long a policy is not fetched again after it could not
	// be, for the same id (RFC 8461 section 3.3).
	fetchRetry = 5 * time.Minute
	// maxFailures is how many fetches may fail in that time, each for an id of
	// its own, while no policy is in force. A new id may be fetched at once, but
	// whoever forges ids must not be able to make the sender fetch without end.
	// With a policy in force it is one: that policy protects meanwhile.
	maxFailures = 3
	// maxFailedText bounds what is kept of a broken policy, for reports.
	maxFailedText = 4 << 10
)

// state is what is known about one domain. It is immutable once it is in the
// cache: a change makes a new one, so a reader needs no lock. There may be a
// million of them, so what follows from something else is not in it.
type state struct {
	domain  string
	policy  *Policy // in force since fetched, if its time has not run out
	id      string
	fetched time.Time
	next    time.Time // when DNS is to be asked again
	made    time.Time // never later than now, or the clock was set back
	used    bool      // whether the domain was asked for since fetched
	unread  bool      // whether the store could not tell what it has
	trouble *trouble  // nil if there is none
}

// trouble is what went wrong since the policy was fetched.
type trouble struct {
	err  error  // of the last look at DNS and fetch
	text string // of a policy that is not valid
	// since is when the first fetch failed, and failed how many have since.
	since  time.Time
	failed int
	// failures are the last ones, oldest first, of the last fetchRetry; the
	// very last one as long as since is set.
	failures []failure
	// told says what the operator knows already.
	told struct{ failing, expiring bool }
}

// failure is a fetch that failed.
type failure struct {
	id   string
	when time.Time
	err  *Error
	text string // of a policy that is not valid
}

// expires returns when the time of the policy runs out.
func (s *state) expires() time.Time { return s.fetched.Add(s.policy.MaxAge) }

// hasRunOut reports whether there was a policy whose time is over.
func (s *state) hasRunOut(now time.Time) bool { return s.policy != nil && now.After(s.expires()) }

// isFresh reports whether the state needs no look at DNS. A clock that was set
// back leaves nothing fresh.
func (s *state) isFresh(now time.Time) bool {
	return now.Before(s.next) && !now.Before(s.made)
}

// at returns a copy of the state as of now: without a policy whose time has run
// out, and with no time in it that lies ahead. So a clock that was set back does
// not make a policy last; its age starts at zero again at worst.
func (s *state) at(now time.Time) *state {
	t := *s
	t.made = now
	t.fetched = earlier(t.fetched, now)
	t.trouble = s.trouble.at(now)
	if t.hasRunOut(now) {
		t.policy, t.id, t.fetched, t.used = nil, "", time.Time{}, false
		t.settle()
		if t.trouble != nil {
			t.trouble.told.expiring = false
		}
	}
	return &t
}

// at returns a copy of the trouble as of now, nil if nothing is left of it.
func (t *trouble) at(now time.Time) *trouble {
	if t == nil {
		return nil
	}
	u := *t
	u.since = earlier(t.since, now)
	u.failures = nil
	for i, f := range t.failures {
		f.when = earlier(f.when, now)
		last := i == len(t.failures)-1 && !t.since.IsZero()
		if last || now.Sub(f.when) < fetchRetry {
			u.failures = append(u.failures, f)
		}
	}
	if u.err == nil && u.since.IsZero() && u.failures == nil && !u.told.expiring {
		return nil
	}
	return &u
}

// isFailing reports whether the last fetch of the policy failed.
func (s *state) isFailing() bool { return s.trouble != nil && !s.trouble.since.IsZero() }

// lastFailure returns the last fetch that failed, nil if none counts any more.
func (s *state) lastFailure() *failure {
	if s.trouble == nil || len(s.trouble.failures) == 0 {
		return nil
	}
	return &s.trouble.failures[len(s.trouble.failures)-1]
}

// backOff returns the failure that forbids to fetch the policy of that id now,
// and until when; nil if nothing forbids it.
func (s *state) backOff(id string, now time.Time) (last *failure, retry time.Time) {
	if s.trouble == nil {
		return nil, time.Time{}
	}
	limit := maxFailures
	if s.policy != nil {
		limit = 1
	}
	failures := s.trouble.failures
	for i := range failures {
		f := &failures[i]
		retry := f.when.Add(fetchRetry)
		if now.Before(retry) && (f.id == id || len(failures)-i >= limit) {
			return f, retry
		}
	}
	return nil, time.Time{}
}

// ail returns the trouble, to be written to.
func (s *state) ail() *trouble {
	if s.trouble == nil {
		s.trouble = new(trouble)
	}
	return s.trouble
}

// fail sets what went wrong, nil for nothing.
func (s *state) fail(err error, text string) {
	if err != nil || s.trouble != nil {
		t := s.ail()
		t.err, t.text = err, text
	}
}

// failed notes a failed fetch.
func (s *state) failed(f failure) {
	t := s.ail()
	t.failures = append(t.failures, f)
	if len(t.failures) > maxFailures {
		t.failures = t.failures[1:]
	}
	if t.since.IsZero() {
		t.since = f.when
	}
	t.failed++
	s.fail(f.err, f.text)
}

// settle ends what is failing. Failures go on to forbid fetches for their time.
func (s *state) settle() {
	if s.trouble != nil {
		settled := &trouble{failures: s.trouble.failures}
		settled.told.expiring = s.trouble.told.expiring
		s.trouble = settled
	}
}

// confirm takes in that DNS has the id of the policy in force. If that policy
// could not be fetched again the last time, this still stands; a failure for
// another id, which may have been a forged one, does not.
func (s *state) confirm() {
	if last := s.lastFailure(); s.isFailing() && last.id == s.id {
		s.fail(last.err, last.text)
		return
	}
	s.settle()
}

// succeed takes a policy that was fetched now. An identical one in force only
// begins its time anew.
func (s *state) succeed(id string, now time.Time, policy *Policy) {
	if s.policy != nil && s.policy.Text == policy.Text {
		policy = s.policy
	}
	s.policy, s.fetched = policy, now
	s.id = strings.Clone(id) // not all of the TXT record
	s.unread = false
	s.trouble = nil
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
	s.next = t
	if s.policy != nil {
		s.next = earlier(t, s.expires())
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
