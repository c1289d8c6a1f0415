package mtasts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// storeTimeout bounds one call of the store.
const storeTimeout = 2 * time.Second

var errEntry = errors.New("mtasts: stored entry is not valid")

// recall returns what the store has of domain, or a state of which nothing is
// known. An entry that is not in order is as none, and is removed; whatever
// else goes wrong is told, and the store asked again the next time.
func (c *Client) recall(ctx context.Context, domain string) *state {
	unknown := &state{domain: strings.Clone(domain)} // not all of the caller's text
	if c.cfg.Store == nil {
		return unknown
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	e, err := c.cfg.Store.Get(ctx, domain)
	switch {
	case errors.Is(err, ErrNotStored):
		return unknown
	case err != nil:
		c.storeFailed(domain, err)
		unknown.unread = true
		return unknown
	}
	s, err := restore(e, domain, c.now())
	if err != nil {
		c.storeFailed(domain, err)
		c.forget(ctx, domain)
		return unknown
	}
	return s
}

// restore makes a state of what a store has, which is believed no more than it
// has to be: the text is parsed again, and all times are worked out anew from
// the one at which it was fetched, which does not lie ahead.
func restore(e Entry, domain string, now time.Time) (*state, error) {
	switch {
	case e.Domain != domain:
		return nil, fmt.Errorf("%w: it is of %s", errEntry, quote(e.Domain))
	case !isID(e.ID):
		return nil, fmt.Errorf("%w: id %s", errEntry, quote(e.ID))
	case len(e.Text) > MaxPolicySize:
		return nil, fmt.Errorf("%w: a policy of %d octets", errEntry, len(e.Text))
	case e.Fetched.IsZero():
		return nil, fmt.Errorf("%w: it was never fetched", errEntry)
	}
	policy, err := ParsePolicy(e.Text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errEntry, err)
	}
	s := &state{domain: e.Domain, policy: policy, id: e.ID, fetched: e.Fetched.Round(0), made: now, used: e.Used}
	s.trouble = restoreTrouble(e, domain)
	if next := e.NextCheck.Round(0); next.Sub(now) <= maxTTL {
		s.checkAt(next)
	}
	return s, nil
}

// restoreTrouble returns the failures in e, nil if there are none.
func restoreTrouble(e Entry, domain string) *trouble {
	t := &trouble{since: e.FailingSince.Round(0), failed: max(e.Failed, 0)}
	for _, f := range e.Failures[max(len(e.Failures)-maxFailures, 0):] {
		err := &Error{Domain: domain, Kind: KindFetch, ReasonCode: printable(f.ReasonCode), Err: errors.New(printable(f.Detail))}
		if f.Kind == KindCertificate || f.Kind == KindPolicy {
			err.Kind = f.Kind
		}
		t.failures = append(t.failures, failure{id: f.ID, when: f.When.Round(0), err: err})
	}
	if len(t.failures) == 0 {
		return nil
	}
	if !t.since.IsZero() {
		t.err = t.failures[len(t.failures)-1].err
	}
	return t
}

// entry returns what a store is to keep of s, which has a policy.
func (s *state) entry() Entry {
	e := Entry{
		Domain: s.domain, ID: s.id, Text: s.policy.Text,
		Fetched: s.fetched, Expires: s.expires(), NextCheck: s.next, Used: s.used,
	}
	if s.trouble == nil {
		return e
	}
	e.FailingSince, e.Failed = s.trouble.since, s.trouble.failed
	for _, f := range s.trouble.failures {
		kept := Failure{ID: f.id, When: f.when, Kind: f.err.Kind, ReasonCode: f.err.ReasonCode}
		if f.err.Err != nil {
			kept.Detail = printable(f.err.Err.Error())
		}
		e.Failures = append(e.Failures, kept)
	}
	return e
}

// gist is what makes a write to the store worth while.
type gist struct {
	policy  *Policy
	id      string
	fetched int64
	used    bool
	since   int64
	failed  int
}

func (s *state) gist() gist {
	g := gist{policy: s.policy, id: s.id, fetched: s.fetched.UnixMilli(), used: s.used}
	if s.trouble != nil {
		g.since, g.failed = s.trouble.since.UnixMilli(), s.trouble.failed
	}
	return g
}

// keep brings the store up to date with the step from old to next. That DNS was
// asked is not worth a write. It reports whether the store is up to date.
func (c *Client) keep(ctx context.Context, old, next *state) bool {
	if c.cfg.Store == nil {
		return true
	}
	if next.policy == nil {
		if old.policy != nil {
			c.forget(ctx, next.domain)
		}
		return true
	}
	if old.policy != nil && old.gist() == next.gist() {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err := c.cfg.Store.Put(ctx, next.entry())
	if err != nil {
		c.storeFailed(next.domain, err)
	}
	return err == nil
}

// forget removes domain from the store.
func (c *Client) forget(ctx context.Context, domain string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := c.cfg.Store.Delete(ctx, domain); err != nil {
		c.storeFailed(domain, err)
	}
}
