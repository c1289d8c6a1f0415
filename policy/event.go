package policy

import (
	"context"
	"log/slog"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// EventKind is the kind of an Event.
type EventKind string

const (
	// PolicyEvent: Event.MTASTS says what happened to an MTA-STS policy or to the store.
	PolicyEvent EventKind = "mta-sts"
	// DANEAppeared: DANE applies to a domain to which it did not.
	DANEAppeared EventKind = "dane-appeared"
	// DANEWeakened: DANE does less for a domain than before: its MX records are no longer
	// secure, or a host has only unusable TLSA records.
	DANEWeakened EventKind = "dane-weakened"
	// DANEDisappeared: DANE no longer applies to a host of the domain: it has no secure
	// TLSA records.
	DANEDisappeared EventKind = "dane-disappeared"
)

// Event is a change in what protects the mail of a domain.
type Event struct {
	Kind EventKind
	// Domain is the recipient domain, or the policy domain of a PolicyEvent.
	Domain string
	// MTASTS is set in a PolicyEvent.
	MTASTS *mtasts.Event
	// Plan is the new plan, and nil in a PolicyEvent.
	Plan *Plan
}

// strength is what DANE does for a domain, by its weakest host. The zero value means that
// it is not known.
type strength uint8

const (
	strengthUnknown strength = iota
	strengthNone
	strengthUnusable     // TLS is required
	strengthUsable       // hosts are authenticated
	strengthUsableSecure // and so is the route to them
)

// strengthOf returns what DANE does for the plan. Hosts that could not be looked up do
// not count.
func strengthOf(plan *Plan) strength {
	weakest := strengthUnknown
	for _, h := range plan.Hosts {
		if h.DANE == nil || h.DANE.State == dane.Unknown {
			continue
		}
		s := strengthNone
		switch {
		case h.DANE.State == dane.Unusable:
			s = strengthUnusable
		case h.DANE.State == dane.Usable && plan.MXStatus == dnssec.Secure:
			s = strengthUsableSecure
		case h.DANE.State == dane.Usable:
			s = strengthUsable
		}
		if weakest == strengthUnknown || s < weakest {
			weakest = s
		}
	}
	return weakest
}

// notifier tells the operator of events.
type notifier struct {
	logger  *slog.Logger
	onEvent func(Event) // nil for none
}

// compare notes what DANE does for the plan, and tells the operator if that has changed
// since old, which may be nil. What is not known now counts as before, so that a failed
// lookup in between hides no change.
func (n notifier) compare(old, plan *Plan) {
	plan.strength = strengthOf(plan)
	if old == nil {
		return
	}
	before, now := old.strength, plan.strength
	switch {
	case now == strengthUnknown:
		plan.strength = before
	case before == strengthUnknown || now == before:
	case before == strengthNone:
		n.tell(DANEAppeared, slog.LevelInfo, "DANE applies to the domain now", plan)
	case now == strengthNone:
		n.tell(DANEDisappeared, slog.LevelWarn, "DANE no longer applies to the domain", plan)
	case now < before:
		n.tell(DANEWeakened, slog.LevelWarn, "DANE does less for the domain than before", plan)
	}
}

func (n notifier) tell(kind EventKind, level slog.Level, text string, plan *Plan) {
	n.logger.LogAttrs(context.Background(), level, text, slog.String("domain", plan.Domain))
	if n.onEvent != nil {
		n.onEvent(Event{Kind: kind, Domain: plan.Domain, Plan: plan})
	}
}

// policyEvents returns the function that passes on the events of an MTA-STS client.
func policyEvents(onEvent func(Event)) func(mtasts.Event) {
	if onEvent == nil {
		return nil
	}
	return func(e mtasts.Event) { onEvent(Event{Kind: PolicyEvent, Domain: e.Domain, MTASTS: &e}) }
}
