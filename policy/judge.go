package policy

import (
	"errors"
	"fmt"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/tlsrpt"
)

// newHost decides about one host and writes down how.
func (r *Resolver) newHost(q question, route route, exchange exchange, found hostFacts, plan *Plan) *Host {
	facts := facts{
		mx:     route.status,
		tlsa:   found.tlsa,
		mtasts: plan.MTASTS.fact(),
		listed: plan.MTASTS.lists(exchange.name),
	}
	v := decide(facts, q.wishes)
	var failed *dane.LookupError
	if found.err != nil && !errors.As(found.err, &failed) && v.refusal != mxLookupFailed {
		v = refuse(unreachable, 0) // no address, or no host name: no policy stands in the way
	}
	if found.err != nil && v.level != Refused {
		v = refuse(tlsaLookupFailed, 0)
	}
	host := &Host{
		Name:               exchange.name,
		Preference:         exchange.preference,
		Port:               q.hop.port,
		Level:              v.level,
		By:                 v.by,
		RouteAuthenticated: v.routeAuthenticated,
		DANE:               found.dane,
		demands:            v.demands,
		refusal:            v.refusal,
		plan:               plan,
		trust:              r.trust,
	}
	host.Why = host.explain(facts, found.err)
	if found.dane != nil {
		host.Addrs = found.dane.Addrs
	}
	if v.level == Refused {
		host.Refusal = host.refusalError(found.err)
		return host
	}
	if !q.hop.addr.IsValid() {
		host.ServerName = exchange.name
	}
	if v.demands.dane {
		host.addDANE(q, route, exchange)
	}
	return host
}

// addDANE sets what DANE authenticates the host by. With an enforced policy as
// well, the server has to satisfy both by one certificate: RFC 8461 section 7.1
// asks for the MX host name in SNI and RFC 7672 section 8.1 for the TLSA base
// domain, which are the same unless the host is an alias; then DANE decides.
func (h *Host) addDANE(q question, route route, exchange exchange) {
	base := exchange.name
	h.TLSA = q.pin
	if len(q.pin) == 0 {
		base = h.DANE.BaseDomain
		h.TLSA = h.DANE.Usable
	}
	h.ServerName = base
	h.ReferenceNames = dane.ReferenceNames(base, dane.Route{
		Secure:   route.status == dnssec.Secure,
		NextHop:  q.hop.name,
		Expanded: route.expansion,
	})
	if q.wishes.pinned && route.status != dnssec.Secure {
		// A pinned authority vouches for other hosts as well, and anybody could
		// have named one of those.
		h.ReferenceNames = []string{q.hop.name}
	}
}

// explain says in one sentence how the level came about.
func (h *Host) explain(f facts, err error) string {
	switch {
	case h.Level == Refused:
		return refusalText(h.refusal)
	case h.demands.dane && h.By.Has(ByMTASTS):
		return "usable TLSA records and an enforced MTA-STS policy: both must be met"
	case h.demands.dane && !h.RouteAuthenticated:
		return "usable TLSA records, found by an MX record that is not secure: the host is authenticated, the route to it is not"
	case h.demands.dane:
		return "usable TLSA records, found securely"
	case h.By.Has(ByMTASTS):
		return "an enforced MTA-STS policy lists the host"
	case h.demands.webPKI:
		return "no policy found; the sender asks for a certificate of the web PKI"
	case h.Level == Encrypted && f.tlsa == tlsaUnusable:
		return "secure TLSA records, none of them usable: encryption without authentication"
	case h.Level == Encrypted:
		return "no policy found; the sender asks for encryption"
	case h.plan.tlsOptional:
		return "the sender of the mail said that TLS is not required: policies are passed over"
	case h.demands.observe && !f.listed:
		return "an MTA-STS policy in testing mode does not list the host: it would be refused by enforce"
	case h.demands.observe:
		return "an MTA-STS policy in testing mode: a failure is recorded and changes nothing"
	default:
		return "no policy found: TLS if the server offers it"
	}
}

// refusalText says why a host is refused.
func refusalText(why refusal) string {
	switch why {
	case tlsaLookupFailed:
		return "the host's addresses or TLSA records cannot be had; to take that for \"none\" would let anyone on the path switch DANE off"
	case policyNotAsked:
		return "the MTA-STS policy is not known"
	case notInAllowList:
		return "the enforced MTA-STS policy does not list the host"
	case daneMissing:
		return "DANE is mandatory here, and there are no secure MX and usable TLSA records"
	case routeUnauthenticated:
		return "the mail requires TLS throughout, and neither secure MX records nor an MTA-STS policy name the host"
	default:
		return "the host has no address that can be used"
	}
}

// refusalError is Host.Refusal.
func (h *Host) refusalError(err error) *Error {
	failure := tlsrpt.Failure{}
	status, permanent := "4.7.5", false
	switch h.refusal {
	case tlsaLookupFailed:
		failure = tlsrpt.Classify(err)
	case unreachable:
		status = "4.4.4"
	case notInAllowList:
		failure = tlsrpt.Failure{Type: tlsrpt.CertificateHostMismatch, ReasonCode: "mx-not-in-policy"}
	case daneMissing:
		failure = tlsrpt.Failure{Type: tlsrpt.DANERequired}
	case routeUnauthenticated:
		// RFC 8689 section 4.2.1: the sender of the mail is to know.
		// It is not known that the domain names nobody while its policy could
		// not be looked up.
		if h.plan.MTASTS.Err == nil {
			status, permanent = "5.7.10", true
		}
	}
	e := h.failure(failure.Type, failure.ReasonCode, status, h.Why, err)
	e.Permanent = permanent
	return e
}

// lookupFailure is the error for a domain whose MX records cannot be had
// (RFC 7672 section 2.1.2).
func lookupFailure(detail string, err error) *Error {
	failure := tlsrpt.Classify(err)
	return &Error{
		Reason: tlsrpt.DNSSECInvalid, Code: failure.ReasonCode, Status: "4.4.3",
		Detail: fmt.Sprintf("%s, so the mail waits", detail), Err: err,
	}
}
