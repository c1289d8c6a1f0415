package mtasts

import (
	"context"
	"log/slog"
	"time"
)

// EventKind says what an [Event] tells.
type EventKind string

const (
	// PolicyFound: a domain has a policy of which nothing was remembered.
	PolicyFound EventKind = "found"
	// PolicyChanged: a policy with another text took the place of Old, but not
	// a weaker one.
	PolicyChanged EventKind = "changed"
	// PolicyWeakened: a policy of mode testing or none took the place of an
	// enforced one. A domain may do so; it is also what an attacker would have
	// done who got hold of a certificate.
	PolicyWeakened EventKind = "weakened"
	// PolicyRemoved: the time of the policy ran out, and there is no other.
	PolicyRemoved EventKind = "removed"
	// RefreshFailing: a policy in force cannot be fetched again, for longer
	// than a day. It is told once until a fetch succeeds.
	RefreshFailing EventKind = "failing"
	// ExpiringSoon: the time of a policy in use is about to run out, and it was
	// not fetched again, either because that fails or because nobody runs
	// [Client.Run]. It is told once until a fetch succeeds.
	ExpiringSoon EventKind = "expiring"
	// StoreFailed: the [Store] could not be read or written. What is in memory
	// goes on. It is told once a minute.
	StoreFailed EventKind = "store-failed"
)

// Event tells an operator about the life of a policy. Of policies whose mode is
// none there is no RefreshFailing and no ExpiringSoon (RFC 8461 sections 3.3 and
// 10.2).
type Event struct {
	Kind EventKind
	// Domain is the policy domain. It may be empty with StoreFailed.
	Domain string
	// Old is the policy before, and New the one after it; nil for none. While
	// nothing changes they are the same.
	Old, New *Policy
	// ID is the id of the TXT record that belongs to New.
	ID string
	// Expires is when the time of New runs out.
	Expires time.Time
	// Since is when the first fetch failed, if the last one did.
	Since time.Time
	// Err is what went wrong: an [*Error], or that of the Store.
	Err error
}

const (
	// failingLong is after which time a failing refresh is told.
	failingLong = 24 * time.Hour
	// A policy expires soon when a tenth of its time is left, or three days.
	// Those that are refreshed in time do not come so far.
	soonParts = 10
	soonMost  = 3 * 24 * time.Hour
	// storeQuiet is for how long a failing store is not told again.
	storeQuiet = time.Minute
)

// events returns what there is to tell of the step from old to next, and notes
// in next what has been.
func events(old, next *state, now time.Time) []Event {
	e := Event{Domain: next.domain, Old: old.policy, New: next.policy, ID: next.id}
	if next.policy != nil {
		e.Expires = next.expires()
	}
	if next.trouble != nil {
		e.Err, e.Since = next.trouble.err, next.trouble.since
	}
	var told []Event
	tell := func(kind EventKind) {
		e.Kind = kind
		told = append(told, e)
	}
	switch {
	case old.policy == next.policy:
	case old.policy == nil:
		tell(PolicyFound)
	case next.policy == nil:
		tell(PolicyRemoved)
	case old.policy.Text == next.policy.Text:
	case old.policy.Mode == Enforce && next.policy.Mode != Enforce:
		tell(PolicyWeakened)
	default:
		tell(PolicyChanged)
	}
	if next.policy == nil || next.policy.Mode == None {
		return told
	}
	if next.isFailing() && now.Sub(next.trouble.since) > failingLong && !next.trouble.told.failing {
		next.trouble.told.failing = true
		tell(RefreshFailing)
	}
	soon := min(next.policy.MaxAge/soonParts, soonMost)
	if e.Expires.Sub(now) < soon && !next.ail().told.expiring {
		next.trouble.told.expiring = true
		tell(ExpiringSoon)
	}
	return told
}

// level is how loudly the event is logged.
func (e *Event) level() slog.Level {
	switch e.Kind {
	case PolicyWeakened, RefreshFailing, ExpiringSoon, StoreFailed:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// message is the line of the log.
func (e *Event) message() string {
	switch e.Kind {
	case PolicyFound:
		return "MTA-STS policy found"
	case PolicyChanged:
		return "MTA-STS policy changed"
	case PolicyWeakened:
		return "MTA-STS policy is no longer enforced"
	case PolicyRemoved:
		return "MTA-STS policy has run out"
	case RefreshFailing:
		return "MTA-STS policy has not been refreshed for more than a day"
	case ExpiringSoon:
		return "MTA-STS policy runs out soon and has not been refreshed"
	default:
		return "MTA-STS store failed"
	}
}

// tell passes the event on to the operator.
func (c *Client) tell(e Event) {
	var attrs []slog.Attr
	if e.Domain != "" {
		attrs = append(attrs, slog.String("domain", e.Domain))
	}
	if e.New != nil {
		attrs = append(attrs, slog.String("id", e.ID), slog.String("mode", string(e.New.Mode)), slog.Time("expires", e.Expires))
	}
	if e.Old != nil && e.Old != e.New {
		attrs = append(attrs, slog.String("old", quote(e.Old.Text)))
	}
	if e.New != nil && e.Old != nil && e.Old != e.New {
		attrs = append(attrs, slog.String("new", quote(e.New.Text)))
	}
	if !e.Since.IsZero() {
		attrs = append(attrs, slog.Time("since", e.Since))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", printable(e.Err.Error())))
	}
	c.cfg.Logger.LogAttrs(context.Background(), e.level(), e.message(), attrs...)
	if c.cfg.OnEvent != nil {
		c.cfg.OnEvent(e)
	}
}

// storeFailed tells that the store failed, unless that was just told.
func (c *Client) storeFailed(domain string, err error) {
	now := c.now()
	c.storeMu.Lock()
	since := now.Sub(c.storeTold)
	quiet := !c.storeTold.IsZero() && 0 <= since && since < storeQuiet
	if !quiet {
		c.storeTold = now
	}
	c.storeMu.Unlock()
	if !quiet {
		c.tell(Event{Kind: StoreFailed, Domain: domain, Err: err})
	}
}
