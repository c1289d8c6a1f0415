package dnssec

import (
	"crypto"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// resigned replaces the signature in the answer by one over the same records
// with edits of its fields before signing.
func (w *world) resigned(z *testZone, m *dns.Msg, signer string, k *testKey, from, to time.Time) {
	m.Answer = without(m.Answer, isType(dns.TypeRRSIG))
	m.Answer = append(m.Answer, signWith(w.tb, signer, k, from, to, m.Answer))
}

// SEC-29, field note 30: a signature counts for the RRset of its own owner,
// class and type, and a forged record in or beside a signed RRset does not
// pass.
func TestSignatureCoversItsOwnRRset(t *testing.T) {
	t.Parallel()
	forged := "mx.example.com. 300 IN A 203.0.113.66"
	for what, bend := range map[string]func(w *world, m *dns.Msg){
		"another owner": func(w *world, m *dns.Msg) {
			eachSignature(m, func(s *dns.RRSIG) { s.Hdr.Name = "www.example.com." })
		},
		"another type": func(w *world, m *dns.Msg) {
			eachSignature(m, func(s *dns.RRSIG) { s.TypeCovered = dns.TypeAAAA })
		},
		"another class": func(w *world, m *dns.Msg) {
			eachSignature(m, func(s *dns.RRSIG) { s.Hdr.Class = dns.ClassCHAOS })
		},
		"forged record in the RRset": func(w *world, m *dns.Msg) {
			m.Answer = append(m.Answer, rr(w.tb, forged))
		},
		"forged RRset beside a signed one of the same type": func(w *world, m *dns.Msg) {
			other := w.sigs(w.zones["example.com."], rr(w.tb, "other.example.com. 300 IN A 192.0.2.1"))
			m.Answer = append([]dns.RR{rr(w.tb, forged)}, other...)
		},
		"record taken out": func(w *world, m *dns.Msg) {
			two := w.sigs(w.zones["example.com."], rr(w.tb, "mx.example.com. 300 IN A 192.0.2.1"), rr(w.tb, "mx.example.com. 300 IN A 192.0.2.2"))
			m.Answer = two[1:]
		},
		"signature in another section": func(w *world, m *dns.Msg) {
			m.Ns, m.Answer = append(m.Ns, m.Answer[1:]...), m.Answer[:1]
		},
	} {
		w := mail(t)
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) { bend(w, m) })
		if w.expectError(t, "mx.example.com", dns.TypeA, SignatureMissing, SignatureInvalid); t.Failed() {
			t.Fatal(what)
		}
	}
}

// SEC-30, field note 31: the signer is the zone of the RRset: not a sibling,
// not a name that only ends in the same letters, not a name below, and for DS
// not the child.
func TestSigner(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.zone("evilexample.com.")
	w.zone("sub.mx.example.com.")
	evil := w.zone("le.com.")
	escaped := w.zone(`evil\.example.com.`, `mx.evil\.example.com. 60 IN A 192.0.2.5`)
	w.expect(t, `mx.evil\.example.com.`, dns.TypeA, Secure)
	w.expect(t, `mx.evil\046example.com.`, dns.TypeA, Secure)
	for _, signer := range []*testZone{w.zones["evilexample.com."], w.zones["sub.mx.example.com."], evil, escaped, w.zones["com."], w.zones["."]} {
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
			w.resigned(signer, m, signer.name, signer.keys[0], signer.validFrom, signer.validTo)
		})
		_, err := w.lookup("mx.example.com", dns.TypeA)
		if within("mx.example.com.", signer.name) {
			// An ancestor zone's own key is not forged by anybody but that
			// zone, which could as well change the delegation.
			if err != nil {
				t.Errorf("signed by %s: %v", signer.name, err)
			}
		} else if err == nil {
			t.Errorf("a signature by %s was believed", signer.name)
		}
	}
	// A signer that is a name in the zone and no zone.
	z := w.zones["example.com."]
	for _, signer := range []string{"mx.example.com.", "nowhere.", "_25._tcp.mx.example.com."} {
		w.on("_25._tcp.mx.example.com.", dns.TypeTLSA, func(m *dns.Msg) {
			w.resigned(z, m, signer, z.keys[0], z.validFrom, z.validTo)
		})
		w.expectError(t, "_25._tcp.mx.example.com", dns.TypeTLSA, KeyMissing, SignatureMissing)
	}
	// An unsigned zone as signer does not make signed data insecure.
	w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
		w.resigned(z, m, "plain.com.", z.keys[0], z.validFrom, z.validTo)
	})
	w.expectError(t, "mx.example.com", dns.TypeA, SignatureMissing)
}

// SEC-31: a signature with more labels than the owner is unusable; so is one
// for a wildcard above its zone.
func TestLabels(t *testing.T) {
	t.Parallel()
	w := mail(t)
	for _, labels := range []uint8{0, 1, 4, 255} {
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
			eachSignature(m, func(s *dns.RRSIG) { s.Labels = labels })
		})
		w.expectError(t, "mx.example.com", dns.TypeA, SignatureInvalid)
	}
}

// SEC-32: inception and expiration, in serial number arithmetic (RFC 1982).
func TestValidity(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	wrap := time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC) // 2^32 seconds
	for _, tt := range []struct {
		now      time.Time
		from, to time.Duration
		reason   Reason
	}{
		{wrap.Add(-100 * 365 * day), -day, day, 0},
		{wrap.Add(-100 * 365 * day), 0, 0, 0},
		{wrap.Add(-100 * 365 * day), -2 * day, -time.Second, SignatureExpired},
		{wrap.Add(-100 * 365 * day), time.Second, day, SignatureNotYetValid},
		{wrap.Add(-100 * 365 * day), day, -day, SignatureInvalid},
		{wrap.Add(-time.Hour), -day, day, 0}, // expiration is numerically below inception
		{wrap.Add(time.Hour), -day, day, 0},
		{wrap.Add(time.Hour), -2 * day, -time.Minute, SignatureExpired},
		{wrap.Add(-time.Minute), time.Hour, day, SignatureNotYetValid},
	} {
		w := newWorld(t)
		z := w.zones["."]
		z.add(t, "mx. 300 IN A 192.0.2.1")
		w.now = tt.now
		z.validFrom, z.validTo = tt.now.Add(-day), tt.now.Add(day)
		w.on("mx.", dns.TypeA, func(m *dns.Msg) {
			w.resigned(z, m, ".", z.keys[0], tt.now.Add(tt.from), tt.now.Add(tt.to))
		})
		if tt.reason == 0 {
			w.expect(t, "mx", dns.TypeA, Secure)
			continue
		}
		e := w.expectError(t, "mx", dns.TypeA, tt.reason)
		if tt.reason == SignatureExpired {
			mentions(t, e, "bogus-signature-expired", "clock")
		}
	}
}

// SEC-33, SEC-42: no key of the authenticated set made the signature.
func TestKeyNotInZone(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.zones["example.com."]
	w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
		w.resigned(z, m, z.name, newKey(t, z.name, dns.ECDSAP256SHA256, 256), z.validFrom, z.validTo)
	})
	w.expectError(t, "mx.example.com", dns.TypeA, KeyMissing)
	w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
		eachSignature(m, func(s *dns.RRSIG) { s.Algorithm = dns.ECDSAP384SHA384 })
	})
	w.expectError(t, "mx.example.com", dns.TypeA, KeyMissing)
	w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
		eachSignature(m, func(s *dns.RRSIG) { s.Expiration++ })
	})
	w.expectError(t, "mx.example.com", dns.TypeA, SignatureInvalid)
}

// SEC-35, SEC-36, SEC-37: the signed octets are the canonical form. The dns
// package signs what this package verifies, so that neither checks itself.
func TestCanonicalForm(t *testing.T) {
	t.Parallel()
	k := newKey(t, "example.com.", dns.ECDSAP256SHA256, 257)
	key, ok := newZoneKey(k.record, false)
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
		records := []dns.RR{rr(t, text)}
		sig := signWith(t, "example.com.", k, now.Add(-time.Hour), now.Add(time.Hour), records)
		sets, _ := newSection(append(records, sig), question{rtype: records[0].Header().Rrtype})
		if len(sets) != 1 {
			t.Fatalf("%s: %d sets", text, len(sets))
		}
		v, err := newBudget(Limits{}.withDefaults()).verify(sets[0], &keySet{"example.com.", []zoneKey{key}}, now)
		if err != nil || v.expanded() {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Order and duplicates do not matter; names below the owner do.
	texts := []string{"x.example.com. 60 IN A 192.0.2.200", "x.example.com. 60 IN A 10.0.0.1", "x.example.com. 60 IN A 192.0.2.3"}
	var records []dns.RR
	for _, text := range texts {
		records = append(records, rr(t, text))
	}
	sig := signWith(t, "example.com.", k, now.Add(-time.Hour), now.Add(time.Hour), records)
	shuffled := []dns.RR{records[2], records[0], records[1], dns.Copy(records[0]), sig}
	sets, _ := newSection(shuffled, question{rtype: dns.TypeA})
	if _, err := newBudget(Limits{}.withDefaults()).verify(sets[0], &keySet{"example.com.", []zoneKey{key}}, now); err != nil {
		t.Error(err)
	}
	if got := sets[0].distinct(); len(got) != 3 {
		t.Errorf("%d records without duplicates", len(got))
	}
}

// SEC-38: what was expanded from a wildcard is believed only with the proof
// that nothing closer exists.
func TestWildcardNeedsProof(t *testing.T) {
	t.Parallel()
	for _, nsec3 := range []bool{false, true} {
		w := mail(t)
		z := w.zones["example.com."]
		z.nsec3 = nsec3
		z.add(t, "real.wild.example.com. 300 IN TXT here")
		w.expect(t, "a.wild.example.com", dns.TypeA, Secure)
		w.on("a.wild.example.com.", dns.TypeA, func(m *dns.Msg) { m.Ns = nil })
		w.expectError(t, "a.wild.example.com", dns.TypeA, DenialMissing)
		// The wildcard does not stand for a name that exists.
		w.on("real.wild.example.com.", dns.TypeA, func(m *dns.Msg) {
			genuine := new(dns.Msg)
			w.resolve(genuine, "z.wild.example.com.", dns.TypeA)
			for _, rr := range genuine.Answer {
				rr.Header().Name = "real.wild.example.com."
			}
			m.Answer, m.Ns = genuine.Answer, append(m.Ns, genuine.Ns...)
		})
		w.expectError(t, "real.wild.example.com", dns.TypeA, DenialMissing)
		w.mangle = nil
		w.expect(t, "*.wild.example.com", dns.TypeA, Secure)
	}
}

// SEC-39: the TTL is the least of what was received, the RRSIG's TTL, the
// original TTL and the time until expiration.
func TestTTL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what                        string
		received, rrsig, validUntil uint32
		want                        time.Duration
	}{
		{"received", 40, 300, 9000, 40 * time.Second},
		{"RRSIG", 300, 50, 9000, 50 * time.Second},
		{"original", 9000, 9000, 9000, 300 * time.Second},
		{"expiration", 300, 300, 60, 60 * time.Second},
		{"negative", 1 << 31, 300, 9000, 0},
	} {
		w := mail(t)
		z := w.zones["example.com."]
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
			w.resigned(z, m, z.name, z.keys[0], z.validFrom, w.now.Add(time.Duration(tt.validUntil)*time.Second))
			m.Answer[0].Header().Ttl, m.Answer[1].Header().Ttl = tt.received, tt.rrsig
		})
		a := w.expect(t, "mx.example.com", dns.TypeA, Secure)
		if got := a.Expires.Sub(w.now); got != tt.want {
			t.Errorf("%s: expires after %v, want %v", tt.what, got, tt.want)
		}
		if len(a.Records) == 1 && a.Records[0].TTL != tt.want.Truncate(time.Second) {
			t.Errorf("%s: TTL of the record is %d", tt.what, a.Records[0].TTL)
		}
	}
}

// SEC-44: there is no signature over signatures, and records in the authority
// and additional sections are no answers: ignored there, and refused here.
func TestOnlySignedAnswersCount(t *testing.T) {
	t.Parallel()
	w := mail(t)
	for _, qtype := range []uint16{dns.TypeRRSIG, dns.TypeSIG, dns.TypeANY, dns.TypeAXFR, dns.TypeOPT, dns.TypeNone, dns.TypeNSEC3} {
		w.expectError(t, "mx.example.com", qtype, BadQuestion)
	}
	w.on("mx.example.com.", dns.TypeAAAA, func(m *dns.Msg) {
		forged := rr(t, "mx.example.com. 300 IN AAAA 2001:db8::66")
		m.Extra = append(m.Extra, forged)
	})
	if a := w.expect(t, "mx.example.com", dns.TypeAAAA, Secure); len(a.Records) != 0 {
		t.Errorf("records: %v", a.Records)
	}
	w.on("mx.example.com.", dns.TypeAAAA, func(m *dns.Msg) {
		m.Ns = append(m.Ns, rr(t, "mx.example.com. 300 IN AAAA 2001:db8::66"))
	})
	w.expectError(t, "mx.example.com", dns.TypeAAAA, SignatureMissing)
}

// SEC-45, SEC-70, SEC-79: keys and signatures of all supported algorithms are
// verified, and those of the wrong size or shape are refused without a panic.
func TestKeyEncodings(t *testing.T) {
	t.Parallel()
	now := time.Unix(1800000000, 0)
	for _, algorithm := range []uint8{dns.RSASHA1, dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519} {
		k := newKey(t, "example.com.", algorithm, 256)
		set := []dns.RR{rr(t, "x.example.com. 60 IN A 192.0.2.1")}
		sig := signWith(t, "example.com.", k, now.Add(-time.Hour), now.Add(time.Hour), set)
		verify := func(record *dns.DNSKEY, sig *dns.RRSIG) bool {
			key, ok := newZoneKey(record, true)
			if !ok {
				return false
			}
			key.tag = sig.KeyTag
			sets, _ := newSection([]dns.RR{set[0], sig}, question{rtype: dns.TypeA})
			_, err := newBudget(Limits{}.withDefaults()).verify(sets[0], &keySet{"example.com.", []zoneKey{key}}, now)
			return err == nil
		}
		if !verify(k.record, sig) {
			t.Errorf("algorithm %d: a good signature is refused", algorithm)
		}
		for _, bad := range []string{"", "AA==", "AAAA", "AAAAAAAA", strings.Repeat("A", 128), strings.Repeat("/", 128), "AP//" + strings.Repeat("A", 1000), "####"} {
			record, badSig := dns.Copy(k.record).(*dns.DNSKEY), dns.Copy(sig).(*dns.RRSIG)
			record.PublicKey = bad
			badSig.Signature = bad
			if verify(record, sig) || verify(k.record, badSig) {
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
