package web

import (
	"context"
	"strings"

	"github.com/mxseal/mxseal/policy"
)

// maxHosts is how many hosts of a plan are shown.
const maxHosts = 8

// planRow is a plan.
type planRow struct {
	Domain  string
	Options string // of the call
	MX      string // the status of the MX records
	Hosts   []hostRow
	More    int // hosts that are not shown
	Refused bool
	Expires moment
}

// hostRow is a mail host of a plan.
type hostRow struct {
	Name, Level, By, Why string
	Refused              bool
}

func isRefused(h *policy.Host) bool { return h.Level == policy.Refused }

func (s *server) planRow(plan *policy.Plan) planRow {
	row := planRow{
		Domain: line(plan.Domain), Options: line(strings.TrimPrefix(plan.Key(), plan.Domain)), MX: plan.MXStatus.String(),
		More: max(0, len(plan.Hosts)-maxHosts) + plan.Omitted(), Refused: plan.Err() != nil, Expires: s.moment(plan.Expires),
	}
	for _, h := range plan.Hosts[:min(len(plan.Hosts), maxHosts)] {
		host := hostRow{Name: line(h.Name), Level: h.Level.String(), Why: line(h.Why), Refused: isRefused(h)}
		if h.By != 0 {
			host.By = h.By.String()
		}
		if h.Refusal != nil && h.Refusal.Err != nil {
			host.Why += ": " + line(h.Refusal.Err.Error())
		}
		row.Hosts = append(row.Hosts, host)
	}
	return row
}

// plans shows the plans that hold, by domain.
func (s *server) plans(_ context.Context, q query) (string, any) {
	return "plans", look(s.Resolver.Plans(), q, func(plan *policy.Plan) (key, domain string, ok bool) {
		return plan.Key(), plan.Domain, true
	}, s.planRow)
}
