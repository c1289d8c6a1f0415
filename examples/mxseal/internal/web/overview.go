package web

import (
	"context"
	"slices"

	"github.com/mxseal/mxseal/mtasts"
)

// overviewPage has the numbers, and the latest events.
type overviewPage struct {
	Foreign                bool // a page of another site asks for a domain
	Plans, KiB             int  // plans in memory, and their size
	Enforced, Testing      int
	Refused, Waits         int
	Stalling, Slow, Failed int
	Reporting              bool
	Events                 []eventRow
}

// overviewEvents is how many events the overview shows.
const overviewEvents = 10

// overview is the first page, or that of a domain.
func (s *server) overview(ctx context.Context, q query) (string, any) {
	if q.domain != "" && !q.foreign {
		return s.domain(ctx, q)
	}
	stats := s.Resolver.Stats()
	o := overviewPage{
		Foreign: q.domain != "", Plans: stats.Plans, KiB: stats.PlanOctets >> 10,
		Enforced: stats.MTASTS.Policies[mtasts.Enforce], Testing: stats.MTASTS.Policies[mtasts.Testing], Reporting: s.Reporter != nil,
		Stalling: len(s.Stalled()), Slow: len(s.Slow()),
	}
	for plan := range s.Resolver.Plans() {
		if slices.ContainsFunc(plan.Hosts, isRefused) {
			o.Refused++
		}
	}
	for known := range s.Resolver.Policies() {
		if !known.FailingSince.IsZero() {
			o.Failed++
		}
	}
	for range s.Waits.Latest() {
		o.Waits++
	}
	for event := range s.Events.Latest() {
		if len(o.Events) < overviewEvents {
			o.Events = append(o.Events, s.eventRow(event))
		}
	}
	return "overview", o
}
