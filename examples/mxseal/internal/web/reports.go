package web

import (
	"context"
	"iter"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

// reportsPage shows the reports that are due.
type reportsPage struct {
	window[reportRow]
	Sending bool
	Error   string // of the store
}

// reportRow is a domain and day with sums.
type reportRow struct {
	Domain string
	Day    report.Day
	Open   bool // the day is not over
}

// reportedDays is how many days before today can be reported.
const reportedDays = 7

func (s *server) reports(ctx context.Context, q query) (string, any) {
	p := reportsPage{Sending: s.Reporter != nil}
	if !p.Sending {
		return "reports", p
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	today := report.DayOf(s.Now())
	all := func(yield func(reportRow) bool) {
		for day := today - reportedDays; day <= today; day++ {
			for domain, err := range s.Store.Domains(ctx, day) {
				if err != nil {
					p.Error = line(err.Error())
					return
				}
				if !yield(reportRow{domain, day, day == today}) {
					return
				}
			}
		}
	}
	p.window = look(iter.Seq[reportRow](all), q, func(r reportRow) (key, domain string, ok bool) {
		return r.Day.String() + r.Domain, r.Domain, true
	}, func(r reportRow) reportRow {
		r.Domain = line(r.Domain)
		return r
	})
	return "reports", p
}
