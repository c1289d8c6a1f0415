package dnssec

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/flight"
)

// ProbeError reports that a DNS server lacks something that a Validator needs.
type ProbeError struct {
	Server string // in the form of Config.Servers
	// Faults describe what is wrong, in sentences for the administrator.
	Faults []string
	// Err is the *Error of the first lookup that failed with this server alone, or
	// nil.
	Err error
}

// Error returns the server and its faults.
func (e *ProbeError) Error() string {
	return fmt.Sprintf("dnssec: DNS server %s: %s", e.Server, strings.Join(e.Faults, "; "))
}

// Unwrap returns Err.
func (e *ProbeError) Unwrap() error { return e.Err }

// Probe checks whether each server returns the records that validation needs. Call
// it when a program starts, or to find out why lookups fail. Each server is asked
// separately, without the cache:
//
//   - for the keys of the zones of the trust anchors, over UDP and TCP;
//   - for the SOA records of these zones, and for a name in each that does not
//     exist;
//   - if a root key of IANA is trusted, for the DS records of a top-level domain
//     that is signed, and of one that is not;
//   - for the SOA records of the names given. With other trust anchors, give a name
//     in a signed zone and one in an unsigned zone;
//   - for names that do not exist below each wildcard given, as in "*.example.org". Give
//     one that has records in a signed zone: some forwarders drop the proofs that come
//     with records of wildcards, and nothing else shows it.
//
// The error wraps a *[ProbeError] for each server that fails. It is nil if none does.
func (v *Validator) Probe(ctx context.Context, names ...string) error {
	return probeEach(v.client, func(p *probe) {
		alone := v.only(p.server)
		p.client, p.resolver = alone.client, alone
		zones := slices.Sorted(maps.Keys(v.anchors))
		for _, zone := range zones {
			p.transport(ctx, question{zone, dns.TypeDNSKEY}, p.inspect)
		}
		p.explained = len(p.found.Faults) > 0
		p.names(ctx, zones, names)
		if v.anchors.OfIANA() {
			for _, name := range delegations() {
				p.lookup(ctx, name, TypeDS)
			}
		}
	})
}

// Probe checks whether each server validates and can be reached over UDP and TCP, or over
// TLS. It is like [Validator.Probe], but asks for the root zone only, and for the names
// given. It cannot find out whether someone forges the answers that a server gets.
func (t *Trusting) Probe(ctx context.Context, names ...string) error {
	return probeEach(t.client, func(p *probe) {
		p.client = t.client.Only(p.server)
		p.resolver = &Trusting{client: p.client, now: t.now, cache: newCache(1 << 20), lookups: flight.Group[question, *Answer]{Limit: t.lookups.Limit}}
		p.transport(ctx, question{".", dns.TypeSOA}, func(*dns.Msg, question) {})
		p.names(ctx, []string{"."}, names)
	})
}

// probeEach probes all servers of the client at once.
func probeEach(client *upstream.Client, run func(p *probe)) error {
	servers, problem := client.Servers()
	faults := make([]error, len(servers))
	var probes sync.WaitGroup
	for i, s := range servers {
		probes.Go(func() {
			p := &probe{server: s, found: &ProbeError{Server: s.String()}}
			if run(p); len(p.found.Faults) > 0 {
				faults[i] = p.found
			}
		})
	}
	probes.Wait()
	if problem != nil {
		problem = fmt.Errorf("dnssec: %w", problem)
	}
	return errors.Join(append(faults, problem)...)
}

// only returns a Validator with an empty cache that asks s alone.
func (v *Validator) only(s *upstream.Server) *Validator {
	return &Validator{
		client:    v.client.Only(s),
		anchors:   v.anchors,
		now:       v.now,
		limits:    v.limits,
		skew:      v.skew,
		sha1:      v.sha1,
		private:   v.private,
		cache:     newCache(1 << 20),
		lookups:   flight.Group[question, *Answer]{Limit: v.lookups.Limit},
		exchanges: flight.Group[exchangeKey, *outcome]{Limit: v.exchanges.Limit},
	}
}

// probe is the probe of one server.
type probe struct {
	client   *upstream.Client
	resolver Resolver // asks the server alone
	server   *upstream.Server
	found    *ProbeError
	// explained is true if the replies for the keys already show what is wrong.
	explained bool
}

func (p *probe) fault(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(p.found.Faults, text) {
		p.found.Faults = append(p.found.Faults, text)
	}
}

// names looks up what exists in signed zones and what does not, and the names given. The
// types are not those of addresses: systemd-resolved does not ask for addresses of names
// with one label.
func (p *probe) names(ctx context.Context, zones, given []string) {
	for _, zone := range zones {
		for _, name := range []string{zone, randomBelow(zone)} {
			if a := p.lookup(ctx, name, TypeSOA); a != nil && a.Status != Secure && !p.explained {
				p.fault("does not validate: its answer for SOA of %q is %s, and the zone %q is signed; enable validation", name, a.Status, zone)
			}
		}
	}
	for _, name := range given {
		if encloser, ok := strings.CutPrefix(name, "*."); ok {
			p.wildcard(ctx, encloser)
		} else {
			p.lookup(ctx, name, TypeSOA)
		}
	}
}

func randomBelow(name string) string {
	return strings.ToLower(rand.Text()) + "." + strings.TrimPrefix(name, ".")
}

// wildcard looks up names that only a wildcard can answer.
func (p *probe) wildcard(ctx context.Context, encloser string) {
	for _, t := range []Type{TypeTXT, TypeMX, TypeTLSA, TypeA, TypeAAAA} {
		a := p.lookup(ctx, randomBelow(encloser), t)
		if a == nil || len(a.Records) > 0 && a.Status == Secure {
			return
		}
	}
	p.fault("has no signed records for the wildcard %q: give a wildcard that has some, or enable validation", "*."+encloser)
}

// delegations returns a top-level domain that is signed, and one that is not. The
// root servers answer for their DS records, so problems of the domains do not count
// against the probed server. If the second domain becomes signed, the check loses
// nothing: the server must return proofs in either case.
func delegations() []string { return []string{"com.", "bb."} }

// transport asks q over each transport, and inspects the replies without validating
// them.
func (p *probe) transport(ctx context.Context, q question, inspect func(*dns.Msg, question)) {
	ways := map[string]bool{"UDP": false, "TCP": true}
	if p.server.IsTLS() {
		ways = map[string]bool{"TLS": true}
	}
	for _, way := range []string{"UDP", "TCP", "TLS"} {
		stream, ok := ways[way]
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, p.client.Timeout())
		msg, err := p.client.Query(ctx, upstream.Attempt{Server: p.server, Stream: stream}, upstream.Question{Name: q.name, Type: q.rtype})
		cancel()
		switch {
		case err != nil:
			p.fault("does not answer over %s: %s", way, asError(q, err).cause())
		case msg.Truncated && stream:
			p.fault("truncates replies over %s", way)
		case !msg.Truncated:
			inspect(msg.Msg, q)
		}
	}
}

// inspect notes what is missing in a reply to the question for the keys of a zone.
func (p *probe) inspect(msg *dns.Msg, q question) {
	has := func(records []dns.RR, rtype uint16) bool {
		return slices.ContainsFunc(records, func(rr dns.RR) bool { return rr.Header().Rrtype == rtype })
	}
	if msg.IsEdns0() == nil {
		p.fault("does not support EDNS: no OPT record in its replies")
	}
	if !msg.RecursionAvailable {
		p.fault("does not offer recursion: the RA bit is clear")
	}
	switch {
	case msg.Rcode != dns.RcodeSuccess:
		p.fault("answers %s to the question for the keys of %q", rcodeName(msg.Rcode), q.name)
	case !has(msg.Answer, dns.TypeDNSKEY):
		p.fault("does not return the keys of %q: no DNSKEY records", q.name)
	case has(msg.Answer, dns.TypeRRSIG):
	case msg.AuthenticatedData:
		p.fault("does not return the signatures: no RRSIG records, only the AD bit")
	default:
		p.fault("strips the signatures: no RRSIG records")
	}
}

// lookup returns the answer. If there is none, it notes the error, and adds a fault
// unless the cause is known already.
func (p *probe) lookup(ctx context.Context, name string, t Type) *Answer {
	a, err := p.resolver.Lookup(ctx, name, t)
	if err == nil {
		return a
	}
	if p.found.Err == nil {
		p.found.Err = err
	}
	if !p.explained {
		p.fault("%s", p.explain(asError(question{name, uint16(t)}, err)))
	}
	return nil
}

func (p *probe) explain(e *Error) string {
	switch {
	case e.Reason == AnchorMismatch:
		return "has other keys than the trust anchors: the anchors are outdated, or the answers are forged"
	case e.Reason == NotValidating:
		return "does not validate: " + e.Reason.advice()
	case e.Reason == DenialMissing:
		return "does not return proofs of non-existence: no valid NSEC or NSEC3 records"
	default:
		return fmt.Sprintf("fails to answer for %s of %q: %s", e.Type, e.Name, e.cause())
	}
}
