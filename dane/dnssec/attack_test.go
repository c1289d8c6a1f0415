package dnssec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"
)

// cost is the part of its budget that a lookup has spent.
type cost struct{ verifications, hashes, digests, queries, octets int }

// within reports whether no part exceeds the bound.
func (c cost) within(bound cost) bool {
	return c.verifications <= bound.verifications && c.hashes <= bound.hashes && c.digests <= bound.digests &&
		c.queries <= bound.queries && c.octets <= bound.octets
}

// measure looks up a name and counts the work, including that for aliases, keys and
// delegations.
func (w *world) measure(v *Validator, name string, qtype uint16) (*Answer, cost, error) {
	defer w.settle()
	q, err := newQuestion(name, Type(qtype))
	if err != nil {
		return nil, cost{}, err
	}
	l := v.newLookup(context.Background())
	a, err := l.run(q)
	left, limits := l.session.budget, l.session.budget.limits
	return a, cost{
		verifications: limits.Verifications - left.proofs.Verifications,
		hashes:        limits.NSEC3Hashes - left.proofs.NSEC3Hashes,
		digests:       limits.Digests - left.proofs.Digests,
		queries:       limits.Queries - int(left.queries.Load()),
		octets:        limits.Octets - left.octets,
	}, err
}

// attack is a name whose lookup is costly.
type attack struct {
	what  string
	build func(w *world, z *testZone) // z is example.com.
	name  string
	qtype uint16
	// reason is why the lookup fails, or 0 if it succeeds with the status.
	reason Reason
	status Status
	bound  cost
}

// shielded are attacks whose bound is stricter than the limits of the whole lookup.
// A lookup of mx.example.com. without an attack takes 6 verifications (root keys,
// DS and keys of com. and of example.com., and the answer), 3 digests and 8
// queries.
var shielded = []attack{
	// Field note 37 (KeyTrap, CVE-2023-50387).
	{"colliding key tags", func(w *world, z *testZone) {
		z.collide(w.tb, 20)
	}, "mx.example.com", dns.TypeA, WorkLimit, 0, cost{5, 0, 23, 8, 20000}},
	{"many signatures", func(w *world, z *testZone) {
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) { m.Answer = append(m.Answer[:1], w.badSignatures(m, 200)...) })
	}, "mx.example.com", dns.TypeA, WorkLimit, 0, cost{6 + 8, 0, 3, 9, 40000}},
	{"colliding key tags and many signatures", func(w *world, z *testZone) {
		z.collide(w.tb, 3)
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) { m.Answer = append(m.Answer[:1], w.badSignatures(m, 200)...) })
	}, "mx.example.com", dns.TypeA, WorkLimit, 0, cost{6 + 3 + 8*4, 0, 6, 9, 40000}},
	{"signatures that expired, by the wrong key or the wrong zone", func(w *world, z *testZone) {
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
			for i, sig := range w.badSignatures(m, 300) {
				sig := sig.(*dns.RRSIG)
				switch i % 3 {
				case 0:
					sig.Expiration = sig.Inception + 1
				case 1:
					sig.KeyTag++
				case 2:
					sig.SignerName = "mx.example.com."
				}
				m.Answer = append([]dns.RR{sig}, m.Answer...)
			}
		})
	}, "mx.example.com", dns.TypeA, 0, Secure, cost{7, 0, 3, 9, 50000}},

	// Until the replies have as many octets as a lookup may read.
	{"signatures that expired, at each of many labels", func(w *world, z *testZone) {
		z.add(w.tb, strings.Repeat("a.", 60)+"example.com. 300 IN A 192.0.2.1")
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
			if m.Question[0].Qtype == dns.TypeA {
				strip(m) // so that each label is asked about
			}
			at := slices.IndexFunc(m.Ns, isType(dns.TypeRRSIG))
			if at < 0 || !strings.HasPrefix(m.Question[0].Name, "a.") {
				return m
			}
			good := m.Ns[at]
			for i := range 490 {
				sig := dns.Copy(good).(*dns.RRSIG)
				sig.Inception -= uint32(i + 2)
				sig.Expiration = sig.Inception + 1
				m.Ns = append([]dns.RR{sig}, m.Ns...)
			}
			return m
		}
	}, strings.Repeat("a.", 60) + "example.com.", dns.TypeA, WorkLimit, 0, cost{20, 0, 3, 30, 1 << 20}},

	// CVE-2023-50868: each label of the name requires a hash.
	{"a deep name in an NSEC3 zone", func(w *world, z *testZone) {
		z.nsec3 = true
	}, strings.Repeat("a.", 80) + "example.com.", dns.TypeA, WorkLimit, 0, cost{20, 64, 3, 128, 50000}},
	{"65535 iterations", func(w *world, z *testZone) {
		z.nsec3 = true
		w.on("none.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Ns = without(m.Ns, isType(dns.TypeNSEC3))
			m.Ns = without(m.Ns, isCovering(dns.TypeNSEC3))
			n := z.nsec3For(w, "example.com.")
			n.Iterations = 65535
			m.Ns = append(m.Ns, w.sigs(z, n)...)
		})
	}, "none.example.com", dns.TypeA, 0, Insecure, cost{7, 0, 3, 8, 5000}},
	// The three hashes are those of an honest answer, which proves that there is no
	// DS.
	{"65535 iterations, not signed by the zone", func(w *world, z *testZone) {
		z.nsec3 = true
		w.on("none.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Ns = without(m.Ns, isCovering(dns.TypeNSEC3))
			for _, rr := range m.Ns {
				if n, ok := rr.(*dns.NSEC3); ok {
					n.Iterations = 65535
				}
			}
		})
	}, "none.example.com", dns.TypeA, DenialMissing, 0, cost{7, 3, 3, 9, 5000}},

	{"32 DS records for 32 keys of one tag", func(w *world, z *testZone) {
		z.collide(w.tb, 31)
		ds := z.keys[31].record.ToDS(dns.SHA256)
		for i := range 32 {
			other := dns.Copy(ds).(*dns.DS)
			other.Digest = fmt.Sprintf("%064x", i)
			z.ds = append(z.ds, other)
		}
	}, "mx.example.com", dns.TypeA, WorkLimit, 0, cost{4, 0, 128, 8, 20000}},

	// The keys are refused before anything is computed with them.
	{"an RSA key of 16384 bits", func(w *world, z *testZone) {
		z.onlyRSA(append([]byte{3, 1, 0, 1}, slices.Repeat([]byte{0xff}, 16384/8)...))
	}, "mx.example.com", dns.TypeA, DSMismatch, 0, cost{4, 0, 2, 10, 30000}},
	{"an RSA exponent of 2048 bits", func(w *world, z *testZone) {
		z.onlyRSA(append([]byte{0, 1, 0}, slices.Repeat([]byte{0xff}, 256+256)...))
	}, "mx.example.com", dns.TypeA, DSMismatch, 0, cost{4, 0, 2, 10, 20000}},

	{"endless aliases, one by one", func(w *world, z *testZone) {
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
			if q := m.Question[0]; strings.HasSuffix(q.Name, ".plain.com.") && q.Qtype == dns.TypeA {
				m.Rcode, m.Ns = 0, nil
				m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeCNAME, Class: 1, Ttl: 9},
					Target: fmt.Sprintf("x%d.plain.com.", len(w.queries))}}
			}
			return m
		}
	}, "mx.plain.com", dns.TypeA, AliasLoop, 0, cost{4, 0, 2, 64, 10000}},
	{"endless signed aliases in one reply", func(w *world, z *testZone) {
		for i := range 100 {
			z.add(w.tb, fmt.Sprintf("c%d.example.com. 300 IN CNAME c%d.example.com.", i, i+1))
		}
	}, "c0.example.com", dns.TypeA, AliasLoop, 0, cost{5 + 17, 0, 3, 64, 30000}},

	// A forged reply causes one query per label, one after the other.
	{"126 labels and no signature", func(w *world, z *testZone) {
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg { strip(m); return m }
	}, strings.Repeat("a.", 125) + "com.", dns.TypeA, SignatureMissing, 0, cost{0, 0, 2, 20, 10000}},
	{"126 labels in a signed zone and no signature", func(w *world, z *testZone) {
		w.on(strings.Repeat("a.", 125)+"com.", dns.TypeA, strip)
	}, strings.Repeat("a.", 125) + "com.", dns.TypeA, DenialMissing, 0, cost{8, 0, 2, 32, 20000}},

	// One record. Making its text takes time that grows with the square of its
	// size.
	{"an NSEC record with all types", func(w *world, z *testZone) {
		w.on("none.example.com.", dns.TypeA, func(m *dns.Msg) {
			n := newTestNSEC("example.com.", "x.example.com.")
			for rtype := range 1 << 16 {
				n.TypeBitMap = append(n.TypeBitMap, uint16(rtype))
			}
			m.Ns = append(m.Ns, n)
		})
	}, "none.example.com", dns.TypeA, SignatureInvalid, 0, cost{14, 0, 3, 10, 30000}},
	// Each record covers the name, and starts a search among the others.
	{"an NSEC RRset of 400 records", func(w *world, z *testZone) {
		w.on("y.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Ns = w.sigs(z, dns.Copy(z.records[z.name][0]))
			var set []dns.RR
			for i := range 400 {
				set = append(set, newTestNSEC("x.example.com.", fmt.Sprintf("z%d.example.com.", i), dns.TypeA))
			}
			m.Ns = append(m.Ns, w.sigs(z, set...)...)
		})
	}, "y.example.com", dns.TypeA, DenialMissing, 0, cost{12, 0, 3, 10, 50000}},
	{"1100 records", func(w *world, z *testZone) {
		for i := range 1100 {
			z.add(w.tb, fmt.Sprintf("big.example.com. 300 IN A 10.0.%d.%d", i/250, i%250))
		}
	}, "big.example.com", dns.TypeA, WorkLimit, 0, cost{0, 0, 0, 9, 0}},
}

// collide adds n keys with the tag of the first key to the zone.
func (z *testZone) collide(tb testing.TB, n int) {
	own := newKey(tb, z.name, dns.ED25519, 257)
	z.keys = append(colliding(own.record, n), own)
}

func (w *world) badSignatures(m *dns.Msg, n int) (sigs []dns.RR) {
	for _, rr := range m.Answer {
		if good, ok := rr.(*dns.RRSIG); ok {
			for i := range n {
				bad := dns.Copy(good).(*dns.RRSIG)
				bad.Inception -= uint32(i + 1)
				sigs = append(sigs, bad)
			}
			return sigs
		}
	}
	return nil
}

// onlyRSA replaces the DS records of the zone by one for an RSA key with this data.
func (z *testZone) onlyRSA(data []byte) {
	record := dns.Copy(z.keys[0].record).(*dns.DNSKEY)
	record.Algorithm = dns.RSASHA256
	record.PublicKey = base64of(data)
	z.keys = append(z.keys, &testKey{record: record, silent: true})
	z.ds = []dns.RR{record.ToDS(dns.SHA256)}
}

// SEC-66 to SEC-72: the cost of an attack is bounded. The lookup fails, unless the
// answer is proven anyway, and no other lookup is affected.
func TestCostOfAttacksIsBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range shielded {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // time stands still while replies are made
				w := mail(t)
				w.zone("other.com.", "mx.other.com. 300 IN A 192.0.2.77")
				tt.build(w, w.zones["example.com."])
				v := w.validator()
				a, spent, err := w.measure(v, tt.name, tt.qtype)
				t.Logf("%+v", spent)
				e := new(Error)
				switch {
				case tt.reason == 0 && (err != nil || a.Status != tt.status):
					t.Errorf("%+v, %v; want %v", a, err, tt.status)
				case tt.reason != 0 && (!errors.As(err, &e) || e.Reason != tt.reason):
					t.Errorf("%+v, %v; want an error, %v", a, err, tt.reason)
				}
				if !spent.within(tt.bound) {
					t.Errorf("spent %+v; the bound is %+v", spent, tt.bound)
				}
				w.mangle = nil
				a, spent, err = w.measure(v, "mx.other.com", dns.TypeA)
				if err != nil || a.Status != Secure || !spent.within(cost{6, 0, 3, 8, 5000}) {
					t.Errorf("another lookup: %+v, %v, spent %+v", a, err, spent)
				}
			})
		})
	}
}
