package dnssec

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
	"encoding/hex"
	"math/big"

	"github.com/miekg/dns"
)

// supportsAlgorithm reports whether signatures of the algorithm are validated
// (RFC 8624 section 3.1, its table now being the IANA registry by RFC 9904).
// RSAMD5, DSA and GOST must not be, Ed448 is not in Go's library, and those with
// SHA-1 are unsupported unless switched on (RFC 9905 section 2).
func supportsAlgorithm(algorithm uint8, sha1 bool) bool {
	switch algorithm {
	case dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519:
		return true
	case dns.RSASHA1, dns.RSASHA1NSEC3SHA1:
		return sha1
	default:
		return false
	}
}

// supportsDigest reports whether DS records of the digest type are used (RFC
// 8624 section 3.3).
func supportsDigest(digest uint8) bool {
	return digest == dns.SHA1 || digest == dns.SHA256 || digest == dns.SHA384
}

// digestSize returns the octets of a digest that is supported.
func digestSize(digest uint8) int {
	switch digest {
	case dns.SHA1:
		return sha1.Size
	case dns.SHA384:
		return sha512.Size384
	default:
		return sha256.Size
	}
}

// zoneKey is a DNSKEY that may verify signatures.
type zoneKey struct {
	owner     string
	tag       uint16
	algorithm uint8
	public    crypto.PublicKey
	rdata     []byte // of the record, canonical
}

// newZoneKey returns false for a key that must not be used: without the Zone
// Key flag or with another protocol (RFC 4034 section 2.1), revoked (RFC 5011
// section 2.1), of an unsupported algorithm or badly encoded. The SEP flag
// does not matter.
func newZoneKey(k *dns.DNSKEY, sha1 bool) (zoneKey, bool) {
	if k.Flags&dns.ZONE == 0 || k.Flags&dns.REVOKE != 0 || k.Protocol != 3 || !supportsAlgorithm(k.Algorithm, sha1) {
		return zoneKey{}, false
	}
	data := rdata(k)
	if len(data) < 4 {
		return zoneKey{}, false
	}
	public := publicKey(k.Algorithm, data[4:])
	return zoneKey{owner: k.Hdr.Name, tag: keyTag(data), algorithm: k.Algorithm, public: public, rdata: data}, public != nil
}

// keyTag is that of a DNSKEY with this RDATA (RFC 4034 appendix B).
func keyTag(rdata []byte) uint16 {
	sum := uint32(0)
	for i, octet := range rdata {
		sum += uint32(octet) << (8 * (^i & 1))
	}
	return uint16(sum + sum>>16)
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

// ecdsaKey reads x | y (RFC 6605 section 4) and refuses a point that is not on
// the curve.
func ecdsaKey(curve elliptic.Curve, data []byte) crypto.PublicKey {
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, data...))
	if err != nil {
		return nil
	}
	return key
}

// rsaKey reads exponent length, exponent and modulus (RFC 3110 section 2). The
// upper bounds keep a verification cheap.
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

// rsaPublicKey is a key of a size or with an exponent that crypto/rsa may not
// support.
type rsaPublicKey struct{ n, e *big.Int }

// verifies checks a signature over data.
func (k zoneKey) verifies(data, signature []byte) bool {
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
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, digest, r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(public, data, signature)
	default:
		return false
	}
}

func (k zoneKey) digest(data []byte) (crypto.Hash, []byte) {
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

// verifyRSA checks a PKCS #1 v1.5 signature. crypto/rsa refuses moduli below
// 1024 bits, which RFC 5702 section 2.1 permits to zones, and exponents of 2^31
// and more, which RFC 3110 section 2 does: those signatures are compared here
// with the one encoding that RFC 8017 section 8.2.2 allows.
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

// matchesAny reports whether one of the DS records stands for the key. Only
// those with its tag and algorithm cost a digest.
func (b *budget) matchesAny(k zoneKey, records []*dns.DS) (bool, error) {
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

// matches reports whether ds has the digest of the key (RFC 4034 section 5.1.4:
// over the canonical owner name and the RDATA).
func (k zoneKey) matches(ds *dns.DS) bool {
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
