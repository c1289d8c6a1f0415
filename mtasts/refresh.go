package mtasts

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// flight is the outcome of a refresh.
type flight struct {
	result Result
	forced bool
}

// join refreshes what is known about domain, or waits for a refresh that is
// under way. There is one at a time for a domain, so none undoes another.
func (c *Client) join(ctx context.Context, domain string, force bool) (flight, error) {
	if err := ctx.Err(); err != nil {
		return flight{}, err
	}
	done := c.flights.DoChan(domain, func() (any, error) {
		return flight{c.refresh(context.WithoutCancel(ctx), domain, force), force}, nil
	})
	select {
	case res := <-done:
		return res.Val.(flight), nil
	case <-ctx.Done():
		return flight{}, ctx.Err()
	}
}

// refresh brings what is known about domain up to date, unless it is, and
// remembers it.
func (c *Client) refresh(ctx context.Context, domain string, force bool) Result {
	old := c.cache.get(domain)
	if old == nil {
		old = &state{result: Result{Domain: domain}}
	} else if !force && old.isFresh(c.now()) {
		return old.result
	}
	next := c.next(ctx, old)
	c.cache.put(domain, next)
	c.log(ctx, old, next)
	return next.result
}

// next asks DNS for the id and returns the state that follows from the answer
// (RFC 8461 section 5.1). Nothing but a newer policy ends one that is in force.
func (c *Client) next(ctx context.Context, old *state) *state {
	found := c.discover(ctx, old.result.Domain)
	next := old.at(c.now())
	policy := next.result.Policy
	switch {
	case errors.Is(found.err, ErrNoRecord) && policy == nil:
		next.fail(nil, "")
	case errors.Is(found.err, ErrNoRecord):
		next.fail(&Error{Domain: old.result.Domain, Kind: KindRecord, ReasonCode: "record-missing", Err: found.err}, "")
	case found.err != nil:
		next.fail(found.err, "")
	case policy != nil && next.result.ID == found.record.ID:
		next.fail(nil, "")
	default:
		return c.fetch(ctx, next, found)
	}
	next.checkAt(found.until)
	return next
}

// fetch returns the state that follows from the fetch of the policy that was
// found in DNS. An id that is the old one's is no reason to prolong a policy
// that has expired: only the policy host can do that.
func (c *Client) fetch(ctx context.Context, next *state, found discovery) *state {
	if last, retry := next.backOff(found.record.ID); last != nil {
		next.fail(last.err, last.text)
		next.checkAt(earlier(found.until, retry))
		return next
	}
	policy, text, err := c.fetcher.fetch(ctx, next.result.Domain)
	now := c.now()
	next = next.at(now)
	if err != nil {
		next.failed(failure{id: found.record.ID, when: now, err: err, text: shorten(text)})
		next.checkAt(earlier(found.until, now.Add(fetchRetry)))
		return next
	}
	next.succeed(found.record.ID, now, policy)
	next.checkAt(found.until)
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// log tells the administrator about a new policy, and about one that cannot be
// refreshed, unless its mode is none (RFC 8461 section 3.3).
func (c *Client) log(ctx context.Context, old, next *state) {
	r := &next.result
	attrs := []slog.Attr{slog.String("domain", r.Domain)}
	if r.Policy != nil {
		attrs = append(attrs, slog.String("id", r.ID), slog.String("mode", string(r.Policy.Mode)), slog.Time("expires", r.Expires))
	}
	var err *Error
	if errors.As(r.Err, &err) {
		attrs = append(attrs, slog.String("kind", string(err.Kind)), slog.String("reason", err.ReasonCode), slog.String("error", err.Error()))
	}
	switch {
	case err == nil && r.Policy != nil && r.Policy != old.result.Policy:
		c.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "MTA-STS policy fetched", attrs...)
	case err != nil && r.Policy != nil && r.Policy.Mode != None:
		c.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "MTA-STS policy in force cannot be refreshed", attrs...)
	case err != nil && r.Policy == nil:
		c.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "no MTA-STS policy found", attrs...)
	}
}
