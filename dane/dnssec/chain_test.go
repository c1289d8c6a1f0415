package dnssec

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/anchor"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// SEC-11, SEC-28, field note 32: the key of the trust anchor must be in the DNSKEY
// RRset of the root and sign it. A root with other keys is bogus, not insecure.
func TestAnchorMustMatch(t *testing.T) {
	t.Parallel()
	w := mail(t)
	root := w.zones["."]
	genuine := w.anchors()
	trusted := func(c *Config) { c.Anchors = genuine }
	for what, keys := range map[string][]*testKey{
		"another key":            {newKey(t, ".", dns.ECDSAP256SHA256, 257)},
		"anchor does not sign":   {{record: root.keys[0].record, signer: root.keys[0].signer, silent: true}, newKey(t, ".", dns.ECDSAP256SHA256, 256)},
		"anchor signed by other": {{record: root.keys[0].record, signer: newKey(t, ".", dns.ECDSAP256SHA256, 257).signer}},
	} {
		w.mu.Lock()
		w.signed = make(map[string]*dns.RRSIG)
		root.keys = keys
		w.mu.Unlock()
		for _, name := range []string{"mx.example.com", "mx.plain.com", "none"} {
			_, err := w.lookup(name, dns.TypeA, trusted)
			if err == nil {
				t.Errorf("%s: %s was answered", what, name)
				continue
			}
			if e := err.(*Error); e.Status != Bogus {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	_, err := w.lookup("mx.plain.com", dns.TypeA, func(c *Config) { c.Anchors = zoneText(anchor.Root()...) })
	mentions(t, err, "bogus-trust-anchor-mismatch", "update the trust anchors")
}

// SEC-12, SEC-13, SEC-14: keys without the zone flag, with another protocol or
// revoked are not used. The SEP flag does not matter.
func TestKeysWithOtherFlagsAreNotUsed(t *testing.T) {
	t.Parallel()
	for what, edit := range map[string]func(*dns.DNSKEY){
		"not a zone key": func(k *dns.DNSKEY) { k.Flags &^= dns.ZONE },
		"protocol 2":     func(k *dns.DNSKEY) { k.Protocol = 2 },
		"revoked":        func(k *dns.DNSKEY) { k.Flags |= dns.REVOKE },
	} {
		w := mail(t)
		edit(w.zones["example.com."].keys[0].record)
		if e := w.expectError(t, "mx.example.com", dns.TypeA, DSMismatch); t.Failed() {
			t.Errorf("%s: %v", what, e)
		}
		// A zone key signs the key set, and the other key signs the data.
		w = mail(t)
		z := w.zones["example.com."]
		bad := newKey(t, z.name, dns.ECDSAP256SHA256, 256)
		edit(bad.record)
		z.keys = append(z.keys, bad)
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Answer = without(m.Answer, func(rr dns.RR) bool {
				sig, ok := rr.(*dns.RRSIG)
				return ok && sig.KeyTag != bad.record.KeyTag()
			})
		})
		w.expectError(t, "mx.example.com", dns.TypeA, KeyMissing)
		w.mangle = nil
		w.expect(t, "mx.example.com", dns.TypeA, Secure)
	}
	w := mail(t)
	w.zones["example.com."].keys[0].record.Flags = dns.ZONE // no SEP
	w.expect(t, "mx.example.com", dns.TypeA, Secure)
}

// SEC-15, SEC-18: if no key matches the DS RRset, the zone is bogus, not insecure.
func TestDSMustMatch(t *testing.T) {
	t.Parallel()
	stranger := newKey(t, "example.com.", dns.ECDSAP256SHA256, 257)
	for what, ds := range map[string]func(own *dns.DNSKEY) *dns.DS{
		"of another key": func(*dns.DNSKEY) *dns.DS { return stranger.record.ToDS(dns.SHA256) },
		"wrong digest": func(own *dns.DNSKEY) *dns.DS {
			ds := own.ToDS(dns.SHA256)
			ds.Digest = strings.Repeat("00", 32)
			return ds
		},
		"short digest": func(own *dns.DNSKEY) *dns.DS {
			ds := own.ToDS(dns.SHA256)
			ds.Digest = ds.Digest[:8]
			return ds
		},
		"wrong tag": func(own *dns.DNSKEY) *dns.DS {
			ds := own.ToDS(dns.SHA256)
			ds.KeyTag++
			return ds
		},
		"wrong algorithm": func(own *dns.DNSKEY) *dns.DS {
			ds := own.ToDS(dns.SHA256)
			ds.Algorithm = dns.ECDSAP384SHA384
			return ds
		},
	} {
		w := mail(t)
		z := w.zones["example.com."]
		z.ds = []dns.RR{ds(z.keys[0].record)}
		if w.expectError(t, "mx.example.com", dns.TypeA, DSMismatch); t.Failed() {
			t.Fatal(what)
		}
	}
	// The key that matches the DS must sign the key set.
	w := mail(t)
	z := w.zones["example.com."]
	z.ds = []dns.RR{z.keys[0].record.ToDS(dns.SHA256)}
	z.keys[0].silent = true
	z.keys = append(z.keys, newKey(t, z.name, dns.ECDSAP256SHA256, 256))
	w.expectError(t, "mx.example.com", dns.TypeA, KeyMissing)
}

// SEC-16, SEC-82: a DS with SHA-1 is ignored next to one with SHA-256 or SHA-384,
// and validates if it is the only one.
func TestSHA1DSIsIgnoredBesideOthers(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.zones["example.com."]
	own := z.keys[0].record
	wrong := func(digest uint8) *dns.DS {
		ds := newKey(t, z.name, dns.ECDSAP256SHA256, 257).record.ToDS(digest)
		ds.KeyTag = own.KeyTag()
		return ds
	}
	unsupported := wrong(dns.SHA256)
	unsupported.Algorithm = dns.ED448
	unsupportedDigest := wrong(dns.SHA256)
	unsupportedDigest.DigestType = dns.GOST94
	for _, tt := range []struct {
		what string
		ds   []dns.RR
		ok   bool
	}{
		{"SHA-1 alone", []dns.RR{own.ToDS(dns.SHA1)}, true},
		{"SHA-256", []dns.RR{own.ToDS(dns.SHA256)}, true},
		{"SHA-384", []dns.RR{own.ToDS(dns.SHA384)}, true},
		{"SHA-1 beside a wrong SHA-256", []dns.RR{own.ToDS(dns.SHA1), wrong(dns.SHA256)}, false},
		{"SHA-1 beside a wrong SHA-384", []dns.RR{own.ToDS(dns.SHA1), wrong(dns.SHA384)}, false},
		{"SHA-256 beside a wrong SHA-384", []dns.RR{own.ToDS(dns.SHA256), wrong(dns.SHA384)}, true},
		{"SHA-1 beside an unsupported algorithm", []dns.RR{own.ToDS(dns.SHA1), unsupported}, true},
		{"SHA-1 beside an unsupported digest", []dns.RR{own.ToDS(dns.SHA1), unsupportedDigest}, true},
	} {
		z.ds = tt.ds
		_, err := w.lookup("mx.example.com", dns.TypeA)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// SEC-17, SEC-80, SEC-83, field note 33: DS records with unknown digests or
// algorithms are ignored. If no others are left, the zone is insecure.
func TestUnsupportedDSIsIgnored(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.zones["example.com."]
	with := func(algorithm, digest uint8) *dns.DS {
		ds := z.keys[0].record.ToDS(dns.SHA256)
		ds.Algorithm, ds.DigestType = algorithm, digest
		return ds
	}
	for _, ds := range []*dns.DS{
		with(dns.ECDSAP256SHA256, 0), with(dns.ECDSAP256SHA256, dns.GOST94), with(dns.ECDSAP256SHA256, 99),
		with(dns.RSAMD5, 2), with(dns.DSA, 2), with(dns.DSANSEC3SHA1, 2), with(dns.ECCGOST, 2),
		with(dns.ED448, 2), with(dns.PRIVATEDNS, 2), with(0, 2), with(99, 2),
		with(dns.RSASHA1, 2), with(dns.RSASHA1NSEC3SHA1, 2), // SEC-81
	} {
		z.ds = []dns.RR{ds}
		w.expect(t, "mx.example.com", dns.TypeA, Insecure)
		w.expect(t, "none.example.com", dns.TypeA, Insecure)
	}
	z.ds = []dns.RR{with(99, 2), z.keys[0].record.ToDS(dns.SHA256), with(dns.ECDSAP256SHA256, 99)}
	w.expect(t, "mx.example.com", dns.TypeA, Secure)
	z.ds = []dns.RR{with(dns.RSASHA1, 2)}
	_, err := w.lookup("mx.example.com", dns.TypeA, func(c *Config) { c.SHA1 = true })
	if err == nil {
		t.Error("with SHA1 the DS counts, and does not match")
	}
}

// SEC-19, SEC-20, SEC-22: only an NSEC record of the parent that has NS but neither
// DS nor SOA proves an unsigned delegation.
func TestNSECProvesUnsignedDelegation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what  string
		types []uint16
		ok    bool
	}{
		{"NS", []uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC}, true},
		{"NS and DS", []uint16{dns.TypeNS, dns.TypeDS, dns.TypeRRSIG, dns.TypeNSEC}, false},
		{"NS and SOA", []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC}, false},
		{"neither", []uint16{dns.TypeTXT, dns.TypeRRSIG, dns.TypeNSEC}, false},
		{"NS and CNAME", []uint16{dns.TypeNS, dns.TypeCNAME, dns.TypeRRSIG, dns.TypeNSEC}, false},
		{"nothing", nil, false},
	} {
		w := mail(t)
		w.on("plain.com.", dns.TypeDS, func(m *dns.Msg) {
			m.Ns = without(m.Ns, func(rr dns.RR) bool { return isType(dns.TypeNSEC)(rr) || isCovering(dns.TypeNSEC)(rr) })
			m.Ns = append(m.Ns, w.sigs(w.zones["com."], newTestNSEC("plain.com.", "x.com.", tt.types...))...)
		})
		a, err := w.lookup("mx.plain.com", dns.TypeA)
		if tt.ok && (err != nil || a.Status != Insecure) || !tt.ok && err == nil {
			t.Errorf("%s: %+v, %v", tt.what, a, err)
		}
	}
	// The NSEC record at the apex of the child, signed by the child, does not count
	// for the parent.
	w := mail(t)
	w.on("example.com.", dns.TypeDS, func(m *dns.Msg) {
		z := w.zones["example.com."]
		m.Answer = nil
		m.Ns = w.sigs(z, newTestNSEC("example.com.", "x.example.com.", dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC))
	})
	w.expectError(t, "mx.example.com", dns.TypeA, DenialMissing)
}

// SEC-21: an NSEC3 record with opt-out that covers the name, with the closest
// encloser proof, proves an unsigned delegation. Without opt-out it does not.
func TestOptOutProvesUnsignedDelegation(t *testing.T) {
	t.Parallel()
	w := mail(t)
	com := w.zones["com."]
	com.nsec3, com.optOut = true, true
	w.expect(t, "mx.plain.com", dns.TypeA, Insecure)
	w.expect(t, "mx.example.com", dns.TypeA, Secure)
	// The same chain without the flag proves that plain.com does not exist.
	w.on("plain.com.", dns.TypeDS, func(m *dns.Msg) {
		var ns []dns.RR
		for _, rr := range m.Ns {
			if n, ok := rr.(*dns.NSEC3); ok {
				n.Flags = 0
				ns = append(ns, w.sigs(com, n)...)
			}
		}
		m.Ns = append(ns, w.sigs(com, com.records["com."][0])...)
	})
	w.expectError(t, "mx.plain.com", dns.TypeA, SignatureMissing, DenialMissing)
	// Opt-out cannot hide a signed delegation, because that has an NSEC3 record.
	w.on("example.com.", dns.TypeDS, func(m *dns.Msg) {
		m.Answer, m.Ns = nil, nil
		w.deny(m, com, "plain.com.")
	})
	w.expectError(t, "mx.example.com", dns.TypeA, DenialMissing)
}

// SEC-23: names that are not zone cuts do not end the chain, whether they have
// records or not: deep names, empty non-terminals, aliases, wildcards.
func TestNamesThatAreNoCutsContinueTheChain(t *testing.T) {
	t.Parallel()
	for _, nsec3 := range []bool{false, true} {
		w := mail(t)
		w.zone("dept.ent.example.com.", "mx.dept.ent.example.com. 60 IN A 192.0.2.9")
		w.unsignedZone("lab.ent.example.com.", "mx.lab.ent.example.com. 60 IN A 192.0.2.9")
		w.zones["example.com."].add(t, "x.alias.example.com. 60 IN A 192.0.2.9")
		for _, z := range w.zones {
			z.nsec3 = nsec3
		}
		w.expect(t, "deep.ent.example.com", dns.TypeA, Secure)
		w.expect(t, "mx.dept.ent.example.com", dns.TypeA, Secure)
		w.expect(t, "mx.lab.ent.example.com", dns.TypeA, Insecure)
		w.expect(t, "a.b.wild.example.com", dns.TypeA, Secure)
		// Without the signatures, every label is asked about, and none is a
		// delegation.
		for _, name := range []string{"deep.ent.example.com.", "x.alias.example.com.", "_25._tcp.mx.example.com.", "a.b.wild.example.com.", "x.y.none.example.com.", "mx.old.example.com."} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeTLSA} {
				w.on(name, qtype, strip)
				w.expectError(t, name, qtype, SignatureMissing, DenialMissing)
			}
		}
	}
}

// SEC-25, SEC-40, SEC-41: one valid path suffices. Signatures and DS records that
// match nothing do not matter.
func TestOneGoodPathSuffices(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.zones["example.com."]
	stray := newKey(t, z.name, dns.ECDSAP384SHA384, 257)
	z.ds = []dns.RR{stray.record.ToDS(dns.SHA256), z.keys[0].record.ToDS(dns.SHA256)}
	z.keys = append(z.keys, newKey(t, z.name, dns.ED25519, 256))
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		if strings.HasSuffix(m.Question[0].Name, z.name) && len(m.Answer) > 0 && m.Question[0].Qtype != dns.TypeDS {
			bad := dns.Copy(m.Answer[len(m.Answer)-1]).(*dns.RRSIG)
			bad.Signature = base64of(make([]byte, 64))
			unknownKey := dns.Copy(bad).(*dns.RRSIG)
			unknownKey.KeyTag++
			unknownAlgorithm := dns.Copy(bad).(*dns.RRSIG)
			unknownAlgorithm.Algorithm = 99
			m.Answer = append([]dns.RR{unknownAlgorithm, unknownKey, bad}, m.Answer...)
		}
		return m
	}
	w.expect(t, "mx.example.com", dns.TypeA, Secure)
}

// SEC-26: there are several anchors, and any may lead to the name.
func TestAnyAnchorMayLeadToTheName(t *testing.T) {
	t.Parallel()
	w := mail(t)
	stranger := newKey(t, ".", dns.ECDSAP256SHA256, 257).record.ToDS(dns.SHA256)
	island := w.zone("island.plain.com.", "mx.island.plain.com. 60 IN A 192.0.2.7")
	islandDS := island.keys[0].record.ToDS(dns.SHA256)
	wrongExample := newKey(t, "example.com.", dns.ECDSAP256SHA256, 257).record

	anchored := func(anchors ...dns.RR) func(*Config) { return func(c *Config) { c.Anchors = zoneText(anchors...) } }
	w.expect(t, "mx.example.com", dns.TypeA, Secure, anchored(append(w.anchorRecords(), stranger)...))
	w.expect(t, "mx.island.plain.com", dns.TypeA, Insecure)
	w.expect(t, "mx.island.plain.com", dns.TypeA, Secure, anchored(append(w.anchorRecords(), islandDS)...))
	w.expect(t, "mx.island.plain.com", dns.TypeA, Secure, anchored(islandDS))
	// DANE-7: a name without a trust anchor above it is insecure.
	w.expect(t, "mx.example.com", dns.TypeA, Insecure, anchored(islandDS))
	// The keys changed after the anchor was configured, and the parent has the new
	// DS.
	w.expect(t, "mx.example.com", dns.TypeA, Secure, anchored(append(w.anchorRecords(), wrongExample)...))
	if _, err := w.lookup("mx.example.com", dns.TypeA, anchored(wrongExample)); err == nil {
		t.Error("an anchor that does not match made the zone insecure")
	}
}

// An island of trust below an unsigned zone stays secure, even if an answer claims
// to be signed by the unsigned zone above it.
func TestIslandBelowUnsignedZoneStaysSecure(t *testing.T) {
	t.Parallel()
	w := mail(t)
	island := w.zone("island.plain.com.", "mx.island.plain.com. 60 IN A 192.0.2.7")
	anchored := func(c *Config) { c.Anchors += island.keys[0].record.ToDS(dns.SHA256).String() }
	w.expect(t, "mx.island.plain.com", dns.TypeA, Secure, anchored)
	w.on("mx.island.plain.com.", dns.TypeA, func(m *dns.Msg) {
		m.Answer[0].(*dns.A).A[3] = 66
		eachSignature(m, func(s *dns.RRSIG) { s.SignerName = "plain.com." })
	})
	if a, err := w.lookup("mx.island.plain.com", dns.TypeA, anchored); err == nil {
		t.Errorf("a forged signer led past the trust anchor: %+v", a)
	}
}

// SEC-8: an unsigned DNAME above an island of trust does not redirect the names in
// it, whether there is a chain of trust to the zone of the DNAME or not.
func TestUnsignedDNAMEAboveAnchorRedirectsNothing(t *testing.T) {
	t.Parallel()
	w := mail(t)
	island := w.zone("island.plain.com.", "mx.island.plain.com. 60 IN A 192.0.2.7")
	anchor := island.keys[0].record.ToDS(dns.SHA256).String()
	for what, anchors := range map[string]string{"root and island": w.anchors() + anchor, "island": anchor} {
		anchored := func(c *Config) { c.Anchors = anchors }
		for _, owner := range []string{"plain.com.", "com.", "."} {
			w.on("mx.island.plain.com.", dns.TypeA, func(m *dns.Msg) {
				m.Answer = []dns.RR{dnsdata.RR(t, owner+" 60 IN DNAME evil.org."), dnsdata.RR(t, "mx.island.evil.org. 60 IN A 203.0.113.66")}
			})
			a, err := w.lookup("mx.island.plain.com", dns.TypeA, anchored)
			if e := new(Error); !errors.As(err, &e) || e.Reason != AliasInvalid && e.Reason != SignatureMissing {
				t.Errorf("%s, DNAME at %s: %+v, %v", what, owner, a, err)
			}
		}
		// Nor while nothing is known about the zone at the anchor.
		alias := w.mangle
		w.mangle = func(network, server string, m *dns.Msg) *dns.Msg {
			if m.Question[0].Qtype == dns.TypeDNSKEY && m.Question[0].Name == "island.plain.com." {
				m.Rcode, m.Answer = dns.RcodeServerFailure, nil
			}
			return alias(network, server, m)
		}
		a, err := w.lookup("mx.island.plain.com", dns.TypeA, anchored)
		if e := new(Error); !errors.As(err, &e) || e.Reason == AliasInvalid {
			t.Errorf("%s, without keys: %+v, %v", what, a, err)
		}
		w.mangle = nil
		w.expect(t, "mx.island.plain.com", dns.TypeA, Secure, anchored)
	}
}

// SEC-26, SEC-28: a trust anchor counts even if the zones above it prove that there
// is no such name, are bogus, or do not answer.
func TestAnchorCountsBelowNothing(t *testing.T) {
	t.Parallel()
	w := mail(t)
	private := w.zone("corp.internal.", "mx.corp.internal. 60 IN A 10.0.0.1")
	root := w.zones["."]
	delete(root.records, "corp.internal.") // w.zone has delegated it
	anchored := func(c *Config) { c.Anchors += private.keys[0].record.ToDS(dns.SHA256).String() }
	for what, bend := range map[string]func(m *dns.Msg){
		"no such name": func(m *dns.Msg) {},
		"bogus":        strip,
		"no answer":    func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure },
	} {
		w.on("internal.", dns.TypeDS, bend)
		if a := w.expect(t, "mx.corp.internal", dns.TypeA, Secure, anchored); t.Failed() {
			t.Fatalf("%s: %+v", what, a)
		}
		w.expect(t, "none.corp.internal", dns.TypeA, Secure, anchored)
		// The anchor authenticates no other zone, and no other zone replaces it.
		w.on("corp.internal.", dns.TypeDNSKEY, strip)
		if a, err := w.lookup("mx.corp.internal", dns.TypeA, anchored); err == nil {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

// RFC 5155 section 9.2: if a wildcard CNAME replaces the DS records and its proof
// has opt-out, there may be an unsigned delegation.
func TestWildcardAliasInOptOutSpanMayBeUnsigned(t *testing.T) {
	t.Parallel()
	w := mail(t)
	com := w.zones["com."]
	com.nsec3, com.optOut = true, true
	com.add(t, "*.com. 300 IN CNAME mx.example.com.")
	w.expect(t, "mx.plain.com", dns.TypeA, Insecure)
	v := w.validator()
	w.on("plain.com.", dns.TypeDS, func(m *dns.Msg) {
		m.Rcode, m.Ns = dns.RcodeSuccess, nil
		m.Answer = w.sign(com, com.set(w, "*.com.", dns.TypeCNAME))
		for _, rr := range m.Answer {
			rr.Header().Name = "plain.com."
		}
		w.prove(m, com, "plain.com.")
	})
	for _, name := range []string{"mx.plain.com", "none.plain.com"} {
		a, err := v.Lookup(t.Context(), name, TypeA)
		w.settle()
		if err != nil || a.Status != Insecure {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// A zone with an anchor that does not match is bogus, even if the parent proves
// that the zone is unsigned.
func TestAnchorCountsAgainstParent(t *testing.T) {
	t.Parallel()
	w := mail(t)
	stray := newKey(t, "plain.com.", dns.ECDSAP256SHA256, 257).record
	a, err := w.lookup("mx.plain.com.", dns.TypeA, func(c *Config) { c.Anchors += stray.String() })
	if err == nil || err.(*Error).Status != Bogus {
		t.Errorf("%+v, %v", a, err)
	}
}

// RFC 4035 section 4.2: DS records belong to the zone above, and so does an alias
// that replaces them, even if the name is an unsigned delegation.
func TestAliasInPlaceOfAskedDSIsOfParent(t *testing.T) {
	t.Parallel()
	w := mail(t)
	v := w.validator()
	if _, err := v.Lookup(t.Context(), "mx.plain.com", TypeA); err != nil {
		t.Fatal(err)
	}
	w.on("plain.com.", dns.TypeDS, func(m *dns.Msg) {
		m.Answer, m.Ns = []dns.RR{dnsdata.RR(t, "plain.com. 60 IN CNAME evil.org.")}, nil
	})
	if a, err := v.Lookup(t.Context(), "plain.com", TypeDS); err == nil {
		t.Errorf("%+v", a)
	}
	w.settle()
	w.mangle = nil
	w.expect(t, "alias.example.com", dns.TypeDS, Secure)
}

// SEC-23: an alias that replaces a DS record counts only if it is proven.
func TestAliasInPlaceOfDSMustBeProven(t *testing.T) {
	t.Parallel()
	w := mail(t)
	com := w.zones["com."]
	for what, answer := range map[string][]dns.RR{
		"unsigned CNAME": {dnsdata.RR(t, "example.com. 60 IN CNAME plain.com.")},
		"unsigned DNAME": {dnsdata.RR(t, "com. 60 IN DNAME plain.")},
		"DNAME above":    {dnsdata.RR(t, ". 60 IN DNAME plain.")},
		"wildcard CNAME": nil,
	} {
		w.on("example.com.", dns.TypeDS, func(m *dns.Msg) {
			m.Ns = nil
			if m.Answer = answer; answer == nil {
				m.Answer = w.sigs(com, dnsdata.RR(t, "*.com. 60 IN CNAME plain.com."))
				for _, rr := range m.Answer {
					rr.Header().Name = "example.com."
				}
			}
		})
		if a, err := w.lookup("mx.example.com", dns.TypeA); err == nil {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

// SEC-27: everything below a proven unsigned delegation is insecure. Signatures
// there are neither required nor used.
func TestAllBelowUnsignedDelegationIsInsecure(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.unsignedZone("sub.plain.com.", "mx.sub.plain.com. 60 IN A 192.0.2.8")
	w.expect(t, "mx.sub.plain.com", dns.TypeA, Insecure)
	z.unsigned = false
	w.expect(t, "mx.sub.plain.com", dns.TypeA, Insecure)
	w.on("mx.sub.plain.com.", dns.TypeA, func(m *dns.Msg) {
		eachSignature(m, func(s *dns.RRSIG) { s.Signature, s.SignerName = "AAAA", "com." })
	})
	w.expect(t, "mx.sub.plain.com", dns.TypeA, Insecure)
	z.noDS = true
	w.mangle = nil
	w.expect(t, "mx.sub.plain.com", dns.TypeA, Insecure)
}

// SEC-28: anchors are DS or DNSKEY records, from the configuration, from a file
// such as that of Debian, or built in. An empty set is refused.
func TestAnchorsAreReadAndNeverEmpty(t *testing.T) {
	t.Parallel()
	w := mail(t)
	key := w.zones["."].keys[0].record
	revoked := dns.Copy(newKey(t, ".", dns.ECDSAP256SHA256, 257).record).(*dns.DNSKEY)
	revoked.Flags |= dns.REVOKE
	pending := newKey(t, ".", dns.ECDSAP256SHA256, 257).record // RFC 5011 section 2.2
	file := filepath.Join(t.TempDir(), "root.key")
	text := "; autotrust trust anchor file\n" + revoked.String() + "\n" + key.String() + " ;;state=2 [  VALID  ] ;;count=0\n" + pending.String() + " ;;state=1 [ ADDPEND ] ;;count=1\n" + anchor.Root()[0].String() + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.expect(t, "mx.example.com", dns.TypeA, Secure, func(c *Config) { c.Anchors, c.AnchorFile = "", file })
	w.expect(t, "mx.example.com", dns.TypeA, Secure, func(c *Config) { c.Anchors = key.String() })
	if records, err := anchor.ReadFile(file); err != nil || len(records) != 2 {
		t.Errorf("anchors %v, %v", records, err)
	}

	for what, edit := range map[string]func(*Config){
		"no usable trust anchor":     func(c *Config) { c.Anchors = "; none\n" },
		"revoked or not a zone key":  func(c *Config) { c.Anchors = revoked.String() },
		"neither a DS nor a DNSKEY":  func(c *Config) { c.Anchors = "example. A 192.0.2.1" },
		"no such file":               func(c *Config) { c.AnchorFile = file + ".missing" },
		"no usable trust anchor: wi": func(c *Config) { c.Anchors = ". DS 1 99 2 00" },
		"bad owner name":             func(c *Config) { c.Anchors = "a..b. DS 1 8 2 00" },
	} {
		config := w.config()
		edit(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want %q", err, what)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	os.WriteFile(empty, nil, 0o600)
	if _, err := New(Config{Servers: []string{"::1"}, AnchorFile: empty}); err == nil {
		t.Error("an empty anchor file was accepted")
	}
	os.WriteFile(empty, []byte(rand.Text()), 0o600)
	if _, err := New(Config{Servers: []string{"::1"}, AnchorFile: empty}); err == nil {
		t.Error("an anchor file of garbage was accepted")
	}
	built := anchor.Root()
	if len(built) != 2 || built[0].(*dns.DS).KeyTag != 20326 || built[1].(*dns.DS).KeyTag != 38696 {
		t.Errorf("built-in anchors: %v", built)
	}
}
