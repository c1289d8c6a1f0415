package dnssec

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// expectLimit checks that the lookup fails because of a limit, and is never
// insecure.
func (w *world) expectLimit(t *testing.T, name string, qtype uint16, what string, edits ...func(*Config)) {
	t.Helper()
	a, err := w.lookup(name, qtype, edits...)
	var e *Error
	if !errors.As(err, &e) || e.Reason != WorkLimit || e.Status != Indeterminate {
		t.Errorf("%s %s: %+v, %v; want a limit", name, dns.Type(qtype), a, err)
		return
	}
	mentions(t, e, what, "Limits")
}

// colliding returns keys with the same tag as k. The tag is a sum of 16-bit words,
// so it stays the same if these change places.
func colliding(k *dns.DNSKEY, n int) []*testKey {
	data, _ := base64.StdEncoding.DecodeString(k.PublicKey)
	var keys []*testKey
	for i := 0; i < len(data)/2 && len(keys) < n; i++ {
		for j := i + 1; j < len(data)/2 && len(keys) < n; j++ {
			swapped := append([]byte(nil), data...)
			swapped[2*i], swapped[2*j] = swapped[2*j], swapped[2*i]
			swapped[2*i+1], swapped[2*j+1] = swapped[2*j+1], swapped[2*i+1]
			record := dns.Copy(k).(*dns.DNSKEY)
			record.PublicKey = base64of(swapped)
			keys = append(keys, &testKey{record: record, silent: true})
		}
	}
	return keys
}

// SEC-34, SEC-66, field note 37 (KeyTrap, CVE-2023-50387): all keys with the same
// tag are tried, up to the limit.
func TestCollidingKeysAreTriedUpToLimit(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{0: true, 1: true, 3: true, 4: false, 20: false} {
		w := mail(t)
		z := w.zones["example.com."]
		own := newKey(t, z.name, dns.ED25519, 257)
		z.keys = append(colliding(own.record, n), own)
		if !ok {
			w.expectLimit(t, "mx.example.com", dns.TypeA, "keys of one tag")
			continue
		}
		for _, k := range z.keys {
			if k.record.KeyTag() != own.record.KeyTag() {
				t.Fatal("key tags differ")
			}
		}
		w.expect(t, "mx.example.com", dns.TypeA, Secure)
	}
}

// SEC-66: the records of denial beside an alias count up to the limit. What else is in the
// authority section does not, and an unsigned zone may be in it.
func TestDenialsBesideAnAlias(t *testing.T) {
	t.Parallel()
	const limit = 3
	bounded := func(c *Config) { c.Limits.DenialRecords = limit }
	owners := []string{"example.com.", "mx.example.com.", "alias.example.com.", "away.example.com."}
	for n := range limit + 2 {
		w := mail(t)
		z := w.zones["example.com."]
		w.on("alias.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Ns = append(w.sign(z, z.set(w, z.name, dns.TypeSOA)),
				dnsdata.RR(t, "example.com. 60 IN NS ns.invalid."), dnsdata.RR(t, "plain.com. 60 IN SOA a. b. 1 2 3 4 5"))
			for _, owner := range owners[:n] {
				m.Ns = append(m.Ns, w.sign(z, []dns.RR{z.nsecFor(w, owner)})...)
			}
		})
		if n > limit {
			w.expectLimit(t, "alias.example.com.", dns.TypeA, "records of denial", bounded)
			continue
		}
		w.expect(t, "alias.example.com.", dns.TypeA, Secure, bounded)
	}
}

// SEC-66, SEC-67: invalid signatures are tried up to the limit per RRset. One valid
// signature among them suffices, and signatures that match no key do not count.
func TestBadSignaturesAreTriedUpToLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		before, strange int
		ok              bool
	}{{0, 0, true}, {7, 0, true}, {8, 0, false}, {50, 0, false}, {0, 100, true}} {
		w := mail(t)
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
			good := m.Answer[1].(*dns.RRSIG)
			var sigs []dns.RR
			for i := range tt.before {
				bad := dns.Copy(good).(*dns.RRSIG)
				bad.Inception -= uint32(i + 1)
				sigs = append(sigs, bad)
			}
			for i := range tt.strange {
				bad := dns.Copy(good).(*dns.RRSIG)
				bad.KeyTag += uint16(i + 1)
				sigs = append(sigs, bad)
			}
			m.Answer = append(append([]dns.RR{m.Answer[0]}, sigs...), good)
		})
		if tt.ok {
			w.expect(t, "mx.example.com", dns.TypeA, Secure)
		} else {
			w.expectLimit(t, "mx.example.com", dns.TypeA, "signatures of one RRset")
		}
	}
}

// SEC-66: if replies of one server reach a limit for a reply, the next server is
// asked. The limits of the whole lookup still hold.
func TestNextServerIsAskedAtLimitOfReply(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.mangle = func(server, _ string, m *dns.Msg) *dns.Msg {
		if server == "192.0.2.1:53" && m.Question[0].Name == "mx.example.com." && len(m.Answer) == 2 {
			good := m.Answer[1]
			for i := range 20 {
				bad := dns.Copy(good).(*dns.RRSIG)
				bad.Inception -= uint32(i + 1)
				m.Answer = append([]dns.RR{bad}, m.Answer...)
			}
		}
		return m
	}
	two := func(c *Config) { c.Servers = []string{"192.0.2.1", "192.0.2.2"} }
	w.expect(t, "mx.example.com", dns.TypeA, Secure, two)
	w.expectLimit(t, "mx.example.com", dns.TypeA, "more than 12 signature verifications", two, func(c *Config) { c.Limits.Verifications = 12 })
}

// SEC-71: at a limit of the whole lookup no other server is asked.
func TestTotalLimitEndsLookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // time stands still while replies are made
		for what, limit := range map[string]func(*Limits){
			"more than 5 signature verifications": func(l *Limits) { l.Verifications = 5 },
			"more than 2 DNSKEY digests":          func(l *Limits) { l.Digests = 2 },
			"more than 1000 octets of replies":    func(l *Limits) { l.Octets = 1000 },
		} {
			w := mail(t)
			w.mangle = func(server, network string, m *dns.Msg) *dns.Msg {
				if server != "192.0.2.1:53" || network != "udp" {
					t.Errorf("%s: %s was asked over %s for %v", what, server, network, m.Question[0])
				}
				return m
			}
			w.expectLimit(t, "mx.example.com", dns.TypeA, what, func(c *Config) {
				c.Servers = []string{"192.0.2.1", "192.0.2.2"}
				limit(&c.Limits)
			})
		}
	})
}

// SEC-66, SEC-71, SEC-72: the whole lookup has one budget of verifications,
// including those for aliases, keys and proofs. Afterwards the keys are cached.
func TestLookupHasOneBudgetOfVerifications(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // time stands still while replies are made
		w := mail(t)
		few := func(n int) func(*Config) { return func(c *Config) { c.Limits.Verifications = n } }
		// Root keys, DS and keys of com. and of example.com., and the answer.
		w.expect(t, "mx.example.com", dns.TypeA, Secure, few(6))
		w.expectLimit(t, "mx.example.com", dns.TypeA, "more than 5 signature verifications", few(5))
		w.expectLimit(t, "alias.example.com", dns.TypeA, "signature verifications", few(6))
		w.expect(t, "alias.example.com", dns.TypeA, Secure, few(7))
		// Insecure answers need proofs as well, which cost the same.
		w.expect(t, "mx.plain.com", dns.TypeA, Insecure, few(4))
		w.expectLimit(t, "mx.plain.com", dns.TypeA, "signature verifications", few(3))

		// The second lookup does not verify the chain again.
		v := w.validator(few(6))
		for _, name := range []string{"mx.example.com", "a.wild.example.com", "none.example.com"} {
			if _, err := v.Lookup(t.Context(), name, TypeA); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// SEC-67, SEC-68: DNSKEY and DS records are limited.
func TestKeysAndDSAreLimited(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.zones["example.com."]
	filler := func(n int) (keys []*testKey) {
		for range n {
			keys = append(keys, newKey(t, z.name, dns.ED25519, 256))
			keys[len(keys)-1].silent = true
		}
		return keys
	}
	own := z.keys[0]
	z.keys = append(filler(31), own)
	w.expect(t, "mx.example.com", dns.TypeA, Secure)
	z.keys = append(filler(32), own)
	w.expectLimit(t, "mx.example.com", dns.TypeA, "keys of one zone")
	z.keys = []*testKey{own}
	for i := range 33 {
		ds := own.record.ToDS(dns.SHA256)
		ds.KeyTag = uint16(i)
		z.ds = append(z.ds, ds)
	}
	w.expectLimit(t, "mx.example.com", dns.TypeA, "DS records of one delegation")
	// Records that are not supported do not count, but do not help either.
	for i := range z.ds {
		z.ds[i].(*dns.DS).Algorithm = 99
	}
	w.expect(t, "mx.example.com", dns.TypeA, Insecure)
}

// SEC-69 (CVE-2023-50868): the number of names hashed for NSEC3 and the number of
// records considered are limited.
func TestNSEC3WorkIsLimited(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("a.", 80) + "example.com."
	w := mail(t)
	z := w.zones["example.com."]
	z.nsec3 = true
	w.expect(t, "a.a.a.example.com", dns.TypeA, Secure)
	w.expectLimit(t, deep, dns.TypeA, "NSEC3 name hashes")
	w.expectLimit(t, "a.a.a.example.com", dns.TypeA, "more than 3 NSEC3 name hashes", func(c *Config) { c.Limits.NSEC3Hashes = 3 })

	w.on("none.example.com.", dns.TypeA, func(m *dns.Msg) {
		for i := range 13 {
			m.Ns = append(m.Ns, w.sigs(z, z.nsec3Over(fmt.Sprint(i, ".example.com.")))...)
		}
	})
	w.expectLimit(t, "none.example.com", dns.TypeA, "records of denial in one reply")
}

// An honest chain of aliases across zones does not fail because of questions that
// are sent in advance.
func TestGuessesLeaveQueriesForAliases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // time stands still while replies are made
		w := newWorld(t)
		for i := range 10 {
			w.zone(fmt.Sprintf("tld%d.", i))
			w.zone(fmt.Sprintf("z.tld%d.", i), fmt.Sprintf("a.b.c.d.e.z.tld%d. 60 IN CNAME a.b.c.d.e.z.tld%d.", i, i+1))
		}
		w.zone("tld10.", "a.b.c.d.e.z.tld10. 60 IN A 192.0.2.1")
		w.expect(t, "a.b.c.d.e.z.tld0", dns.TypeA, Secure)
	})
}

// SEC-71: the number of queries and the time of a lookup are limited.
func TestQueriesAndTimeAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // time stands still while replies are made
		w := mail(t)
		w.expectLimit(t, "mx.example.com", dns.TypeA, "more than 5 queries", func(c *Config) { c.Limits.Queries = 5 })
		// Every reply leads to another zone.
		var n atomic.Int64
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
			q := m.Question[0]
			if strings.HasSuffix(q.Name, "plain.com.") && q.Qtype == dns.TypeA {
				m.Rcode, m.Ns = 0, nil
				m.Answer = []dns.RR{dnsdata.RR(t, fmt.Sprintf("%s 300 IN CNAME x%d.plain.com.", q.Name, n.Add(1)))}
			}
			return m
		}
		w.expectError(t, "mx.plain.com", dns.TypeA, AliasLoop)
		if n.Load() > 20 {
			t.Errorf("%d queries", n.Load())
		}
	})
}
