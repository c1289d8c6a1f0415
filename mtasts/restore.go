package mtasts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// storeTimeout limits one call of the store.
const storeTimeout = 2 * time.Second

var errEntry = errors.New("mtasts: stored entry is not valid")

// storage reads and writes states in the store. It does not trust the store, and
// it reports its errors as events.
type storage struct {
	store  Store  // nil for none
	leaser Leaser // nil unless the store is one
	events *notifier
	now    func() time.Time
}

func newStorage(store Store, events *notifier, now func() time.Time) *storage {
	leaser, _ := store.(Leaser)
	return &storage{store: store, leaser: leaser, events: events, now: now}
}

// read returns the state of domain in the store, or a state in which nothing is
// known. An entry that is not valid is removed. If the store cannot be read, the
// state is marked as unread, so that the store is asked again the next time.
func (st *storage) read(ctx context.Context, domain string) *state {
	unknown := &state{domain: strings.Clone(domain)} // does not keep the caller's text
	if st.store == nil {
		return unknown
	}
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	e, err := st.store.Get(limited, domain)
	switch {
	case errors.Is(err, ErrNotStored):
		return unknown
	case err != nil:
		if ctx.Err() == nil {
			st.events.storeFailed(domain, err)
		}
		unknown.unread = true
		return unknown
	}
	s, err := restore(e, domain, st.now())
	if err != nil {
		st.events.storeFailed(domain, err)
		st.remove(ctx, domain)
		return unknown
	}
	return s
}

// restore makes a state of an entry. It trusts the entry as little as possible:
// the text is parsed again, and all times are computed again from the time of
// the fetch, which state.at keeps out of the future.
func restore(e Entry, domain string, now time.Time) (*state, error) {
	switch {
	case e.Domain != domain:
		return nil, fmt.Errorf("%w: it belongs to %s", errEntry, quote(e.Domain))
	case !isID(e.ID):
		return nil, fmt.Errorf("%w: malformed id %s", errEntry, quote(e.ID))
	case len(e.Text) > MaxPolicySize:
		return nil, fmt.Errorf("%w: the policy has %d octets, more than %d", errEntry, len(e.Text), MaxPolicySize)
	case e.Fetched.IsZero():
		return nil, fmt.Errorf("%w: no time of the fetch", errEntry)
	}
	policy, err := ParsePolicy(e.Text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errEntry, err)
	}
	s := &state{domain: e.Domain, policy: policy, id: e.ID, fetched: e.Fetched.Round(0), made: now, used: e.Used}
	s.problems = restoreProblems(e)
	if next := e.NextCheck.Round(0); next.Sub(now) <= maxTTL {
		s.checkAt(next)
	}
	return s, nil
}

// restoreProblems returns the failures in e, nil if there are none.
func restoreProblems(e Entry) *problems {
	p := &problems{since: e.FailingSince.Round(0), failed: max(e.Failed, 0)}
	for _, f := range e.Failures[max(len(e.Failures)-maxFailures, 0):] {
		err := &Error{Domain: e.Domain, Kind: KindFetch, ReasonCode: printable(f.ReasonCode), Err: errors.New(printable(f.Detail))}
		if f.Kind == KindCertificate || f.Kind == KindPolicy {
			err.Kind = f.Kind
		}
		p.failures = append(p.failures, failure{id: f.ID, when: f.When.Round(0), err: err})
	}
	last := p.last()
	if last == nil {
		return nil
	}
	if p.failing() {
		p.err = last.err
	}
	return p
}

// write brings the store up to date after the step from old, which the store
// has, to next. A new time to ask DNS alone is not written. It returns false if
// the store could not be written.
func (st *storage) write(ctx context.Context, old, next *state) bool {
	switch {
	case st.store == nil:
		return true
	case next.policy == nil:
		if old.policy != nil {
			st.remove(ctx, next.domain)
		}
		return true
	case old.policy != nil && old.essentials() == next.essentials():
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := st.store.Put(ctx, next.entry())
	if err != nil {
		st.events.storeFailed(next.domain, err)
	}
	return err == nil
}

// essentials are the parts of a state whose change is worth a write.
type essentials struct {
	policy  *Policy
	id      string
	fetched int64
	used    bool
	since   int64
	failed  int
}

func (s *state) essentials() essentials {
	e := essentials{policy: s.policy, id: s.id, fetched: s.fetched.UnixMilli(), used: s.used}
	if s.problems != nil {
		e.since, e.failed = s.problems.since.UnixMilli(), s.problems.failed
	}
	return e
}

// entry returns the entry for s, whose policy is not nil.
func (s *state) entry() Entry {
	e := Entry{
		Domain: s.domain, ID: s.id, Text: s.policy.Text,
		Fetched: s.fetched, Expires: s.expires(), NextCheck: s.next, Used: s.used,
	}
	if s.problems == nil {
		return e
	}
	e.FailingSince, e.Failed = s.problems.since, s.problems.failed
	for _, f := range s.problems.failures {
		kept := Failure{ID: f.id, When: f.when, Kind: f.err.Kind, ReasonCode: f.err.ReasonCode}
		if f.err.Err != nil {
			kept.Detail = printable(f.err.Err.Error())
		}
		e.Failures = append(e.Failures, kept)
	}
	return e
}

// remove removes domain from the store.
func (st *storage) remove(ctx context.Context, domain string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := st.store.Delete(ctx, domain); err != nil {
		st.events.storeFailed(domain, err)
	}
}

// lease asks the leaser, which is not nil, for the right to fetch for as long as
// d.
func (st *storage) lease(ctx context.Context, domain string, d time.Duration) (release func(), ok bool, err error) {
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	release, ok, err = st.leaser.Lease(limited, domain, d)
	if err != nil && ctx.Err() == nil {
		st.events.storeFailed(domain, err)
	}
	return release, ok, err
}
