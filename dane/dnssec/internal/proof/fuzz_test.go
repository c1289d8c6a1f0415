package proof

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// FuzzDenial tries arbitrary NSEC and NSEC3 records as if they were authenticated.
func FuzzDenial(f *testing.F) {
	f.Add("a.example. NSEC c.example. A", "b.example.", uint16(dns.TypeA))
	f.Add("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX", "x.example.", uint16(dns.TypeDS))
	f.Add("a.example. NSEC \\000.a.example. RRSIG NSEC", "a.example.", uint16(dns.TypeTLSA))
	for _, wire := range dnsdata.Replies(f) {
		msg := new(dns.Msg)
		if err := msg.Unpack(wire); err != nil {
			f.Fatal(err)
		}
		for _, rr := range msg.Ns {
			if soa := msg.Ns[0].Header(); soa.Rrtype == dns.TypeSOA && soa.Name != "." {
				moved := func(text string) string { return strings.ReplaceAll(text, soa.Name, "example.") }
				f.Add(moved(rr.String()), moved(msg.Question[0].Name), msg.Question[0].Qtype)
			}
		}
	}
	f.Fuzz(func(t *testing.T, record, name string, qtype uint16) {
		rr, err := dns.NewRR(record)
		name, ok := CanonicalName(name)
		if err != nil || rr == nil || !ok {
			return
		}
		rr.Header().Name = dns.CanonicalName(rr.Header().Name)
		if !Within(rr.Header().Name, "example.") {
			return // no such record is signed by the zone
		}
		p := NewDenials(&KeySet{Apex: "example."}, time.Time{}, newBudget())
		p.addVerified(&RRset{Name: rr.Header().Name, Type: rr.Header().Rrtype, Records: []dns.RR{rr}})
		d, _ := p.Deny(name, qtype, 0)
		if d != nil && !Within(name, "example.") {
			t.Fatalf("%s denies %s, which is in another zone", record, name)
		}
		if n, ok := rr.(*dns.NSEC); ok && d != nil && n.Hdr.Name == name && d.Rcode == dns.RcodeNameError {
			t.Fatalf("%s denies its own name", record)
		}
		p.nsecProvesExpansion(name, Parent(name))
	})
}

// FuzzName checks that canonical names are fixed points and survive packing.
func FuzzName(f *testing.F) {
	for _, name := range []string{"mx.Example.com", `a\.b.c`, `\000\255.`, "*.x", "."} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		canonical, ok := CanonicalName(name)
		if !ok {
			return
		}
		again, ok := CanonicalName(canonical)
		if !ok || again != canonical {
			t.Fatalf("%q becomes %q, then %q", name, canonical, again)
		}
		back, _, err := dns.UnpackDomainName(wireName(canonical), 0)
		if err != nil || back != canonical {
			t.Fatalf("%q is packed as %q, %v", canonical, back, err)
		}
		if countLabels(canonical) != dns.CountLabel(canonical) || len(wireLabels(canonical)) != countLabels(canonical) {
			t.Fatalf("%q has %d labels", canonical, countLabels(canonical))
		}
		if p := Parent(canonical); !Within(canonical, p) || canonical != "." && !Below(canonical, p) {
			t.Fatalf("%q is not below %q", canonical, p)
		}
	})
}
