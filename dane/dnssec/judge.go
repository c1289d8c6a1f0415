package dnssec

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
)

// judge says how the contents of a reply are authenticated. It belongs to one session.
type judge struct {
	session *session
	chain   *chain
}

// judgement is what is known about one RRset, or about its absence.
type judgement struct {
	status  Status
	rcode   int
	expires time.Time
	zone    *zone // that authenticated an RRset
}

// set says how an RRset of a reply is authenticated. q is its name and type, or
// those of the question that it answers instead.
func (j *judge) set(q question, set *proof.RRset, r *reply) (*judgement, error) {
	now := j.session.now
	found := &judgement{status: Insecure, expires: after(now, set.TTL())}
	z, err := j.authenticate(q, signers(q, set), SignatureMissing, func(z *zone) error {
		v, insecure, err := proof.VerifyAnswer(set, r.authority, z.keys, now, j.session.budget.proofs)
		if err != nil {
			return err
		}
		if !insecure {
			found.status = Secure
		}
		found.expires = after(now, v.TTL)
		return nil
	})
	if err != nil {
		return nil, err
	}
	found.zone = z
	j.locate(q, z, found)
	if z.secure() {
		j.chain.cache.Habits(z.apex, now).Records.Add(1)
	}
	return found, nil
}

// absence says how the absence of the records asked for is authenticated.
func (j *judge) absence(q question, r *reply) (*judgement, error) {
	var sets []*proof.RRset
	for _, set := range r.authority {
		if set.Denies() {
			sets = append(sets, set)
		}
	}
	now := j.session.now
	found := &judgement{status: Insecure, rcode: r.rcode, expires: after(now, r.authority.NegativeTTL())}
	z, err := j.authenticate(q, signers(q, sets...), DenialMissing, func(z *zone) error {
		denials, err := j.wholeProof(z, q, r)
		if err != nil {
			return err
		}
		a, err := denials.Deny(q.name, q.rtype, r.rcode)
		if err != nil {
			return err
		}
		// The reply must not say one thing and prove another. Neither counts for
		// less than the other, but an honest server does not do it.
		switch {
		case a.Rcode != r.rcode:
			return failure(q, DenialMissing, "the server says %s and proves %s", upstream.RcodeName(r.rcode), upstream.RcodeName(a.Rcode))
		case len(r.answer) > 0:
			return failure(q, DenialMissing, "the answer has records that were not asked for")
		}
		if !a.Insecure {
			found.status = Secure
		}
		found.rcode, found.expires = a.Rcode, after(now, min(a.TTL, r.authority.NegativeTTL()))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !z.secure() && r.authority.IsReferral() {
		return nil, failure(q, NoRecursion, "the server refers to other servers instead of answering")
	}
	j.locate(q, z, found)
	if home := q.home(); z.secure() && home != z.apex && proof.Below(proof.Parent(home), z.apex) {
		j.chain.cache.Habits(z.apex, now).Denials.Add(1)
	}
	return found, nil
}

// wholeProof verifies the authority section of a reply without aliases. All of it
// belongs to the zone, and one signature that does not verify spoils the reply:
// secure is what all signatures of the response authenticate (RFC 4033 section 5).
// Only NS records may be unsigned, as they may in any answer.
func (j *judge) wholeProof(z *zone, q question, r *reply) (*proof.Denials, error) {
	if r.foreign {
		return nil, foreign(q)
	}
	denials := proof.NewDenials(z.keys, j.session.now, j.session.budget.proofs)
	for _, set := range r.authority {
		if err := set.Complete(); err != nil {
			return nil, err
		}
		if set.Type == dns.TypeNS {
			continue
		}
		if set.Type == dns.TypeSOA && set.Name != z.apex {
			return nil, failure(q, DenialMissing, "the SOA record is that of %q, the zone is %q", set.Name, z.apex)
		}
		if err := denials.Add(set); err != nil {
			return nil, err
		}
	}
	return denials, nil
}

// wholeAuthority verifies the authority section of a reply with aliases. The
// section has proofs for each step, so each RRset belongs to the zone that it is
// in, and only zones of which mayProve is true may appear. An answer is authentic if
// all its records are, and the negative records that come with it (RFC 4035 section
// 3.2.3).
func (j *judge) wholeAuthority(q question, r *reply, mayProve func(*zone) bool) error {
	if r.foreign {
		return foreign(q)
	}
	denials := 0
	for _, set := range r.authority {
		if err := set.Complete(); err != nil {
			return err
		}
		if set.Type == dns.TypeNS {
			continue
		}
		if set.Denies() {
			denials++
		}
		if limit := j.session.budget.limits.DenialRecords; denials > limit {
			return &proof.LimitError{What: "records of denial in one reply", Limit: limit}
		}
		at := questionOf(set)
		z, err := j.authenticate(at, signers(at, set), SignatureMissing, func(z *zone) error {
			_, err := proof.Verify(set, z.keys, j.session.now, j.session.budget.proofs)
			return err
		})
		if err != nil {
			return err
		}
		if z.secure() && !mayProve(z) {
			return foreign(q)
		}
	}
	return nil
}

func foreign(q question) error {
	return failure(q, DenialMissing, "the authority section has records that do not belong there")
}

// signers returns the names that claim to have signed one of the RRsets and are at or
// above the name of q.
func signers(q question, sets ...*proof.RRset) []string {
	var names []string
	for _, set := range sets {
		for _, sig := range set.Sigs {
			name := sig.SignerName
			if proof.Within(q.home(), name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// authenticate looks for the zone of q. One possibility is a secure zone that satisfies
// check. Only signers are considered that have no trust anchor between them and q. The
// other is a proof that the name is in an insecure zone: signatures are then neither
// required nor verified, and check is not called. Otherwise the answer is bogus, because
// a missing signature never proves that none should be there (RFC 4035 section 5).
func (j *judge) authenticate(q question, signers []string, missing Reason, check func(*zone) error) (*zone, error) {
	var problem error
	for _, signer := range signers {
		if j.chain.anchors.Between(signer, q.home()) {
			continue
		}
		if signer != "." && j.chain.known(signer) == nil && j.session.guess(question{signer, dns.TypeDS}) {
			j.session.guess(question{signer, dns.TypeDNSKEY}) // a zone that was not expected
		}
		z, err := j.chain.zone(signer)
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
	z, err := j.chain.zone(q.home())
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

// locate limits the judgement to the lifetime of the chain of trust. It also
// remembers that there is no zone cut between the zone and the name, so that none
// is asked for in advance next time.
func (j *judge) locate(q question, z *zone, found *judgement) {
	found.expires = earliest(found.expires, z.expires)
	if !z.secure() {
		return
	}
	for name := q.home(); name != z.apex && proof.Within(name, z.apex); name = proof.Parent(name) {
		j.chain.cache.Put(memory.Key{Name: name, Kind: memory.Zone}, z.apex, len(z.apex), found.expires, j.session.now)
	}
}
