package mtasts

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// leasePoll is how often a Client that waits for the fetch of another Client
// reads the store.
const leasePoll = 500 * time.Millisecond

// share makes sure that only one of the Clients that share a store fetches the
// policy with that id. It returns the outcome if another Client has fetched it, and
// the store is trusted with it, or nil and the right to fetch, which the caller must
// release when the store has the outcome. It waits for another Client no longer than a
// fetch takes. If the fetch of another Client has just failed, share adds its failure to
// mine.
func (w *work) share(ctx context.Context, mine *state, id string) (theirs *state, release func()) {
	c := w.client
	nothing := func() {}
	if c.storage.leaser == nil || w.takeFailure(ctx, mine, id) {
		return nil, nothing
	}
	for end := time.Now().Add(c.config.FetchTimeout); ; {
		release, ok, err := c.storage.lease(ctx, w.domain, c.config.FetchTimeout+2*storeTimeout)
		if err != nil {
			return nil, nothing
		}
		if !ok {
			release = nothing
		}
		now := c.config.Now()
		if s := c.storage.read(ctx, w.domain).at(now); s.supersedes(mine, id) {
			if !mayReplace(s, mine, now) {
				return nil, release
			}
			release()
			return s, nothing
		}
		if ok || ctx.Err() != nil || !time.Now().Before(end) {
			return nil, release
		}
		sleep(ctx, leasePoll)
		if w.takeFailure(ctx, mine, id) {
			return nil, nothing
		}
	}
}

// takeFailure adds the failure of another Client's fetch to s, which has no policy in
// force, and reports whether there is one. It only delays a fetch, and a writer to the
// store must not delay it forever: the failure is about the id that this Client has
// found in DNS, is not older than fetchRetry, and does not count a second time before
// this Client has tried itself, unless it has a tag.
func (w *work) takeFailure(ctx context.Context, s *state, id string) bool {
	st := w.client.storage
	if st.sharer == nil || s.policy != nil || st.key == nil && s.problems != nil && s.problems.borrowed {
		return false
	}
	f, err := st.failure(ctx, w.domain)
	now := w.client.config.Now()
	if err != nil || f.id != id || f.when.After(now.Add(maxSkew)) || !now.Before(f.when.Add(fetchRetry)) {
		return false
	}
	f.when = earlier(f.when, now)
	s.fetchFailed(f)
	s.problems.borrowed = true
	return true
}

// failure returns the failure of a fetch that another Client has shared, or
// ErrNotStored.
func (st *storage) failure(ctx context.Context, domain string) (failure, error) {
	limited, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	e, err := st.sharer.Failed(limited, domain)
	if err == nil && (e.Domain != domain || e.Text != "" || len(e.Failures) != 1 || st.key != nil && !e.isTagged(st.key)) {
		err = fmt.Errorf("%w: it is not a failure of this domain that a Client with the same Config.StoreKey has put", errEntry)
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrNotStored) {
			st.events.storeFailed(domain, err)
		}
		return failure{}, err
	}
	return restoreProblems(e).failures[0], nil
}

// shareFailure shares that the last fetch of s failed, if the policy host has answered:
// otherwise the cause may be near this Client. While a policy is in force, its entry has
// the failure.
func (st *storage) shareFailure(ctx context.Context, s *state) {
	last := s.problems.last()
	if st.sharer == nil || s.policy != nil || last == nil || last.err.Kind != KindPolicy && !strings.HasPrefix(last.err.ReasonCode, "http-status-") {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	e := Entry{Domain: s.domain, Failures: []Failure{entryFailure(last)}}
	if st.key != nil {
		e.Tag = e.tag(st.key)
	}
	if err := st.sharer.PutFailed(ctx, e, fetchRetry); err != nil {
		st.events.storeFailed(s.domain, err)
	}
}

// maySweep reports whether this Client goes through all entries of the store now: always,
// unless Clients share it. They take turns of random lengths, so that one that cannot fetch
// does not keep the others from it.
func (st *storage) maySweep(ctx context.Context) bool {
	if st.store == nil || st.leaser == nil {
		return st.store != nil
	}
	_, ok, err := st.lease(ctx, "*", sweepEvery+rand.N(sweepEvery))
	return ok && err == nil
}
