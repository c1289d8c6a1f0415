package dnssec

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// denied replaces a reply by NXDOMAIN or NODATA with these records of the zone,
// signed.
func (w *world) denied(m *dns.Msg, rcode int, z *testZone, records ...dns.RR) {
	m.Rcode, m.Answer = rcode, nil
	m.Ns = w.sigs(z, dns.Copy(z.records[z.name][0]))
	for _, rr := range records {
		m.Ns = append(m.Ns, w.sigs(z, rr)...)
	}
}

var everything = []uint16{dns.TypeA, dns.TypeRRSIG, dns.TypeNSEC}

// SEC-46 to SEC-56, SEC-75, field notes 34 and 35: what NSEC records prove about
// TLSA records at _25._tcp.mx.example.com, and what they do not.
func TestNSECProvesOnlyWhatItDenies(t *testing.T) {
	t.Parallel()
	const name = "_25._tcp.mx.example.com."
	ns := []uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC}
	zone := []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY}
	apexCovers := newTestNSEC("example.com.", "a.example.com.", zone...)
	for _, tt := range []struct {
		what    string
		records []dns.RR
		proven  int // rcode, or -1
	}{
		{"SEC-47 type bit clear", []dns.RR{newTestNSEC(name, "x.example.com.", everything...)}, dns.RcodeSuccess},
		{"SEC-47 type bit set", []dns.RR{newTestNSEC(name, "x.example.com.", dns.TypeNSEC, dns.TypeTLSA)}, -1},
		{"SEC-47 CNAME bit set", []dns.RR{newTestNSEC(name, "x.example.com.", dns.TypeCNAME, dns.TypeNSEC)}, -1},
		{"SEC-54 no NSEC and RRSIG bits", []dns.RR{newTestNSEC(name, "x.example.com.", dns.TypeA)}, dns.RcodeSuccess},
		{"another name's NSEC", []dns.RR{newTestNSEC("_26._tcp.mx.example.com.", "x.example.com.", everything...)}, -1},
		{"SEC-48 name and wildcard in one", []dns.RR{newTestNSEC("mx.example.com.", "mz.example.com.", everything...)}, dns.RcodeNameError},
		{"SEC-48 name and wildcard in two", []dns.RR{newTestNSEC("mw.example.com.", "x.example.com.", everything...), apexCovers}, dns.RcodeNameError},
		{"SEC-48 wildcard not denied", []dns.RR{newTestNSEC("mw.example.com.", "x.example.com.", everything...)}, -1},
		{"SEC-48 wrong wildcard denied", []dns.RR{newTestNSEC("_1._tcp.mx.example.com.", "_9._tcp.mx.example.com.", everything...), apexCovers}, -1},
		{"SEC-48 right wildcard denied", []dns.RR{newTestNSEC("_1._tcp.mx.example.com.", "_9._tcp.mx.example.com.", everything...), newTestNSEC("mx.example.com.", "_1._tcp.mx.example.com.", everything...)}, dns.RcodeNameError},
		{"SEC-49 last NSEC", []dns.RR{newTestNSEC("m.example.com.", "example.com.", everything...), apexCovers}, dns.RcodeNameError},
		{"SEC-49 last NSEC before the name only", []dns.RR{newTestNSEC("x.example.com.", "example.com.", everything...), apexCovers}, -1},
		{"SEC-49 backwards", []dns.RR{newTestNSEC("x.example.com.", "a.example.com.", everything...), apexCovers}, -1},
		{"SEC-49 the only name", []dns.RR{newTestNSEC("example.com.", "example.com.", zone...)}, dns.RcodeNameError},
		{"SEC-50 empty non-terminal", []dns.RR{newTestNSEC("mx.example.com.", "a._25._tcp.mx.example.com.", everything...)}, dns.RcodeSuccess},
		{"SEC-51 delegation above", []dns.RR{newTestNSEC("mx.example.com.", "mz.example.com.", ns...), apexCovers}, -1},
		{"SEC-51 delegation at the name", []dns.RR{newTestNSEC(name, "x.example.com.", ns...)}, -1},
		{"SEC-51 delegation above, wildcard", []dns.RR{newTestNSEC("_1._tcp.mx.example.com.", "_9._tcp.mx.example.com.", everything...), newTestNSEC("mx.example.com.", "_1._tcp.mx.example.com.", ns...)}, -1},
		{"SEC-53, SEC-75 DNAME above", []dns.RR{newTestNSEC("mx.example.com.", "mz.example.com.", dns.TypeDNAME, dns.TypeNSEC)}, -1},
		{"SEC-56 wildcard without the type", []dns.RR{newTestNSEC("mw.example.com.", "x.example.com.", everything...), newTestNSEC("*.example.com.", "a.example.com.", everything...)}, dns.RcodeSuccess},
		{"SEC-56 wildcard with the type", []dns.RR{newTestNSEC("mw.example.com.", "x.example.com.", everything...), newTestNSEC("*.example.com.", "a.example.com.", dns.TypeTLSA)}, -1},
		{"SEC-56 wildcard is an alias", []dns.RR{newTestNSEC("mw.example.com.", "x.example.com.", everything...), newTestNSEC("*.example.com.", "a.example.com.", dns.TypeCNAME)}, -1},
		{"SEC-56 wildcard is a delegation", []dns.RR{newTestNSEC("mw.example.com.", "x.example.com.", everything...), newTestNSEC("*.example.com.", "a.example.com.", ns...)}, -1},
		{"SEC-50, SEC-56 wildcard is an empty non-terminal", []dns.RR{newTestNSEC("mw.example.com.", "x.example.com.", everything...), newTestNSEC("example.com.", "a.*.example.com.", zone...)}, dns.RcodeSuccess},
		{"SEC-56 wildcard alone", []dns.RR{newTestNSEC("*.example.com.", "a.example.com.", everything...)}, -1},
		{"RFC 6840 section 4.1: types empty", []dns.RR{newTestNSEC(name, "x.example.com.")}, dns.RcodeSuccess},
		{"nothing", nil, -1},
	} {
		for _, header := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
			w := mail(t)
			z := w.zones["example.com."]
			w.on(name, dns.TypeTLSA, func(m *dns.Msg) { w.denied(m, header, z, tt.records...) })
			a, err := w.lookup(name, dns.TypeTLSA)
			switch {
			case tt.proven != header && err == nil: // the header must agree
				t.Errorf("%s: %+v", tt.what, a)
			case tt.proven == header && (err != nil || a.Status != Secure || rcodeOf(a) != tt.proven || len(a.Records) > 0):
				t.Errorf("%s: %+v, %v", tt.what, a, err)
			}
		}
	}
}

// SEC-46, SEC-55: each NSEC record must be validated: it is signed by the zone, and
// not expanded from a wildcard.
func TestEachNSECIsValidated(t *testing.T) {
	t.Parallel()
	const name = "_25._tcp.mx.example.com."
	for what, sign := range map[string]func(w *world, z *testZone, n *dns.NSEC) []dns.RR{
		"not signed": func(w *world, z *testZone, n *dns.NSEC) []dns.RR { return []dns.RR{n} },
		"by a stranger": func(w *world, z *testZone, n *dns.NSEC) []dns.RR {
			stranger := newKey(t, z.name, dns.ECDSAP256SHA256, 256)
			return []dns.RR{n, signWith(t, z.name, stranger, z.validFrom, z.validTo, []dns.RR{n})}
		},
		"by a sibling zone": func(w *world, z *testZone, n *dns.NSEC) []dns.RR {
			return w.sigs(w.zone("other.com."), n)
		},
		"expanded from a wildcard": func(w *world, z *testZone, n *dns.NSEC) []dns.RR {
			wild := dns.Copy(n).(*dns.NSEC)
			wild.Hdr.Name = "*.example.com."
			set := w.sigs(z, wild)
			set[0].Header().Name, set[1].Header().Name = n.Hdr.Name, n.Hdr.Name
			return set
		},
		"another's signature": func(w *world, z *testZone, n *dns.NSEC) []dns.RR {
			other := dns.Copy(n).(*dns.NSEC)
			other.Hdr.Name = "z.example.com."
			set := w.sigs(z, other)
			set[1].Header().Name = n.Hdr.Name
			return []dns.RR{n, set[1]}
		},
	} {
		w := mail(t)
		z := w.zones["example.com."]
		forged := newTestNSEC(name, "x.example.com.", everything...)
		records := sign(w, z, forged)
		w.on(name, dns.TypeTLSA, func(m *dns.Msg) {
			m.Answer, m.Ns = nil, append(w.sigs(z, dns.Copy(z.records[z.name][0])), records...)
		})
		if w.expectError(t, name, dns.TypeTLSA, DenialMissing, SignatureMissing, SignatureInvalid, KeyMissing); t.Failed() {
			t.Fatal(what)
		}
	}
}

// RFC 4033 section 5: an answer without records is secure if all of its signatures
// are valid and it has no contradictions.
func TestContradictoryDenialIsRefused(t *testing.T) {
	t.Parallel()
	soa := isType(dns.TypeSOA)
	forged := func(text string) func(*world, *dns.Msg) {
		return func(_ *world, m *dns.Msg) { m.Ns = append(m.Ns, dnsdata.RR(t, text)) }
	}
	eachOf := func(covered uint16, edit func(*dns.RRSIG)) func(*world, *dns.Msg) {
		return func(_ *world, m *dns.Msg) {
			for _, rr := range m.Ns {
				if sig, ok := rr.(*dns.RRSIG); ok && sig.TypeCovered == covered {
					edit(sig)
				}
			}
		}
	}
	for what, bend := range map[string]func(w *world, m *dns.Msg){
		"SOA altered": func(_ *world, m *dns.Msg) {
			for _, rr := range m.Ns {
				if soa, ok := rr.(*dns.SOA); ok {
					soa.Minttl = 1
				}
			}
		},
		"a signature without its records": func(_ *world, m *dns.Msg) { m.Ns = without(m.Ns, soa) },
		"SOA not signed":                  func(_ *world, m *dns.Msg) { m.Ns = without(m.Ns, isCovering(dns.TypeSOA)) },
		"SOA expired":                     eachOf(dns.TypeSOA, func(s *dns.RRSIG) { s.Expiration = s.Inception + 1 }),
		"SOA by another signer":           eachOf(dns.TypeSOA, func(s *dns.RRSIG) { s.SignerName = "com." }),
		"a second SOA":                    forged("example.com. 300 IN SOA a. b. 1 2 3 4 5"),
		"the SOA of another zone":         forged("com. 300 IN SOA a. b. 1 2 3 4 5"),
		"the SOA of another zone, signed": func(w *world, m *dns.Msg) {
			m.Ns = append(without(without(m.Ns, soa), isCovering(dns.TypeSOA)), w.sigs(w.zones["com."], dnsdata.RR(t, "com. 300 IN SOA a. b. 1 2 3 4 5"))...)
		},
		"an SOA that is not at the apex": func(w *world, m *dns.Msg) {
			m.Ns = append(m.Ns, w.sigs(w.zones["example.com."], dnsdata.RR(t, "mx.example.com. 300 IN SOA a. b. 1 2 3 4 5"))...)
		},
		"an NSEC that is not signed": forged("a.example.com. 300 IN NSEC z.example.com. A RRSIG NSEC"),
		"an address":                 forged("mx.example.com. 300 IN A 192.0.2.66"),
		"a record of another zone":   forged("mx.example.org. 300 IN TXT x"),
		"a record in the answer":     func(_ *world, m *dns.Msg) { m.Answer = append(m.Answer, dnsdata.RR(t, "x.example.com. 300 IN TXT x")) },
		"NXDOMAIN in the header":     func(_ *world, m *dns.Msg) { m.Rcode ^= dns.RcodeNameError },
	} {
		for _, name := range []string{"mx.example.com.", "none.example.com."} {
			w := mail(t)
			w.on(name, dns.TypeTXT, func(m *dns.Msg) { bend(w, m) })
			if a, err := w.lookup(name, dns.TypeTXT); err == nil {
				t.Errorf("%s: %+v", what, a)
			}
			switch what {
			case "a record in the answer", "the SOA of another zone, signed":
				w.expectError(t, name, dns.TypeTXT, DenialMissing)
			case "a signature without its records":
				w.expectError(t, name, dns.TypeTXT, SignatureInvalid)
			}
			ns := dnsdata.RR(t, "example.com. 300 IN NS ns.invalid.")
			w.on(name, dns.TypeTXT, func(m *dns.Msg) { m.Ns = append(m.Ns, ns) })
			w.expect(t, name, dns.TypeTXT, Secure)
			// Without SOA record it looks like a referral, and is proven.
			w.on(name, dns.TypeTXT, func(m *dns.Msg) { m.Ns = append(without(without(m.Ns, soa), isCovering(dns.TypeSOA)), ns) })
			w.expect(t, name, dns.TypeTXT, Secure)
		}
	}
}

// The same holds for a reply with records, at the name asked for or at the target
// of an alias.
func TestContradictoryAnswerIsRefused(t *testing.T) {
	t.Parallel()
	for what, more := range map[string]func(w *world) []dns.RR{
		"NSEC of another zone": func(w *world) []dns.RR {
			com := w.zones["com."]
			return w.sign(com, []dns.RR{com.nsecFor(w, "com.")})
		},
		"NSEC that is not signed": func(w *world) []dns.RR {
			return []dns.RR{newTestNSEC("a.example.com.", "z.example.com.", dns.TypeA)}
		},
		"an address": func(w *world) []dns.RR { return []dns.RR{dnsdata.RR(t, "x.example.com. 60 IN AAAA 2001:db8::1")} },
		"a signature without its records": func(w *world) []dns.RR {
			zone := w.zones["example.com."]
			return without(w.sign(zone, []dns.RR{zone.nsecFor(w, "example.com.")}), isType(dns.TypeNSEC))
		},
	} {
		w := mail(t)
		for _, name := range []string{"mx.example.com.", "alias.example.com."} {
			w.on(name, dns.TypeA, func(m *dns.Msg) { m.Ns = append(m.Ns, more(w)...) })
			if a, err := w.lookup(name, dns.TypeA); err == nil {
				t.Errorf("%s beside %s: %+v", what, name, a)
			}
			if what == "an address" {
				w.expectError(t, name, dns.TypeA, DenialMissing)
			}
		}
		w.on("mx.example.com.", dns.TypeA, func(m *dns.Msg) { m.Ns = append(m.Ns, dnsdata.RR(t, "example.com. 60 IN NS ns.invalid.")) })
		w.expect(t, "mx.example.com", dns.TypeA, Secure)
	}
}

// A reply that has the records and NXDOMAIN contradicts itself.
func TestAnswerWithNXDOMAINIsRefused(t *testing.T) {
	t.Parallel()
	for _, q := range []question{
		{"mx.example.com.", dns.TypeA}, {"example.com.", dns.TypeDS}, {"example.com.", dns.TypeDNSKEY}, {"mx.plain.com.", dns.TypeA}, {"alias.example.com.", dns.TypeA},
	} {
		w := mail(t)
		w.on(q.name, q.rtype, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError })
		w.expectError(t, q.name, q.rtype, Malformed)
		if q.name == "example.com." {
			w.expectError(t, "mx.example.com.", dns.TypeA, Malformed, SignatureMissing)
		}
	}
}

// SEC-51: the same holds for NSEC3 records of a parent zone.
func TestParentDoesNotDenyChild(t *testing.T) {
	t.Parallel()
	for _, nsec3 := range []bool{false, true} {
		w := mail(t)
		com := w.zones["com."]
		com.nsec3 = nsec3
		for _, name := range []string{"example.com.", "mx.example.com."} {
			w.on(name, dns.TypeTXT, func(m *dns.Msg) {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
				w.deny(m, com, "example.com.", name, "*.com.", "*.example.com.")
			})
			w.expectError(t, name, dns.TypeTXT, DenialMissing)
		}
		// The parent can deny DS records.
		w.mangle = nil
		w.expect(t, "plain.com", dns.TypeDS, Secure)
		// The zone above the parent cannot deny anything for it.
		w.on("sub.example.com.", dns.TypeDS, func(m *dns.Msg) {
			m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
			w.deny(m, com, "example.com.", "sub.example.com.", "*.com.", "*.example.com.")
		})
		w.expectError(t, "sub.example.com.", dns.TypeDS, DenialMissing)
	}
}

// nsec3At returns an NSEC3 record that matches name. nsec3Over returns one that
// covers name and hardly anything else.
func (z *testZone) nsec3At(name string, types ...uint16) *dns.NSEC3 {
	hash := dns.HashName(name, 1, z.iter, z.salt)
	return z.newTestNSEC3(hash, step(hash, 1), types...)
}

func (z *testZone) nsec3Over(name string) *dns.NSEC3 {
	hash := dns.HashName(name, 1, z.iter, z.salt)
	return z.newTestNSEC3(step(hash, -1), step(hash, 1), dns.TypeA)
}

// step returns the next or the previous base32hex string.
func step(hash string, by int) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	b := []byte(hash)
	for i := len(b) - 1; i >= 0; i-- {
		d := strings.IndexByte(digits, b[i]) + by
		b[i] = digits[(d+32)%32]
		if d >= 0 && d < 32 {
			break
		}
	}
	return string(b)
}

// SEC-57 to SEC-64, field notes 36 and 38: what NSEC3 records prove.
func TestNSEC3ProvesOnlyWhatItDenies(t *testing.T) {
	t.Parallel()
	const name = "_25._tcp.mx.example.com."
	const host, label = "mx.example.com.", "_tcp.mx.example.com."
	z := newWorld(t).zone("example.com.")
	z.nsec3, z.iter, z.salt = true, 3, "ABCD"
	ns := []uint16{dns.TypeNS}
	at, over := z.nsec3At, z.nsec3Over
	edit := func(n *dns.NSEC3, f func(*dns.NSEC3)) *dns.NSEC3 { f(n); return n }
	optOut := func(n *dns.NSEC3) { n.Flags = 1 }
	for _, tt := range []struct {
		what    string
		records []dns.RR
		proven  int // rcode, or -1
		status  Status
	}{
		{"SEC-61 NODATA", []dns.RR{at(name, dns.TypeA)}, dns.RcodeSuccess, Secure},
		{"SEC-61 NODATA with opt-out flag at the name", []dns.RR{edit(at(name, dns.TypeA), optOut)}, dns.RcodeSuccess, Secure},
		{"SEC-61 empty bitmap", []dns.RR{at(name)}, dns.RcodeSuccess, Secure},
		{"SEC-61 type bit set", []dns.RR{at(name, dns.TypeTLSA)}, -1, 0},
		{"SEC-61 CNAME bit set", []dns.RR{at(name, dns.TypeCNAME)}, -1, 0},
		{"SEC-51 delegation", []dns.RR{at(name, ns...)}, -1, 0},
		{"SEC-60 NXDOMAIN", []dns.RR{at(host, dns.TypeA), over(label), over("*.mx.example.com.")}, dns.RcodeNameError, Secure},
		{"SEC-60 wildcard not denied", []dns.RR{at(host, dns.TypeA), over(label)}, -1, 0},
		{"SEC-60 another wildcard denied", []dns.RR{at(host, dns.TypeA), over(label), over("*.example.com.")}, -1, 0},
		{"SEC-59 next closer not covered", []dns.RR{at(host, dns.TypeA), over(name), over("*.mx.example.com.")}, -1, 0},
		{"SEC-59 no encloser", []dns.RR{over(label), over(name), over("*.mx.example.com.")}, -1, 0},
		{"SEC-59 encloser has DNAME", []dns.RR{at(host, dns.TypeDNAME), over(label), over("*.mx.example.com.")}, -1, 0},
		{"SEC-59 encloser is a delegation", []dns.RR{at(host, ns...), over(label), over("*.mx.example.com.")}, -1, 0},
		{"SEC-59 encloser is an apex", []dns.RR{at(host, dns.TypeNS, dns.TypeSOA), over(label), over("*.mx.example.com.")}, dns.RcodeNameError, Secure},
		{"SEC-59 a shorter encloser", []dns.RR{at("example.com.", dns.TypeNS, dns.TypeSOA), over(host), over("*.example.com.")}, dns.RcodeNameError, Secure},
		{"SEC-63 wildcard NODATA", []dns.RR{at(host, dns.TypeA), over(label), at("*.mx.example.com.", dns.TypeA)}, dns.RcodeSuccess, Secure},
		{"SEC-63 wildcard has the type", []dns.RR{at(host, dns.TypeA), over(label), at("*.mx.example.com.", dns.TypeTLSA)}, -1, 0},
		{"SEC-63 wildcard is an alias", []dns.RR{at(host, dns.TypeA), over(label), at("*.mx.example.com.", dns.TypeCNAME)}, -1, 0},
		{"SEC-64 opt-out NXDOMAIN", []dns.RR{at(host, dns.TypeA), edit(over(label), optOut), over("*.mx.example.com.")}, dns.RcodeNameError, Insecure},
		{"SEC-64 opt-out NODATA of a wildcard", []dns.RR{at(host, dns.TypeA), edit(over(label), optOut), at("*.mx.example.com.", dns.TypeA)}, dns.RcodeSuccess, Insecure},
		{"SEC-60, SEC-64 opt-out, wildcard not denied", []dns.RR{at(host, dns.TypeA), edit(over(label), optOut)}, -1, 0},
		{"SEC-57 unknown hash", []dns.RR{edit(at(name, dns.TypeA), func(n *dns.NSEC3) { n.Hash = 2 })}, -1, 0},
		{"SEC-57 unknown flags", []dns.RR{edit(at(name, dns.TypeA), func(n *dns.NSEC3) { n.Flags = 2 })}, -1, 0},
		{"SEC-57 differing salts", []dns.RR{at(host, dns.TypeA), over(label), edit(over("*.mx.example.com."), func(n *dns.NSEC3) { n.Salt = "ABCE" })}, -1, 0},
		{"SEC-57 differing iterations", []dns.RR{at(host, dns.TypeA), over(label), edit(over("*.mx.example.com."), func(n *dns.NSEC3) { n.Iterations++ })}, -1, 0},
		{"owner is no hash", []dns.RR{edit(at(name, dns.TypeA), func(n *dns.NSEC3) { n.Hdr.Name = "mx.example.com." })}, -1, 0},
		{"owner is a short hash", []dns.RR{edit(at(name, dns.TypeA), func(n *dns.NSEC3) { n.Hdr.Name = "0p9mhave.example.com." })}, -1, 0},
		{"owner is too deep", []dns.RR{edit(at(name, dns.TypeA), func(n *dns.NSEC3) { n.Hdr.Name = strings.Replace(n.Hdr.Name, ".", ".x.", 1) })}, -1, 0},
	} {
		for _, header := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
			w := mail(t)
			w.zones["example.com."].nsec3 = true
			own := w.zones["example.com."]
			var records []dns.RR
			for _, record := range tt.records {
				records = append(records, dns.Copy(record))
			}
			w.on(name, dns.TypeTLSA, func(m *dns.Msg) { w.denied(m, header, own, records...) })
			a, err := w.lookup(name, dns.TypeTLSA)
			switch {
			case tt.proven != header && err == nil: // the header must agree
				t.Errorf("%s: %+v", tt.what, a)
			case tt.proven == header && (err != nil || a.Status != tt.status || rcodeOf(a) != tt.proven):
				t.Errorf("%s: %+v, %v", tt.what, a, err)
			}
		}
	}
}

// SEC-58: an expanded wildcard with an NSEC3 record that covers the next closer
// name. SEC-64: with opt-out it is insecure.
func TestNSEC3ProvesExpandedWildcard(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.zones["example.com."]
	z.nsec3 = true
	prove := func(records ...dns.RR) func(*dns.Msg) {
		return func(m *dns.Msg) {
			m.Ns = nil
			for _, rr := range records {
				m.Ns = append(m.Ns, w.sigs(z, rr)...)
			}
		}
	}
	const name = "a.b.wild.example.com."
	w.on(name, dns.TypeA, prove(z.nsec3Over("b.wild.example.com.")))
	w.expect(t, name, dns.TypeA, Secure)
	w.on(name, dns.TypeA, prove(z.nsec3Over(name)))
	w.expectError(t, name, dns.TypeA, DenialMissing)
	optOut := z.nsec3Over("b.wild.example.com.")
	optOut.Flags = 1
	w.on(name, dns.TypeA, prove(optOut))
	w.expect(t, name, dns.TypeA, Insecure)
	costly := z.nsec3Over("b.wild.example.com.") // SEC-65
	costly.Iterations = 101
	w.on(name, dns.TypeA, prove(costly))
	w.expect(t, name, dns.TypeA, Insecure)
	w.on(name, dns.TypeA, prove(z.nsec3Over("b.wild.example.com.")))
}

// SEC-62: NODATA for DS is proven by a matching NSEC3 record or by opt-out.
func TestNSEC3ProvesNoDS(t *testing.T) {
	t.Parallel()
	w := mail(t)
	com := w.zones["com."]
	com.nsec3 = true
	for _, tt := range []struct {
		what string
		n    *dns.NSEC3
		ok   bool
	}{
		{"NS", com.nsec3At("plain.com.", dns.TypeNS), true},
		{"NS and DS", com.nsec3At("plain.com.", dns.TypeNS, dns.TypeDS), false},
		{"NS and CNAME", com.nsec3At("plain.com.", dns.TypeNS, dns.TypeCNAME), false},
		{"NS and SOA (SEC-19)", com.nsec3At("plain.com.", dns.TypeNS, dns.TypeSOA), false},
		{"no NS (SEC-22)", com.nsec3At("plain.com.", dns.TypeA), false},
	} {
		w.on("plain.com.", dns.TypeDS, func(m *dns.Msg) { w.denied(m, dns.RcodeSuccess, com, dns.Copy(tt.n)) })
		a, err := w.lookup("mx.plain.com", dns.TypeA)
		if tt.ok && (err != nil || a.Status != Insecure) || !tt.ok && err == nil {
			t.Errorf("%s: %+v, %v", tt.what, a, err)
		}
	}
}

// SEC-65, SEC-70: above the limit of iterations a proof is insecure after its own
// signature was verified, and costs no hash.
func TestManyNSEC3IterationsAreInsecure(t *testing.T) {
	t.Parallel()
	for iterations, status := range map[uint16]Status{0: Secure, 100: Secure, 101: Insecure, 500: Insecure} {
		w := mail(t)
		z := w.zones["example.com."]
		w.on("none.example.com.", dns.TypeA, func(m *dns.Msg) {
			z.iter = iterations
			defer func() { z.iter = 0 }()
			w.denied(m, dns.RcodeNameError, z, z.nsec3At("example.com.", dns.TypeNS, dns.TypeSOA), z.nsec3Over("none.example.com."), z.nsec3Over("*.example.com."))
		})
		a := w.expect(t, "none.example.com", dns.TypeA, status)
		if rcodeOf(a) != dns.RcodeNameError {
			t.Errorf("%d iterations: rcode %d", iterations, rcodeOf(a))
		}
		w.on("none.example.com.", dns.TypeA, func(m *dns.Msg) {
			z.iter = iterations
			defer func() { z.iter = 0 }()
			m.Rcode, m.Ns = dns.RcodeNameError, []dns.RR{z.nsec3At("example.com."), z.nsec3Over("none.example.com.")}
			for _, rr := range slices.Clone(m.Ns) {
				sig := signWith(t, z.name, newKey(t, z.name, dns.ECDSAP256SHA256, 256), z.validFrom, z.validTo, []dns.RR{rr})
				m.Ns = append(m.Ns, sig)
			}
		})
		w.expectError(t, "none.example.com", dns.TypeA, DenialMissing, KeyMissing)
	}
	// The same holds for the proof of an unsigned delegation.
	w := mail(t)
	w.zones["com."].nsec3, w.zones["com."].iter = true, 101
	w.expect(t, "mx.plain.com", dns.TypeA, Insecure)
	w.on("plain.com.", dns.TypeDS, strip)
	w.expectError(t, "mx.plain.com", dns.TypeA, DenialMissing, SignatureMissing)
}

// An alias made by a wildcard leads from a zone to the zone below it. The denials
// of both zones have the name of the zone cut. A record that neither zone signed
// makes the reply bogus, regardless of the signer that it names.
func TestDenialsOfBothSidesOfACutCount(t *testing.T) {
	t.Parallel()
	for forged, want := range map[string]Status{
		"": Secure,
		"b.example.com. 300 IN NSEC c.example.com. TXT RRSIG NSEC": Bogus,
	} {
		w := newWorld(t)
		w.zone("com.")
		above := w.zone("example.com.", "*.example.com. 300 IN CNAME none.b.example.com.")
		below := w.zone("b.example.com.", "a.b.example.com. 300 IN A 192.0.2.1")
		w.on("bb.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Ns = slices.Concat(w.sign(above, []dns.RR{above.nsecFor(w, "bb.example.com.")}),
				w.sign(below, below.set(w, below.name, dns.TypeSOA)),
				w.sign(below, []dns.RR{below.nsecFor(w, below.name)}))
			if forged != "" {
				m.Ns = append(m.Ns, dnsdata.RR(t, forged))
			}
		})
		a, err := w.lookup("bb.example.com.", dns.TypeA)
		if got := asVerdict(a, err); got != want {
			t.Errorf("with %q beside: %s, want %s (%v)", forged, got, want, err)
		}
	}
}

func asVerdict(a *Answer, err error) Status {
	if err != nil {
		return asError(question{}, err).Status
	}
	return a.Status
}
