// Package probe finds out what a DNS server lacks for the lookups of a resolver, and says it
// in sentences for an administrator.
package probe

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/advice"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// Probe is the probe of one server.
type Probe struct {
	Client   *upstream.Client
	Server   *upstream.Server
	Resolver Resolver // asks the server alone
	// Zones are signed zones, such as the root.
	Zones []string
	// Keys is true if the resolver needs the keys of the zones. Otherwise it leaves
	// validation to the server.
	Keys bool
	// Delegations is true if the zones below the root are those of the public DNS.
	Delegations bool
	// Names are looked up as well. "*.example.org" means names that the wildcard answers.
	Names []string
}

// Resolver is the resolver that needs the server.
type Resolver interface {
	// Lookup says whether the answer is secure, and how many records it has.
	Lookup(ctx context.Context, name string, rtype uint16) (Answer, error)
	// Explain says what err, an error of Lookup or of an exchange with the server, means.
	// cause is what went wrong, fault is a sentence about the server.
	Explain(name string, rtype uint16, err error) (cause, fault string)
}

// Answer is what a probe must know of an answer.
type Answer struct {
	Secure  bool
	Status  string
	Records int
}

// Result is what a probe found.
type Result struct {
	Faults []string // what is wrong with the server
	Err    error    // of the first lookup that failed, or nil
	// explained is true if the replies for the keys already show what is wrong.
	explained bool
}

// What to change in a server that lacks something.
const (
	EnableDNSSEC = "let it return DNSSEC records (dnssec=process of PowerDNS, FORWARD and not STUB in Knot Resolver), " +
		"let it forward to servers that do, or use another server"
	EnableValidation = "enable validation in it, with the trust anchor of the root (auto-trust-anchor-file of unbound, dnssec-validation auto of BIND, " +
		"DNSSEC=yes of systemd-resolved at 127.0.0.53, dnssec=process of PowerDNS, dnssec and trust-anchor of dnsmasq)"
)

// Run probes the server.
func (p *Probe) Run(ctx context.Context) *Result {
	found := new(Result)
	if p.Keys {
		for _, zone := range p.Zones {
			p.transport(ctx, found, zone, dns.TypeDNSKEY)
		}
		found.explained = len(found.Faults) > 0
	} else {
		p.transport(ctx, found, ".", dns.TypeSOA)
	}
	p.names(ctx, found)
	if p.Delegations {
		for _, name := range delegations() {
			p.lookup(ctx, found, name, dns.TypeDS)
		}
	}
	return found
}

func (r *Result) fault(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.Faults, text) {
		r.Faults = append(r.Faults, text)
	}
}

// delegations returns a top-level domain that is signed, and one that is not. The
// root servers answer for their DS records, so problems of the domains do not count
// against the probed server. If the second domain becomes signed, the check loses
// nothing: the server must return proofs in either case.
func delegations() []string { return []string{"com.", "bb."} }

// transport asks a question over each transport. It inspects the replies without
// validating them.
func (p *Probe) transport(ctx context.Context, found *Result, name string, rtype uint16) {
	ways := []string{"UDP", "TCP"}
	if p.Server.IsTLS() {
		ways = []string{"TLS"}
	}
	for _, way := range ways {
		stream := way != "UDP"
		msg, err := p.Client.Query(ctx, upstream.Attempt{Server: p.Server, Stream: stream}, upstream.Question{Name: name, Type: rtype})
		switch {
		case err != nil:
			cause, _ := p.Resolver.Explain(name, rtype, err)
			found.fault("does not answer over %s: %s; open port 53 to it for UDP and TCP, 853 for TLS", way, cause)
		case msg.Truncated && stream:
			found.fault("truncates replies over %s; use another server", way)
		case !msg.Truncated && p.Keys:
			found.inspect(msg.Msg, name)
		}
	}
}

// inspect notes what is missing in a reply to the question for the keys of a zone.
func (r *Result) inspect(msg *dns.Msg, zone string) {
	has := func(rtype uint16) bool {
		return slices.ContainsFunc(msg.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == rtype })
	}
	if msg.IsEdns0() == nil {
		r.fault("does not support EDNS: no OPT record in its replies; use another server, or find the firewall that removes it")
	}
	if !msg.RecursionAvailable {
		r.fault("does not offer recursion: the RA bit is clear; %s", advice.OfExtended(dns.ExtendedErrorCodeNotAuthoritative))
	}
	switch {
	case msg.Rcode == dns.RcodeRefused:
		r.fault("answers REFUSED to the question for the keys of %q; %s", zone, advice.OfExtended(dns.ExtendedErrorCodeProhibited))
	case msg.Rcode != dns.RcodeSuccess:
		r.fault("answers %s to the question for the keys of %q; see the log of the DNS server", upstream.RcodeName(msg.Rcode), zone)
	case !has(dns.TypeDNSKEY):
		r.fault("does not return the keys of %q: no DNSKEY records; %s", zone, EnableDNSSEC)
	case has(dns.TypeRRSIG):
	case msg.AuthenticatedData:
		r.fault("does not return the signatures: no RRSIG records, only the AD bit; %s", EnableDNSSEC)
	default:
		r.fault("strips the signatures: no RRSIG records; %s", EnableDNSSEC)
	}
}

// names looks up what exists in signed zones and what does not, and the names given. TLSA
// is a type that some servers and firewalls do not know. Addresses are not asked for:
// systemd-resolved does not ask for those of names with one label.
func (p *Probe) names(ctx context.Context, found *Result) {
	for _, zone := range p.Zones {
		for _, q := range []dns.Question{{Name: zone, Qtype: dns.TypeSOA}, {Name: randomBelow(zone), Qtype: dns.TypeTLSA}} {
			if a, ok := p.lookup(ctx, found, q.Name, q.Qtype); ok && !a.Secure && !found.explained {
				found.fault("does not validate: its answer for %s of %q is %s, and the zone %q is signed; %s",
					dns.Type(q.Qtype), q.Name, a.Status, zone, EnableValidation)
			}
		}
	}
	for _, name := range p.Names {
		if encloser, ok := strings.CutPrefix(name, "*."); ok {
			p.wildcard(ctx, found, encloser)
		} else {
			p.lookup(ctx, found, name, dns.TypeSOA)
		}
	}
}

func randomBelow(name string) string {
	return strings.ToLower(rand.Text()) + "." + strings.TrimPrefix(name, ".")
}

// wildcard looks up names that only a wildcard can answer.
func (p *Probe) wildcard(ctx context.Context, found *Result, encloser string) {
	for _, rtype := range []uint16{dns.TypeTXT, dns.TypeMX, dns.TypeTLSA, dns.TypeA, dns.TypeAAAA} {
		a, ok := p.lookup(ctx, found, randomBelow(encloser), rtype)
		if !ok || a.Records > 0 && a.Secure {
			return
		}
	}
	found.fault("has no signed records for the wildcard %q: give a wildcard that has some, or enable validation", "*."+encloser)
}

// lookup returns the answer. If there is none, it notes the error, and adds a fault
// unless the cause is known already.
func (p *Probe) lookup(ctx context.Context, found *Result, name string, rtype uint16) (a Answer, ok bool) {
	a, err := p.Resolver.Lookup(ctx, name, rtype)
	if err == nil {
		return a, true
	}
	if found.Err == nil {
		found.Err = err
	}
	if !found.explained {
		_, fault := p.Resolver.Explain(name, rtype, err)
		found.fault("%s", fault)
	}
	return Answer{}, false
}
