package policy

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/lack"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/hop"
	"github.com/mxseal/mxseal/policy/internal/survey"
	"github.com/mxseal/mxseal/policy/internal/wording"
)

// errFamily means that the host has addresses only of the family that the call leaves
// out. Its text goes on with one of them.
var errFamily = errors.New("no address of the family that the call uses, only")

// errNoStatus means that a dnssec.Resolver returned no answer, or one that is neither
// secure nor insecure.
var errNoStatus = errors.New("the resolver gave no answer with a DNSSEC status")

// knowledge is where the facts for a plan come from; see package source. An error means
// that a fact is not known, except for mtasts.ErrNoPolicy and mtasts.ErrDomain, which mean
// that there is no policy.
type knowledge interface {
	MX(ctx context.Context, domain string) (*dnssec.Answer, error)
	Survey(ctx context.Context, hosts []survey.Host, meanwhile func()) []survey.Facts
	LookAhead(ctx context.Context, domain string) (stop func())
	Policy(ctx context.Context, domain string) (mtasts.Result, error)
	Remembered(ctx context.Context, domain string) (*mtasts.Policy, error)
}

// makePlan gathers the facts and decides about each host.
func (r *Resolver) makePlan(ctx context.Context, from knowledge, q question) (*Plan, *Error) {
	route, failure := r.findRoute(ctx, from, q)
	if failure != nil {
		failure.Floor = Level(q.wishes.Least())
		return nil, failure
	}
	plan := &Plan{
		Domain:     q.domain,
		NextHop:    q.hop.String(),
		MXStatus:   route.Status,
		ImplicitMX: route.Implicit,
		RequireTLS: q.requireTLS,
		Bounce:     q.bounce,
		Login:      q.login,
		Expires:    route.Expires,
		made:       r.now().Round(0),
		asked:      q.request,
		literal:    q.hop.Addr.IsValid(),
		expansion:  route.Expansion,
		omitted:    route.Omitted,
	}
	if q.hop.Configured {
		plan.Via = q.hop.Text()
	}
	found := r.gather(ctx, from, q, route, plan)
	plan.Hosts = make([]*Host, 0, len(route.Exchanges))
	for i, exchange := range route.Exchanges {
		plan.Hosts = append(plan.Hosts, r.newHost(q, route, exchange, found[i], plan))
	}
	if status, denied := survey.Denied(route, found); denied {
		for i, host := range plan.Hosts {
			host.refuseFor(r.conclude(ctx, from, q, status, host.failure(wording.NoAddress(), found[i].Err), &plan.MTASTS))
		}
	}
	plan.setExpiry(found, r.now())
	return plan, nil
}

// findRoute looks up the MX records of the next hop, unless it is a host.
func (r *Resolver) findRoute(ctx context.Context, from knowledge, q question) (hop.Route, *Error) {
	if q.hop.Direct {
		return hop.DirectRoute(q.hop, r.now().Add(maxPlanAge)), nil
	}
	answer, err := from.MX(ctx, q.hop.Name)
	if err == nil && (answer == nil || answer.Status != dnssec.Secure && answer.Status != dnssec.Insecure) {
		err = errNoStatus
	}
	if err != nil {
		return hop.Route{}, mxLookup(q, err)
	}
	route, problem := hop.NewRoute(q.hop, answer, r.self)
	if problem != hop.NoProblem {
		return hop.Route{}, r.conclude(ctx, from, q, answer.Status, unroutable(problem), new(MTASTS))
	}
	return route, nil
}

// conclude returns the error for a next hop to which no mail can go, according to
// DNS answers of which the weakest has the given status. failure is permanent. It
// becomes temporary for a next hop that the operator configured, and if the answer
// may be forged: it is not secure, and DANE is mandatory (RFC 7672 section 2.2.1), also by
// a pin, or an enforced MTA-STS policy names mail hosts (RFC 8461 section 5.1). While the store cannot be read, there may be such a policy. known is the policy; if it
// was not looked up yet, it is now, so that one that the domain has replaced does not count.
func (r *Resolver) conclude(ctx context.Context, from knowledge, q question, status dnssec.Status, failure *Error, known *MTASTS) *Error {
	switch {
	case q.hop.Configured:
		return failure.atNextHop(q.hop)
	case status == dnssec.Secure:
		return failure
	case q.wishes.RequireDANE || q.wishes.Pinned:
		return failure.unproven(ByOperator|ByDANE, nil)
	case q.noMTASTS:
		return failure
	}
	if !known.Asked && known.Err == nil {
		*known = askMTASTS(ctx, from, q)
	}
	if known.fact() == decision.MTASTSEnforce || !known.Asked {
		return failure.unproven(ByMTASTS, known.Err)
	}
	// Another relay may have stored a policy after this one has looked.
	policy, err := from.Remembered(ctx, q.hop.Name)
	isUnknown := err != nil && !errors.Is(err, mtasts.ErrNoPolicy) && !errors.Is(err, mtasts.ErrDomain)
	if isUnknown || policy != nil && policy.Mode == mtasts.Enforce {
		return failure.unproven(ByMTASTS, err)
	}
	return failure
}

// gather looks up every host, and the MTA-STS policy unless DANE alone decides
// for all of them. If the policy is needed in any case, the lookups are
// concurrent. Otherwise only its TXT record is queried early, and nothing in it is
// used where DANE decides.
func (r *Resolver) gather(ctx context.Context, from knowledge, q question, route hop.Route, plan *Plan) []survey.Facts {
	certain := route.Status != dnssec.Secure || q.noDANE || q.wishes.RequireBoth
	if !certain && !q.noMTASTS {
		defer from.LookAhead(ctx, q.hop.Name)()
	}
	found := r.askHosts(ctx, from, q, route, func() {
		if certain {
			plan.MTASTS = askMTASTS(ctx, from, q)
		}
	})
	undecided := func(f survey.Facts) bool { return f.TLSA != decision.TLSAUsable && f.TLSA != decision.TLSAFailed }
	if !certain && slices.ContainsFunc(found, undecided) {
		plan.MTASTS = askMTASTS(ctx, from, q)
	}
	return found
}

// askMTASTS returns the policy of the next hop as configured, never that of a name
// that it is an alias of (RFC 8461 sections 1.1 and 3.4).
func askMTASTS(ctx context.Context, from knowledge, q question) MTASTS {
	if q.noMTASTS {
		return MTASTS{Asked: true, off: true}
	}
	result, err := from.Policy(ctx, q.hop.Name)
	switch {
	case errors.Is(err, mtasts.ErrDomain):
		return MTASTS{Asked: true, off: true} // the name is too long for a policy host
	case err != nil:
		return MTASTS{Err: err, domain: q.hop.Name}
	}
	return newMTASTS(result)
}

// askHosts looks up the addresses and TLSA records of all hosts, and calls meanwhile
// while the lookups run.
func (r *Resolver) askHosts(ctx context.Context, from knowledge, q question, route hop.Route, meanwhile func()) []survey.Facts {
	hosts := make([]survey.Host, len(route.Exchanges))
	for i, exchange := range route.Exchanges {
		override := r.overrides.hosts[exchange.Name]
		off := q.noDANE || q.wishes.Pinned || override.NoDANE || len(override.Pin) > 0
		hosts[i] = survey.Host{
			Name: exchange.Name, Malformed: exchange.Malformed, Port: q.hop.Port, Addr: q.hop.Addr, Pinned: q.wishes.Pinned,
			NoTLSA: off || r.mxSecure && route.Status != dnssec.Secure,
		}
	}
	found := from.Survey(ctx, hosts, meanwhile)
	for i := range found {
		if !q.hop.Exempt() {
			found[i].LeaveOut(r.trust.permits, ErrSpecialAddress)
		}
		if q.family != hop.AnyFamily {
			found[i].LeaveOut(q.family.Has, errFamily)
		}
	}
	return found
}

// setExpiry lets the plan expire with the first of the facts that it was made from.
func (p *Plan) setExpiry(found []survey.Facts, now time.Time) {
	end := func(at time.Time) {
		if at.Before(p.Expires) {
			p.Expires = at
		}
	}
	end(now.Add(maxPlanAge))
	for i, facts := range found {
		if facts.Found != nil && !facts.Found.Expires.IsZero() {
			end(facts.Found.Expires)
		}
		if facts.Err != nil || p.Hosts[i].Level == Refused {
			end(now.Add(failedPlanAge))
		}
		if lack.Of(facts.Err) {
			end(now.Add(unreadPlanAge)) // this host was the reason, and may have room at once
		}
	}
	if p.MTASTS.Asked && !p.MTASTS.off {
		end(p.MTASTS.recheck)
	}
	switch err := p.MTASTS.Err; {
	case errors.Is(err, mtasts.ErrStoreUnread):
		end(now.Add(unreadPlanAge))
	case err != nil:
		end(now.Add(failedPlanAge))
	}
}

// newHost decides about one host.
func (r *Resolver) newHost(q question, route hop.Route, exchange hop.Exchange, found survey.Facts, plan *Plan) *Host {
	facts := decision.Facts{
		MX:     route.Status,
		TLSA:   found.TLSA,
		MTASTS: plan.MTASTS.fact(),
		Listed: plan.MTASTS.Policy != nil && plan.MTASTS.Policy.MatchMX(exchange.Name),
	}
	override := r.overrides.hosts[exchange.Name]
	wishes := q.wishes
	if !q.report {
		wishes.Floor = max(wishes.Floor, decision.Level(override.Floor))
	}
	wishes.HostPinned = len(override.Pin) > 0
	v := decision.Decide(facts, wishes)
	switch {
	case found.Err == nil || v.Refusal == decision.MXLookupFailed:
	case errors.Is(found.Err, ErrSpecialAddress):
		v = decision.Verdict{Refusal: decision.SpecialAddress}
	case !errors.Is(found.Err, dane.ErrLookupFailed):
		v = decision.Verdict{Refusal: decision.Unreachable} // no address or no host name: no policy refuses it
	case v.Level != decision.Refused:
		v = decision.Verdict{Refusal: decision.TLSALookupFailed}
	}
	host := &Host{
		Name:               exchange.Name,
		Preference:         exchange.Preference,
		Port:               q.hop.Port,
		Level:              Level(v.Level),
		By:                 Mechanism(v.By),
		Floor:              Level(wishes.Least()),
		RouteAuthenticated: v.RouteAuthenticated,
		demands:            v.Demands,
		refusal:            v.Refusal,
		override:           override,
		exempt:             q.hop.Exempt(),
		plan:               plan,
		trust:              r.trust,
	}
	if host.found = found.Found; host.found != nil {
		host.DANE = host.found.Discovery
	}
	host.Addrs = found.InTurn()
	if v.Level == decision.Refused {
		says := wording.OfRefusal(v.Refusal, found.Err, plan.MTASTS.Err == nil)
		if v.Refusal == decision.SpecialAddress && plan.literal {
			says = wording.BadLiteral()
		}
		host.refuseFor(host.failure(says, cmp.Or(found.Err, plan.MTASTS.unasked())))
		return host
	}
	host.Why = v.Why(facts, wishes, host.absence(q))
	if !q.hop.Addr.IsValid() {
		host.ServerName = exchange.Name
	}
	if v.Demands.DANE {
		host.addDANE(q, route, exchange)
	}
	return host
}

// absence says why no policy demands anything of a host, if none does.
func (h *Host) absence(q question) decision.Absence {
	a := decision.Absence{Literal: h.plan.literal}
	switch {
	case q.noDANE || h.override.NoDANE:
		a.DANE = decision.DANEOff
	case h.DANE.State == dane.NotApplicable:
		a.DANE = decision.NotSigned
	case h.DANE.State == dane.Unknown:
		a.DANE = decision.DANEOffForMX
	}
	switch m := &h.plan.MTASTS; {
	case m.off:
		a.MTASTS = decision.MTASTSOff
	case m.Policy != nil:
		a.MTASTS = decision.ModeNone
	case m.Err != nil:
		a.MTASTS = decision.PolicyNotFound
	}
	return a
}

// refuseFor sets why a host is refused.
func (h *Host) refuseFor(why *Error) {
	h.Refusal, h.By, h.Why = why, why.By, why.Detail
}

// addDANE sets what DANE authenticates the host by. If an enforced policy applies
// as well, one certificate has to satisfy both. RFC 8461 section 7.1 asks for the
// MX host name in SNI and RFC 7672 section 8.1 for the TLSA base domain. They
// differ only if the host is an alias; then DANE decides.
func (h *Host) addDANE(q question, route hop.Route, exchange hop.Exchange) {
	base := exchange.Name
	switch {
	case q.wishes.Pinned:
		h.TLSA = q.pin
	case len(h.override.Pin) > 0:
		h.TLSA = h.override.Pin
	default:
		base = h.DANE.BaseDomain
		h.TLSA = h.DANE.Usable
	}
	h.ServerName = base
	h.ReferenceNames = dane.ReferenceNames(base, dane.Route{
		Secure:   route.Status == dnssec.Secure,
		NextHop:  q.hop.Name,
		Expanded: route.Expansion,
	})
	// A pinned authority certifies other hosts as well, and a forged MX record may
	// name one of those.
	switch {
	case q.wishes.Pinned && route.Status != dnssec.Secure:
		h.ReferenceNames = []string{q.hop.Name}
	case !q.wishes.Pinned && len(h.override.Pin) > 0:
		h.ReferenceNames = []string{exchange.Name}
	}
}
