package dnssec

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// dname returns the DNAME RRset of the answer that redirects name: it is at an
// ancestor, never at name itself.
func (r *reply) dname(name string) *rrset {
	for _, set := range r.answer {
		if set.rtype == dns.TypeDNAME && len(set.records) > 0 && below(name, set.name) {
			return set
		}
	}
	return nil
}

// redirect returns the CNAME that the DNAME RRset makes of name (RFC 6672
// section 3.1). A CNAME in the reply is not signed and must be that one.
func (r *reply) redirect(name string, set *rrset) (*dns.CNAME, error) {
	q := question{name, dns.TypeCNAME}
	records := set.distinct()
	if len(records) != 1 {
		return nil, failure(q, AliasInvalid, "several DNAME records at %q", set.name)
	}
	record := records[0].(*dns.DNAME)
	prefix := strings.TrimSuffix(name, set.name)
	if set.name == "." {
		prefix = name
	}
	if record.Target == "" {
		return nil, failure(q, AliasInvalid, "the DNAME at %q has no target", set.name)
	}
	target, ok := canonicalName(prefix + strings.TrimPrefix(record.Target, "."))
	if !ok {
		return nil, failure(q, AliasInvalid, "the name that the DNAME at %q makes is too long", set.name)
	}
	if given := r.answer.find(name, dns.TypeCNAME); given != nil {
		same := func(rr dns.RR) bool { return dns.CanonicalName(rr.(*dns.CNAME).Target) == target }
		if records := given.distinct(); len(records) != 1 || !same(records[0]) {
			return nil, failure(q, AliasInvalid, "the CNAME is not what the DNAME at %q makes", set.name)
		}
	}
	return &dns.CNAME{
		Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: record.Hdr.Ttl},
		Target: target,
	}, nil
}

// cnameTarget returns where the CNAME RRset leads.
func cnameTarget(set *rrset) (string, error) {
	records := set.distinct()
	if len(records) != 1 {
		return "", failure(set.question(), AliasInvalid, "several CNAME records at one name")
	}
	target, ok := canonicalName(records[0].(*dns.CNAME).Target)
	if !ok {
		return "", failure(set.question(), AliasInvalid, "the target is no domain name")
	}
	return target, nil
}

// path is the aliases that were followed since the name that the caller asked
// for.
type path []Alias

// follow appends a step, and fails when it leads back or too far.
func (p path) follow(step Alias, q question, limit int) (path, error) {
	p = append(slices.Clip(p), step)
	if len(p) > limit {
		return nil, failure(q, AliasLoop, "more than %d aliases", limit)
	}
	if slices.ContainsFunc(p, func(a Alias) bool { return a.Name == step.Target }) {
		return nil, failure(q, AliasLoop, "%q leads back to itself", step.Target)
	}
	return p, nil
}
