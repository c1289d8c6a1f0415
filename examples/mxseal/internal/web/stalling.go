package web

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// stallingPage shows what did not answer in time.
type stallingPage struct {
	Hosts    window[stallRow]
	Slow     window[slowRow]
	Policies window[policyRow]
}

// stallRow is a domain with mail hosts that stall.
type stallRow struct {
	Domain string
	Hosts  []hostStall
}

// hostStall is an address of a mail host.
type hostStall struct {
	Name  string
	Addr  netip.Addr
	Until moment
}

// slowRow is a domain whose policy was not there in time.
type slowRow struct {
	Domain string
	Until  moment
}

func (s *server) stalling(_ context.Context, q query) (string, any) {
	until := s.Stalled()
	stalls := func(h *policy.Host) (all []hostStall) {
		for _, addr := range h.Addrs {
			if end, found := until[addr]; found {
				all = append(all, hostStall{line(h.Name), addr, s.moment(end)})
			}
		}
		return all
	}
	p := stallingPage{Hosts: look(s.Resolver.Plans(), q, func(plan *policy.Plan) (key, domain string, ok bool) {
		return plan.Key(), plan.Domain, len(until) > 0 && slices.ContainsFunc(plan.Hosts, func(h *policy.Host) bool { return stalls(h) != nil })
	}, func(plan *policy.Plan) stallRow {
		row := stallRow{Domain: line(plan.Domain)}
		for _, h := range plan.Hosts {
			row.Hosts = append(row.Hosts, stalls(h)...)
		}
		return row
	})}
	slow := s.Slow()
	p.Slow = look(maps.Keys(slow), q, func(domain string) (string, string, bool) { return domain, domain, true }, func(domain string) slowRow {
		return slowRow{line(domain), s.moment(slow[domain])}
	})
	p.Policies = look(s.Resolver.Policies(), q, func(known mtasts.Known) (key, domain string, ok bool) {
		return known.Domain, known.Domain, !known.FailingSince.IsZero()
	}, s.policyRow)
	return "stalling", p
}
