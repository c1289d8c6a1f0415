package proof

import (
	"errors"
	"time"

	"github.com/miekg/dns"
)

// VerifyAnswer checks that a key of the zone signed the RRset. An RRset that was
// expanded from a wildcard needs a proof in the authority section that no closer
// name exists. If that proof has opt-out, or is too costly to check, the RRset is
// insecure.
func VerifyAnswer(set *RRset, authority []*RRset, zone *KeySet, now time.Time, b *Budget) (v *Verified, insecure bool, err error) {
	v, err = verify(set, zone, now, b)
	if err != nil || !v.Expanded {
		return v, false, err
	}
	if set.Type == dns.TypeDNAME || set.Type == dns.TypeDS {
		return nil, false, set.fault(SignatureInvalid, "expanded from the wildcard %q", v.source)
	}
	d, err := CollectDenials(authority, zone, now, b)
	if err != nil {
		return nil, false, err
	}
	insecure, err = d.provesExpansion(set, v.source)
	v.TTL = min(v.TTL, d.TTL)
	return v, insecure, err
}

// Absence is what a denial proves about a question.
type Absence struct {
	Rcode int // NOERROR for NODATA, or NXDOMAIN
	// Insecure is true if the proof leaves room for an unsigned delegation
	// (opt-out, RFC 5155 section 9.2) or is too costly to check (RFC 9276 section
	// 3.2).
	Insecure   bool
	Delegation bool // the name is delegated; only for questions for DS
	Wildcard   bool // NODATA through a wildcard: the name itself does not exist
	TTL        uint32
}

// Denials is the authenticated NSEC and NSEC3 records of one zone in one reply.
type Denials struct {
	TTL uint32 // the smallest of all RRsets that were added

	zone   *KeySet
	now    time.Time
	budget *Budget

	nsec       []nsec
	nsec3      *nsec3Chain // nil if there are none
	considered int         // NSEC and NSEC3 RRsets
}

// NewDenials returns Denials without records.
func NewDenials(zone *KeySet, now time.Time, b *Budget) *Denials {
	return &Denials{TTL: MaxTTL, zone: zone, now: now, budget: b}
}

// CollectDenials verifies those RRsets of an authority section that may deny
// something and claim to be of the zone. The section may hold denials of other
// zones. RRsets that fail are left out, because they prove nothing. If all fail,
// the last failure is returned.
func CollectDenials(authority []*RRset, zone *KeySet, now time.Time, b *Budget) (*Denials, error) {
	d := NewDenials(zone, now, b)
	var problem error
	for _, set := range authority {
		if !set.Denies() || !set.claimsSigner(zone.Apex) {
			continue
		}
		err := d.Add(set)
		if limit := new(LimitError); errors.As(err, &limit) && limit.Total {
			return nil, err
		}
		if err != nil {
			problem = err
		}
	}
	if len(d.nsec) == 0 && d.nsec3 == nil && problem != nil {
		return nil, problem
	}
	return d, nil
}

// Add verifies an RRset, which may be of any type, and adds what it proves.
func (d *Denials) Add(set *RRset) error {
	if set.Denies() {
		if d.considered++; d.considered > d.budget.Limits.DenialRecords {
			return &LimitError{What: "records of denial in one reply", Limit: d.budget.Limits.DenialRecords}
		}
	}
	v, err := Verify(set, d.zone, d.now, d.budget)
	if err != nil {
		return err
	}
	d.TTL = min(d.TTL, v.TTL)
	d.addVerified(set)
	return nil
}

// addVerified adds a verified RRset. A name has one NSEC or NSEC3 record (RFC 4034
// section 4, RFC 5155 section 7.1), so an RRset of several proves nothing.
func (d *Denials) addVerified(set *RRset) {
	records := set.Distinct()
	if len(records) != 1 {
		return
	}
	switch rr := records[0].(type) {
	case *dns.NSEC:
		// The next name is in the same zone (RFC 4034 section 4.1.1).
		if record := newNSEC(rr, d.zone.Apex); Within(record.next, record.apex) {
			d.nsec = append(d.nsec, record)
		}
	case *dns.NSEC3:
		record, ok := newNSEC3(rr, d.zone.Apex)
		if !ok {
			return
		}
		if d.nsec3 == nil {
			d.nsec3 = newNSEC3Chain(rr, d.zone.Apex, d.budget)
		}
		d.nsec3.add(rr, record)
	}
}

// Deny returns what the records prove about the question. Whether it is NODATA or
// NXDOMAIN follows from the proof. rcode is that of the reply.
func (d *Denials) Deny(name string, rtype uint16, rcode int) (a *Absence, err error) {
	a = d.denyByNSEC(name, rtype)
	if a == nil && d.nsec3 != nil {
		if a, err = d.nsec3.deny(name, rtype, rcode); err != nil {
			return nil, err
		}
	}
	if a == nil {
		q := &RRset{Name: name, Type: rtype}
		return nil, q.fault(DenialMissing, "the zone %q does not prove that there is none", d.zone.Apex)
	}
	a.TTL = d.TTL
	return a, nil
}

// provesExpansion checks that no name exists that is closer to that of the RRset
// than the wildcard from which it was expanded (RFC 4035 section 5.3.4, RFC 5155
// section 8.8).
func (d *Denials) provesExpansion(set *RRset, wildcard string) (insecure bool, err error) {
	encloser := Parent(wildcard)
	if d.nsecProvesExpansion(set.Name, encloser) {
		return false, nil
	}
	if d.nsec3 != nil {
		proven, insecure, err := d.nsec3.provesExpansion(set.Name, encloser)
		if proven || err != nil {
			return insecure, err
		}
	}
	return false, set.fault(DenialMissing, "expanded from %q without proof that nothing closer exists", wildcard)
}
