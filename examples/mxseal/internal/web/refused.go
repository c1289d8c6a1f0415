package web

import (
	"context"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/policy"
)

// refusedPage shows what is refused and why: by the plans, and when mail was to be sent.
type refusedPage struct {
	Plans window[planRow]
	Waits []waitRow
}

// waitRow is a domain for which mail was not sent.
type waitRow struct {
	Domain, Reason string
	Count          int
	First, Last    moment
}

func (s *server) waitRow(w Wait) waitRow {
	return waitRow{w.Domain, w.Reason, w.Count, s.moment(w.First), s.moment(w.Last)}
}

func (s *server) refused(_ context.Context, q query) (string, any) {
	p := refusedPage{Plans: look(s.Resolver.Plans(), q, func(plan *policy.Plan) (key, domain string, ok bool) {
		return plan.Key(), plan.Domain, slices.ContainsFunc(plan.Hosts, isRefused)
	}, s.planRow)}
	for w := range s.Waits.Latest() {
		if len(p.Waits) < pageSize && q.after == "" && strings.Contains(w.Domain, q.contains) {
			p.Waits = append(p.Waits, s.waitRow(w))
		}
	}
	return "refused", p
}
