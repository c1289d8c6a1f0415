package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/survey"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// chain is a row of links, each of which depends on the one before it.
type chain struct {
	Title string
	Links []link
}

// link is one box of a diagram.
type link struct {
	Name  string
	Lines []string
	State state
}

// state is the state of a link.
type state string

const (
	good    state = "ok"     // proven
	open    state = "open"   // not protected, and not demanded
	failed  state = "failed" // demanded and not met
	unknown state = "not tested"
)

// Mark returns a sign for the state that does not need colors.
func (s state) Mark() string {
	switch s {
	case good:
		return "\u2713"
	case open:
		return "\u25cb"
	case failed:
		return "\u2717"
	default:
		return "?"
	}
}

// chains returns the chains of a domain: for each mail host that of DANE, and that of
// MTA-STS if the domain has a policy.
func chains(r *survey.Result) []chain {
	var list []chain
	if r.MTASTS == nil {
		return nil // an address literal
	}
	for _, host := range r.Plan.Hosts {
		list = append(list, daneChain(r, host))
		if r.MTASTS.Policy != nil && r.MTASTS.Policy.Mode != mtasts.None || r.MTASTS.Err != nil {
			list = append(list, stsChain(r, host))
		}
	}
	return list
}

// daneChain leads from the root to the certificate, by way of the TLSA records.
func daneChain(r *survey.Result, host *policy.Host) chain {
	c := chain{Title: "DANE for " + host.Name}
	c.Links = append(c.Links, zoneLinks(r.Zones)...)
	mx := link{Name: "MX", Lines: []string{host.Name, r.Plan.MXStatus.String()}, State: stateOf(r.Plan.MXStatus)}
	if r.Plan.ImplicitMX {
		mx.Lines = []string{"none", r.Plan.MXStatus.String()}
	}
	c.Links = append(c.Links, mx, addressLink(host), tlsaLink(host))
	return c.with(certificateLink(r, host, "TLSA", func(s *survey.Session) (bool, string) {
		at := slices.IndexFunc(s.Records, func(r survey.Record) bool { return r.Matches })
		if at >= 0 {
			return true, "matches " + short(s.Records[at].Record)
		}
		return false, "no record matches"
	}, len(host.TLSA) > 0))
}

func (c chain) with(l link) chain {
	c.Links = append(c.Links, l)
	return c
}

// zoneLinks returns the zones from the root down to the domain. If there are many, some in
// the middle are left out.
func zoneLinks(zones []survey.Zone) []link {
	const most = 4
	var list []link
	for i, zone := range zones {
		l := link{Name: zone.Name, Lines: []string{"DNS zone", zone.Status.String()}, State: stateOf(zone.Status)}
		switch {
		case i == 0:
			l.Name, l.Lines = "root of DNS", []string{"trust anchor", zone.Status.String()}
		case len(zones) > most && i > 1 && i < len(zones)-2:
			continue
		}
		list = append(list, l)
	}
	return list
}

func stateOf(s dnssec.Status) state {
	switch s {
	case dnssec.Secure:
		return good
	case dnssec.Insecure:
		return open
	default:
		return failed
	}
}

func addressLink(host *policy.Host) link {
	l := link{Name: "A, AAAA", State: failed, Lines: []string{"lookup failed"}}
	if host.DANE == nil {
		return l
	}
	l.State, l.Lines = stateOf(host.DANE.AddrStatus), []string{addresses(host), host.DANE.AddrStatus.String()}
	for _, alias := range host.DANE.Aliases {
		l.Lines = append(l.Lines, "alias of "+strings.TrimSuffix(alias.Target, "."))
	}
	return l
}

// addresses returns the first address of a host, and how many more there are.
func addresses(host *policy.Host) string {
	switch n := len(host.Addrs); n {
	case 0:
		return "none to connect to"
	case 1:
		return host.Addrs[0].String()
	default:
		return fmt.Sprintf("%s, +%d", host.Addrs[0], n-1)
	}
}

func tlsaLink(host *policy.Host) link {
	l := link{Name: "TLSA"}
	switch {
	case host.DANE == nil:
		l.State, l.Lines = failed, []string{"lookup failed"}
	case host.DANE.State == dane.Usable:
		l.State, l.Lines = good, []string{fmt.Sprintf("%d usable of %d", len(host.DANE.Usable), len(host.DANE.Records)), "at " + host.DANE.BaseDomain}
	case host.DANE.State == dane.Unusable:
		l.State, l.Lines = failed, []string{"none usable"}
	default:
		l.State, l.Lines = open, []string{host.DANE.State.String()}
	}
	return l
}

// certificateLink is the certificate of a host, at all its addresses. judge says whether a
// session is authenticated, and demanded whether it has to be.
func certificateLink(r *survey.Result, host *policy.Host, by string, judge func(*survey.Session) (bool, string), demanded bool) link {
	l := link{Name: "certificate", State: unknown, Lines: []string{"not tested"}}
	for _, s := range r.Sessions {
		switch {
		case s.Host != host.Name || s.Untested || l.State == failed:
			continue
		case s.TLS == "":
			l.State, l.Lines = failed, []string{"no TLS", "at " + s.Addr.String()}
		case !demanded:
			l.State, l.Lines = open, []string{s.TLS, "no " + by + " to compare"}
		default:
			met, how := judge(s)
			l.State, l.Lines = good, []string{s.TLS, how}
			if !met {
				l.State, l.Lines = failed, []string{how, "at " + s.Addr.String()}
			}
		}
	}
	return l
}

// stsChain leads from the policy host to the certificate, by way of the mx patterns.
func stsChain(r *survey.Result, host *policy.Host) chain {
	c := chain{Title: "MTA-STS for " + host.Name}
	sts := r.MTASTS
	web := link{Name: "mta-sts." + r.Plan.NextHop, Lines: []string{"policy host", "certificate valid"}, State: good}
	if sts.Policy == nil {
		web.State, web.Lines = failed, []string{"policy host", "no policy from it"}
		return c.with(web)
	}
	mode := link{Name: "policy", Lines: []string{"mode " + string(sts.Policy.Mode), "until " + sts.Expires.UTC().Format("2006-01-02")}, State: good}
	if sts.Policy.Mode != mtasts.Enforce {
		mode.State = open
		mode.Lines = append(mode.Lines, "not enforced")
	}
	pattern := link{Name: "mx pattern", Lines: []string{"does not list", host.Name}, State: failed}
	for _, p := range sts.Policy.MX {
		if (&mtasts.Policy{MX: []string{p}}).MatchMX(host.Name) {
			pattern.Lines, pattern.State = []string{p, "lists the host"}, good
		}
	}
	c.Links = append(c.Links, web, mode, pattern)
	return c.with(certificateLink(r, host, "policy", func(s *survey.Session) (bool, string) {
		if s.WebPKI != "" {
			return false, s.WebPKI
		}
		return true, "valid for the host"
	}, true))
}
