package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// hostsAtOnce bounds the hosts of one plan that are looked up side by side.
const hostsAtOnce = 8

// errNotAHost is for an MX record whose exchange is an address or no name at
// all. No connection is made to it (RFC 5321 section 5.1, RFC 7672 section
// 2.2).
var errNotAHost = errors.New("the MX record names no host")

// errNoStatus is for an answer of a dnssec.Resolver that claims neither to be
// secure nor insecure.
var errNoStatus = errors.New("the resolver gave no DNSSEC status")

// question is one request with the operator's wishes for its domain.
type question struct {
	request
	hop    nextHop
	wishes wishes
	pin    []dane.Record
	// What is not asked: by the operator's choice, or because nothing that is
	// found would be heeded.
	noDANE, noMTASTS bool
}

// question adds the operator's wishes to a request.
func (r *Resolver) question(asked request) (question, *Error) {
	q := question{
		request:  asked,
		wishes:   r.general,
		noDANE:   r.noDANE,
		noMTASTS: r.noMTASTS,
	}
	q.wishes.requireTLS = asked.requireTLS
	q.wishes.tlsOptional = asked.tlsOptional
	if isLiteral(asked.domain) {
		addr, err := parseLiteral(asked.domain[1 : len(asked.domain)-1])
		if err != nil {
			return question{}, &Error{Permanent: true, Status: "5.1.2", Err: fmt.Errorf("%w: a bad address literal: %w", ErrNotADomain, err)}
		}
		q.hop = nextHop{addr: addr, port: r.port, direct: true}
	} else {
		q.hop = nextHop{name: asked.domain, port: r.port}
	}
	if wish, found := r.overrides[asked.domain]; found {
		q.wishes.floor = max(q.wishes.floor, wish.Floor)
		q.wishes.requireDANE = q.wishes.requireDANE || wish.RequireDANE
		q.noDANE = q.noDANE || wish.NoDANE
		q.noMTASTS = q.noMTASTS || wish.NoMTASTS
		q.pin = wish.Pin
		q.wishes.pinned = len(wish.Pin) > 0
		if wish.hop != nil {
			q.hop = *wish.hop
		}
	}
	// Neither standard applies to an address (RFC 7672 section 2.2, RFC 8461
	// section 3.4), nor to mail that passes over both (RFC 8689 section 3).
	if q.hop.addr.IsValid() || asked.tlsOptional && !asked.requireTLS {
		q.noDANE, q.noMTASTS = true, true
	}
	return q, nil
}

// isLiteral reports whether a domain is an address literal.
func isLiteral(domain string) bool {
	return len(domain) > 2 && domain[0] == '[' && domain[len(domain)-1] == ']'
}

// makePlan gathers the facts and decides, host by host.
func (r *Resolver) makePlan(ctx context.Context, asked request) (*Plan, *Error) {
	q, failure := r.question(asked)
	if failure != nil {
		return nil, failure
	}
	route, failure := r.findRoute(ctx, q)
	if failure != nil {
		return nil, failure
	}
	plan := &Plan{
		Domain:      asked.domain,
		NextHop:     q.hop.String(),
		MXStatus:    route.status,
		ImplicitMX:  route.implicit,
		RequireTLS:  asked.requireTLS,
		Expires:     route.expires,
		made:        r.now().Round(0),
		asked:       asked,
		tlsOptional: asked.tlsOptional && !asked.requireTLS,
		literal:     q.hop.addr.IsValid(),
		omitted:     route.omitted,
	}
	found := r.gather(ctx, q, route, plan)
	for i, exchange := range route.exchanges {
		plan.Hosts = append(plan.Hosts, r.newHost(q, route, exchange, found[i], plan))
	}
	r.setExpiry(plan, found)
	return plan, nil
}

// gather looks up every host, and the MTA-STS policy unless DANE alone decides
// for all of them. Where it is certain that the policy is needed, both go on
// at once.
func (r *Resolver) gather(ctx context.Context, q question, route route, plan *Plan) []hostFacts {
	var policy sync.WaitGroup
	certain := route.status != dnssec.Secure || q.noDANE || q.wishes.requireBoth
	if certain {
		policy.Go(func() { plan.MTASTS = r.askMTASTS(ctx, q) })
	}
	found := r.askHosts(ctx, q, route)
	policy.Wait()
	if !certain {
		for i := range found {
			if found[i].tlsa != tlsaUsable && found[i].tlsa != tlsaFailed {
				plan.MTASTS = r.askMTASTS(ctx, q)
				break
			}
		}
	}
	return found
}

// askMTASTS returns the policy of the next hop as configured, never of a name
// that it is an alias for (RFC 8461 sections 1.1 and 3.4).
func (r *Resolver) askMTASTS(ctx context.Context, q question) MTASTS {
	if q.noMTASTS {
		return MTASTS{Asked: true, off: true}
	}
	result, err := r.mtasts.Lookup(ctx, q.hop.name)
	switch {
	case errors.Is(err, mtasts.ErrDomain):
		return MTASTS{Asked: true, off: true} // a name that can have no policy host
	case err != nil:
		return MTASTS{Err: err}
	}
	return newMTASTS(result)
}

// askHosts looks up the addresses and TLSA records of all hosts.
func (r *Resolver) askHosts(ctx context.Context, q question, route route) []hostFacts {
	found := make([]hostFacts, len(route.exchanges))
	places := make(chan struct{}, hostsAtOnce)
	var hosts sync.WaitGroup
	for i, exchange := range route.exchanges {
		places <- struct{}{}
		hosts.Go(func() {
			found[i] = r.askHost(ctx, q, route, exchange)
			<-places
		})
	}
	hosts.Wait()
	return found
}

// hostFacts are what was found out about one host.
type hostFacts struct {
	dane *dane.Host
	tlsa tlsaFact
	err  error // why there are no addresses, or no TLSA answer
}

func (r *Resolver) askHost(ctx context.Context, q question, route route, host exchange) hostFacts {
	pinned := tlsaNone
	if q.wishes.pinned {
		pinned = tlsaUsable
	}
	if q.hop.addr.IsValid() {
		return hostFacts{tlsa: pinned, dane: &dane.Host{Name: host.name, Addrs: []netip.Addr{q.hop.addr}}}
	}
	if host.malformed {
		return hostFacts{err: errNotAHost}
	}
	noTLSA := q.noDANE || q.wishes.pinned || r.mxSecure && route.status != dnssec.Secure
	if noTLSA {
		addresses, err := dane.Addresses(ctx, r.dns, host.name)
		if err != nil {
			return hostFacts{err: err}
		}
		return hostFacts{dane: addresses, tlsa: pinned}
	}
	discovered, err := dane.Discover(ctx, r.dns, host.name, q.hop.port)
	facts := hostFacts{dane: discovered, err: err}
	switch {
	case err != nil:
		facts.tlsa = tlsaFailed
	case len(discovered.Usable) > 0:
		facts.tlsa = tlsaUsable
	case len(discovered.Records) > 0:
		facts.tlsa = tlsaUnusable
	default:
		facts.tlsa = tlsaNone
	}
	return facts
}

// setExpiry ends the plan with the first thing that it was made of.
func (r *Resolver) setExpiry(plan *Plan, found []hostFacts) {
	now := r.now()
	end := func(at time.Time) {
		if at.Before(plan.Expires) {
			plan.Expires = at
		}
	}
	end(now.Add(maxPlanAge))
	for i, facts := range found {
		if facts.dane != nil && !facts.dane.Expires.IsZero() {
			end(facts.dane.Expires)
		}
		if facts.err != nil || plan.Hosts[i].Level == Refused {
			end(now.Add(failedPlanAge))
		}
	}
	if plan.MTASTS.Asked && !plan.MTASTS.off {
		end(plan.MTASTS.recheck)
	}
	if plan.MTASTS.Err != nil {
		end(now.Add(failedPlanAge))
	}
}
