package dnssec

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/names"
)

// reply is a message that answers a question, arranged for validation. It is
// shared and read-only.
type reply struct {
	server    *upstream.Server
	octets    int // of the message
	memory    int // an estimate, of the message unpacked
	rcode     int
	ad        bool
	answer    section
	authority section
	foreign   bool // the authority section has records that no answer needs
	extended  []ExtendedError
}

// section is the RRsets of the answer or the authority section.
type section []*proof.RRset

// newReply arranges msg. An rcode other than NOERROR and NXDOMAIN is an error,
// because it says nothing about the name (RFC 7672 section 2.1.1).
func newReply(msg *upstream.Message, q question) (*reply, error) {
	r := &reply{server: msg.Server, octets: msg.Octets, memory: msg.Memory, rcode: msg.Rcode, ad: msg.AuthenticatedData, extended: extendedErrors(msg.Msg)}
	if msg.Rcode != dns.RcodeSuccess && msg.Rcode != dns.RcodeNameError {
		reason := OtherRcode
		switch msg.Rcode {
		case dns.RcodeServerFailure:
			reason = ServerFailure
		case dns.RcodeRefused:
			reason = Refused
		}
		return nil, r.blame(failure(q, reason, "the server answered %s", rcodeName(msg.Rcode)))
	}
	r.answer, _ = newSection(msg.Answer, q)
	r.authority, r.foreign = newSection(msg.Ns, q)
	r.authority = r.authority.separated()
	return r, nil
}

// present checks a reply that holds the records asked for. Its rcode must say so,
// and it must not say that their name is an alias, where there are no records (RFC
// 2181 section 10.1, RFC 6672 section 2.4).
func (r *reply) present(q question) error {
	switch {
	case r.rcode != dns.RcodeSuccess:
		return failure(q, Malformed, "the server answers, and says %s", rcodeName(r.rcode))
	case r.dname(q.name) != nil, q.rtype != dns.TypeCNAME && r.answer.find(q.name, dns.TypeCNAME) != nil:
		return failure(q, AliasInvalid, "the server answers, and says that the name is an alias")
	default:
		return nil
	}
}

// blame adds the server, and what the server said, to an error.
func (r *reply) blame(e *Error) *Error {
	e.Server = r.server.String()
	e.Extended = r.extended
	return e
}

// blamed names the server in an error about q. It wraps an error about another
// question, further up the chain.
func (r *reply) blamed(e *Error, q question) *Error {
	switch {
	case e.final:
		return e
	case e.Name == q.name && e.Type == Type(q.rtype) && e.Server == "":
		return r.blame(e)
	case e.Name == q.name && e.Type == Type(q.rtype):
		return e
	default:
		return r.blame(e.within(q))
	}
}

func rcodeName(rcode int) string {
	if name := dns.RcodeToString[rcode]; name != "" {
		return name
	}
	return "an unknown code"
}

// extendedErrors returns the Extended DNS Errors of msg, made safe to print.
func extendedErrors(msg *dns.Msg) []ExtendedError {
	opt := msg.IsEdns0()
	if opt == nil {
		return nil
	}
	var list []ExtendedError
	for _, option := range opt.Option {
		if ede, ok := option.(*dns.EDNS0_EDE); ok && len(list) < 8 {
			list = append(list, ExtendedError{Code: ede.InfoCode, Text: names.Mask(ede.ExtraText, 200)})
		}
	}
	return list
}

// newSection arranges the records that can be part of an answer to q, and reports
// whether there are others. The others are not kept, to save memory.
func newSection(records []dns.RR, q question) (sets section, foreign bool) {
	index := make(map[question]*proof.RRset)
	at := func(name string, rtype uint16) *proof.RRset {
		key := question{name, rtype}
		set := index[key]
		if set == nil {
			set = &proof.RRset{Name: name, Type: rtype}
			index[key] = set
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
		if isSig && !upstream.Relevant(sig.TypeCovered, q.rtype) {
			continue
		}
		if !isSig && !upstream.Relevant(h.Rrtype, q.rtype) {
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

// separated separates the NSEC records of the two sides of a zone cut. Both have
// the same owner and are RRsets of their own (RFC 4035 section 2.3). A resolver
// that follows an alias from the zone above to the one below may send them in one
// reply. Verification shows which signature belongs to which.
func (s section) separated() section {
	var sets section
	for _, set := range s {
		records := set.Distinct()
		bySeveral := slices.ContainsFunc(set.Sigs, func(sig *dns.RRSIG) bool { return sig.SignerName != set.Sigs[0].SignerName })
		if set.Type != dns.TypeNSEC || len(records) < 2 || !bySeveral {
			sets = append(sets, set)
			continue
		}
		for _, rr := range records {
			sets = append(sets, &proof.RRset{Name: set.Name, Type: set.Type, Records: []dns.RR{rr}, Sigs: set.Sigs})
		}
	}
	return sets
}

// find returns the RRset, or nil if there are no records of it.
func (s section) find(name string, rtype uint16) *proof.RRset {
	for _, set := range s {
		if set.Type == rtype && set.Name == name && len(set.Records) > 0 {
			return set
		}
	}
	return nil
}

// dname returns the DNAME RRset of the answer that redirects name. It is at an
// ancestor of name, never at name itself.
func (r *reply) dname(name string) *proof.RRset {
	for _, set := range r.answer {
		if set.Type == dns.TypeDNAME && len(set.Records) > 0 && proof.Below(name, set.Name) {
			return set
		}
	}
	return nil
}

// redirect returns the CNAME that the DNAME RRset makes for name (RFC 6672 section
// 3.1). A CNAME in the reply is not signed and must be the same.
func (r *reply) redirect(name string, set *proof.RRset) (*dns.CNAME, error) {
	q := question{name, dns.TypeCNAME}
	records := set.Distinct()
	if len(records) != 1 {
		return nil, failure(q, AliasInvalid, "several DNAME records at %q", set.Name)
	}
	record := records[0].(*dns.DNAME)
	prefix := strings.TrimSuffix(name, set.Name)
	if set.Name == "." {
		prefix = name
	}
	if record.Target == "" {
		return nil, failure(q, AliasInvalid, "the DNAME at %q has no target", set.Name)
	}
	target, ok := proof.CanonicalName(prefix + strings.TrimPrefix(record.Target, "."))
	if !ok {
		return nil, failure(q, AliasInvalid, "the name that the DNAME at %q makes is too long", set.Name)
	}
	if given := r.answer.find(name, dns.TypeCNAME); given != nil {
		same := func(rr dns.RR) bool { return dns.CanonicalName(rr.(*dns.CNAME).Target) == target }
		if records := given.Distinct(); len(records) != 1 || !same(records[0]) {
			return nil, failure(q, AliasInvalid, "the CNAME is not what the DNAME at %q makes", set.Name)
		}
	}
	return &dns.CNAME{
		Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: record.Hdr.Ttl},
		Target: target,
	}, nil
}

// cnameTarget returns where the CNAME RRset leads.
func cnameTarget(set *proof.RRset) (string, error) {
	records := set.Distinct()
	if len(records) != 1 {
		return "", failure(questionOf(set), AliasInvalid, "several CNAME records at one name")
	}
	target, ok := proof.CanonicalName(records[0].(*dns.CNAME).Target)
	if !ok {
		return "", failure(questionOf(set), AliasInvalid, "the target is no domain name")
	}
	return target, nil
}

// isReferral reports whether the reply names other servers instead of answering,
// as replies of servers do that offer no recursion.
func (r *reply) isReferral() bool {
	ns, soa := false, false
	for _, set := range r.authority {
		ns = ns || set.Type == dns.TypeNS && len(set.Records) > 0
		soa = soa || set.Type == dns.TypeSOA && len(set.Records) > 0
	}
	return ns && !soa
}

// negativeTTL is the TTL of RFC 2308 section 5, in seconds. The SOA record need not
// be verified, because it can only make the TTL of the proof shorter. Without SOA
// record nothing is cached.
func (r *reply) negativeTTL() uint32 {
	ttl := uint32(0)
	for _, set := range r.authority {
		if set.Type == dns.TypeSOA && len(set.Records) > 0 {
			ttl = min(set.TTL(), set.Records[0].(*dns.SOA).Minttl)
		}
	}
	return ttl
}
