package dnssec

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// resigned replaces the signature in the answer by one over the same records. Its
// fields are edited before signing.
func (w *world) resigned(z *testZone, m *dns.Msg, signer string, k *testKey, from, to time.Time) {
	m.Answer = without(m.Answer, isType(dns.TypeRRSIG))
	m.Answer = append(m.Answer, signWith(w.tb, signer, k, from, to, m.Answer))
}

// SEC-29, field note 30: a signature counts for the RRset of its own owner, class
// and type. A forged record in a signed RRset or next to it is refused.
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
			m.Answer = append(m.Answer, dnsdata.RR(w.tb, forged))
		},
		"forged RRset beside a signed one of the same type": func(w *world, m *dns.Msg) {
			other := w.sigs(w.zones["example.com."], dnsdata.RR(w.tb, "other.example.com. 300 IN A 192.0.2.1"))
			m.Answer = append([]dns.RR{dnsdata.RR(w.tb, forged)}, other...)
		},
		"record taken out": func(w *world, m *dns.Msg) {
			two := w.sigs(w.zones["example.com."], dnsdata.RR(w.tb, "mx.example.com. 300 IN A 192.0.2.1"), dnsdata.RR(w.tb, "mx.example.com. 300 IN A 192.0.2.2"))
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

// SEC-30, field note 31: the signer is the zone of the RRset: not a sibling, not a
// name that only ends in the same letters, not a name below, and for DS not the
// child.
func TestSignerIsTheZone(t *testing.T) {
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
		if proof.Within("mx.example.com.", signer.name) {
			// Only an ancestor zone itself can sign with its key, and it could as
			// well change the delegation.
			if err != nil {
				t.Errorf("signed by %s: %v", signer.name, err)
			}
		} else if err == nil {
			t.Errorf("a signature by %s was accepted", signer.name)
		}
	}
	// The signer is a name in the zone and not a zone.
	z := w.zones["example.com."]
	for _, signer := range []string{"mx.example.com.", "other.", "_25._tcp.mx.example.com."} {
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

// SEC-31: a signature with more labels than the owner is not valid. Neither is one
// for a wildcard above its zone.
func TestLabelsOfSignatureAreChecked(t *testing.T) {
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
func TestSignatureCountsWithinItsTime(t *testing.T) {
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
		w.skew.Early = -1
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

// SEC-33, SEC-42: the signature is not by a key of the authenticated set.
func TestSignatureByOtherKeyDoesNotCount(t *testing.T) {
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

// SEC-38: an RRset that was expanded from a wildcard counts only with the proof
// that no closer name exists.
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
		// The wildcard does not apply to a name that exists.
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

// SEC-39: the TTL is the minimum of the received TTL, the TTL of the RRSIG, the
// original TTL and the time until expiration.
func TestTTLIsTheSmallest(t *testing.T) {
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

// SEC-44: signatures are not signed. Records in the authority and additional
// sections are not answers: they are ignored there, and questions for signatures
// are refused.
func TestOnlySignedAnswersCount(t *testing.T) {
	t.Parallel()
	w := mail(t)
	for _, qtype := range []uint16{dns.TypeRRSIG, dns.TypeSIG, dns.TypeANY, dns.TypeAXFR, dns.TypeOPT, dns.TypeNone, dns.TypeNSEC3} {
		w.expectError(t, "mx.example.com", qtype, BadQuestion)
	}
	w.on("mx.example.com.", dns.TypeAAAA, func(m *dns.Msg) {
		forged := dnsdata.RR(t, "mx.example.com. 300 IN AAAA 2001:db8::66")
		m.Extra = append(m.Extra, forged)
	})
	if a := w.expect(t, "mx.example.com", dns.TypeAAAA, Secure); len(a.Records) != 0 {
		t.Errorf("records: %v", a.Records)
	}
	w.on("mx.example.com.", dns.TypeAAAA, func(m *dns.Msg) {
		m.Ns = append(m.Ns, dnsdata.RR(t, "mx.example.com. 300 IN AAAA 2001:db8::66"))
	})
	w.expectError(t, "mx.example.com", dns.TypeAAAA, SignatureMissing)
}

// D18: signatures that become valid a few seconds from now are accepted, and none that
// have expired, unless Skew says so. An answer that rests on an expired signature does
// not outlive the tolerance.
func TestD18OnlyEarlySignaturesAreTolerated(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for _, tt := range []struct {
		skew     Skew
		from, to time.Duration
		reason   Reason
		lasts    time.Duration
	}{
		{Skew{}, 5 * time.Second, day, 0, 300 * time.Second},
		{Skew{}, 10 * time.Second, day, 0, 300 * time.Second},
		{Skew{}, 11 * time.Second, day, SignatureNotYetValid, 0},
		{Skew{}, -day, -time.Second, SignatureExpired, 0},
		{Skew{Early: -1}, time.Second, day, SignatureNotYetValid, 0},
		{Skew{Early: time.Minute}, time.Minute, day, 0, 300 * time.Second},
		{Skew{Early: time.Minute}, 61 * time.Second, day, SignatureNotYetValid, 0},
		{Skew{Late: time.Minute}, -day, -20 * time.Second, 0, 40 * time.Second},
		{Skew{Late: time.Minute}, -day, -61 * time.Second, SignatureExpired, 0},
		{Skew{Early: 1 << 62, Late: 1 << 62}, 2 * day, 3 * day, SignatureNotYetValid, 0},
		{Skew{Early: 1 << 62, Late: 1 << 62}, -3 * day, -2 * day, SignatureExpired, 0},
	} {
		w := newWorld(t)
		z := w.zones["."]
		z.add(t, "mx. 300 IN A 192.0.2.1")
		w.on("mx.", dns.TypeA, func(m *dns.Msg) {
			w.resigned(z, m, ".", z.keys[0], w.now.Add(tt.from), w.now.Add(tt.to))
		})
		w.skew = tt.skew
		if tt.reason != 0 {
			w.expectError(t, "mx", dns.TypeA, tt.reason)
			continue
		}
		if a := w.expect(t, "mx", dns.TypeA, Secure); a.Expires.Sub(w.now) != tt.lasts {
			t.Errorf("%+v: lasts %v", tt, a.Expires.Sub(w.now))
		}
	}
}
