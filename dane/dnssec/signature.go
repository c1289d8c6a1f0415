package dnssec

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// keySet is the authenticated DNSKEY RRset of a zone.
type keySet struct {
	apex string
	keys []zoneKey
}

// matching returns the keys that may have made sig.
func (ks *keySet) matching(sig *dns.RRSIG) []zoneKey {
	var keys []zoneKey
	for _, k := range ks.keys {
		if k.tag == sig.KeyTag && k.algorithm == sig.Algorithm {
			keys = append(keys, k)
		}
	}
	return keys
}

// verified is an RRset with a valid signature.
type verified struct {
	set     *rrset
	ttl     uint32 // RFC 4035 section 5.3.3
	expires time.Time
	// source is the owner that was signed: set.name, or the wildcard that it
	// was expanded from. What is expanded counts only together with a proof
	// that nothing closer exists.
	source string
}

func (v *verified) expanded() bool { return v.source != v.set.name }

// verify checks that a key of the zone signed the RRset (RFC 4035 section
// 5.3). One good signature suffices (RFC 6840 section 5.4), and signatures by
// keys that the zone does not have are as if they were not there (section
// 5.12).
func (b *budget) verify(set *rrset, zone *keySet, now time.Time) (*verified, error) {
	var data *signedData
	worst := fault{reason: SignatureMissing}
	tried := 0
	for _, sig := range set.sigs {
		if sig.SignerName != zone.apex || !mayBeSignedBy(set, zone.apex) {
			continue
		}
		keys := zone.matching(sig)
		if f := checkSignature(set, sig, keys, now); f.reason != 0 {
			worst = worst.or(f)
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(sig.Signature)
		if err != nil {
			continue
		}
		if tried++; tried > b.limits.SignaturesPerRRset {
			return nil, &limitError{what: "signatures of one RRset", limit: b.limits.SignaturesPerRRset}
		}
		if len(keys) > b.limits.KeysPerTag {
			return nil, &limitError{what: "keys of one tag", limit: b.limits.KeysPerTag}
		}
		if data == nil {
			if data, err = newSignedData(set); err != nil {
				return nil, failure(set.question(), Malformed, "%v", err)
			}
		}
		covered := data.covered(sig)
		for _, key := range keys {
			if err := b.verification(); err != nil {
				return nil, err
			}
			if key.verifies(covered, signature) {
				return accept(set, sig, now), nil
			}
		}
		worst = worst.or(fault{SignatureInvalid, "does not verify", sig})
	}
	return nil, worst.of(set, zone)
}

// fault is what is wrong with a signature. There may be hundreds of bad ones
// beside a good one, so it is put into words only when none is good.
type fault struct {
	reason Reason // 0 if nothing is wrong
	how    string
	sig    *dns.RRSIG // nil if there is none
}

// or keeps the more telling of two faults: a signature that was nearly good says
// more than one that is missing.
func (f fault) or(other fault) fault {
	if f.reason == SignatureMissing || f.reason == KeyMissing && other.reason != SignatureMissing {
		return other
	}
	return f
}

func (f fault) of(set *rrset, zone *keySet) *Error {
	q := set.question()
	switch f.reason {
	case SignatureMissing:
		return failure(q, f.reason, "no RRSIG by %q", zone.apex)
	case SignatureExpired:
		return failure(q, f.reason, "since %s", dns.TimeToString(f.sig.Expiration))
	case SignatureNotYetValid:
		return failure(q, f.reason, "until %s", dns.TimeToString(f.sig.Inception))
	case KeyMissing:
		return failure(q, f.reason, "no usable key with tag %d and algorithm %d in %q", f.sig.KeyTag, f.sig.Algorithm, zone.apex)
	default:
		return failure(q, f.reason, "RRSIG with key tag %d of %q %s", f.sig.KeyTag, zone.apex, f.how)
	}
}

// mayBeSignedBy reports whether a zone with this apex may hold the RRset: it
// is the owner or an ancestor of it, for DS an ancestor, because those are in
// the parent zone.
func mayBeSignedBy(set *rrset, apex string) bool {
	if set.rtype == dns.TypeDS {
		return below(set.name, apex)
	}
	return within(set.name, apex)
}

// checkSignature makes the checks of RFC 4035 section 5.3.1 that cost nothing.
// Owner, class, type and signer were compared before.
func checkSignature(set *rrset, sig *dns.RRSIG, keys []zoneKey, now time.Time) fault {
	t := uint32(now.Unix())
	switch {
	case int(sig.Labels) > signedLabels(set.name):
		return fault{SignatureInvalid, "has more labels than its owner", sig}
	case int(sig.Labels) < countLabels(sig.SignerName):
		return fault{SignatureInvalid, "is for a wildcard above its zone", sig}
	// RFC 4034 section 3.1.5: serial number arithmetic (RFC 1982).
	case int32(sig.Expiration-sig.Inception) < 0:
		return fault{SignatureInvalid, "expires before its inception", sig}
	case int32(sig.Expiration-t) < 0:
		return fault{SignatureExpired, "", sig}
	case int32(t-sig.Inception) < 0:
		return fault{SignatureNotYetValid, "", sig}
	case len(keys) == 0:
		return fault{KeyMissing, "", sig}
	}
	return fault{}
}

// accept computes what RFC 4035 section 5.3.3 says about the TTL.
func accept(set *rrset, sig *dns.RRSIG, now time.Time) *verified {
	left := sig.Expiration - uint32(now.Unix())
	ttl := min(set.ttl(), minTTL([]dns.RR{sig}), sig.OrigTtl, left)
	v := &verified{set: set, ttl: ttl, expires: after(now, ttl), source: set.name}
	if int(sig.Labels) < signedLabels(set.name) {
		v.source = wildcardOf(lastLabels(set.name, int(sig.Labels)))
	}
	return v
}

// signedData is an RRset in the canonical form of RFC 4034 section 6.
type signedData struct {
	name  string
	rtype uint16
	rdata [][]byte // sorted, without duplicates
}

func newSignedData(set *rrset) (*signedData, error) {
	d := &signedData{name: set.name, rtype: set.rtype, rdata: make([][]byte, 0, len(set.records))}
	for _, rr := range set.records {
		data := rdata(rr)
		if data == nil {
			return nil, errors.New("a record that cannot be written in canonical form")
		}
		d.rdata = append(d.rdata, data)
	}
	slices.SortFunc(d.rdata, bytes.Compare)
	d.rdata = slices.CompactFunc(d.rdata, bytes.Equal)
	return d, nil
}

// covered returns the octets that sig signs (RFC 4035 section 5.3.2).
func (d *signedData) covered(sig *dns.RRSIG) []byte {
	owner := d.name
	if int(sig.Labels) < signedLabels(owner) {
		owner = wildcardOf(lastLabels(owner, int(sig.Labels)))
	}
	header := wireName(owner)
	header = binary.BigEndian.AppendUint16(header, d.rtype)
	header = binary.BigEndian.AppendUint16(header, dns.ClassINET)
	header = binary.BigEndian.AppendUint32(header, sig.OrigTtl)

	signer := wireName(sig.SignerName)
	size := 18 + len(signer)
	for _, data := range d.rdata {
		size += len(header) + 2 + len(data)
	}
	buf := binary.BigEndian.AppendUint16(make([]byte, 0, size), sig.TypeCovered)
	buf = append(buf, sig.Algorithm, sig.Labels)
	buf = binary.BigEndian.AppendUint32(buf, sig.OrigTtl)
	buf = binary.BigEndian.AppendUint32(buf, sig.Expiration)
	buf = binary.BigEndian.AppendUint32(buf, sig.Inception)
	buf = binary.BigEndian.AppendUint16(buf, sig.KeyTag)
	buf = append(buf, signer...)
	for _, data := range d.rdata {
		buf = append(buf, header...)
		buf = binary.BigEndian.AppendUint16(buf, uint16(len(data)))
		buf = append(buf, data...)
	}
	return buf
}

// rdata returns the canonical RDATA of rr, or nil if it cannot be packed.
func rdata(rr dns.RR) []byte {
	rr = canonicalRecord(rr) // and never the record itself: packing writes to it
	wire := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return nil
	}
	start := 0
	for start < end && wire[start] != 0 {
		start += 1 + int(wire[start]) // a label of the owner, which is not compressed
	}
	start++
	if start+10 > end {
		return nil
	}
	return wire[start+10 : end : end]
}

// canonicalRecord returns a copy of rr with the names in its RDATA in lower
// case where RFC 4034 section 6.2 wants that.
func canonicalRecord(rr dns.RR) dns.RR {
	rr = dns.Copy(rr)
	for _, name := range canonicalNames(rr) {
		*name = dns.CanonicalName(*name)
	}
	return rr
}

// canonicalNames returns the names in the RDATA that have a canonical form:
// those of the types that RFC 4034 section 6.2 lists, without NSEC, whose next
// name keeps its case (RFC 6840 section 5.1), and HINFO, which has none.
func canonicalNames(rr dns.RR) []*string {
	switch x := rr.(type) {
	case *dns.NS:
		return []*string{&x.Ns}
	case *dns.MD:
		return []*string{&x.Md}
	case *dns.MF:
		return []*string{&x.Mf}
	case *dns.CNAME:
		return []*string{&x.Target}
	case *dns.SOA:
		return []*string{&x.Ns, &x.Mbox}
	case *dns.MB:
		return []*string{&x.Mb}
	case *dns.MG:
		return []*string{&x.Mg}
	case *dns.MR:
		return []*string{&x.Mr}
	case *dns.PTR:
		return []*string{&x.Ptr}
	case *dns.MINFO:
		return []*string{&x.Rmail, &x.Email}
	case *dns.MX:
		return []*string{&x.Mx}
	case *dns.RP:
		return []*string{&x.Mbox, &x.Txt}
	case *dns.AFSDB:
		return []*string{&x.Hostname}
	case *dns.RT:
		return []*string{&x.Host}
	case *dns.PX:
		return []*string{&x.Map822, &x.Mapx400}
	case *dns.NXT:
		return []*string{&x.NextDomain}
	case *dns.NAPTR:
		return []*string{&x.Replacement}
	case *dns.KX:
		return []*string{&x.Exchanger}
	case *dns.SRV:
		return []*string{&x.Target}
	case *dns.DNAME:
		return []*string{&x.Target}
	default:
		return nil
	}
}
