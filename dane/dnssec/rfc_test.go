package dnssec

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// rfcExample is a response that an RFC prints, made of RRsets of the signed zone in
// the same RFC: "owner TYPE", or "wildcard TYPE name" for an RRset that is expanded
// to name.
type rfcExample struct {
	section   string
	name      string
	qtype     uint16
	rcode     int
	answer    []string
	authority []string

	status Status // of the answer; Bogus: there is none
	proven int    // its rcode
}

// The examples of RFC 4035 appendix B, with the keys and signatures of the RFC: RSA
// with SHA-1, valid in spring 2004. SEC-35, SEC-46 to SEC-52, SEC-56.
func TestExamplesOfRFC4035(t *testing.T) {
	t.Parallel()
	soa := "example. SOA"
	checkExamples(t, "testdata/rfc4035.zone", time.Date(2004, 4, 20, 0, 0, 0, 0, time.UTC), []rfcExample{
		{section: "B.1", name: "x.w.example.", qtype: dns.TypeMX,
			answer: []string{"x.w.example. MX"}, status: Secure},
		{section: "B.2", name: "ml.example.", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			authority: []string{soa, "b.example. NSEC", "example. NSEC"}, status: Secure, proven: dns.RcodeNameError},
		{section: "B.2 without the wildcard's denial (field note 35)", name: "ml.example.", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			authority: []string{soa, "b.example. NSEC"}, status: Bogus},
		{section: "B.2 without the name's denial", name: "ml.example.", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			authority: []string{soa, "example. NSEC"}, status: Bogus},
		{section: "B.3", name: "ns1.example.", qtype: dns.TypeMX,
			authority: []string{soa, "ns1.example. NSEC"}, status: Secure},
		{section: "B.3 for a type that exists", name: "ns1.example.", qtype: dns.TypeA,
			authority: []string{soa, "ns1.example. NSEC"}, status: Bogus},
		{section: "B.4", name: "a.example.", qtype: dns.TypeDS,
			answer: []string{"a.example. DS"}, status: Secure},
		{section: "B.5", name: "b.example.", qtype: dns.TypeDS,
			authority: []string{soa, "b.example. NSEC"}, status: Secure},
		{section: "B.5, below", name: "mc.b.example.", qtype: dns.TypeMX, status: Insecure},
		{section: "B.5, the parent about the child (field note 34)", name: "ns1.b.example.", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			authority: []string{soa, "b.example. NSEC", "example. NSEC"}, status: Insecure, proven: dns.RcodeNameError},
		{section: "B.6", name: "a.z.w.example.", qtype: dns.TypeMX,
			answer: []string{"*.w.example. MX a.z.w.example."}, authority: []string{"x.y.w.example. NSEC"}, status: Secure},
		{section: "B.6 without proof", name: "a.z.w.example.", qtype: dns.TypeMX,
			answer: []string{"*.w.example. MX a.z.w.example."}, status: Bogus},
		{section: "B.6 for a name with a closer encloser", name: "a.y.w.example.", qtype: dns.TypeMX,
			answer: []string{"*.w.example. MX a.y.w.example."}, authority: []string{"x.w.example. NSEC"}, status: Bogus},
		{section: "B.7", name: "a.z.w.example.", qtype: dns.TypeAAAA,
			authority: []string{soa, "x.y.w.example. NSEC", "*.w.example. NSEC"}, status: Secure},
		{section: "B.7 for a type that the wildcard has", name: "a.z.w.example.", qtype: dns.TypeMX,
			authority: []string{soa, "x.y.w.example. NSEC", "*.w.example. NSEC"}, status: Bogus},
		// What the child signs about its own delegation does not count. There is no
		// anchor above example. here; TestDSBelongsToParent has one.
		{section: "B.8", name: "example.", qtype: dns.TypeDS,
			authority: []string{soa, "example. NSEC"}, status: Insecure},
		{section: "empty non-terminal", name: "y.w.example.", qtype: dns.TypeMX,
			authority: []string{soa, "x.w.example. NSEC"}, status: Secure},
		{section: "empty non-terminal called NXDOMAIN", name: "y.w.example.", qtype: dns.TypeMX, rcode: dns.RcodeNameError,
			authority: []string{soa, "x.w.example. NSEC", "*.w.example. NSEC"}, status: Bogus},
		{section: "signed delegation denied by its own NSEC", name: "ns1.a.example.", qtype: dns.TypeMX, rcode: dns.RcodeNameError,
			authority: []string{soa, "a.example. NSEC", "example. NSEC"}, status: Bogus},
	})
}

// The examples of RFC 5155 appendix B, signed with the 512-bit keys of the RFC. The
// zone uses opt-out, so answers that depend on a covered next closer name are
// insecure (RFC 5155 section 9.2). SEC-57 to SEC-64.
func TestExamplesOfRFC5155(t *testing.T) {
	t.Parallel()
	soa := "example. SOA"
	hashed := func(hash string) string { return hash + ".example. NSEC3" }
	apex, ns1, cut := hashed("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"), hashed("2t7b4g4vsa5smi47k61mv5bv1a22bojr"), hashed("35mthgpgcu1qg68fab165klnsnk3dpvl")
	xw, w, wild := hashed("b4um86eghhds6nea196smvmlo4ors995"), hashed("k8udemvp1j2f7eg6jebps17vp3n8i58h"), hashed("r53bq7cc2uvmubfu5ocmm6pers9tk9en")
	ent, ns2 := hashed("ji6neoaepv8b5o6k4ev33abha8ht9fgc"), hashed("q04jkcevqvmu85r014c7dkba38o0ji5r")
	checkExamples(t, "testdata/rfc5155.zone", time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), []rfcExample{
		{section: "B.1", name: "a.c.x.w.example.", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			authority: []string{soa, apex, xw, cut}, status: Insecure, proven: dns.RcodeNameError},
		{section: "B.1 without the closest encloser", name: "a.c.x.w.example.", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			authority: []string{soa, apex, cut}, status: Bogus},
		{section: "B.1 without the next closer name", name: "a.c.x.w.example.", qtype: dns.TypeA, rcode: dns.RcodeNameError,
			authority: []string{soa, xw, cut}, status: Bogus},
		{section: "B.2", name: "ns1.example.", qtype: dns.TypeMX,
			authority: []string{soa, ns1}, status: Secure},
		{section: "B.2 for a type that exists", name: "ns1.example.", qtype: dns.TypeA,
			authority: []string{soa, ns1}, status: Bogus},
		{section: "B.2.1", name: "y.w.example.", qtype: dns.TypeA,
			authority: []string{soa, ent}, status: Secure},
		{section: "B.3", name: "c.example.", qtype: dns.TypeDS,
			authority: []string{soa, cut, apex}, status: Insecure},
		{section: "B.3, below", name: "mc.c.example.", qtype: dns.TypeMX, status: Insecure},
		{section: "B.4", name: "a.z.w.example.", qtype: dns.TypeMX,
			answer: []string{"*.w.example. MX a.z.w.example."}, authority: []string{ns2}, status: Insecure},
		{section: "B.4 without proof", name: "a.z.w.example.", qtype: dns.TypeMX,
			answer: []string{"*.w.example. MX a.z.w.example."}, status: Bogus},
		{section: "B.5", name: "a.z.w.example.", qtype: dns.TypeAAAA,
			authority: []string{soa, w, ns2, wild}, status: Insecure},
		{section: "B.6", name: "example.", qtype: dns.TypeDS,
			authority: []string{soa, apex}, status: Insecure},
		{section: "a signed delegation hidden by opt-out", name: "a.example.", qtype: dns.TypeDS,
			authority: []string{soa, apex, cut}, status: Bogus},
		{section: "the parent about the child", name: "ns1.a.example.", qtype: dns.TypeMX,
			authority: []string{soa, apex, cut, xw}, status: Bogus},
	})
}

func checkExamples(t *testing.T, file string, now time.Time, examples []rfcExample) {
	zone := readZone(t, file)
	var anchors string
	for _, rr := range zone["example. DNSKEY"] {
		if key, ok := rr.(*dns.DNSKEY); ok && key.Flags == 257 {
			anchors += key.String() + "\n"
		}
	}
	for _, example := range examples {
		w := &world{tb: t, now: now, asked: make(map[string]int)}
		v, err := New(Config{
			Servers: []string{"192.0.2.53"},
			Anchors: anchors,
			SHA1:    true,
			Now:     func() time.Time { return now },
			Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
				near, far := net.Pipe()
				go serveExample(w, far, network, zone, example)
				return near, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		a, err := v.Lookup(context.Background(), example.name, Type(example.qtype))
		switch {
		case err != nil && example.status != Bogus:
			t.Errorf("%s: %v", example.section, err)
		case err == nil && (a.Status != example.status || rcodeOf(a) != example.proven):
			t.Errorf("%s: %+v, want %v", example.section, a, example.status)
		}
	}
}

// serveExample answers the question of the example with its response, and questions
// for keys and delegations from the zone.
func serveExample(w *world, c net.Conn, network string, zone map[string][]dns.RR, example rfcExample) {
	defer c.Close()
	wire, err := receiveQuery(c, network)
	if err != nil {
		return
	}
	query := new(dns.Msg)
	if err := query.Unpack(wire); err != nil {
		return
	}
	m := new(dns.Msg).SetReply(query)
	q := query.Question[0]
	key := q.Name + " " + dns.Type(q.Qtype).String()
	switch {
	case q.Name == example.name && q.Qtype == example.qtype:
		m.Rcode = example.rcode
		m.Answer = recordsNamed(zone, example.answer)
		m.Ns = recordsNamed(zone, example.authority)
	case zone[key] != nil:
		m.Answer = recordsNamed(zone, []string{key})
	case key == "b.example. DS":
		m.Ns = recordsNamed(zone, []string{"example. SOA", "b.example. NSEC"})
	case key == "c.example. DS":
		m.Ns = recordsNamed(zone, []string{"example. SOA", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. NSEC3", "35mthgpgcu1qg68fab165klnsnk3dpvl.example. NSEC3"})
	}
	sendReply(c, network, m)
}

func recordsNamed(zone map[string][]dns.RR, keys []string) []dns.RR {
	var picked []dns.RR
	for _, key := range keys {
		fields := strings.Fields(key)
		for _, rr := range zone[fields[0]+" "+fields[1]] {
			rr = dns.Copy(rr)
			if len(fields) == 3 {
				rr.Header().Name = fields[2]
			}
			picked = append(picked, rr)
		}
	}
	return picked
}

// readZone returns the RRsets of a zone file with their signatures.
func readZone(t *testing.T, file string) map[string][]dns.RR {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zone := make(map[string][]dns.RR)
	parser := dns.NewZoneParser(f, "", file)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		rtype := rr.Header().Rrtype
		if n, ok := rr.(*dns.NSEC3); ok {
			slices.Sort(n.TypeBitMap) // RFC 5155 prints them in another order
		}
		if sig, ok := rr.(*dns.RRSIG); ok {
			rtype = sig.TypeCovered
		}
		key := rr.Header().Name + " " + dns.Type(rtype).String()
		zone[key] = append(zone[key], rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	return zone
}

// SEC-75: the table of substitutions in RFC 6672 section 2.2. Empty means no match.
func TestSubstitutionsOfRFC6672(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, owner, target, result string }{
		{"com.", "example.com.", "example.net.", ""},
		{"example.com.", "example.com.", "example.net.", ""},
		{"a.example.com.", "example.com.", "example.net.", "a.example.net."},
		{"a.b.example.com.", "example.com.", "example.net.", "a.b.example.net."},
		{"ab.example.com.", "b.example.com.", "example.net.", ""},
		{"foo.example.com.", "example.com.", "example.net.", "foo.example.net."},
		{"a.x.example.com.", "x.example.com.", "example.net.", "a.example.net."},
		{"a.example.com.", "example.com.", "y.example.net.", "a.y.example.net."},
		{"cyc.example.com.", "example.com.", "example.com.", "cyc.example.com."},
		{"cyc.example.com.", "example.com.", "c.example.com.", "cyc.c.example.com."},
		{"shortloop.x.x.", "x.", ".", "shortloop.x."},
		{"shortloop.x.", "x.", ".", "shortloop."},
	} {
		set := &proof.RRset{Name: tt.owner, Type: dns.TypeDNAME, Records: []dns.RR{dnsdata.RR(t, tt.owner+" 60 IN DNAME "+tt.target)}}
		r := &reply{answer: proof.Section{set}}
		if found := r.answer.DNAME(tt.name) != nil; found != (tt.result != "") {
			t.Errorf("%s, DNAME at %s: match is %v", tt.name, tt.owner, found)
		}
		if tt.result == "" {
			continue
		}
		if cname, err := proof.Redirect(tt.name, set, r.answer); err != nil || cname.Target != tt.result {
			t.Errorf("%s, DNAME at %s: %v, %v; want %s", tt.name, tt.owner, cname, err, tt.result)
		}
	}
}

// SEC-53, SEC-73, SEC-75: the three replies of RFC 6672 section 5.3.4.
func TestRepliesOfRFC6672(t *testing.T) {
	t.Parallel()
	w := mail(t)
	z := w.zones["example.com."]
	w.zone("net.")
	w.zone("example.net.", "foo.bar.example.net. 60 IN A 192.0.2.9", "bla.bla.example.net. 60 IN A 192.0.2.66")
	absent := func(m *dns.Msg, types ...uint16) {
		w.denied(m, dns.RcodeNameError, z, newTestNSEC("bar.example.com.", "dub.example.com.", types...),
			newTestNSEC("example.com.", "a.example.com.", dns.TypeSOA, dns.TypeNS))
	}
	w.on("foo.bar.example.com.", dns.TypeA, func(m *dns.Msg) { absent(m, dns.TypeA, dns.TypeDNAME) })
	w.expectError(t, "foo.bar.example.com", dns.TypeA, DenialMissing)
	w.on("foo.bar.example.com.", dns.TypeA, func(m *dns.Msg) { absent(m, dns.TypeA) })
	if a := w.expect(t, "foo.bar.example.com", dns.TypeA, Secure); rcodeOf(a) != dns.RcodeNameError {
		t.Errorf("section 5.3.4.1 without the DNAME bit: %+v", a)
	}
	w.on("cee.example.com.", dns.TypeA, func(m *dns.Msg) { absent(m, dns.TypeA, dns.TypeDNAME) })
	if a := w.expect(t, "cee.example.com", dns.TypeA, Secure); rcodeOf(a) != dns.RcodeNameError {
		t.Errorf("section 5.3.4.2: %+v", a)
	}
	for target, ok := range map[string]bool{"foo.bar.example.net.": true, "bla.bla.example.net.": false} {
		w.on("foo.bar.example.com.", dns.TypeA, func(m *dns.Msg) {
			m.Rcode, m.Ns = 0, nil
			m.Answer = append(w.sigs(z, dnsdata.RR(t, "bar.example.com. 60 IN DNAME bar.example.net.")), dnsdata.RR(t, "foo.bar.example.com. 60 IN CNAME "+target))
		})
		if !ok {
			w.expectError(t, "foo.bar.example.com", dns.TypeA, AliasInvalid)
			continue
		}
		if a := w.expect(t, "foo.bar.example.com", dns.TypeA, Secure); a.Name != target || len(a.Records) != 1 {
			t.Errorf("section 5.3.4.3: %+v", a)
		}
	}
}
