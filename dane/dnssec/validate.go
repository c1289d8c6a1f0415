package dnssec

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// verifyExact verifies an RRset with the keys of the zone and refuses one that
// was expanded from a wildcard: a DS, DNSKEY, DNAME, NSEC or NSEC3 RRset means
// its own name only.
func (s *session) verifyExact(set *rrset, z *zone) (*verified, error) {
	v, err := s.budget.verify(set, z.keys, s.now)
	if err == nil && v.expanded() {
		return nil, failure(set.question(), SignatureInvalid, "expanded from the wildcard %q", v.source)
	}
	return v, err
}

// verifyIn verifies an RRset with the keys of the zone; one that was expanded
// from a wildcard only with the proof that the reply must hold.
func (s *session) verifyIn(set *rrset, z *zone, r *reply) (*verified, Status, error) {
	v, err := s.budget.verify(set, z.keys, s.now)
	if err != nil {
		return nil, Bogus, err
	}
	if !v.expanded() {
		return v, Secure, nil
	}
	if set.rtype == dns.TypeDNAME || set.rtype == dns.TypeDS {
		return nil, Bogus, failure(set.question(), SignatureInvalid, "expanded from the wildcard %q", v.source)
	}
	status, expires, err := s.deniesExpansion(z, set.question(), v.source, r)
	v.expires = earliest(v.expires, expires)
	return v, status, err
}

// judgement is what is known about one RRset, or about its absence.
type judgement struct {
	status  Status
	rcode   int
	expires time.Time
	zone    *zone // that spoke for an RRset
}

// authenticate looks for a zone that speaks for q. Either a secure one, of
// those that claim to have signed and have no trust anchor between them and q,
// satisfies check; or the name is proven to be in an insecure zone, where
// signatures are neither needed nor believed and check is not called. Otherwise
// the answer is bogus: a missing signature is never a proof that none should be
// there (RFC 4035 section 5).
func (s *session) authenticate(q question, signers []string, missing Reason, check func(*zone) error) (*zone, error) {
	var problem error
	for _, signer := range signers {
		if s.v.anchors.between(signer, home(q)) {
			continue
		}
		z, err := s.zone(signer)
		switch {
		case err != nil:
		case !z.secure():
			continue
		case z.apex != signer:
			err = failure(q, KeyMissing, "signed by %q, which is not a zone", signer)
		default:
			if err = check(z); err == nil {
				return z, nil
			}
		}
		if final(err) {
			return nil, err
		}
		if problem == nil {
			problem = err
		}
	}
	z, err := s.zone(home(q))
	switch {
	case err == nil && !z.secure():
		return z, nil
	case problem != nil:
		return nil, problem
	case err != nil:
		return nil, err
	default:
		return nil, failure(q, missing, "the zone %q is signed", z.apex)
	}
}

// home is the name whose zone q is answered from: DS records are in the zone
// above their owner (RFC 4035 section 4.2).
func home(q question) string {
	if q.rtype == dns.TypeDS {
		return parent(q.name)
	}
	return q.name
}

// judgeSet says how an RRset of a reply is authenticated. q is its name and
// type, or those of the question that it answers in their place.
func (s *session) judgeSet(q question, set *rrset, r *reply) (*judgement, error) {
	j := &judgement{status: Insecure, expires: after(s.now, set.ttl())}
	z, err := s.authenticate(q, signers(q, set), SignatureMissing, func(z *zone) error {
		v, status, err := s.verifyIn(set, z, r)
		if err != nil {
			return err
		}
		j.status, j.expires = status, v.expires
		return nil
	})
	if err != nil {
		return nil, err
	}
	j.zone = z
	s.locate(q, z, j)
	return j, nil
}

// judgeAbsence says how the absence of the records asked for is authenticated.
func (s *session) judgeAbsence(q question, r *reply) (*judgement, error) {
	var sets []*rrset
	for _, set := range r.authority {
		if (set.rtype == dns.TypeNSEC || set.rtype == dns.TypeNSEC3) && len(set.records) > 0 {
			sets = append(sets, set)
		}
	}
	j := &judgement{status: Insecure, rcode: r.rcode, expires: r.negativeExpiry(s.now)}
	z, err := s.authenticate(q, signers(q, sets...), DenialMissing, func(z *zone) error {
		p, err := s.wholeProof(z, q, r)
		if err != nil {
			return err
		}
		d, err := s.deny(p, q, r)
		if err != nil {
			return err
		}
		if err := agrees(d, q, r); err != nil {
			return err
		}
		if !d.insecure {
			j.status = Secure
		}
		j.rcode, j.expires = d.rcode, d.expires
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !z.secure() && r.isReferral() {
		return nil, failure(q, NoRecursion, "the server refers to other servers instead of answering")
	}
	s.locate(q, z, j)
	return j, nil
}

// agrees refuses a reply that proves one thing and says another. Neither is
// worth less than the other, but an honest server does not do it.
func agrees(d *denial, q question, r *reply) error {
	switch {
	case d.rcode != r.rcode:
		return failure(q, DenialMissing, "the server says %s and proves %s", rcodeName(r.rcode), rcodeName(d.rcode))
	case len(r.answer) > 0:
		return failure(q, DenialMissing, "the answer has records that were not asked for")
	default:
		return nil
	}
}

// locate limits the judgement to the lifetime of the chain it rests on, and
// remembers that there is no zone cut between the zone and the name, so that
// none is looked for in advance next time.
func (s *session) locate(q question, z *zone, j *judgement) {
	j.expires = earliest(j.expires, z.expires)
	if !z.secure() {
		return
	}
	for name := home(q); name != z.apex && within(name, z.apex); name = parent(name) {
		s.v.cache.put(cacheKey{name: name, kind: cachedZone}, z.apex, len(z.apex), j.expires, s.now)
	}
}

// signers returns the names that claim to have signed one of the sets and are
// placed to speak for q.
func signers(q question, sets ...*rrset) []string {
	var names []string
	for _, set := range sets {
		for _, sig := range set.sigs {
			name := sig.SignerName
			if within(home(q), name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// isReferral reports whether the reply names servers to ask instead of an
// answer, as one does that is not recursive.
func (r *reply) isReferral() bool {
	ns, soa := false, false
	for _, set := range r.authority {
		ns = ns || set.rtype == dns.TypeNS && len(set.records) > 0
		soa = soa || set.rtype == dns.TypeSOA && len(set.records) > 0
	}
	return ns && !soa
}

func after(now time.Time, seconds uint32) time.Time {
	return now.Add(time.Duration(seconds) * time.Second)
}
