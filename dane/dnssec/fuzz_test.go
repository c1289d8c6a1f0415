package dnssec

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/anchor"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// FuzzReply sends arbitrary bytes, after the right ID, as the reply to a question
// in a signed zone. Only the honest reply may give an answer.
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
	for i, wire := range dnsdata.Replies(f) {
		f.Add(uint8(i), wire)
	}
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
		var a *Answer
		var err error
		synctest.Test(t, func(t *testing.T) { // waiting for what does not come takes no time
			v, wrong := New(w.config())
			if wrong != nil {
				t.Fatal(wrong)
			}
			defer v.Close()
			a, err = v.Lookup(t.Context(), q.name, Type(q.qtype))
		})
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
	for _, wire := range dnsdata.Replies(f) {
		f.Add(wire)
	}
	from, err := upstream.ParseServer("192.0.2.53")
	if err != nil {
		f.Fatal(err)
	}
	z := w.zones["example.com."]
	key, _ := proof.NewKey(z.keys[0].record, false)
	keys := &proof.KeySet{Apex: z.name, Keys: []proof.Key{key}}
	v := w.validator()
	f.Fuzz(func(t *testing.T, wire []byte) {
		msg := new(dns.Msg)
		if msg.Unpack(wire) != nil || len(msg.Question) != 1 {
			return
		}
		name, ok := proof.CanonicalName(msg.Question[0].Name)
		if !ok {
			return
		}
		q := question{name, msg.Question[0].Qtype}
		r, err := newReply(&upstream.Message{Msg: msg, Octets: len(wire), Server: from}, q)
		if err != nil {
			return
		}
		l := v.newLookup(context.Background())
		budget := l.session.budget.proofs
		for _, set := range append(r.answer, r.authority...) {
			proof.VerifyAnswer(set, r.authority, keys, w.now, budget)
		}
		for _, collect := range []func() (*proof.Denials, error){
			func() (*proof.Denials, error) { return proof.CollectDenials(r.authority, keys, w.now, budget) },
			func() (*proof.Denials, error) { return l.judge.wholeProof(&zone{apex: z.name, keys: keys}, q, r) },
		} {
			if d, err := collect(); err == nil {
				d.Deny(q.name, q.rtype, r.rcode)
			}
		}
		if set := r.answer.DNAME(q.name); set != nil {
			proof.Redirect(q.name, set, r.answer)
		}
		r.authority.NegativeTTL()
	})
}

// FuzzAnchors parses anchor files.
func FuzzAnchors(f *testing.F) {
	f.Add(". 172800 IN DNSKEY 257 3 8 AwEAAaz/tAm8yTn4Mfeh5eyI96WSVexTBAvkMgJzkKTOiW1vkIbzxeF3 ;;state=2\n")
	f.Add(anchor.Root()[0].String())
	f.Add("$INCLUDE /etc/passwd\n$GENERATE 1-65535 $ A 1.2.3.4\n")
	f.Fuzz(func(t *testing.T, text string) {
		anchor.New(text, "", true)
	})
}
