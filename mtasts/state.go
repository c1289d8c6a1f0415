package mtasts

import (
	"errors"
	"strings"
	"time"

	"github.com/mxseal/mxseal/mtasts/internal/mark"
	"github.com/mxseal/mxseal/mtasts/internal/memory"
	"github.com/mxseal/mxseal/mtasts/internal/schedule"
	"github.com/mxseal/mxseal/mtasts/internal/turn"
)

// State summarizes what is known about the policy of a domain. The package
// comment has the table of what leads from one state to another.
type State uint8

const (
	// Unknown means that DNS was never asked for a policy, or that the lookup failed.
	Unknown State = iota
	// NoPolicy means that there is no valid TXT record. [Result.Err] is nil if there is
	// none, and not nil if it is not valid.
	NoPolicy
	// BackingOff means that there is a record, but the policy could not be fetched, and
	// no policy is in force.
	BackingOff
	// InForce means that a policy is in force. Its mode may be none.
	InForce
	// Failing means that a policy is in force, and the last attempt to fetch it again
	// failed.
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

// Result is what is known about the policy of a domain. The zero value has the
// state Unknown.
type Result struct {
	// Domain is the policy domain in A-labels, in lower case, without a final
	// dot.
	Domain string
	// State summarizes the other fields.
	State State
	// Policy is the policy in force; nil if there is none. It is shared and
	// read-only. It stays the same pointer until another policy replaces it. A
	// policy of mode None is in force too.
	Policy *Policy
	// ID is the id of the TXT record when Policy was fetched.
	ID string
	// Fetched is the time of the last successful fetch of Policy; zero if Policy
	// is nil.
	Fetched time.Time
	// Expires is when Policy expires unless it is fetched again. It is NextCheck
	// if Policy is nil.
	Expires time.Time
	// NextCheck is when a Lookup asks DNS again. A caller that keeps a Result for
	// longer misses changes of the policy.
	NextCheck time.Time
	// Err is why no policy, or no newer policy, was found: an [*Error], or nil.
	// It is not a reason to refuse mail. If Policy is not nil, the policy applies.
	// Otherwise mail is sent as if the domain had no policy (RFC 8461 section
	// 3.3).
	Err error
	// FailedText is the beginning of a fetched text that is not a valid policy,
	// for reports; see [Lines].
	FailedText string
	// Mark is unchanged while the other fields describe what is in memory.
	Mark Mark
}

// Mark tells at almost no cost that nothing has changed about a domain since a [Result] was
// made. It is for callers that keep what they made from a Result, and ask before each use.
// It is small and may be copied.
type Mark struct {
	mark mark.Mark
	hit  *memory.Hit // of the domain; nil if it was not in memory
}

// Unchanged reports whether the policy is still the one of the Result, as far as memory can
// tell. It may be false because of another domain: ask [Client.IsCurrent] then. It is false
// for the zero Mark.
func (m Mark) Unchanged() bool {
	if !m.mark.Unchanged() {
		return false
	}
	m.hit.Note() // what is asked about is in use, and must not be forgotten before other domains
	return true
}

// Reportable reports whether Err is a failure that belongs in a TLS-RPT report:
// there is a record but the policy could not be fetched, or anything failed while
// a policy is in force whose mode is not none (RFC 8461 section 6).
func (r *Result) Reportable() bool {
	if r.Err == nil {
		return false // without the allocation of errors.As
	}
	var err *Error
	if !errors.As(r.Err, &err) || errors.Is(err, errPending) || errors.Is(err, turn.ErrNone) {
		return false
	}
	if r.Policy != nil {
		return r.Policy.Mode != None
	}
	return err.Kind != KindDNS && err.Kind != KindRecord
}

const (
	// fetchRetry is how long a policy is not fetched again, for the same id,
	// after a fetch failed (RFC 8461 section 3.3).
	fetchRetry = schedule.FirstRetry
	// maxFailures limits the fetches that fail within fetchRetry, each for
	// another id, while no policy is in force. A new id is fetched at once, but
	// an attacker who forges ids must not make the sender fetch without end.
	// While a policy is in force, which still protects, the limit is one.
	maxFailures = 3
	// maxFailedText limits what is kept of an invalid policy, for reports.
	maxFailedText = 4 << 10
	// expiredKept is how long a policy is kept that has expired, in case the clock was
	// wrong.
	expiredKept = 24 * time.Hour
	// maxLapsed limits the policies that are kept in this way.
	maxLapsed = 3
)

// state is what is known about one domain. A state in memory is never changed
// but replaced, so that it can be read without a lock. There may be a million
// states, so nothing that can be derived from other fields is kept.
type state struct {
	domain   string
	policy   *Policy // in force since fetched, unless it has expired
	id       string
	fetched  time.Time
	next     time.Time // when to ask DNS again
	made     time.Time // not after now, unless the clock was set back
	used     bool      // whether the domain was looked up since fetched
	own      bool      // whether this Client has fetched the policy
	unread   bool      // whether the store could not be read, so that it may have a policy
	answered bool      // whether the store has answered for the domain before
	unsaved  bool      // whether the store could not be written
	epoch    uint32    // of the storage when it could not be read
	problems *problems // nil for none
	// behind is when the clock was first seen to be before fetched, in milliseconds
	// since 1970; 0 for never. Until the clock is right again, the age of the policy
	// counts from then.
	behind int64
	// lapsed is the policy that has expired, for expiredKept and until one is fetched;
	// nil for none. A clock that jumps forward and back must not end a policy. Its state
	// has the one before it, if the store had another meanwhile, and so on up to maxLapsed.
	lapsed *lapsed
}

// lapsed is the last state with a policy that has expired, or that a returned one has
// displaced.
type lapsed struct {
	*state
	since     time.Time // of the monotonic clock
	displaced bool
}

// mayReturn reports whether the policy is in force again, because a clock was wrong or is
// now, and takes precedence over that of s. A displaced one returns only if it is
// stronger, so that two do not take turns.
func (l *lapsed) mayReturn(s *state, now time.Time) bool {
	if !l.inForce(now) || mayReplace(s, l.state, now) {
		return false
	}
	mine, theirs := strength(l.state, now), strength(s, now)
	return mine > theirs || mine == theirs && !l.displaced
}

// without returns the list without one of its elements.
func (l *lapsed) without(gone *lapsed) *lapsed {
	switch l {
	case nil:
		return nil
	case gone:
		return l.lapsed
	}
	kept := *l.state
	kept.lapsed = l.lapsed.without(gone)
	return &lapsed{&kept, l.since, l.displaced}
}

// depth returns the number of policies that have expired.
func (l *lapsed) depth() int {
	if l == nil {
		return 0
	}
	return 1 + l.lapsed.depth()
}

// problems are what failed since the policy was fetched.
type problems struct {
	err  error  // of the last lookup and fetch; nil if they succeeded
	text string // of a policy that is not valid
	// since is when the first fetch failed, and failed how many have failed since.
	since  time.Time
	failed int
	// failures are those within the last fetchRetry, oldest first, and always
	// the last one while since is set.
	failures []failure
	// borrowed is true if the last of them is the failure of another Client.
	borrowed bool
	// notified are the events that the operator has got.
	notified struct{ failing, expiring bool }
}

// failure is a failed fetch.
type failure struct {
	id   string
	when time.Time
	err  *Error
	text string // of a policy that is not valid
}

const (
	// stateSize, problemsSize and failureSize are about what these take in memory, in
	// octets, besides texts.
	stateSize    = 200
	problemsSize = 150
	failureSize  = 300
)

// weigh returns how memory treats the state, and about what it takes, in octets. The
// patterns of a policy share the memory of its text.
func (s *state) weigh() (class memory.Class, size int) {
	policies := 0
	if s.policy != nil {
		policies = 100 + len(s.policy.Text) + 16*cap(s.policy.MX)
	}
	if s.lapsed != nil {
		_, lapsed := s.lapsed.weigh()
		policies += lapsed
	}
	size = stateSize + len(s.domain) + len(s.id) + policies
	if p := s.problems; p != nil {
		size += problemsSize
		for _, f := range p.failures {
			size += failureSize + len(f.id) + len(f.text)
		}
	}
	switch {
	case policies > memory.LargeText:
		return memory.Large, size
	case policies > 0:
		return memory.Protected, size
	case s.problems.last() != nil:
		return memory.BackingOff, size
	default:
		return memory.Without, size
	}
}

// report sets r, which is zero, to the public form of the state. A Result is
// large and is made for every message, so it is not copied.
func (s *state) report(r *Result) {
	r.Domain, r.State = s.domain, s.public()
	r.Policy, r.ID, r.Fetched = s.policy, s.id, s.fetched
	r.Expires, r.NextCheck = s.next, s.next
	if s.policy != nil {
		r.Expires = s.expires()
	}
	if s.problems != nil {
		r.Err, r.FailedText = s.problems.err, s.problems.text
	}
}

// public returns the State.
func (s *state) public() State {
	switch {
	case s.policy != nil && s.problems.failing():
		return Failing
	case s.policy != nil:
		return InForce
	case s.next.IsZero():
		return Unknown
	}
	var err *Error
	if s.problems == nil || !errors.As(s.problems.err, &err) {
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

// expires returns when the policy, which is not nil, expires.
func (s *state) expires() time.Time { return s.expiresAt(s.made) }

// expiresAt returns when the policy, which is not nil, expires according to a clock
// that says now: never later than max_age from now.
func (s *state) expiresAt(now time.Time) time.Time {
	begin := s.fetched
	if now.Before(begin) {
		begin = now
		if s.behind != 0 {
			begin = earlier(now, time.UnixMilli(s.behind))
		}
	}
	return begin.Add(s.policy.MaxAge)
}

// inForce reports whether there is a policy that has not expired.
func (s *state) inForce(now time.Time) bool { return s.policy != nil && !now.After(s.expiresAt(now)) }

// isFresh reports whether DNS need not be asked. After the clock was set back,
// nothing is fresh.
func (s *state) isFresh(now time.Time) bool {
	return now.Before(s.next) && !now.Before(s.made)
}

// at returns a copy of the state as of now, without an expired policy. The time of
// the fetch stays as it is. A clock that was set back does not extend a policy beyond
// max_age from now.
func (s *state) at(now time.Time) *state {
	for l := s.lapsed; l != nil; l = l.lapsed {
		if l.mayReturn(s, now) { // the clock was wrong, or is now
			back := *l.state
			back.used = back.used || s.used
			back.lapsed = s.lapsed.without(l)
			if s.policy != nil {
				displaced := *s
				displaced.lapsed = back.lapsed
				back.lapsed = &lapsed{&displaced, time.Now(), true}
			}
			return back.at(now)
		}
	}
	t := *s
	t.made = now
	t.problems = s.problems.at(now)
	switch ms := now.UnixMilli(); {
	case !now.Before(t.fetched):
		t.behind = 0
	case t.behind == 0 || ms < t.behind:
		t.behind = ms
	}
	switch {
	case t.policy != nil && !t.inForce(now):
		t.policy, t.id, t.fetched, t.used, t.own, t.behind = nil, "", time.Time{}, false, false, 0
		expired := *s
		if s.lapsed.depth() >= maxLapsed {
			expired.lapsed = s.lapsed.lapsed // the earliest ones stay
		}
		t.lapsed = &lapsed{&expired, time.Now(), false}
		t.clearFailing()
		if t.problems != nil {
			t.problems.notified.expiring = false
		}
	case t.lapsed != nil && time.Since(t.lapsed.since) > expiredKept:
		t.lapsed = nil
	}
	return &t
}

// at returns a copy of the problems as of now, nil if none are left.
func (p *problems) at(now time.Time) *problems {
	if p == nil {
		return nil
	}
	q := *p
	q.since = earlier(q.since, now)
	q.failures = nil
	for i, f := range p.failures {
		f.when = earlier(f.when, now)
		last := i == len(p.failures)-1 && p.failing()
		if last || now.Sub(f.when) < fetchRetry {
			q.failures = append(q.failures, f)
		}
	}
	if q.err == nil && q.since.IsZero() && q.failures == nil && !q.notified.expiring {
		return nil
	}
	return &q
}

// failing reports whether the last fetch of the policy failed.
func (p *problems) failing() bool { return p != nil && !p.since.IsZero() }

// last returns the last failed fetch, or nil.
func (p *problems) last() *failure {
	if p == nil || len(p.failures) == 0 {
		return nil
	}
	return &p.failures[len(p.failures)-1]
}

// backOff reports whether the policy with that id must not be fetched now,
// because a fetch has just failed. If so, that failure becomes the current one,
// and DNS is asked again when a fetch is permitted, or at until if that is
// earlier.
func (s *state) backOff(id string, until time.Time) bool {
	if s.problems == nil {
		return false
	}
	limit := maxFailures
	if s.policy != nil {
		limit = 1
	}
	failures := s.problems.failures
	for i := range failures {
		f := &failures[i]
		retry := f.when.Add(fetchRetry)
		if s.made.Before(retry) && (f.id == id || len(failures)-i >= limit) {
			s.setError(f.err, f.text)
			s.checkAt(earlier(until, retry))
			return true
		}
	}
	return false
}

// supersedes reports whether s is the outcome of a fetch of the policy with that
// id that was made after those that t knows of.
func (s *state) supersedes(t *state, id string) bool {
	if s.policy == nil {
		return false
	}
	if s.id == id && s.fetched.After(t.fetched) {
		return true
	}
	mine, theirs := t.problems.last(), s.problems.last()
	return theirs != nil && theirs.id == id && (mine == nil || theirs.when.After(mine.when)) && !s.fetched.Before(t.fetched)
}

// ownProblems returns the problems, allocated if nil.
func (s *state) ownProblems() *problems {
	if s.problems == nil {
		s.problems = new(problems)
	}
	return s.problems
}

// setError sets the error of the last lookup or fetch; nil for success.
func (s *state) setError(err error, text string) {
	if err != nil || s.problems != nil {
		p := s.ownProblems()
		p.err, p.text = err, text
	}
}

// fetchFailed adds a failed fetch.
func (s *state) fetchFailed(f failure) {
	p := s.ownProblems()
	p.borrowed = false
	p.failures = append(p.failures, f)
	if len(p.failures) > maxFailures {
		p.failures = p.failures[1:]
	}
	if p.since.IsZero() {
		p.since = f.when
	}
	p.failed++
	s.setError(f.err, f.text)
}

// fetchSucceeded sets the policy that was fetched now. If it is the policy in
// force, only its time starts again.
func (s *state) fetchSucceeded(id string, now time.Time, policy *Policy) {
	if s.policy != nil && s.policy.Text == policy.Text {
		policy = s.policy
	}
	// Stores keep milliseconds; the time must not differ from what they return.
	s.policy, s.fetched, s.behind, s.lapsed = policy, now.Truncate(time.Millisecond), 0, nil
	s.id = strings.Clone(id) // does not keep the whole TXT record in memory
	s.own, s.unread = true, false
	s.problems = nil
}

// confirmID is called when DNS has the id of the policy in force. A failure to
// fetch that policy again still counts. A failure for another id, which may have
// been forged, does not.
func (s *state) confirmID() {
	if last := s.problems.last(); s.problems.failing() && last.id == s.id {
		s.setError(last.err, last.text)
		return
	}
	s.clearFailing()
}

// clearFailing forgets that fetches fail. Failures still prevent fetches for
// fetchRetry.
func (s *state) clearFailing() {
	if s.problems != nil {
		cleared := &problems{failures: s.problems.failures}
		cleared.notified.expiring = s.problems.notified.expiring
		s.problems = cleared
	}
}

// checkAt sets when to ask DNS again: at t, or when the policy in force expires.
func (s *state) checkAt(t time.Time) {
	s.next = t
	if s.policy != nil {
		s.next = earlier(t, s.expires())
	}
}

// shorten returns the beginning of an invalid policy. It copies it, so that the
// rest is not kept in memory.
func shorten(text string) string {
	if len(text) <= maxFailedText {
		return text
	}
	return strings.Clone(text[:maxFailedText])
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
