package proof

import (
	"slices"

	"github.com/miekg/dns"
)

// Section is the RRsets of the answer or the authority section of a message.
type Section []*RRset

// NewSection arranges the records of relevant types and their signatures, and reports
// whether there are others. The others are not kept, to save memory.
func NewSection(records []dns.RR, relevant func(rtype uint16) bool) (sets Section, foreign bool) {
	type key struct {
		name  string
		rtype uint16
	}
	index := make(map[key]*RRset)
	at := func(name string, rtype uint16) *RRset {
		set := index[key{name, rtype}]
		if set == nil {
			set = &RRset{Name: name, Type: rtype}
			index[key{name, rtype}] = set
			sets = append(sets, set)
		}
		return set
	}
	for _, rr := range records {
		h := rr.Header()
		if h.Class != dns.ClassINET || h.Rrtype == dns.TypeOPT {
			continue
		}
		sig, isSig := rr.(*dns.RRSIG)
		if isSig && !relevant(sig.TypeCovered) {
			continue
		}
		if !isSig && !relevant(h.Rrtype) {
			foreign = true
			continue
		}
		h.Name = dns.CanonicalName(h.Name)
		if isSig {
			sig.SignerName = dns.CanonicalName(sig.SignerName)
			set := at(h.Name, sig.TypeCovered)
			set.Sigs = append(set.Sigs, sig)
			continue
		}
		set := at(h.Name, h.Rrtype)
		set.Records = append(set.Records, rr)
	}
	return sets, foreign
}

// Separated separates the NSEC records of the two sides of a zone cut. Both have
// the same owner and are RRsets of their own (RFC 4035 section 2.3). A resolver
// that follows an alias from the zone above to the one below may send them in one
// reply. Verification shows which signature belongs to which.
func (s Section) Separated() Section {
	var sets Section
	for _, set := range s {
		records := set.Distinct()
		bySeveral := slices.ContainsFunc(set.Sigs, func(sig *dns.RRSIG) bool { return sig.SignerName != set.Sigs[0].SignerName })
		if set.Type != dns.TypeNSEC || len(records) < 2 || !bySeveral {
			sets = append(sets, set)
			continue
		}
		for _, rr := range records {
			sets = append(sets, &RRset{Name: set.Name, Type: set.Type, Records: []dns.RR{rr}, Sigs: set.Sigs})
		}
	}
	return sets
}

// Find returns the RRset, or nil if there are no records of it.
func (s Section) Find(name string, rtype uint16) *RRset {
	for _, set := range s {
		if set.Type == rtype && set.Name == name && len(set.Records) > 0 {
			return set
		}
	}
	return nil
}

// IsReferral reports whether an authority section names other servers instead of denying,
// as those of servers do that offer no recursion.
func (s Section) IsReferral() bool {
	ns, soa := false, false
	for _, set := range s {
		ns = ns || set.Type == dns.TypeNS && len(set.Records) > 0
		soa = soa || set.Type == dns.TypeSOA && len(set.Records) > 0
	}
	return ns && !soa
}

// NegativeTTL is the TTL of RFC 2308 section 5, in seconds, of a denial with this authority
// section. The SOA record need not be verified, because it can only make the TTL of the
// proof shorter. Without SOA record nothing is cached.
func (s Section) NegativeTTL() uint32 {
	ttl := uint32(0)
	for _, set := range s {
		if set.Type == dns.TypeSOA && len(set.Records) > 0 {
			ttl = min(set.TTL(), set.Records[0].(*dns.SOA).Minttl)
		}
	}
	return ttl
}
