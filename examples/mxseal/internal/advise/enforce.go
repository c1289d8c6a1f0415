package advise

import (
	"fmt"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// trial is how long a policy should be in testing mode: some senders report once a day,
// and some mail comes once a week.
const trial = 14 * 24 * time.Hour

// breaks says which mail would not arrive if an enforced policy listed the mail hosts.
func breaks(found *survey.Result) []string {
	var list []string
	for _, host := range found.Plan.Hosts {
		if host.Level == policy.Refused {
			list = append(list, host.Name+" gets no mail now: "+host.Why)
		}
	}
	for _, s := range found.Sessions {
		switch {
		case s.Untested:
		case !s.Answered:
			list = append(list, fmt.Sprintf("%s at %s gets no mail now: %s", s.Host, s.Addr, s.Error))
		case s.TLS == "" || s.WebPKI != "":
			list = append(list, fmt.Sprintf("%s at %s would get no mail: %s", s.Host, s.Addr, problem(s)))
		case s.TLS == "TLS 1.0" || s.TLS == "TLS 1.1":
			list = append(list, fmt.Sprintf("%s at %s would get no mail: it speaks %s, and 1.2 is the minimum", s.Host, s.Addr, s.TLS))
		}
	}
	if p := found.MTASTS.Policy; p != nil && p.Mode != mtasts.None {
		for _, host := range found.Plan.Hosts {
			if host.Level != policy.Refused && !p.MatchMX(host.Name) {
				list = append(list, host.Name+" would get no mail: the policy does not list it")
			}
		}
	}
	return list
}

// safe says when it is safe to enforce MTA-STS.
func (a *Advice) safe() string {
	found := a.found.MTASTS
	mode := found.Mode()
	switch {
	case mode == mtasts.Enforce && len(a.Breaks) > 0:
		return "the policy is enforced, and mail does not arrive: see above"
	case mode == mtasts.Enforce:
		return "the policy is enforced"
	case len(a.Breaks) > 0:
		return "not now: see above"
	case mode != mtasts.Testing:
		return "not yet: first publish a policy in testing mode, and read the reports of two weeks"
	case len(a.found.Reports.To) == 0:
		return "not yet: nobody gets reports, so nobody knows what would fail"
	}
	since, known := published(found.ID, a.time)
	switch age := a.time.Sub(since); {
	case !known:
		return "when the reports of two weeks in testing mode show no failure"
	case age < trial:
		return fmt.Sprintf("on %s, if the reports until then show no failure; the id of the policy says that it is of %s",
			since.Add(trial).Format(time.DateOnly), since.Format(time.DateOnly))
	default:
		return fmt.Sprintf("now, if the reports show no failure; the id of the policy says that it is of %s", since.Format(time.DateOnly))
	}
}

// published returns the date at the beginning of a policy's id, where many domains have one.
func published(id string, now time.Time) (time.Time, bool) {
	const layout = "20060102"
	if len(id) < len(layout) {
		return time.Time{}, false
	}
	at, err := time.Parse(layout, id[:len(layout)])
	return at, err == nil && !at.After(now) && at.Year() >= 2018 // RFC 8461 is of 2018
}
