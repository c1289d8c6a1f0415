package proof

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"slices"

	"github.com/miekg/dns"
)

// SupportsAlgorithm reports whether signatures of the algorithm are validated
// (RFC 8624 section 3.1, whose table RFC 9904 has moved to an IANA registry).
// RSAMD5, DSA and GOST must not be validated. Ed448 is not in the standard
// library. Algorithms with SHA-1 are supported only if sha1 is true (RFC 9905
// section 2).
func SupportsAlgorithm(algorithm uint8, sha1 bool) bool {
	switch algorithm {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1:
		return sha1
	default:
		return false
	}
}

// DigestSize returns the octets of a digest in DS records, or 0 if the digest
// type is not supported (RFC 8624 section 3.3).
func DigestSize(digest uint8) int {
	switch digest {
	case dns.SHA1:
		return sha1.Size
	case dns.SHA256:
		return sha256.Size
	case dns.SHA384:
		return sha512.Size384
	default:
		return 0
	}
}

// Key is a DNSKEY record that may verify signatures.
type Key struct {
	owner     string
	tag       uint16
	algorithm uint8
	public    crypto.PublicKey
	rdata     []byte // of the record, canonical
}

// NewKey returns false for a key that must not be used: one without the Zone Key
// flag or with another protocol (RFC 4034 section 2.1), a revoked one (RFC 5011
// section 2.1), one of an unsupported algorithm, or one that is badly encoded.
// The SEP flag does not matter.
func NewKey(k *dns.DNSKEY, sha1 bool) (Key, bool) {
	if k.Flags&dns.ZONE == 0 || k.Flags&dns.REVOKE != 0 || k.Protocol != 3 || !SupportsAlgorithm(k.Algorithm, sha1) {
		return Key{}, false
	}
	data := rdata(k)
	if len(data) < 4 {
		return Key{}, false
	}
	public := publicKey(k.Algorithm, data[4:])
	return Key{owner: k.Hdr.Name, tag: keyTag(data), algorithm: k.Algorithm, public: public, rdata: data}, public != nil
}

// keyTag returns the key tag of a DNSKEY record with this RDATA (RFC 4034
// appendix B).
func keyTag(rdata []byte) uint16 {
	sum := uint32(0)
	for i, octet := range rdata {
		sum += uint32(octet) << (8 * (^i & 1))
	}
	return uint16(sum + sum>>16)
}

// HasPublicKey reports whether the public key of the record can be read. The
// algorithm must be a supported one.
func HasPublicKey(rr *dns.DNSKEY) bool {
	data, err := base64.StdEncoding.DecodeString(rr.PublicKey)
	return err == nil && publicKey(rr.Algorithm, data) != nil
}

func publicKey(algorithm uint8, data []byte) crypto.PublicKey {
	switch algorithm {
	case dns.ECDSAP256SHA256:
		return ecdsaKey(elliptic.P256(), data)
	case dns.ECDSAP384SHA384:
		return ecdsaKey(elliptic.P384(), data)
	case dns.ED25519:
		if len(data) != ed25519.PublicKeySize {
			return nil
		}
		return ed25519.PublicKey(data)
	case dns.RSASHA512:
		return rsaKey(data, 1024)
	default:
		return rsaKey(data, 512)
	}
}

// ecdsaKey reads x | y (RFC 6605 section 4). It returns nil if the point is not
// on the curve.
func ecdsaKey(curve elliptic.Curve, data []byte) crypto.PublicKey {
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, data...))
	if err != nil {
		return nil
	}
	return key
}

// rsaKey reads the length of the exponent, the exponent and the modulus (RFC 3110
// section 2). The upper bounds keep verifications cheap.
func rsaKey(data []byte, minBits int) crypto.PublicKey {
	if len(data) < 3 {
		return nil
	}
	length, rest := int(data[0]), data[1:]
	if length == 0 {
		length, rest = int(data[1])<<8|int(data[2]), data[3:]
	}
	if length == 0 || length > 8 || length >= len(rest) || len(rest)-length > 4096/8 {
		return nil
	}
	e := new(big.Int).SetBytes(rest[:length])
	n := new(big.Int).SetBytes(rest[length:])
	if e.Cmp(big.NewInt(3)) < 0 || e.Bit(0) == 0 || n.BitLen() < minBits || n.Bit(0) == 0 {
		return nil
	}
	return &rsaPublicKey{n, e}
}

// rsaPublicKey may have a size or an exponent that crypto/rsa does not support.
type rsaPublicKey struct{ n, e *big.Int }

// verifies checks a signature over data.
func (k Key) verifies(data, signature []byte) bool {
	switch public := k.public.(type) {
	case *rsaPublicKey:
		hash, digest := k.digest(data)
		return verifyRSA(public, hash, digest, signature)
	case *ecdsa.PublicKey:
		// r | s, each as long as the field (RFC 6605 section 4).
		size := (public.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		_, digest := k.digest(data)
		return ecdsa.VerifyASN1(public, digest, asn1Signature(signature[:size], signature[size:]))
	case ed25519.PublicKey:
		return ed25519.Verify(public, data, signature)
	default:
		return false
	}
}

// asn1Signature returns the DER form of an ECDSA signature (RFC 3279 section 2.2.3). r and s
// are short enough for lengths of one octet.
func asn1Signature(r, s []byte) []byte {
	const sequence, integer = 0x30, 2
	der := append(make([]byte, 0, 2+2*(3+len(r))), sequence, 0)
	for _, n := range [][]byte{r, s} {
		n = bytes.TrimLeft(n, "\x00")
		der = append(der, integer, byte(len(n)))
		if len(n) == 0 || n[0] >= 0x80 { // it would be read as empty, or negative
			der[len(der)-1]++
			der = append(der, 0)
		}
		der = append(der, n...)
	}
	der[1] = byte(len(der) - 2)
	return der
}

func (k Key) digest(data []byte) (crypto.Hash, []byte) {
	switch k.algorithm {
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1:
		sum := sha1.Sum(data)
		return crypto.SHA1, sum[:]
	case dns.RSASHA512:
		sum := sha512.Sum512(data)
		return crypto.SHA512, sum[:]
	case dns.ECDSAP384SHA384:
		sum := sha512.Sum384(data)
		return crypto.SHA384, sum[:]
	default:
		sum := sha256.Sum256(data)
		return crypto.SHA256, sum[:]
	}
}

// verifyRSA checks a PKCS #1 v1.5 signature. crypto/rsa refuses moduli below 1024
// bits, which RFC 5702 section 2.1 permits, and exponents of 2^31 and more, which
// RFC 3110 section 2 permits. Signatures by such keys are compared with the one
// encoding that RFC 8017 section 8.2.2 allows.
func verifyRSA(public *rsaPublicKey, hash crypto.Hash, digest, signature []byte) bool {
	if public.n.BitLen() >= 1024 && public.e.BitLen() < 32 {
		key := &rsa.PublicKey{N: public.n, E: int(public.e.Int64())}
		return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
	}
	size := (public.n.BitLen() + 7) / 8
	prefix := digestInfo(hash)
	padding := size - 3 - len(prefix) - len(digest)
	s := new(big.Int).SetBytes(signature)
	if len(signature) != size || padding < 8 || s.Cmp(public.n) >= 0 {
		return false
	}
	got := s.Exp(s, public.e, public.n).FillBytes(make([]byte, size))
	want := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, padding)...)
	want = append(append(append(want, 0), prefix...), digest...)
	return bytes.Equal(got, want)
}

// digestInfo is the DER prefix of RFC 8017 section 9.2 note 1.
func digestInfo(hash crypto.Hash) []byte {
	switch hash {
	case crypto.SHA1:
		return []byte("\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14")
	case crypto.SHA512:
		return []byte("\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40")
	}
	return []byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")
}

// MatchesAny reports whether one of the DS records has the digest of the key.
// Only DS records with the tag and the algorithm of the key cost a digest.
func (k Key) MatchesAny(records []*dns.DS, b *Budget) (bool, error) {
	for _, ds := range records {
		if k.tag != ds.KeyTag || k.algorithm != ds.Algorithm {
			continue
		}
		if err := b.digest(); err != nil {
			return false, err
		}
		if k.matches(ds) {
			return true, nil
		}
	}
	return false, nil
}

// matches reports whether ds has the digest of the key, which covers the
// canonical owner name and the RDATA (RFC 4034 section 5.1.4).
func (k Key) matches(ds *dns.DS) bool {
	want, err := hex.DecodeString(ds.Digest)
	if err != nil {
		return false
	}
	record := append(wireName(k.owner), k.rdata...)
	switch ds.DigestType {
	case dns.SHA1:
		sum := sha1.Sum(record)
		return bytes.Equal(sum[:], want)
	case dns.SHA256:
		sum := sha256.Sum256(record)
		return bytes.Equal(sum[:], want)
	case dns.SHA384:
		sum := sha512.Sum384(record)
		return bytes.Equal(sum[:], want)
	default:
		return false
	}
}

// UsableDS returns the DS records with a supported algorithm and digest. Records
// with SHA-1 are ignored if there are better ones (RFC 4509 section 3).
func UsableDS(set *RRset, sha1 bool, b *Budget) ([]*dns.DS, error) {
	var usable []*dns.DS
	better := false
	for _, rr := range set.Distinct() {
		ds, ok := rr.(*dns.DS)
		if !ok || !SupportsAlgorithm(ds.Algorithm, sha1) || DigestSize(ds.DigestType) == 0 {
			continue
		}
		better = better || ds.DigestType != dns.SHA1
		usable = append(usable, ds)
	}
	if limit := b.Limits.KeysPerZone; len(usable) > limit {
		return nil, &LimitError{What: "DS records of one delegation", Limit: limit}
	}
	if better {
		usable = slices.DeleteFunc(usable, func(ds *dns.DS) bool { return ds.DigestType == dns.SHA1 })
	}
	return usable, nil
}

// Size estimates the memory that the key takes.
func (k Key) Size() int { return 256 + 2*len(k.rdata) }

// KeysOf returns the keys of the DNSKEY RRset of a zone that can be used, and those of them
// that match one of the DS records.
func KeysOf(set *RRset, ds []*dns.DS, sha1 bool, budget *Budget) (all, entry *KeySet, err error) {
	if limit := budget.Limits.KeysPerZone; len(set.Records) > limit {
		return nil, nil, &LimitError{What: "keys of one zone", Limit: limit}
	}
	all, entry = &KeySet{Apex: set.Name}, &KeySet{Apex: set.Name}
	for _, rr := range set.Records {
		record, ok := rr.(*dns.DNSKEY)
		if !ok {
			continue
		}
		key, ok := NewKey(record, sha1)
		if !ok {
			continue
		}
		all.Keys = append(all.Keys, key)
		matches, err := key.MatchesAny(ds, budget)
		if err != nil {
			return nil, nil, err
		}
		if matches {
			entry.Keys = append(entry.Keys, key)
		}
	}
	return all, entry, nil
}
