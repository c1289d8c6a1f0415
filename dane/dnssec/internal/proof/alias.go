package proof

import (
	"strings"

	"github.com/miekg/dns"
)

// DNAME returns the DNAME RRset of an answer that redirects name. It is at an ancestor of
// name, never at name itself.
func (s Section) DNAME(name string) *RRset {
	for _, set := range s {
		if set.Type == dns.TypeDNAME && len(set.Records) > 0 && Below(name, set.Name) {
			return set
		}
	}
	return nil
}

// Redirect returns the CNAME that the DNAME RRset makes for name (RFC 6672 section 3.1). A
// CNAME in the answer is not signed and must be the same.
func Redirect(name string, set *RRset, answer Section) (*dns.CNAME, error) {
	records := set.Distinct()
	if len(records) != 1 {
		return nil, badAlias(name, "several DNAME records at %q", set.Name)
	}
	record := records[0].(*dns.DNAME)
	prefix := strings.TrimSuffix(name, set.Name)
	if set.Name == "." {
		prefix = name
	}
	if record.Target == "" {
		return nil, badAlias(name, "the DNAME at %q has no target", set.Name)
	}
	target, ok := CanonicalName(prefix + strings.TrimPrefix(record.Target, "."))
	if !ok {
		return nil, badAlias(name, "the name that the DNAME at %q makes is too long", set.Name)
	}
	if given := answer.Find(name, dns.TypeCNAME); given != nil {
		same := func(rr dns.RR) bool { return dns.CanonicalName(rr.(*dns.CNAME).Target) == target }
		if records := given.Distinct(); len(records) != 1 || !same(records[0]) {
			return nil, badAlias(name, "the CNAME is not what the DNAME at %q makes", set.Name)
		}
	}
	return &dns.CNAME{
		Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: record.Hdr.Ttl},
		Target: target,
	}, nil
}

func badAlias(name, format string, args ...any) *Error {
	return (&RRset{Name: name, Type: dns.TypeCNAME}).fault(AliasInvalid, format, args...)
}

// CNAMETarget returns where the CNAME RRset leads.
func CNAMETarget(set *RRset) (string, error) {
	records := set.Distinct()
	if len(records) != 1 {
		return "", set.fault(AliasInvalid, "several CNAME records at one name")
	}
	target, ok := CanonicalName(records[0].(*dns.CNAME).Target)
	if !ok {
		return "", set.fault(AliasInvalid, "the target is not a domain name")
	}
	return target, nil
}
