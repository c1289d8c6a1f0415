package dnssec

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
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
//     in a signed zone and one in an unsigned zone.
//
// The error wraps a *[ProbeError] for each server that fails. It is nil if none
// does.
func (v *Validator) Probe(ctx context.Context, names ...string) error {
	servers, problem := v.client.Servers()
	faults := make([]error, len(servers))
	var probes sync.WaitGroup
	for i, s := range servers {
		probes.Go(func() {
			p := &probe{v: v.only(s), server: s, found: &ProbeError{Server: s.String()}}
			p.run(ctx, names)
			if len(p.found.Faults) > 0 {
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
		sha1:      v.sha1,
		private:   v.private,
		cache:     newCache(1 << 20),
		lookups:   flight.Group[question, *Answer]{Limit: v.lookups.Limit},
		exchanges: flight.Group[exchangeKey, *reply]{Limit: v.exchanges.Limit},
	}
}

type probe struct {
	v      *Validator
	server *upstream.Server
	found  *ProbeError
	// explained is true if the replies for the keys already show what is wrong.
	explained bool
}

func (p *probe) fault(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(p.found.Faults, text) {
		p.found.Faults = append(p.found.Faults, text)
	}
}

func (p *probe) run(ctx context.Context, names []string) {
	zones := make([]string, 0, len(p.v.anchors))
	for zone := range p.v.anchors {
		zones = append(zones, zone)
	}
	slices.Sort(zones)
	for _, zone := range zones {
		p.transport(ctx, question{zone, dns.TypeDNSKEY})
	}
	p.explained = len(p.found.Faults) > 0
	for _, zone := range zones {
		p.lookup(ctx, zone, TypeSOA)
		p.lookup(ctx, strings.ToLower(rand.Text())+"."+strings.TrimPrefix(zone, "."), TypeA)
	}
	if p.v.anchors.OfIANA() {
		for _, name := range delegations() {
			p.lookup(ctx, name, TypeDS)
		}
	}
	for _, name := range names {
		p.lookup(ctx, name, TypeSOA)
	}
}

// delegations returns a top-level domain that is signed, and one that is not. The
// root servers answer for their DS records, so problems of the domains do not count
// against the probed server. If the second domain becomes signed, the check loses
// nothing: the server must return proofs in either case.
func delegations() []string { return []string{"com.", "bb."} }

// transport asks for the keys of a zone over each transport, and inspects the
// replies without validating them.
func (p *probe) transport(ctx context.Context, q question) {
	ways := map[string]bool{"UDP": false, "TCP": true}
	if p.server.IsTLS() {
		ways = map[string]bool{"TLS": true}
	}
	for _, way := range []string{"UDP", "TCP", "TLS"} {
		stream, ok := ways[way]
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, p.v.client.Timeout())
		msg, err := p.v.client.Query(ctx, upstream.Attempt{Server: p.server, Stream: stream}, upstream.Question{Name: q.name, Type: q.rtype})
		cancel()
		switch {
		case err != nil:
			p.fault("does not answer over %s: %s", way, asError(q, err).cause())
		case msg.Truncated && stream:
			p.fault("truncates replies over %s", way)
		case !msg.Truncated:
			p.inspect(msg.Msg, q)
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

// lookup notes the error of a lookup that fails. It adds a fault unless the cause is
// known already.
func (p *probe) lookup(ctx context.Context, name string, t Type) {
	_, err := p.v.Lookup(ctx, name, t)
	if err == nil {
		return
	}
	if p.found.Err == nil {
		p.found.Err = err
	}
	if !p.explained {
		p.fault("%s", p.explain(asError(question{name, uint16(t)}, err)))
	}
}

func (p *probe) explain(e *Error) string {
	switch {
	case e.Reason == AnchorMismatch:
		return "has other keys than the trust anchors: the anchors are outdated, or the answers are forged"
	case e.Reason == DenialMissing:
		return "does not return proofs of non-existence: no valid NSEC or NSEC3 records"
	default:
		return fmt.Sprintf("fails to answer for %s of %q: %s", e.Type, e.Name, e.cause())
	}
}
