package advise

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// Advice is what the owner of a domain should know and do.
type Advice struct {
	Domain string `json:"domain"`
	// DNSSEC is the situation of the zone, and Hosting that of the mail hosts.
	DNSSEC  Zone    `json:"dnssec"`
	Hosting Hosting `json:"hosting"`
	// Has says what the domain has.
	Has []Property `json:"has,omitempty"`
	// Breaks says which mail would not arrive if the domain enforced MTA-STS today for all
	// its mail hosts, and Safe when it is safe to enforce.
	Breaks []string `json:"breaks,omitempty"`
	Safe   string   `json:"safe,omitempty"`
	// Steps are the steps that are left, the next one first.
	Steps []Step `json:"steps"`
	// Reason is why there are no steps for a domain that gets no mail.
	Reason string `json:"reason,omitempty"`

	found *survey.Result
	time  time.Time
}

// Property is something that a domain can have.
type Property struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// Zone is the situation of a domain's zone.
type Zone string

const (
	ZoneSigned      Zone = "signed"        // DNSSEC is in place
	ZoneUnsigned    Zone = "unsigned"      // the zone above is signed, so DNSSEC is possible
	ZoneUnavailable Zone = "not available" // the zone above is not signed
	ZoneUnknown     Zone = "unknown"       // the lookup failed
)

// Hosting is who runs the mail hosts of a domain.
type Hosting string

const (
	OwnHosts         Hosting = "own servers"
	ProviderWithDANE Hosting = "a provider that has DANE"
	ProviderLacks    Hosting = "a provider that lacks DANE"
	NoHosts          Hosting = "no mail host"
)

// zoneAbove returns the status of the zone in which the domain is registered.
func zoneAbove(ctx context.Context, dns dnssec.Resolver, found *survey.Result) dnssec.Status {
	_, suffix, below := strings.Cut(names.Registrable(found.Name()), ".")
	if found.Plan == nil || !below {
		return dnssec.Indeterminate
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	answer, err := dns.Lookup(ctx, suffix+".", dnssec.TypeNS)
	if err != nil {
		return dnssec.Indeterminate
	}
	return answer.Status
}

// about returns the advice for a domain.
func about(found *survey.Result, above dnssec.Status) *Advice {
	a := &Advice{Domain: found.Name(), Steps: []Step{}, found: found, time: found.Time, DNSSEC: ZoneUnknown, Hosting: NoHosts}
	if found.Plan == nil {
		a.withoutPlan()
		return a
	}
	if found.MTASTS == nil {
		a.Reason = "an address literal has no policies"
		return a
	}
	a.DNSSEC = zone(found.Plan.MXStatus, above)
	a.Hosting = hosting(found.Plan)
	a.Has = properties(found)
	a.Breaks = breaks(found)
	a.Safe = a.safe()
	a.Steps = a.steps()
	return a
}

// withoutPlan advises on a domain to which no mail can be sent.
func (a *Advice) withoutPlan() {
	err := a.found.Error
	a.Reason = strings.TrimPrefix(err.Error(), "policy: "+a.Domain+": ")
	switch {
	case errors.Is(err, policy.ErrNullMX):
		a.Reason = "the domain says that it takes no mail (null MX), so there is nothing to protect"
	case errors.Is(err, policy.ErrNoDomain), errors.Is(err, policy.ErrDomain):
	case !err.Permanent:
		a.Steps = []Step{repairDNS(a.Reason)}
	}
}

func zone(mx, above dnssec.Status) Zone {
	switch {
	case mx == dnssec.Secure:
		return ZoneSigned
	case above == dnssec.Secure:
		return ZoneUnsigned
	case above == dnssec.Insecure:
		return ZoneUnavailable
	default:
		return ZoneUnknown
	}
}

// hosting says who runs the mail hosts. If only some are the domain's own, the others
// count.
func hosting(plan *policy.Plan) Hosting {
	kind := OwnHosts
	for _, host := range plan.Hosts {
		switch {
		case own(plan, host):
		case hasDANE(host) && kind != ProviderLacks:
			kind = ProviderWithDANE
		default:
			kind = ProviderLacks
		}
	}
	return kind
}

// own reports whether the owner of the domain has registered the name of the host.
func own(plan *policy.Plan, host *policy.Host) bool {
	return names.Registrable(plan.NextHop) == names.Registrable(host.Name)
}

func hasDANE(host *policy.Host) bool { return host.DANE != nil && host.DANE.State == dane.Usable }

// properties says what the domain has, for all its hosts.
func properties(found *survey.Result) []Property {
	plan := found.Plan
	return []Property{
		{"DNSSEC", plan.MXStatus == dnssec.Secure, "the MX records are " + plan.MXStatus.String()},
		propertyOfDANE(plan),
		propertyOfMTASTS(found.Plan.NextHop, found.MTASTS),
		propertyOfReports(found.Reports),
		propertyOfCertificates(found),
	}
}

func propertyOfDANE(plan *policy.Plan) Property {
	var with, without []string
	for _, host := range plan.Hosts {
		if hasDANE(host) {
			with = append(with, host.Name)
		} else {
			without = append(without, host.Name)
		}
	}
	p := Property{Name: "DANE"}
	switch {
	case len(with) == 0:
		p.Text = "no mail host has usable TLSA records"
	case len(without) > 0:
		p.Text = "without usable TLSA records: " + strings.Join(without, " ")
	case plan.MXStatus != dnssec.Secure:
		p.Text = "all mail hosts have usable TLSA records, but an attacker can forge the MX records, which are not signed"
	default:
		p.OK, p.Text = true, "all mail hosts have usable TLSA records"
	}
	return p
}

func propertyOfMTASTS(domain string, found *policy.MTASTS) Property {
	p := Property{Name: "MTA-STS", Text: "no policy"}
	switch {
	case found.Policy == nil && found.Err != nil:
		p.Text = "the policy cannot be used: " + strings.TrimPrefix(found.Err.Error(), "mtasts: "+domain+": ")
	case found.Policy != nil:
		p.OK = found.Policy.Mode == mtasts.Enforce
		p.Text = fmt.Sprintf("mode %s, for %s", found.Policy.Mode, days(found.Policy.MaxAge))
	}
	return p
}

func propertyOfReports(found *survey.Reports) Property {
	p := Property{Name: "TLS reports", OK: len(found.To) > 0, Text: "nobody gets them"}
	switch {
	case p.OK:
		p.Text = "they go to " + strings.Join(found.To, ", ")
	case !found.Missing:
		p.Text = "the record cannot be used: " + strings.TrimPrefix(found.Error, "tlsrpt: ")
	}
	return p
}

func propertyOfCertificates(found *survey.Result) Property {
	p := Property{Name: "certificates", Text: "no mail host showed one"}
	for _, s := range found.Sessions {
		switch {
		case s.TLS == "":
		case s.WebPKI != "":
			return Property{Name: p.Name, Text: fmt.Sprintf("%s at %s: %s", s.Host, s.Addr, s.WebPKI)}
		default:
			p.OK, p.Text = true, "valid for the names of the mail hosts"
		}
	}
	return p
}

// problem says why a session does not meet an enforced policy.
func problem(s *survey.Session) string {
	if s.TLS == "" {
		return s.Error
	}
	return s.WebPKI
}

// days returns a duration in days, or in hours if it is shorter.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
