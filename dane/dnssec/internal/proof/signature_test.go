package proof

import (
	"crypto"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// SEC-35, SEC-36, SEC-37: the signed octets are the canonical form. The dns
// package signs what this package verifies, so that neither checks itself.
func TestCanonicalForm(t *testing.T) {
	t.Parallel()
	k := newKey(t, "example.com.", dns.ECDSAP256SHA256)
	key, ok := NewKey(k.record, false)
	if !ok {
		t.Fatal("key is not usable")
	}
	now := time.Unix(1800000000, 0)
	for _, text := range []string{
		"x.example.com. 60 IN A 192.0.2.1",
		"X.EXAMPLE.com. 60 IN A 192.0.2.1",
		"x.example.com. 60 IN AAAA 2001:db8::1",
		"x.example.com. 60 IN NS NS.Example.COM.",
		"x.example.com. 60 IN MD A.Example.COM.",
		"x.example.com. 60 IN MF A.Example.COM.",
		"x.example.com. 60 IN MB A.Example.COM.",
		"x.example.com. 60 IN MG A.Example.COM.",
		"x.example.com. 60 IN MR A.Example.COM.",
		"x.example.com. 60 IN MINFO A.Example.COM. B.Example.COM.",
		"x.example.com. 60 IN RP A.Example.COM. B.Example.COM.",
		"x.example.com. 60 IN AFSDB 1 A.Example.COM.",
		"x.example.com. 60 IN RT 1 A.Example.COM.",
		"x.example.com. 60 IN PX 1 A.Example.COM. B.Example.COM.",
		"x.example.com. 60 IN KX 1 A.Example.COM.",
		"x.example.com. 60 IN NAPTR 1 2 \"S\" \"SIP\" \"\" A.Example.COM.",
		"x.example.com. 60 IN SRV 1 2 25 A.Example.COM.",
		"x.example.com. 60 IN PTR A.Example.COM.",
		"x.example.com. 60 IN CNAME A.Example.COM.",
		"x.example.com. 60 IN DNAME A.Example.COM.",
		"x.example.com. 60 IN MX 10 Mx.Example.COM.",
		"x.example.com. 60 IN SOA Ns.Example.COM. Host.Example.COM. 1 2 3 4 5",
		"x.example.com. 60 IN HINFO \"Cpu\" \"Os\"",
		"x.example.com. 60 IN NSEC Next.Example.COM. A RRSIG NSEC",
		"x.example.com. 60 IN TXT \"v=STSv1; id=1\" \"\\000\\255\\\"\\\\\"",
		"_25._tcp.x.example.com. 60 IN TLSA 3 1 1 ABCDEF",
		"x.example.com. 60 IN TYPE65400 \\# 3 AbCdEf",
		"*.example.com. 60 IN A 192.0.2.1",
		`a\.b\032c\\.example.com. 60 IN A 192.0.2.1`,
	} {
		records := []dns.RR{dnsdata.RR(t, text)}
		sig := k.sign(t, now, records...)
		v, err := Verify(newRRset(sig, records...), &KeySet{"example.com.", []Key{key}}, now, newBudget())
		if err != nil || v.Expanded {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Order and duplicates do not matter; names below the owner do.
	texts := []string{"x.example.com. 60 IN A 192.0.2.200", "x.example.com. 60 IN A 10.0.0.1", "x.example.com. 60 IN A 192.0.2.3"}
	var records []dns.RR
	for _, text := range texts {
		records = append(records, dnsdata.RR(t, text))
	}
	sig := k.sign(t, now, records...)
	shuffled := newRRset(sig, records[2], records[0], records[1], dns.Copy(records[0]))
	if _, err := Verify(shuffled, &KeySet{"example.com.", []Key{key}}, now, newBudget()); err != nil {
		t.Error(err)
	}
	if got := shuffled.Distinct(); len(got) != 3 {
		t.Errorf("%d records without duplicates", len(got))
	}
}

// SEC-45, SEC-70, SEC-79: keys and signatures of all supported algorithms are
// verified, and those of the wrong size or shape are refused without a panic.
func TestKeyEncodings(t *testing.T) {
	t.Parallel()
	now := time.Unix(1800000000, 0)
	for _, algorithm := range []uint8{dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519} {
		k := newKey(t, "example.com.", algorithm)
		record := dnsdata.RR(t, "x.example.com. 60 IN A 192.0.2.1")
		sig := k.sign(t, now, record)
		verify := func(public *dns.DNSKEY, sig *dns.RRSIG) bool {
			key, ok := NewKey(public, true)
			if !ok {
				return false
			}
			key.tag = sig.KeyTag
			_, err := Verify(newRRset(sig, record), &KeySet{"example.com.", []Key{key}}, now, newBudget())
			return err == nil
		}
		if !verify(k.record, sig) {
			t.Errorf("algorithm %d: a good signature is refused", algorithm)
		}
		for _, bad := range []string{"", "AA==", "AAAA", "AAAAAAAA", strings.Repeat("A", 128), strings.Repeat("/", 128), "AP//" + strings.Repeat("A", 1000), "####"} {
			public, badSig := dns.Copy(k.record).(*dns.DNSKEY), dns.Copy(sig).(*dns.RRSIG)
			public.PublicKey = bad
			badSig.Signature = bad
			if verify(public, sig) || verify(k.record, badSig) {
				t.Errorf("algorithm %d: %.20q... is accepted", algorithm, bad)
			}
		}
	}
}

// SEC-45, SEC-70: the sizes of RSA keys.
func TestRSAKeySizes(t *testing.T) {
	t.Parallel()
	modulus := func(bits int) []byte {
		n := make([]byte, bits/8)
		n[0], n[len(n)-1] = 0x80, 1
		return n
	}
	e := []byte{3, 1, 0, 1}
	for _, tt := range []struct {
		what string
		data []byte
		min  int
		ok   bool
	}{
		{"512 bits", append(e, modulus(512)...), 512, true},
		{"504 bits", append(e, modulus(504)...), 512, false},
		{"512 bits for RSASHA512", append(e, modulus(512)...), 1024, false},
		{"4096 bits", append(e, modulus(4096)...), 512, true},
		{"4104 bits", append(e, modulus(4104)...), 512, false},
		{"long form of the length", append([]byte{0, 0, 3, 1, 0, 1}, modulus(1024)...), 512, true},
		{"exponent 3", append([]byte{1, 3}, modulus(1024)...), 512, true},
		{"exponent 1", append([]byte{1, 1}, modulus(1024)...), 512, false},
		{"exponent 0", append([]byte{1, 0}, modulus(1024)...), 512, false},
		{"even exponent", append([]byte{1, 4}, modulus(1024)...), 512, false},
		{"exponent of 5 octets", append([]byte{5, 1, 0, 0, 0, 1}, modulus(1024)...), 512, true},
		{"exponent above 2^31", append([]byte{4, 0xff, 0xff, 0xff, 0xff}, modulus(1024)...), 512, true},
		{"exponent of 9 octets", append([]byte{9, 1, 0, 0, 0, 0, 0, 0, 0, 1}, modulus(1024)...), 512, false},
		{"exponent longer than the key", []byte{0, 0xff, 0xff, 1, 1, 1}, 512, false},
		{"even modulus", append(e, append(modulus(1016), 0)...), 512, false},
	} {
		if got := rsaKey(tt.data, tt.min) != nil; got != tt.ok {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}

// SEC-45: signatures by keys that crypto/rsa does not verify: of 512 bits, or
// with an exponent above 2^31 (RFC 3110 section 2).
func TestRawRSA(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		e    int64
		bits int
		hash crypto.Hash
	}{{65537, 512, crypto.SHA1}, {65537, 512, crypto.SHA256}, {1<<32 + 1, 1024, crypto.SHA256}, {1<<32 + 1, 1024, crypto.SHA512}, {65537, 1024, crypto.SHA512}} {
		key, sign := rawRSA(t, big.NewInt(tt.e), tt.bits)
		digest := make([]byte, tt.hash.Size())
		signature := sign(tt.hash, digest)
		if !verifyRSA(key, tt.hash, digest, signature) {
			t.Errorf("%v: a good signature is refused", tt)
		}
		for i := range signature {
			bad := append([]byte(nil), signature...)
			bad[i] ^= 1
			if verifyRSA(key, tt.hash, digest, bad) {
				t.Errorf("%v: a bad signature is accepted", tt)
			}
		}
		if verifyRSA(key, tt.hash, digest, append([]byte{0}, signature...)) || verifyRSA(key, tt.hash, digest, nil) {
			t.Errorf("%v: a signature of the wrong length is accepted", tt)
		}
		tooBig := key.n.FillBytes(make([]byte, tt.bits/8))
		if verifyRSA(key, tt.hash, digest, tooBig) {
			t.Errorf("%v: a signature that is no residue is accepted", tt)
		}
	}
}

// BenchmarkCostliestVerification measures the signature that takes longest of
// those that are accepted: RSA with 4096 bits and an exponent of 64 bits. The
// limit is 2 ms: a lookup makes 64 verifications at most, which is 128 ms.
func BenchmarkCostliestVerification(b *testing.B) {
	modulus := slices.Repeat([]byte{0xff}, 4096/8)
	public, _ := rsaKey(slices.Concat([]byte{8}, slices.Repeat([]byte{0xff}, 8), modulus), 512).(*rsaPublicKey)
	if public == nil {
		b.Fatal("the key is not usable")
	}
	key := Key{algorithm: dns.RSASHA512, public: public}
	signature := new(big.Int).Sub(public.n, big.NewInt(3)).Bytes()
	for b.Loop() {
		if key.verifies([]byte("data"), signature) {
			b.Fatal("a good signature")
		}
	}
}

// newBudget returns a budget that no test spends.
func newBudget() *Budget {
	return NewBudget(Limits{
		KeysPerTag: 4, SignaturesPerRRset: 8, KeysPerZone: 32, DenialRecords: 12, NSEC3Iterations: 100,
		Verifications: 64, NSEC3Hashes: 64, Digests: 128,
	})
}

type testKey struct {
	record *dns.DNSKEY
	signer crypto.Signer
}

func newKey(tb testing.TB, zone string, algorithm uint8) *testKey {
	tb.Helper()
	bits := map[uint8]int{dns.ECDSAP256SHA256: 256, dns.ECDSAP384SHA384: 384, dns.ED25519: 256}[algorithm]
	if bits == 0 {
		bits = 1024
	}
	for {
		record := &dns.DNSKEY{
			Hdr:   dns.RR_Header{Name: zone, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
			Flags: dns.ZONE, Protocol: 3, Algorithm: algorithm,
		}
		private, err := record.Generate(bits)
		if err != nil {
			tb.Fatal(err)
		}
		if record.KeyTag() != 0 { // with which dns does not sign
			return &testKey{record, private.(crypto.Signer)}
		}
	}
}

// sign returns a signature that is valid for an hour before and after now.
func (k *testKey) sign(tb testing.TB, now time.Time, records ...dns.RR) *dns.RRSIG {
	tb.Helper()
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Ttl: records[0].Header().Ttl}, KeyTag: k.record.KeyTag(), SignerName: k.record.Hdr.Name, Algorithm: k.record.Algorithm,
		Inception: uint32(now.Add(-time.Hour).Unix()), Expiration: uint32(now.Add(time.Hour).Unix()),
	}
	if err := sig.Sign(k.signer, records); err != nil {
		tb.Fatal(err)
	}
	return sig
}

func newRRset(sig *dns.RRSIG, records ...dns.RR) *RRset {
	h := records[0].Header()
	name, _ := CanonicalName(h.Name)
	return &RRset{Name: name, Type: h.Rrtype, Records: records, Sigs: []*dns.RRSIG{sig}}
}
