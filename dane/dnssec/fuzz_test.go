package dnssec

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// realReplies are what name servers and a resolver have really sent.
func realReplies(tb testing.TB) [][]byte {
	text, err := os.ReadFile("testdata/replies")
	if err != nil {
		tb.Fatal(err)
	}
	var replies [][]byte
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		wire, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
		if err != nil {
			tb.Fatal(err)
		}
		replies = append(replies, wire)
	}
	return replies
}

// FuzzReply sends arbitrary bytes, behind a fitting ID, as the reply to a
// question in a signed zone. Nothing but the honest reply may give an answer.
func FuzzReply(f *testing.F) {
	w := mail(f)
	names := []struct {
		name  string
		qtype uint16
	}{
		{"mx.example.com.", dns.TypeA}, {"none.example.com.", dns.TypeA},
		{"a.wild.example.com.", dns.TypeA}, {"mx.old.example.com.", dns.TypeA}, {"example.com.", dns.TypeDS},
	}
	for i, q := range names {
		for _, nsec3 := range []bool{false, true} {
			w.zones["example.com."].nsec3 = nsec3
			query := new(dns.Msg).SetQuestion(q.name, q.qtype)
			wire, err := w.reply(query).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), wire)
			f.Add(uint8(i), wire[:len(wire)/2])
		}
	}
	w.zones["example.com."].nsec3 = false
	for i, wire := range realReplies(f) {
		f.Add(uint8(i), wire)
	}
	v := w.validator()
	f.Fuzz(func(t *testing.T, which uint8, wire []byte) {
		q := names[int(which)%len(names)]
		w.mu.Lock()
		w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg { return m }
		w.raw = func(m *dns.Msg) [][]byte {
			honest, _ := m.Pack()
			if m.Question[0].Name != q.name || m.Question[0].Qtype != q.qtype || len(wire) < 12 {
				return [][]byte{honest}
			}
			forged := bytes.Clone(wire)
			copy(forged, honest[:2])
			return [][]byte{forged, honest}
		}
		w.mu.Unlock()
		v.cache = newCache(1 << 20)
		a, err := v.Lookup(context.Background(), q.name, Type(q.qtype))
		if err != nil {
			return
		}
		if a.Status != Secure {
			t.Fatalf("%s became %v", q.name, a.Status)
		}
		if len(a.Records) == 0 && q.name != "none.example.com." {
			t.Fatalf("%s was denied", q.name)
		}
		for _, r := range a.Records {
			if text := r.Content(); r.Type != TypeDS && text != "192.0.2.1" && text != "192.0.2.3" {
				t.Fatalf("forged %v", r)
			}
		}
	})
}

// FuzzMessage parses arbitrary messages and judges them without a network.
func FuzzMessage(f *testing.F) {
	w := mail(f)
	for name, qtype := range map[string]uint16{"mx.example.com.": dns.TypeA, "none.example.com.": dns.TypeTXT, "mx.old.example.com.": dns.TypeMX} {
		wire, err := w.reply(new(dns.Msg).SetQuestion(name, qtype)).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	for _, wire := range realReplies(f) {
		f.Add(wire)
	}
	s, err := parseServer("192.0.2.53")
	if err != nil {
		f.Fatal(err)
	}
	z := w.zones["example.com."]
	key, _ := newZoneKey(z.keys[0].record, false)
	keys := &keySet{z.name, []zoneKey{key}}
	v := w.validator()
	f.Fuzz(func(t *testing.T, wire []byte) {
		msg := new(dns.Msg)
		if msg.Unpack(wire) != nil || len(msg.Question) != 1 {
			return
		}
		name, ok := canonicalName(msg.Question[0].Name)
		if !ok {
			return
		}
		q := question{name, msg.Question[0].Qtype}
		msg, err := unpack(wire, q.rtype)
		if err != nil {
			return
		}
		r, err := newReply(msg, q, s)
		if err != nil {
			return
		}
		session := v.newSession(context.Background())
		for _, set := range append(r.answer, r.authority...) {
			session.budget.verify(set, keys, w.now)
		}
		for _, proof := range []func(*zone) (*proof, error){
			func(z *zone) (*proof, error) { return session.proof(z, r) },
			func(z *zone) (*proof, error) { return session.wholeProof(z, q, r) },
		} {
			if p, err := proof(&zone{apex: z.name, keys: keys}); err == nil {
				session.deny(p, q, r)
			}
		}
		if set := r.dname(q.name); set != nil {
			r.redirect(q.name, set)
		}
		r.negativeExpiry(w.now)
	})
}

// FuzzDenial gives NSEC and NSEC3 records of all shapes to the proofs, as if
// they were authenticated.
func FuzzDenial(f *testing.F) {
	f.Add("a.example. NSEC c.example. A", "b.example.", uint16(dns.TypeA))
	f.Add("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX", "x.example.", uint16(dns.TypeDS))
	f.Add("a.example. NSEC \\000.a.example. RRSIG NSEC", "a.example.", uint16(dns.TypeTLSA))
	for _, wire := range realReplies(f) {
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
		name, ok := canonicalName(name)
		if err != nil || rr == nil || !ok {
			return
		}
		rr.Header().Name = dns.CanonicalName(rr.Header().Name)
		if !within(rr.Header().Name, "example.") {
			return // no such record is signed by the zone
		}
		p := &proof{apex: "example."}
		p.add(&rrset{name: rr.Header().Name, rtype: rr.Header().Rrtype, records: []dns.RR{rr}}, newBudget(Limits{}.withDefaults()))
		q := question{name, qtype}
		d := p.denyByNSEC(q)
		if d == nil && p.nsec3 != nil {
			d, _ = p.nsec3.deny(q, 0)
		}
		if d != nil && !within(name, "example.") {
			t.Fatalf("%s denies %s, which is in another zone", record, name)
		}
		if n, ok := rr.(*dns.NSEC); ok && d != nil && n.Hdr.Name == name && d.rcode == dns.RcodeNameError {
			t.Fatalf("%s denies its own name", record)
		}
		p.nsecProvesExpansion(name, parent(name))
	})
}

// FuzzAnchors parses anchor files.
func FuzzAnchors(f *testing.F) {
	f.Add(". 172800 IN DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3 ;;state=2\n")
	f.Add(rootAnchors()[0].String())
	f.Add("$INCLUDE /etc/passwd\n$GENERATE 1-65535 $ A 1.2.3.4\n")
	f.Fuzz(func(t *testing.T, text string) {
		newAnchors(text, "", true)
	})
}

// FuzzName checks that canonical names are fixed points and survive packing.
func FuzzName(f *testing.F) {
	for _, name := range []string{"mx.Example.com", `a\.b.c`, `\000\255.`, "*.x", "."} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		canonical, ok := canonicalName(name)
		if !ok {
			return
		}
		again, ok := canonicalName(canonical)
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
		if p := parent(canonical); !within(canonical, p) || canonical != "." && !below(canonical, p) {
			t.Fatalf("%q is not below %q", canonical, p)
		}
	})
}
