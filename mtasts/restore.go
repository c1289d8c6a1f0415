package mtasts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/absent"
)

const (
	// storeTimeout limits one call of the store.
	storeTimeout = 2 * time.Second
	// storeRetry is how long the store, which could not be read, is not read again for
	// the same domain, unless it could be read for another one.
	storeRetry = 5 * time.Second
	// absentShare is the part of [Config.Memory] for the domains without an entry: one in
	// absentShare octets. Each takes about absentSize.
	absentShare = 8
	absentSize  = 40
)

var errEntry = errors.New("mtasts: stored entry is not valid")

// storage reads and writes states in the store. It does not trust the store, and
// it reports its errors as events.
type storage struct {
	store  Store         // nil for none
	leaser Leaser        // nil unless the store is one
	sharer FailureSharer // nil unless the store is one
	key    []byte        // nil for none
	events *notifier
	now    func() time.Time
	absent *absent.Set // the domains for which the store said that it has no entry
	// failing is true after the store could not be read, and epoch grows when it can
	// be read again.
	failing atomic.Bool
	epoch   atomic.Uint32
	back    func() // called when epoch has grown

	gets, puts, deletes, leases calls
}

func newStorage(config Config, events *notifier, back func()) *storage {
	leaser, _ := config.Store.(Leaser)
	sharer, _ := config.Store.(FailureSharer)
	return &storage{
		sharer: sharer,
		store:  config.Store, leaser: leaser, key: bytes.Clone(config.StoreKey), events: events, now: config.Now,
		back:   back,
		absent: absent.NewSet(config.Memory / absentShare / absentSize),
	}
}

// seen is called when the store works.
func (st *storage) seen() {
	if st.failing.Load() && st.failing.CompareAndSwap(true, false) {
		st.epoch.Add(1)
		st.back()
	}
}

// isBack reports whether the store could not be read for s, and could be read for
// another domain since.
func (st *storage) isBack(s *state) bool { return s.unread && s.epoch != st.epoch.Load() }

// read returns the state of domain in the store, or a state in which nothing is
// known. An entry that is not valid is removed, unless Clients share the store. If the
// store cannot be read, the state is marked as unread, so that the store is asked again
// the next time.
func (st *storage) read(ctx context.Context, domain string) *state {
	unknown := &state{domain: strings.Clone(domain)} // does not keep the caller's text
	if st.store == nil {
		return unknown
	}
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	unknown.epoch = st.epoch.Load()
	began := time.Now()
	e, err := st.store.Get(limited, domain)
	st.gets.ended(began, err)
	if err == nil && st.key != nil && !e.isTagged(st.key) {
		err = fmt.Errorf("%w: no Client with Config.StoreKey has put it", errEntry)
	}
	switch {
	case errors.Is(err, ErrNotStored):
		st.seen()
		st.absent.Add(domain)
		unknown.answered = true
		return unknown
	case err != nil:
		if ctx.Err() == nil {
			if !errors.Is(err, errEntry) {
				st.failing.Store(true)
			}
			st.events.storeFailed(domain, err)
		}
		unknown.unread, unknown.answered = true, st.absent.Has(domain)
		return unknown
	}
	st.seen()
	st.absent.Remove(domain)
	s, err := restore(e, domain, st.now())
	if err != nil {
		st.events.storeFailed(domain, err)
		if st.leaser == nil { // otherwise another Client may have replaced it by now
			st.remove(ctx, domain)
		}
		s = unknown
	}
	s.answered = true
	return s
}

// restore makes a state of an entry. It trusts the entry as little as possible:
// the text is parsed again, and all times are computed again from the time of
// the fetch. A time in the future counts as now, and is kept as it is.
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
	if !e.Noticed.IsZero() {
		s.behind = e.Noticed.UnixMilli()
	}
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

// write brings the store up to date after the step from old, which the store has unless it
// is unsaved, to next. A new time to ask DNS alone is not written, and an expired policy is
// not removed: the clock may be wrong. It returns false if the store could not be written.
func (st *storage) write(ctx context.Context, old, next *state) bool {
	if st.store == nil || next.policy == nil || old.policy != nil && !old.unsaved && old.essentials() == next.essentials() {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	st.absent.Remove(next.domain)
	e := next.entry()
	if st.key != nil {
		e.Tag = e.tag(st.key)
	}
	began := time.Now()
	err := st.store.Put(ctx, e)
	st.puts.ended(began, err)
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
	behind  bool
	since   int64
	failed  int
}

func (s *state) essentials() essentials {
	e := essentials{policy: s.policy, id: s.id, fetched: s.fetched.UnixMilli(), used: s.used, behind: s.behind != 0}
	if s.problems != nil {
		e.since, e.failed = s.problems.since.UnixMilli(), s.problems.failed
	}
	return e
}

// entry returns the entry for s, whose policy is not nil, without a tag.
func (s *state) entry() Entry {
	e := Entry{
		Domain: s.domain, ID: s.id, Text: s.policy.Text,
		Fetched: s.fetched, Expires: s.fetched.Add(s.policy.MaxAge), NextCheck: s.next, Used: s.used,
	}
	if s.behind != 0 {
		e.Noticed = time.UnixMilli(s.behind)
	}
	if s.problems == nil {
		return e
	}
	e.FailingSince, e.Failed = s.problems.since, s.problems.failed
	for i := range s.problems.failures {
		e.Failures = append(e.Failures, entryFailure(&s.problems.failures[i]))
	}
	return e
}

func entryFailure(f *failure) Failure {
	kept := Failure{ID: f.id, When: f.when, Kind: f.err.Kind, ReasonCode: f.err.ReasonCode}
	if f.err.Err != nil {
		kept.Detail = printable(f.err.Err.Error())
	}
	return kept
}

// remove removes domain from the store.
func (st *storage) remove(ctx context.Context, domain string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	began := time.Now()
	err := st.store.Delete(ctx, domain)
	st.deletes.ended(began, err)
	if err != nil {
		st.events.storeFailed(domain, err)
	}
}

// lease asks the leaser, which is not nil, for the right to fetch for as long as
// d.
func (st *storage) lease(ctx context.Context, domain string, d time.Duration) (release func(), ok bool, err error) {
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	began := time.Now()
	release, ok, err = st.leaser.Lease(limited, domain, d)
	st.leases.ended(began, err)
	if err != nil && ctx.Err() == nil {
		st.events.storeFailed(domain, err)
	}
	return release, ok, err
}
