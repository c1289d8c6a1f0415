package dnssec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

type testKey struct {
	record *dns.DNSKEY
	signer crypto.Signer
	// silent keys are published and do not sign.
	silent bool
}

func newKey(tb testing.TB, zone string, algorithm uint8, flags uint16) *testKey {
	tb.Helper()
	for {
		if k := randomKey(tb, zone, algorithm, flags); k.record.KeyTag() != 0 { // with which dns does not sign
			return k
		}
	}
}

func randomKey(tb testing.TB, zone string, algorithm uint8, flags uint16) *testKey {
	tb.Helper()
	k := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: flags, Protocol: 3, Algorithm: algorithm,
	}
	var signer crypto.Signer
	var err error
	switch algorithm {
	case dns.ECDSAP256SHA256, dns.ECDSAP384SHA384:
		curve := elliptic.P256()
		if algorithm == dns.ECDSAP384SHA384 {
			curve = elliptic.P384()
		}
		var priv *ecdsa.PrivateKey
		priv, err = ecdsa.GenerateKey(curve, rand.Reader)
		if err == nil {
			var point []byte
			point, err = priv.PublicKey.Bytes()
			k.PublicKey = base64of(point[1:])
		}
		signer = priv
	case dns.ED25519:
		var public ed25519.PublicKey
		public, signer, err = ed25519.GenerateKey(rand.Reader)
		k.PublicKey = base64of(public)
	default:
		return newRSAKey(tb, k, 1024)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &testKey{record: k, signer: signer}
}

// newRSAKey completes k with an RSA key of this size.
func newRSAKey(tb testing.TB, k *dns.DNSKEY, bits int) *testKey {
	tb.Helper()
	priv, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	k.PublicKey = base64of(append([]byte{3, 1, 0, 1}, priv.N.Bytes()...))
	return &testKey{record: k, signer: priv}
}

// sign returns the set with a signature by each signing key.
func (w *world) sign(z *testZone, set []dns.RR) []dns.RR {
	if z.unsigned {
		return set
	}
	for _, rr := range slices.Clone(set) {
		if rr != set[0] {
			continue
		}
		for _, k := range z.keys {
			if !k.silent {
				set = append(set, w.signature(z, k, set))
			}
		}
	}
	return set
}

func (w *world) signature(z *testZone, k *testKey, set []dns.RR) *dns.RRSIG {
	var plain []dns.RR
	key := k.record.PublicKey + z.validTo.String()
	for _, rr := range set {
		if rr.Header().Rrtype != dns.TypeRRSIG {
			plain = append(plain, rr)
			key += "\n" + rr.String()
		}
	}
	if sig := w.signed[key]; sig != nil {
		return dns.Copy(sig).(*dns.RRSIG)
	}
	sig := signWith(w.tb, z.name, k, z.validFrom, z.validTo, plain)
	w.signed[key] = sig
	return dns.Copy(sig).(*dns.RRSIG)
}

// signWith signs a set with any key in the name of any signer.
func signWith(tb testing.TB, signer string, k *testKey, from, to time.Time, set []dns.RR) *dns.RRSIG {
	sig := &dns.RRSIG{
		Hdr:        dns.RR_Header{Ttl: set[0].Header().Ttl},
		KeyTag:     k.record.KeyTag(),
		SignerName: signer,
		Algorithm:  k.record.Algorithm,
		Inception:  uint32(from.Unix()),
		Expiration: uint32(to.Unix()),
	}
	if sig.Algorithm == dns.ED448 {
		sig.Algorithm = dns.ED25519 // see ed448Signer
	}
	if err := sig.Sign(k.signer, set); err != nil {
		tb.Fatal(err)
	}
	sig.Algorithm = k.record.Algorithm
	return sig
}

// sigs signs a set with the first key of the zone.
func (w *world) sigs(z *testZone, set ...dns.RR) []dns.RR {
	return append(set, signWith(w.tb, z.name, z.keys[0], z.validFrom, z.validTo, set))
}
