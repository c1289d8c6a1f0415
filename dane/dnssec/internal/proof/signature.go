package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// KeySet is the authenticated DNSKEY RRset of a zone.
type KeySet struct {
	Apex string
	Keys []Key
}

// matching returns the keys that may have made sig.
func (ks *KeySet) matching(sig *dns.RRSIG) []Key {
	var keys []Key
	for _, k := range ks.Keys {
		if k.tag == sig.KeyTag && k.algorithm == sig.Algorithm {
			keys = append(keys, k)
		}
	}
	return keys
}

// Verified describes the valid signature of an RRset.
type Verified struct {
	TTL uint32 // of the records, in seconds (RFC 4035 section 5.3.3)
	// Expanded is true if the RRset was made from a wildcard. Such an RRset counts
	// only with a proof that no closer name exists.
	Expanded bool
	// source is the owner name that was signed: that of the RRset, or the wildcard.
	source string
}

// Verify checks that a key of the zone signed the RRset. It refuses RRsets that
// were expanded from a wildcard: DS, DNSKEY, DNAME, NSEC and NSEC3 RRsets mean
// their own name only.
func Verify(set *RRset, zone *KeySet, now time.Time, b *Budget) (*Verified, error) {
	v, err := verify(set, zone, now, b)
	if err == nil && v.Expanded {
		return nil, set.fault(SignatureInvalid, "expanded from the wildcard %q", v.source)
	}
	return v, err
}

// verify makes the checks of RFC 4035 section 5.3. One valid signature suffices
// (RFC 6840 section 5.4). Signatures by keys that the zone does not have are
// ignored (section 5.12).
func verify(set *RRset, zone *KeySet, now time.Time, b *Budget) (*Verified, error) {
	var data *signedData
	worst := flaw{fault: SignatureMissing}
	tried := 0
	for _, sig := range set.Sigs {
		if sig.SignerName != zone.Apex || !mayBeSignedBy(set, zone.Apex) {
			continue
		}
		keys := zone.matching(sig)
		if f := checkSignature(set, sig, keys, now, b.Limits); f.fault != 0 {
			worst = worst.or(f)
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(sig.Signature)
		if err != nil {
			continue
		}
		if tried++; tried > b.Limits.SignaturesPerRRset {
			return nil, &LimitError{What: "signatures of one RRset", Limit: b.Limits.SignaturesPerRRset}
		}
		if len(keys) > b.Limits.KeysPerTag {
			return nil, &LimitError{What: "keys of one tag", Limit: b.Limits.KeysPerTag}
		}
		if data == nil {
			if data = newSignedData(set); data == nil {
				return nil, set.fault(Malformed, "a record that cannot be written in canonical form")
			}
		}
		covered := data.covered(sig)
		for _, key := range keys {
			good, err := b.verifies(key, set, covered, signature)
			if err != nil {
				return nil, err
			}
			if good {
				return accept(set, sig, now, b.Limits.Late), nil
			}
		}
		worst = worst.or(flaw{SignatureInvalid, "does not verify", sig})
	}
	return nil, worst.error(set, zone)
}

// verifies reports whether the signature is good. Proofs of absence in one zone share
// records: the NSEC3 record of the apex is in nearly all of them. A good signature over
// such a record is remembered together with the key, so that the same octets are not
// verified again.
func (b *Budget) verifies(key Key, set *RRset, covered, signature []byte) (bool, error) {
	shared := b.Memory != nil && (set.Denies() || set.Type == dns.TypeSOA)
	var digest [32]byte
	if shared {
		h := sha256.New()
		for _, part := range [][]byte{key.rdata, covered, signature} {
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
			h.Write(part)
		}
		h.Sum(digest[:0])
		if b.Memory.Has(digest) {
			return true, nil
		}
	}
	if err := b.verification(); err != nil {
		return false, err
	}
	good := key.verifies(covered, signature)
	if good && shared {
		b.Memory.Add(digest, set.TTL())
	}
	return good, nil
}

// flaw is what is wrong with a signature. There may be hundreds of bad signatures
// next to a good one, so the error text is written only if none is good.
type flaw struct {
	fault Fault // 0 if nothing is wrong
	how   string
	sig   *dns.RRSIG // nil if there is none
}

// or keeps the more specific of two flaws: a signature that is nearly valid says
// more than a missing one.
func (f flaw) or(other flaw) flaw {
	if f.fault == SignatureMissing || f.fault == KeyMissing && other.fault != SignatureMissing {
		return other
	}
	return f
}

func (f flaw) error(set *RRset, zone *KeySet) error {
	switch f.fault {
	case SignatureMissing:
		return set.fault(f.fault, "no RRSIG by %q", zone.Apex)
	case SignatureExpired:
		return set.fault(f.fault, "since %s", date(f.sig.Expiration))
	case SignatureNotYetValid:
		return set.fault(f.fault, "until %s", date(f.sig.Inception))
	case KeyMissing:
		return set.fault(f.fault, "no usable key with tag %d and algorithm %d in %q", f.sig.KeyTag, f.sig.Algorithm, zone.Apex)
	default:
		return set.fault(f.fault, "RRSIG with key tag %d of %q %s", f.sig.KeyTag, zone.Apex, f.how)
	}
}

// date returns a time of a signature for people. Its form in zone files has no separators
// (RFC 4034 section 3.2).
func date(seconds uint32) string {
	text := dns.TimeToString(seconds)
	if at, err := time.Parse("20060102150405", text); err == nil {
		return at.Format(time.RFC3339)
	}
	return text
}

// mayBeSignedBy reports whether a zone with this apex may hold the RRset. The
// apex is the owner of the RRset or an ancestor of it. For DS it is an ancestor,
// because DS records are in the parent zone.
func mayBeSignedBy(set *RRset, apex string) bool {
	if set.Type == dns.TypeDS {
		return Below(set.Name, apex)
	}
	return Within(set.Name, apex)
}

// checkSignature makes the checks of RFC 4035 section 5.3.1 that cost nothing.
// The owner, class, type and signer have been compared already.
func checkSignature(set *RRset, sig *dns.RRSIG, keys []Key, now time.Time, l Limits) flaw {
	t, early, late := uint32(now.Unix()), uint32(l.Early/time.Second), uint32(l.Late/time.Second)
	switch {
	case int(sig.Labels) > signedLabels(set.Name):
		return flaw{SignatureInvalid, "has more labels than its owner", sig}
	case int(sig.Labels) < countLabels(sig.SignerName):
		return flaw{SignatureInvalid, "is for a wildcard above its zone", sig}
	// RFC 4034 section 3.1.5: serial number arithmetic (RFC 1982).
	case int32(sig.Expiration-sig.Inception) < 0:
		return flaw{SignatureInvalid, "expires before its inception", sig}
	case int32(sig.Expiration+late-t) < 0:
		return flaw{SignatureExpired, "", sig}
	case int32(t+early-sig.Inception) < 0:
		return flaw{SignatureNotYetValid, "", sig}
	case len(keys) == 0:
		return flaw{KeyMissing, "", sig}
	}
	return flaw{}
}

// accept computes the TTL of RFC 4035 section 5.3.3.
func accept(set *RRset, sig *dns.RRSIG, now time.Time, late time.Duration) *Verified {
	left := sig.Expiration + uint32(late/time.Second) - uint32(now.Unix())
	v := &Verified{TTL: min(set.TTL(), minTTL(sig), sig.OrigTtl, left), source: set.Name}
	if int(sig.Labels) < signedLabels(set.Name) {
		v.source = WildcardOf(lastLabels(set.Name, int(sig.Labels)))
		v.Expanded = v.source != set.Name
	}
	return v
}

// signedData is an RRset in the canonical form of RFC 4034 section 6.
type signedData struct {
	name  string
	rtype uint16
	rdata [][]byte // sorted, without duplicates
}

// newSignedData returns nil if a record cannot be written in this form.
func newSignedData(set *RRset) *signedData {
	d := &signedData{name: set.Name, rtype: set.Type, rdata: make([][]byte, 0, len(set.Records))}
	for _, rr := range set.Records {
		data := rdata(rr)
		if data == nil {
			return nil
		}
		d.rdata = append(d.rdata, data)
	}
	slices.SortFunc(d.rdata, bytes.Compare)
	d.rdata = slices.CompactFunc(d.rdata, bytes.Equal)
	return d
}

// covered returns the octets that sig signs (RFC 4035 section 5.3.2).
func (d *signedData) covered(sig *dns.RRSIG) []byte {
	owner := d.name
	if int(sig.Labels) < signedLabels(owner) {
		owner = WildcardOf(lastLabels(owner, int(sig.Labels)))
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
