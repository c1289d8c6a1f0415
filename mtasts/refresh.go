package mtasts

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// fly does one task for domain and returns what is known then, nil if that was
// not to look for news, or ctx ended before. stored is what the store has, if it
// was read already.
func (c *Client) fly(ctx context.Context, domain string, t task, stored *state) *state {
	before, old, stored := c.known(ctx, domain, t, stored)
	next, looked := c.step(ctx, old, t)
	if t == refresh && ctx.Err() != nil {
		return nil
	}
	told := events(before, next, c.now())
	// What is refreshed without being asked for needs no room in memory, but for
	// what the store does not take.
	cached := t != refresh || c.cache.get(domain) != nil
	if kept := c.keep(ctx, stored, next); !kept {
		cached = true
	}
	if t == refresh && next.policy == nil {
		c.cache.remove(domain)
	} else if cached {
		c.cache.put(next)
	}
	for _, e := range told {
		c.tell(e)
	}
	if !looked {
		return nil
	}
	c.log(ctx, next)
	return next
}

// known returns what is known of domain, from memory, or from the store if that
// has a newer policy; what was known before the store was read; and what the
// store is thought to have.
func (c *Client) known(ctx context.Context, domain string, t task, stored *state) (before, old, _ *state) {
	cached := c.cache.get(domain)
	if cached != nil && t != reread && !cached.unread && !cached.hasRunOut(c.now()) {
		return cached, cached, cached
	}
	if stored == nil {
		stored = c.recall(ctx, domain)
	}
	switch {
	case cached == nil && t == refresh:
		return stored, stored, stored
	case cached == nil:
		cached, old = stored, stored
	case stored.fetched.After(cached.fetched):
		old = stored
	default:
		same := *cached
		same.unread = stored.unread && cached.policy == nil
		old = &same
	}
	c.cache.put(old) // who waits for this flight may not wait to its end
	return cached, old, stored
}

// step returns the state that follows from old by the task (RFC 8461 section
// 5.1), and whether it is as good as after a look for news. Nothing but a newer
// policy ends one that is in force.
func (c *Client) step(ctx context.Context, old *state, t task) (_ *state, looked bool) {
	next := old.at(c.now())
	switch {
	case t == reread, t == refresh && !next.used:
		return next, false
	case t == lookUp && old.isFresh(next.made):
		next.used = true
		return next, true
	}
	found := c.discover(ctx, old.domain)
	next = old.at(c.now())
	if t == refresh && next.policy != nil {
		return c.renew(ctx, next, found), true
	}
	next.used = true
	return c.follow(ctx, next, found), true
}

// follow returns the state that follows from what DNS says.
func (c *Client) follow(ctx context.Context, next *state, found discovery) *state {
	fetch := false
	switch {
	case errors.Is(found.err, ErrNoRecord) && next.policy == nil:
		next.fail(nil, "")
	case found.err != nil:
		next.fail(found.failure(next.domain), "")
	case next.policy != nil && next.id == found.record.ID:
		next.confirm()
		fetch = next.refreshAt(1).Before(next.made) // by Run, if there were one
	default:
		fetch = true
	}
	if fetch {
		next, _ = c.fetch(ctx, next, found)
		return next
	}
	next.checkAt(found.until)
	return next
}

// renew fetches the policy in force again, whether or not its TXT record can be
// seen: who can hide that could let the policy run out otherwise (RFC 8461
// section 10.2).
func (c *Client) renew(ctx context.Context, next *state, found discovery) *state {
	seen := found
	if found.err != nil {
		seen.record.ID = next.id
	}
	next, ok := c.fetch(ctx, next, seen)
	if ok {
		next.used = false
		next.fail(found.failure(next.domain), "")
	}
	return next
}

// fetch returns the state that follows from the fetch of the policy that was
// found in DNS, by this Client or by another one that shares the store. ok tells
// that the fetch succeeded.
func (c *Client) fetch(ctx context.Context, next *state, found discovery) (_ *state, ok bool) {
	id := found.record.ID
	if next.halted(id, found.until) {
		return next, false
	}
	theirs, release := c.share(ctx, next, id)
	defer release()
	if theirs == nil {
		return c.fetchItself(ctx, next, found)
	}
	theirs.used = true
	if theirs.halted(id, found.until) {
		return theirs, false
	}
	theirs.checkAt(found.until)
	return theirs, true
}

// halted reports whether a fetch for that id is not to be made now, because one
// has just failed, and takes that in.
func (s *state) halted(id string, until time.Time) bool {
	last, retry := s.backOff(id, s.made)
	if last == nil {
		return false
	}
	s.fail(last.err, last.text)
	s.checkAt(earlier(until, retry))
	return true
}

// fetchItself fetches the policy. An id that is the old one's is no reason to
// prolong a policy that has expired: only the policy host can do that.
func (c *Client) fetchItself(ctx context.Context, old *state, found discovery) (_ *state, ok bool) {
	policy, text, err := c.fetcher.fetch(ctx, old.domain)
	now := c.now()
	next := old.at(now)
	if err != nil {
		next.failed(failure{id: found.record.ID, when: now, err: err, text: shorten(text)})
		next.checkAt(earlier(found.until, now.Add(fetchRetry)))
	} else {
		next.succeed(found.record.ID, now, policy)
		next.used = true
		next.checkAt(found.until)
	}
	if _, shared := c.cfg.Store.(Leaser); shared && ctx.Err() == nil {
		c.keep(ctx, old, next) // before another one may fetch
	}
	return next, err == nil
}

// log tells the administrator about each search that failed, unless the policy
// in force is of mode none (RFC 8461 section 3.3).
func (c *Client) log(ctx context.Context, next *state) {
	var err *Error
	if next.trouble == nil || !errors.As(next.trouble.err, &err) {
		return
	}
	attrs := []slog.Attr{
		slog.String("domain", next.domain), slog.String("kind", string(err.Kind)),
		slog.String("reason", err.ReasonCode), slog.String("error", err.Error()),
	}
	switch {
	case next.policy == nil:
		c.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "no MTA-STS policy found", attrs...)
	case next.policy.Mode != None:
		attrs = append(attrs, slog.String("id", next.id), slog.String("mode", string(next.policy.Mode)), slog.Time("expires", next.expires()))
		c.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "MTA-STS policy in force cannot be refreshed", attrs...)
	}
}
