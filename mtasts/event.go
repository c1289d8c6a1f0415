package mtasts

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/mtasts/internal/outage"
)

// EventKind is the kind of an [Event].
type EventKind string

const (
	// PolicyFound means that a policy was found for a domain that had none in memory or
	// in the Store.
	PolicyFound EventKind = "found"
	// PolicyChanged means that a policy with another text replaced Old, and is not
	// weaker.
	PolicyChanged EventKind = "changed"
	// PolicyWeakened means that a policy of mode testing or none replaced an enforced
	// one. The domain may have done so, or an attacker with a certificate for its
	// policy host.
	PolicyWeakened EventKind = "weakened"
	// PolicyRemoved means that the policy expired, and no other one was found.
	PolicyRemoved EventKind = "removed"
	// RefreshFailing means that all fetches of the policy in force have failed for more
	// than a day. There is one such event until a fetch succeeds.
	RefreshFailing EventKind = "failing"
	// ExpiringSoon means that a policy in use is about to expire and has not been
	// fetched again, because the fetches fail or because [Client.Run] is not running.
	// There is one such event until a fetch succeeds.
	ExpiringSoon EventKind = "expiring"
	// PolicyForgotten means that memory had no room for Old, a policy in force that no
	// Store has. Raise [Config.Memory], or use a Store. There is at most one such event
	// in a minute.
	PolicyForgotten EventKind = "forgotten"
	// NothingFetched means that no policy host of any domain has been reached since Since,
	// for ten minutes or longer. Connections to port 443 may be blocked, or the CA
	// certificates may be too old. Err is the last failure. There is one such event until
	// a policy host is reached.
	NothingFetched EventKind = "nothing-fetched"
	// StoreFailed means that the [Store] could not be read or written. What is in
	// memory stays in force. There is at most one such event in a minute.
	StoreFailed EventKind = "store-failed"
)

// Event is a change or a problem in the life of a policy. For policies of mode
// none there are no RefreshFailing and ExpiringSoon events (RFC 8461 sections 3.3
// and 10.2).
type Event struct {
	Kind EventKind
	// Domain is the policy domain. It may be empty if Kind is StoreFailed or
	// NothingFetched.
	Domain string
	// Old is the policy before the event and New the one after it; nil for none.
	// They are equal if the policy did not change.
	Old, New *Policy
	// ID is the id of the TXT record that belongs to New.
	ID string
	// Expires is when New expires.
	Expires time.Time
	// Since is when the first fetch failed; zero if the last fetch succeeded.
	// In NothingFetched, it is that of all domains.
	Since time.Time
	// Err is what failed: an [*Error], or an error of the Store.
	Err error
}

const (
	// failingLong is how long fetches must have failed for RefreshFailing.
	failingLong = 24 * time.Hour
	// A policy expires soon when a tenth of its max_age is left, and at most
	// three days. A policy that is refreshed in time does not get this old.
	soonParts = 10
	soonMax   = 3 * 24 * time.Hour
	// quietTime is the shortest time between two StoreFailed events, and between two
	// PolicyForgotten events.
	quietTime = time.Minute
)

// changes returns the events of the step from old to next. It sets in next which
// events the operator has got.
func changes(old, next *state, now time.Time) []Event {
	e := Event{Domain: next.domain, Old: old.policy, New: next.policy, ID: next.id}
	if next.policy != nil {
		e.Expires = next.expires()
	}
	if next.problems != nil {
		e.Err, e.Since = next.problems.err, next.problems.since
	}
	var events []Event
	add := func(kind EventKind) {
		e.Kind = kind
		events = append(events, e)
	}
	switch {
	case old.policy == next.policy:
	case old.policy == nil:
		add(PolicyFound)
	case next.policy == nil:
		add(PolicyRemoved)
	case old.policy.Text == next.policy.Text:
	case old.policy.Mode == Enforce && next.policy.Mode != Enforce:
		add(PolicyWeakened)
	default:
		add(PolicyChanged)
	}
	if next.policy == nil || next.policy.Mode == None {
		return events
	}
	if next.problems.failing() && now.Sub(next.problems.since) > failingLong && !next.problems.notified.failing {
		next.problems.notified.failing = true
		add(RefreshFailing)
	}
	soon := min(next.policy.MaxAge/soonParts, soonMax)
	if e.Expires.Sub(now) < soon && !next.ownProblems().notified.expiring {
		next.problems.notified.expiring = true
		add(ExpiringSoon)
	}
	return events
}

// line returns the level and the message of the event's log line.
func (e *Event) line() (slog.Level, string) {
	switch e.Kind {
	case PolicyFound:
		return slog.LevelInfo, "MTA-STS policy found"
	case PolicyChanged:
		return slog.LevelInfo, "MTA-STS policy changed"
	case PolicyWeakened:
		return slog.LevelWarn, "MTA-STS policy is no longer enforced"
	case PolicyRemoved:
		return slog.LevelInfo, "MTA-STS policy has expired"
	case RefreshFailing:
		return slog.LevelWarn, "MTA-STS policy has not been refreshed for more than a day"
	case ExpiringSoon:
		return slog.LevelWarn, "MTA-STS policy expires soon and has not been refreshed"
	case PolicyForgotten:
		return slog.LevelWarn, "MTA-STS policy in force is forgotten, because memory is full and no store has it; raise the limit, or use a store"
	case NothingFetched:
		return slog.LevelWarn, "no MTA-STS policy host can be reached; check that connections to port 443 are permitted, and the CA certificates"
	default:
		return slog.LevelWarn, "MTA-STS store failed; policies in memory stay in force"
	}
}

// notifier passes events and failed searches on to the operator.
type notifier struct {
	logger  *slog.Logger
	onEvent func(Event) // nil for none
	now     func() time.Time

	outage outage.Watch
	counts map[EventKind]*atomic.Uint64 // has all kinds

	mu   sync.Mutex
	last map[EventKind]time.Time // of the last event
}

func newNotifier(config Config) *notifier {
	n := &notifier{
		logger: config.Logger, onEvent: config.OnEvent, now: config.Now,
		counts: map[EventKind]*atomic.Uint64{}, last: map[EventKind]time.Time{},
	}
	for _, kind := range []EventKind{
		PolicyFound, PolicyChanged, PolicyWeakened, PolicyRemoved, RefreshFailing, ExpiringSoon, PolicyForgotten, NothingFetched, StoreFailed,
	} {
		n.counts[kind] = new(atomic.Uint64)
	}
	return n
}

// numbers returns how many events of each kind there were.
func (n *notifier) numbers() map[EventKind]uint64 {
	numbers := make(map[EventKind]uint64, len(n.counts))
	for kind, count := range n.counts {
		numbers[kind] = count.Load()
	}
	return numbers
}

// notify logs the event and calls OnEvent.
func (n *notifier) notify(e Event) {
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
	n.counts[e.Kind].Add(1)
	level, message := e.line()
	n.logger.LogAttrs(context.Background(), level, message, attrs...)
	if n.onEvent != nil {
		n.onEvent(e)
	}
}

// rarely is notify, unless there was an event of that kind within quietTime.
func (n *notifier) rarely(e Event) {
	now := n.now()
	n.mu.Lock()
	last, found := n.last[e.Kind]
	since := now.Sub(last)
	quiet := found && 0 <= since && since < quietTime
	if !quiet {
		n.last[e.Kind] = now
	}
	n.mu.Unlock()
	if !quiet {
		n.notify(e)
	}
}

// storeFailed notifies the operator of a failure of the store.
func (n *notifier) storeFailed(domain string, err error) {
	n.rarely(Event{Kind: StoreFailed, Domain: domain, Err: err})
}

// fetched notes whether a fetch has reached the policy host. Failures of DNS say nothing
// about that, and neither does the lack of a turn.
func (n *notifier) fetched(domain string, outcome fetchOutcome, err *Error) {
	switch outcome {
	case fetchDNS, fetchNoTurn:
	case fetchConnect, fetchTLS, fetchTimeout:
		if since, news := n.outage.Failed(names.Registrable(domain), n.now()); news {
			n.notify(Event{Kind: NothingFetched, Since: since, Err: err})
		}
	default:
		n.outage.Reached()
	}
}

// searchFailed logs that the search for a policy failed, if it did, and unless
// the policy in force has the mode none (RFC 8461 section 3.3).
func (n *notifier) searchFailed(ctx context.Context, s *state) {
	var err *Error
	if s.problems == nil || !errors.As(s.problems.err, &err) {
		return
	}
	attrs := []slog.Attr{
		slog.String("domain", s.domain), slog.String("kind", string(err.Kind)),
		slog.String("reason", err.ReasonCode), slog.String("error", err.Error()),
	}
	switch {
	case s.policy == nil:
		n.logger.LogAttrs(ctx, slog.LevelInfo, "no MTA-STS policy found", attrs...)
	case s.policy.Mode != None:
		attrs = append(attrs, slog.String("id", s.id), slog.String("mode", string(s.policy.Mode)), slog.Time("expires", s.expires()))
		n.logger.LogAttrs(ctx, slog.LevelWarn, "MTA-STS policy in force cannot be refreshed", attrs...)
	}
}
