package policy

import (
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/tally"
	"github.com/mxseal/mxseal/mtasts"
)

// Stats are numbers for metrics and for a status page. Counts begin with New and never
// decrease. A Stats is a copy. Its numbers are read one after the other, so what happens
// meanwhile may be in some and not in others.
type Stats struct {
	// Cached counts the calls of Resolve that were answered from memory. All others are
	// counted by their outcome, with the time that they took.
	Cached uint64
	// OK are calls that returned a plan with a host to which mail may be sent.
	OK dnssec.Latencies
	// Refused are calls that returned a plan in which all hosts are refused.
	Refused dnssec.Latencies
	// Temporary and Permanent are calls that returned an error of that kind. Calls whose
	// domain or options are not valid are not counted, and neither are those whose caller
	// stopped waiting.
	Temporary, Permanent dnssec.Latencies
	// Hosts counts the hosts of the plans that were made. It has all levels, each with all
	// sets of mechanisms.
	Hosts []HostCount
	// Plans are the plans in memory, with those that have expired but not been removed yet,
	// and PlanOctets what they take, at most ten sixteenths of Config.Memory.
	Plans, PlanOctets int
	// Events counts the events of each kind. It has all kinds, and counts PolicyEvents also
	// by MTASTS.Events.
	Events map[EventKind]uint64
	// MTASTS and DNS are those of the MTA-STS client and of the resolver. DNS is the zero
	// value for a Config.DNS without a method Stats.
	MTASTS mtasts.Stats
	DNS    dnssec.Stats
}

// HostCount counts hosts of plans that have the same level for the same reason.
type HostCount struct {
	Level Level
	By    Mechanism
	Count uint64
}

const (
	levels     = Authenticated + 1
	mechanisms = (ByDANE | ByMTASTS | ByOperator) + 1 // sets of them
)

// counts is what Stats counts itself.
type counts struct {
	stale                             atomic.Uint64 // plans in memory that did not hold
	ok, refused, temporary, permanent tally.Histogram
	hosts                             [levels][mechanisms]atomic.Uint64
}

// ended counts a call of Resolve that was not answered from memory, and the time since
// it began.
func (c *counts) ended(began time.Time, plan *Plan, err error) {
	histogram := &c.ok
	switch {
	case err != nil:
		histogram = &c.temporary
		var failure *Error
		if errors.As(err, &failure) && failure.Permanent {
			histogram = &c.permanent
		}
	case plan.Err() != nil:
		histogram = &c.refused
	}
	histogram.Add(time.Since(began))
}

// made counts the hosts of a new plan.
func (c *counts) made(plan *Plan) {
	for _, h := range plan.Hosts {
		c.hosts[h.Level][h.By%mechanisms].Add(1)
	}
}

// Stats returns what the Resolver did so far, and what it holds now. It reads all policies
// in memory, which takes some milliseconds for a hundred thousand.
func (r *Resolver) Stats() Stats {
	s := Stats{
		Cached:     r.plans.Hits() - r.counts.stale.Load(),
		OK:         dnssec.Latencies(r.counts.ok.Read()),
		Refused:    dnssec.Latencies(r.counts.refused.Read()),
		Temporary:  dnssec.Latencies(r.counts.temporary.Read()),
		Permanent:  dnssec.Latencies(r.counts.permanent.Read()),
		Plans:      r.plans.Len(),
		PlanOctets: r.plans.Bytes(),
		Events:     r.events.numbers(),
		MTASTS:     r.mtasts.Stats(),
	}
	for level := range levels {
		for by := range mechanisms {
			s.Hosts = append(s.Hosts, HostCount{level, by, r.counts.hosts[level][by].Load()})
		}
	}
	for _, n := range s.MTASTS.Events {
		s.Events[PolicyEvent] += n
	}
	if counting, ok := r.dns.(interface{ Stats() dnssec.Stats }); ok {
		s.DNS = counting.Stats()
	}
	return s
}

// Plans yields the plans in memory that hold, in no order. The Resolver may be used
// meanwhile.
func (r *Resolver) Plans() iter.Seq[*Plan] {
	return func(yield func(*Plan) bool) {
		for plan := range r.plans.Values(r.now()) {
			if r.Holds(plan) && !yield(plan) {
				return
			}
		}
	}
}

// Policies yields the MTA-STS policies in force in memory; see mtasts.Client.Policies.
func (r *Resolver) Policies() iter.Seq[mtasts.Known] { return r.mtasts.Policies() }
