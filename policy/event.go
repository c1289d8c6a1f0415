package policy

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/protection"
)

// EventKind is the kind of an Event.
type EventKind string

const (
	// PolicyEvent means that something happened to an MTA-STS policy or to the store, as
	// Event.MTASTS says.
	PolicyEvent EventKind = "mta-sts"
	// DANEAppeared means that DANE now applies to a domain to which it did not apply
	// before.
	DANEAppeared EventKind = "dane-appeared"
	// DANEWeakened means that DANE does less for a domain than before: its MX records are
	// no longer secure, or a host has only unusable TLSA records.
	DANEWeakened EventKind = "dane-weakened"
	// DANEDisappeared means that DANE no longer applies to a host of the domain, which
	// has no secure TLSA records.
	DANEDisappeared EventKind = "dane-disappeared"
	// HostsRefused means that all mail hosts of a domain have been refused for an hour or
	// longer, in every plan since Event.Since. Mail waits.
	HostsRefused EventKind = "hosts-refused"
	// HostsPermitted means that, after HostsRefused, mail may be sent to a host of the
	// domain again.
	HostsPermitted EventKind = "hosts-permitted"
)

// Event is a change in what protects the mail of a domain. There is one Event for each
// change, as long as memory has the plan before it.
type Event struct {
	Kind EventKind
	// Domain is the recipient domain, or the policy domain of a PolicyEvent.
	Domain string
	// MTASTS is set in a PolicyEvent.
	MTASTS *mtasts.Event
	// Plan is the new plan, and nil in a PolicyEvent.
	Plan *Plan
	// Since is set in HostsRefused.
	Since time.Time
}

// notifier passes events on to the operator.
type notifier struct {
	logger  *slog.Logger
	onEvent func(Event)                  // nil for none
	counts  map[EventKind]*atomic.Uint64 // has all kinds but PolicyEvent
}

func newNotifier(config Config) notifier {
	n := notifier{cmp.Or(config.Logger, slog.New(slog.DiscardHandler)), config.OnEvent, map[EventKind]*atomic.Uint64{}}
	for _, kind := range []EventKind{DANEAppeared, DANEWeakened, DANEDisappeared, HostsRefused, HostsPermitted} {
		n.counts[kind] = new(atomic.Uint64)
	}
	return n
}

// numbers returns how many events of each kind there were, except for PolicyEvent.
func (n notifier) numbers() map[EventKind]uint64 {
	numbers := make(map[EventKind]uint64, len(n.counts))
	for kind, count := range n.counts {
		numbers[kind] = count.Load()
	}
	return numbers
}

// compare notes in the plan what protects the domain, and tells the operator what has
// changed since old, which may be nil.
func (n notifier) compare(old, plan *Plan) {
	var before protection.State
	if old != nil {
		before = old.protection
	}
	var dane protection.DANE
	for _, h := range plan.Hosts {
		if h.DANE != nil {
			dane = dane.With(h.DANE.State, plan.MXStatus == dnssec.Secure)
		}
	}
	var changes []protection.Change
	plan.protection, changes = before.Now(dane, plan.Err() != nil, plan.made)
	for _, change := range changes {
		n.tell(change, plan)
	}
}

func (n notifier) tell(change protection.Change, plan *Plan) {
	e := Event{Domain: plan.Domain, Plan: plan}
	attrs := []slog.Attr{slog.String("domain", plan.Domain)}
	level, text := slog.LevelInfo, ""
	switch change {
	case protection.Appeared:
		e.Kind, text = DANEAppeared, "DANE applies to the domain now"
	case protection.Weakened:
		e.Kind, level, text = DANEWeakened, slog.LevelWarn, "DANE does less for the domain than before"
	case protection.Disappeared:
		e.Kind, level, text = DANEDisappeared, slog.LevelWarn, "DANE no longer applies to the domain"
	case protection.Refused:
		e.Kind, level, text = HostsRefused, slog.LevelWarn, "all mail hosts of the domain are refused, and its mail waits"
		e.Since = plan.protection.RefusedSince
		attrs = append(attrs, slog.Time("since", e.Since), slog.String("error", plan.Err().Error()))
	case protection.Permitted:
		e.Kind, text = HostsPermitted, "mail may be sent to the domain again"
	}
	n.counts[e.Kind].Add(1)
	n.logger.LogAttrs(context.Background(), level, text, attrs...)
	if n.onEvent != nil {
		n.onEvent(e)
	}
}

// policyEvents returns the function that passes on the events of an MTA-STS client.
func policyEvents(onEvent func(Event)) func(mtasts.Event) {
	if onEvent == nil {
		return nil
	}
	return func(e mtasts.Event) { onEvent(Event{Kind: PolicyEvent, Domain: e.Domain, MTASTS: &e}) }
}
