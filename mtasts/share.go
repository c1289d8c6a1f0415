package mtasts

import (
	"context"
	"time"
)

// leasePoll is how often a Client that waits for the fetch of another one looks
// whether that is done.
const leasePoll = 500 * time.Millisecond

// share sees to it that of the Clients that share a store one fetches the policy
// with that id: it returns what another one has made of that, or nil and the
// right to fetch, which is to be given back when the store has the outcome. It
// waits for the other no longer than a fetch takes. That a first fetch failed is
// not shared: a store has only domains with a policy.
func (c *Client) share(ctx context.Context, mine *state, id string) (theirs *state, release func()) {
	nothing := func() {}
	leaser, ok := c.cfg.Store.(Leaser)
	if !ok {
		return nil, nothing
	}
	for end := time.Now().Add(c.cfg.FetchTimeout); ; {
		release, ok, err := c.lease(ctx, leaser, mine.domain)
		if err != nil {
			c.storeFailed(mine.domain, err)
			return nil, nothing
		}
		if !ok {
			release = nothing
		}
		if s := c.recall(ctx, mine.domain).at(c.now()); s.supersedes(mine, id) {
			release()
			return s, nothing
		}
		if ok || ctx.Err() != nil || !time.Now().Before(end) {
			return nil, release
		}
		c.sleep(ctx, c.now().Add(leasePoll))
	}
}

// lease asks for the right to fetch, for as long as that may take.
func (c *Client) lease(ctx context.Context, l Leaser, domain string) (release func(), ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return l.Lease(ctx, domain, c.cfg.FetchTimeout+2*storeTimeout)
}

// supersedes reports whether s is the outcome of a fetch of the policy with that
// id, later than those that made t what it is.
func (s *state) supersedes(t *state, id string) bool {
	if s.policy == nil {
		return false
	}
	if s.id == id && s.fetched.After(t.fetched) {
		return true
	}
	mine, theirs := t.lastFailure(), s.lastFailure()
	return theirs != nil && theirs.id == id && (mine == nil || theirs.when.After(mine.when)) && !s.fetched.Before(t.fetched)
}
