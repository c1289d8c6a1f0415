package dnssec

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// denial is what a proof of non-existence proves about a question.
type denial struct {
	rcode int // NOERROR for NODATA, or NXDOMAIN
	// insecure means that the proof leaves room for an unsigned delegation
	// (opt-out, RFC 5155 section 9.2) or is too costly to check (RFC 9276
	// section 3.2).
	insecure   bool
	delegation bool // the name is delegated; only for questions for DS
	wildcard   bool // NODATA through a wildcard: the name itself does not exist
	expires    time.Time
}

// proof is the authenticated NSEC and NSEC3 records of one zone in one reply.
type proof struct {
	apex    string
	nsec    []nsec
	nsec3   *nsec3Chain // nil if there are none
	expires time.Time

	considered int // NSEC and NSEC3 RRsets
}

// proof verifies the records of the zone that can deny something. The reply may
// hold those of other zones. Records that fail are left out: they prove nothing.
func (s *session) proof(z *zone, r *reply) (*proof, error) {
	p := &proof{apex: z.apex, expires: after(s.now, maxTTL)}
	var problem error
	for _, set := range r.authority {
		if !set.denies() || !set.claimsSigner(z.apex) {
			continue
		}
		err := s.addVerified(p, set, z)
		if final(err) {
			return nil, err
		}
		if err != nil {
			problem = err
		}
	}
	if len(p.nsec) == 0 && p.nsec3 == nil && problem != nil {
		return nil, problem
	}
	return p, nil
}

// wholeProof is proof for the reply that is the answer by itself, records or
// their absence, no alias: all of its authority section is the zone's, and one signature that does not hold spoils it (RFC
// 4033 section 5: secure is what all signatures of the response vouch for). NS
// records alone may be without, as beside any answer.
func (s *session) wholeProof(z *zone, q question, r *reply) (*proof, error) {
	if r.foreign {
		return nil, foreign(q)
	}
	p := &proof{apex: z.apex, expires: after(s.now, maxTTL)}
	for _, set := range r.authority {
		if err := set.complete(); err != nil {
			return nil, err
		}
		if set.rtype == dns.TypeNS {
			continue
		}
		if set.rtype == dns.TypeSOA && set.name != z.apex {
			return nil, failure(q, DenialMissing, "the SOA record is that of %q, the zone is %q", set.name, z.apex)
		}
		if err := s.addVerified(p, set, z); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// wholeAuthority verifies the authority section of a reply with aliases: each
// RRset is that of the zone that it is in, because the section has proofs for
// each step, and no zone has a say but those. RFC 4035 section 3.2.3: an answer
// is authentic if all that it consists of is, and the negative records beside it.
func (s *session) wholeAuthority(q question, r *reply, hasSay func(*zone) bool) error {
	if r.foreign {
		return foreign(q)
	}
	denials := 0
	for _, set := range r.authority {
		if err := set.complete(); err != nil {
			return err
		}
		if set.rtype == dns.TypeNS {
			continue
		}
		if set.denies() {
			denials++
		}
		if limit := s.budget.limits.DenialRecords; denials > limit {
			return &limitError{what: "records of denial in one reply", limit: limit}
		}
		at := set.question()
		z, err := s.authenticate(at, signers(at, set), SignatureMissing, func(z *zone) error {
			_, err := s.verifyExact(set, z)
			return err
		})
		if err != nil {
			return err
		}
		if z.secure() && !hasSay(z) {
			return foreign(q)
		}
	}
	return nil
}

func foreign(q question) error {
	return failure(q, DenialMissing, "the authority section has records that do not belong there")
}

// complete refuses signatures without the records that they cover. A server
// sends both or neither (RFC 4035 section 3.1.1), and signatures are not signed
// themselves (section 2.2).
func (s *rrset) complete() error {
	if len(s.records) == 0 {
		return failure(s.question(), SignatureInvalid, "there are signatures without the records")
	}
	return nil
}

// addVerified verifies a set and adds what it proves.
func (s *session) addVerified(p *proof, set *rrset, z *zone) error {
	if set.denies() {
		if p.considered++; p.considered > s.budget.limits.DenialRecords {
			return &limitError{what: "records of denial in one reply", limit: s.budget.limits.DenialRecords}
		}
	}
	v, err := s.verifyExact(set, z)
	if err != nil {
		return err
	}
	p.expires = earliest(p.expires, v.expires)
	p.add(set, s.budget)
	return nil
}

// denies reports whether the set is NSEC or NSEC3.
func (s *rrset) denies() bool {
	return (s.rtype == dns.TypeNSEC || s.rtype == dns.TypeNSEC3) && len(s.records) > 0
}

func (s *rrset) claimsSigner(apex string) bool {
	return slices.ContainsFunc(s.sigs, func(sig *dns.RRSIG) bool { return sig.SignerName == apex })
}

// add takes in a verified set. A name has one NSEC or NSEC3 record (RFC 4034
// section 4, RFC 5155 section 7.1): a set of several proves nothing.
func (p *proof) add(set *rrset, b *budget) {
	records := set.distinct()
	if len(records) != 1 {
		return
	}
	switch rr := records[0].(type) {
	case *dns.NSEC:
		p.nsec = append(p.nsec, newNSEC(rr, p.apex))
	case *dns.NSEC3:
		record, ok := newNSEC3(rr, p.apex)
		if !ok {
			return
		}
		if p.nsec3 == nil {
			p.nsec3 = newNSEC3Chain(rr, p.apex, b)
		}
		p.nsec3.add(rr, record)
	}
}

// deny returns what the proof from the reply proves about q. Which of NODATA
// and NXDOMAIN it is follows from the proof.
func (s *session) deny(p *proof, q question, r *reply) (d *denial, err error) {
	d = p.denyByNSEC(q)
	if d == nil && p.nsec3 != nil {
		if d, err = p.nsec3.deny(q, r.rcode); err != nil {
			return nil, err
		}
	}
	if d == nil {
		return nil, failure(q, DenialMissing, "the zone %q does not prove that there is none", p.apex)
	}
	d.expires = earliest(p.expires, r.negativeExpiry(s.now))
	return d, nil
}

// negativeExpiry is the TTL of RFC 2308 section 5. The SOA record need not be
// verified: it can only make the time shorter than the proof's own. No SOA, no
// caching.
func (r *reply) negativeExpiry(now time.Time) time.Time {
	ttl := uint32(0)
	for _, set := range r.authority {
		if set.rtype == dns.TypeSOA && len(set.records) > 0 {
			ttl = min(set.ttl(), set.records[0].(*dns.SOA).Minttl)
		}
	}
	return after(now, ttl)
}

// deniesExpansion checks that nothing closer to name exists than the wildcard
// it was expanded from (RFC 4035 section 5.3.4, RFC 5155 section 8.8). The
// expansion is insecure if that proof has opt-out.
func (s *session) deniesExpansion(z *zone, q question, source string, r *reply) (Status, time.Time, error) {
	p, err := s.proof(z, r)
	if err != nil {
		return Bogus, time.Time{}, err
	}
	encloser := parent(source)
	if p.nsecProvesExpansion(q.name, encloser) {
		return Secure, p.expires, nil
	}
	if p.nsec3 != nil {
		status, err := p.nsec3.provesExpansion(q.name, encloser)
		if err != nil || status != Bogus {
			return status, p.expires, err
		}
	}
	return Bogus, time.Time{}, failure(q, DenialMissing, "expanded from %q without proof that nothing closer exists", source)
}

// denies reports whether the types that exist at the very name of a question
// rule out records of rtype. A CNAME would have been the answer (RFC 6840
// section 4.3). The parent's record at a delegation speaks for DS only, and
// the child's for all but DS (section 4.1 and RFC 4035 section 5.2).
func denies(types []uint16, rtype uint16) bool {
	if slices.Contains(types, rtype) || slices.Contains(types, dns.TypeCNAME) {
		return false
	}
	if rtype == dns.TypeDS {
		return !slices.Contains(types, dns.TypeSOA)
	}
	return !isDelegation(types)
}

// isDelegation reports whether types are those of the parent's side of a zone
// cut.
func isDelegation(types []uint16) bool {
	return slices.Contains(types, dns.TypeNS) && !slices.Contains(types, dns.TypeSOA)
}

// hidesBelow reports whether a record with these types says nothing about the
// names below its own, which are another zone's or redirected (RFC 6840
// section 4.1).
func hidesBelow(types []uint16) bool {
	return isDelegation(types) || slices.Contains(types, dns.TypeDNAME)
}
