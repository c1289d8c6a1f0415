package dnssec

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

func aliasWorld(t *testing.T) *world {
	w := mail(t)
	w.zone("org.")
	w.zone("example.org.",
		"mx.example.org. 300 IN A 192.0.2.20",
		"toplain.example.org. 300 IN CNAME back.plain.com.",
		"tocom.example.org. 300 IN CNAME alias.example.com.",
		"tonone.example.org. 300 IN CNAME none.example.com.",
		"tonodata.example.org. 300 IN CNAME mx.example.com.",
		"loop.example.org. 300 IN CNAME loop2.example.org.",
		"loop2.example.org. 300 IN CNAME loop.example.org.",
		"self.example.org. 300 IN CNAME self.example.org.",
		"moved.example.org. 300 IN DNAME example.com.",
		"movedplain.example.org. 300 IN DNAME plain.com.",
		"movedloop.example.org. 300 IN DNAME movedloop.example.org.",
		"*.w.example.org. 300 IN CNAME mx.example.org.",
		"*.d.example.org. 300 IN DNAME example.com.",
		"long.example.org. 300 IN DNAME "+strings.Repeat("a", 63)+"."+strings.Repeat("b", 63)+"."+strings.Repeat("c", 63)+".",
	)
	w.unsignedZone("unsigned.org.", "d.unsigned.org. 60 IN DNAME example.com.")
	return w
}

// SEC-74, SEC-76: each alias has the status of its own zone, and the answer has the
// weakest status. RRsets of several zones are validated with the chain of their own
// zone.
func TestAnswerIsAsWeakAsItsWeakestAlias(t *testing.T) {
	t.Parallel()
	type link struct {
		target string
		dname  bool
		status Status
	}
	for _, tt := range []struct {
		name    string
		qtype   uint16
		links   []link
		status  Status
		rcode   int
		records int
	}{
		{"tocom.example.org.", dns.TypeA, []link{{"alias.example.com.", false, Secure}, {"mx.example.com.", false, Secure}}, Secure, 0, 1},
		{"toplain.example.org.", dns.TypeA, []link{{"back.plain.com.", false, Secure}, {"mx.example.com.", false, Insecure}}, Insecure, 0, 1},
		{"back.plain.com.", dns.TypeA, []link{{"mx.example.com.", false, Insecure}}, Insecure, 0, 1},
		{"away.example.com.", dns.TypeAAAA, []link{{"mx.plain.com.", false, Secure}}, Insecure, 0, 0},
		{"tonone.example.org.", dns.TypeA, []link{{"none.example.com.", false, Secure}}, Secure, dns.RcodeNameError, 0},
		{"tonodata.example.org.", dns.TypeTXT, []link{{"mx.example.com.", false, Secure}}, Secure, 0, 0},
		{"mx.moved.example.org.", dns.TypeA, []link{{"mx.example.com.", true, Secure}}, Secure, 0, 1},
		{"alias.moved.example.org.", dns.TypeA, []link{{"alias.example.com.", true, Secure}, {"mx.example.com.", false, Secure}}, Secure, 0, 1},
		{"mx.movedplain.example.org.", dns.TypeA, []link{{"mx.plain.com.", true, Secure}}, Insecure, 0, 1},
		{"moved.example.org.", dns.TypeA, nil, Secure, 0, 0},
		{"mx.d.unsigned.org.", dns.TypeA, []link{{"mx.example.com.", true, Insecure}}, Insecure, 0, 1},
		{"any.w.example.org.", dns.TypeA, []link{{"mx.example.org.", false, Secure}}, Secure, 0, 1},
	} {
		for _, whole := range []bool{true, false} {
			w := aliasWorld(t)
			if !whole {
				// The server returns the first step only.
				w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
					q := m.Question[0]
					m.Answer = without(m.Answer, func(rr dns.RR) bool {
						return rr.Header().Name != q.Name && !(proof.Below(q.Name, rr.Header().Name) && (isType(dns.TypeDNAME)(rr) || isCovering(dns.TypeDNAME)(rr)))
					})
					if len(m.Answer) > 0 {
						m.Rcode = 0
					}
					return m
				}
			}
			a := w.expect(t, tt.name, tt.qtype, tt.status)
			if rcodeOf(a) != tt.rcode || len(a.Records) != tt.records || len(a.Aliases) != len(tt.links) {
				t.Errorf("%s: %+v", tt.name, a)
				continue
			}
			at := tt.name
			for i, l := range tt.links {
				if want := (Alias{at, l.target, l.dname, l.status}); a.Aliases[i] != want {
					t.Errorf("%s: step %d is %+v, want %+v", tt.name, i, a.Aliases[i], want)
				}
				at = l.target
			}
			if a.Name != at {
				t.Errorf("%s: answered for %s", tt.name, a.Name)
			}
		}
	}
}

// A question for CNAME or DNAME records returns the alias itself.
func TestQuestionForCNAMEReturnsTheAlias(t *testing.T) {
	t.Parallel()
	w := aliasWorld(t)
	for name, target := range map[string]string{
		"toplain.example.org.":  "back.plain.com.",
		"mx.moved.example.org.": "mx.example.com.",
	} {
		a := w.expect(t, name, dns.TypeCNAME, Secure)
		if len(a.Aliases) != 0 || a.Name != name || len(a.Records) != 1 || a.Records[0].Content() != target {
			t.Errorf("%s: %+v", name, a)
		}
	}
	w.expect(t, "back.plain.com", dns.TypeCNAME, Insecure)
	if a := w.expect(t, "mx.example.org", dns.TypeCNAME, Secure); len(a.Records) != 0 {
		t.Errorf("%+v", a)
	}
	if a := w.expect(t, "moved.example.org", dns.TypeDNAME, Secure); len(a.Records) != 1 {
		t.Errorf("%+v", a)
	}
}

// SEC-73: the CNAME that comes with a DNAME is not signed. Only the DNAME counts,
// and the CNAME must agree with it. SEC-77: the TTL of the CNAME does not matter.
func TestCNAMEMustAgreeWithDNAME(t *testing.T) {
	t.Parallel()
	const name = "mx.moved.example.org."
	cname := func(m *dns.Msg) *dns.CNAME {
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && c.Hdr.Name == name {
				return c
			}
		}
		return nil
	}
	for _, tt := range []struct {
		what   string
		bend   func(w *world, m *dns.Msg)
		reason Reason
	}{
		{"TTL 0", func(w *world, m *dns.Msg) { cname(m).Hdr.Ttl = 0 }, 0},
		{"no CNAME", func(w *world, m *dns.Msg) {
			m.Answer = without(m.Answer, func(rr dns.RR) bool { return rr.Header().Name == name })
		}, 0},
		{"upper case", func(w *world, m *dns.Msg) { cname(m).Target = "MX.Example.COM." }, 0},
		{"another target", func(w *world, m *dns.Msg) { cname(m).Target = "mx.plain.com." }, AliasInvalid},
		{"two CNAMEs", func(w *world, m *dns.Msg) {
			m.Answer = append(m.Answer, dnsdata.RR(t, name+" 60 IN CNAME mx.plain.com."))
		}, AliasInvalid},
		{"forged DNAME", func(w *world, m *dns.Msg) {
			m.Answer = []dns.RR{dnsdata.RR(t, "moved.example.org. 60 IN DNAME plain.com."), dnsdata.RR(t, name+" 60 IN CNAME mx.plain.com.")}
		}, SignatureMissing},
		{"forged CNAME alone", func(w *world, m *dns.Msg) {
			m.Answer = []dns.RR{dnsdata.RR(t, name+" 60 IN CNAME mx.plain.com.")}
		}, SignatureMissing},
		{"expanded DNAME", func(w *world, m *dns.Msg) {
			set := w.sigs(w.zones["example.org."], dnsdata.RR(t, "*.d.example.org. 300 IN DNAME plain.com."))
			for _, rr := range set {
				rr.Header().Name = "moved.d.example.org."
			}
			m.Answer = set
			m.Question[0].Name = name
		}, DenialMissing},
		{"YXDOMAIN", func(w *world, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeYXDomain, nil }, OtherRcode},
	} {
		w := aliasWorld(t)
		w.on(name, dns.TypeA, func(m *dns.Msg) { tt.bend(w, m) })
		if tt.reason == 0 {
			w.expect(t, name, dns.TypeA, Secure)
		} else if w.expectError(t, name, dns.TypeA, tt.reason); t.Failed() {
			t.Fatal(tt.what)
		}
	}
	w := aliasWorld(t)
	w.on("x.y.d.example.org.", dns.TypeA, func(m *dns.Msg) {
		set := w.sigs(w.zones["example.org."], dnsdata.RR(t, "*.d.example.org. 300 IN DNAME example.com."))
		for _, rr := range set {
			rr.Header().Name = "y.d.example.org."
		}
		m.Answer = set
	})
	w.expectError(t, "x.y.d.example.org.", dns.TypeA, SignatureInvalid)
	// SEC-77: the resulting name is too long.
	w.expectError(t, strings.Repeat("x", 63)+".long.example.org.", dns.TypeA, OtherRcode)
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg { m.Rcode = 0; return m }
	w.expectError(t, strings.Repeat("x", 63)+".long.example.org.", dns.TypeA, AliasInvalid)
}

// SEC-78, DANE-22: loops and endless chains are errors.
func TestAliasLoopsAreErrors(t *testing.T) {
	t.Parallel()
	w := aliasWorld(t)
	for _, name := range []string{"loop.example.org", "self.example.org"} {
		e := w.expectError(t, name, dns.TypeA, AliasLoop)
		mentions(t, e, "alias-loop", "leads back")
	}
	w.expectError(t, "x.movedloop.example.org", dns.TypeA, AliasLoop)
	z := w.zones["example.org."]
	for i := range 20 {
		z.add(t, fmt.Sprintf("c%d.example.org. 300 IN CNAME c%d.example.org.", i, i+1))
	}
	z.add(t, "c20.example.org. 300 IN A 192.0.2.1")
	w.expect(t, "c4.example.org", dns.TypeA, Secure)
	w.expectError(t, "c3.example.org", dns.TypeA, AliasLoop)
	w.expectError(t, "c0.example.org", dns.TypeA, AliasLoop)
	// Chains in the cache count as well.
	v := w.validator()
	if _, err := v.Lookup(t.Context(), "c4.example.org", TypeA); err != nil {
		t.Error(err)
	}
	w.settle()
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		if strings.HasPrefix(m.Question[0].Name, "c3.") && len(m.Answer) > 2 {
			m.Answer = m.Answer[:2]
		}
		return m
	}
	if a, err := v.Lookup(t.Context(), "c3.example.org", TypeA); err == nil {
		t.Errorf("17 aliases: %+v", a)
	}
}

// However few questions a lookup may send, it returns an answer or an error.
func TestFewQuestionsLeaveAnError(t *testing.T) {
	t.Parallel()
	w := aliasWorld(t)
	w.zones["example.org."].add(t, "far.example.org. 300 IN CNAME mx.plain.com.")
	w.on("far.example.org.", dns.TypeA, func(m *dns.Msg) { m.Answer = m.Answer[:2] }) // the target is asked for
	for n := 1; ; n++ {
		a, err := w.lookup("far.example.org", dns.TypeA, func(c *Config) { c.Limits.Queries = n })
		if (a == nil) == (err == nil) || a != nil && len(a.Records) == 0 {
			t.Errorf("%d questions: %+v, %v", n, a, err)
		}
		if err == nil {
			break
		}
		if n == 50 {
			t.Fatalf("%d questions: %v", n, err)
		}
	}
}

// Forged aliases: an unsigned CNAME in a signed zone is bogus. Several CNAMEs at
// one name, or one without a target, are invalid.
func TestForgedCNAMEIsBogus(t *testing.T) {
	t.Parallel()
	w := aliasWorld(t)
	w.on("mx.example.org.", dns.TypeA, func(m *dns.Msg) {
		m.Answer = []dns.RR{dnsdata.RR(t, "mx.example.org. 60 IN CNAME mx.plain.com."), dnsdata.RR(t, "mx.plain.com. 60 IN A 203.0.113.66")}
	})
	w.expectError(t, "mx.example.org", dns.TypeA, SignatureMissing)
	w.on("mx.plain.com.", dns.TypeA, func(m *dns.Msg) {
		m.Answer = []dns.RR{dnsdata.RR(t, "mx.plain.com. 60 IN CNAME a.plain.com."), dnsdata.RR(t, "mx.plain.com. 60 IN CNAME b.plain.com.")}
	})
	w.expectError(t, "mx.plain.com", dns.TypeA, AliasInvalid)
	// The data of the target must validate: forged data of a signed zone behind an
	// insecure alias is bogus (DANE-22). D16: the target is asked for by its own name.
	w.on("back.plain.com.", dns.TypeA, func(m *dns.Msg) {
		m.Answer = []dns.RR{m.Answer[0], dnsdata.RR(t, "mx.example.com. 60 IN A 203.0.113.66")}
	})
	if a := w.expect(t, "back.plain.com", dns.TypeA, Insecure); len(a.Records) != 1 || a.Records[0].Content() == "203.0.113.66" {
		t.Errorf("the forged address counts: %+v", a)
	}
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		switch q := m.Question[0]; {
		case q.Qtype != dns.TypeA:
		case q.Name == "back.plain.com.":
			m.Answer = []dns.RR{m.Answer[0], dnsdata.RR(t, "mx.example.com. 60 IN A 203.0.113.66")}
		case q.Name == "mx.example.com.":
			m.Answer = []dns.RR{dnsdata.RR(t, "mx.example.com. 60 IN A 203.0.113.66")}
		}
		return m
	}
	w.expectError(t, "back.plain.com", dns.TypeA, SignatureMissing)
	// The denial of the target of an alias counts only as the reply to a question
	// for the target.
	w.on("tocom.example.org.", dns.TypeA, func(m *dns.Msg) {
		m.Answer, m.Rcode = m.Answer[:2], dns.RcodeNameError
	})
	if a := w.expect(t, "tocom.example.org", dns.TypeA, Secure); len(a.Records) != 1 {
		t.Errorf("%+v", a)
	}
}

// RFC 2181 section 10.1, RFC 6672 section 2.4: a name with an alias has no other
// records. A reply with both is refused, even if the records are signed and the
// alias is not, both as the answer and for a name on the way to it.
func TestRecordsBesideAliasAreRefused(t *testing.T) {
	t.Parallel()
	for _, forged := range []string{
		"%s 60 IN CNAME mx.plain.com.",
		". 60 IN DNAME plain.com.",
	} {
		for _, at := range []question{
			{"mx.example.org.", dns.TypeA}, {"example.org.", dns.TypeDS}, {"example.org.", dns.TypeDNSKEY},
		} {
			w := aliasWorld(t)
			w.on(at.name, at.rtype, func(m *dns.Msg) {
				forged := strings.ReplaceAll(forged, "%s", at.name)
				m.Answer = append(m.Answer, dnsdata.RR(t, forged))
			})
			if a, err := w.lookup("mx.example.org.", dns.TypeA); err == nil {
				t.Errorf("%q beside %v: %+v", forged, at, a)
			}
		}
	}
}

// D16: the target of an alias, or the alias that it leads to, may be without signatures
// in the reply to the first name. It is then asked for by its own name.
func TestD16UnsignedTargetIsAskedForByName(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.zones["example.com."].add(t, "twice.example.com. 300 IN CNAME alias.example.com.")
	for _, name := range []string{"alias.example.com.", "twice.example.com."} {
		w.on(name, dns.TypeA, func(m *dns.Msg) {
			m.Answer = append(m.Answer[:2], without(m.Answer[2:], isType(dns.TypeRRSIG))...)
		})
		if a := w.expect(t, name, dns.TypeA, Secure); len(a.Records) != 1 || a.Name != "mx.example.com." {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// What an alias leads to may come with a proof of its own zone, as for a wildcard.
func TestAliasMayLeadToWildcard(t *testing.T) {
	t.Parallel()
	w := aliasWorld(t)
	w.zones["example.org."].add(t, "towild.example.org. 300 IN CNAME a.wild.example.com.")
	if a := w.expect(t, "towild.example.org.", dns.TypeA, Secure); len(a.Records) != 1 {
		t.Errorf("%+v", a)
	}
}

// The CNAME that a DNAME makes is no more secure than the DNAME.
func TestMadeCNAMEIsAsSecureAsItsDNAME(t *testing.T) {
	t.Parallel()
	w := aliasWorld(t)
	for name, want := range map[string]Status{"mx.d.unsigned.org.": Insecure, "mx.moved.example.org.": Secure} {
		if a := w.expect(t, name, dns.TypeCNAME, want); len(a.Records) != 1 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// There may be a zone below an alias.
func TestZoneBelowAliasIsFound(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.zone("sub.alias.example.com.", "mx.sub.alias.example.com. 300 IN A 192.0.2.8")
	w.expect(t, "mx.sub.alias.example.com.", dns.TypeA, Secure)
}

// D16: a reply must be authentic even in the part that is not used.
func TestD16UnusedPartMustBeAuthentic(t *testing.T) {
	t.Parallel()
	w := mail(t)
	w.on("alias.example.com.", dns.TypeA, func(m *dns.Msg) {
		m.Answer = append(m.Answer[:2], without(m.Answer[2:], isType(dns.TypeRRSIG))...)
		m.Ns = append(m.Ns, newTestNSEC("a.example.com.", "z.example.com.", dns.TypeA))
	})
	w.expectError(t, "alias.example.com.", dns.TypeA, SignatureMissing)
}

// The target of an alias that was looked up before is taken from memory.
func TestTargetOfAliasFromMemory(t *testing.T) {
	t.Parallel()
	const name, target = "tonodata.example.org.", "mx.example.com."
	w := aliasWorld(t)
	w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
		if m.Question[0].Name == name { // the servers of this zone do not know the other
			m.Answer = slices.DeleteFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Name == target })
		}
		return m
	}
	v := w.validator()
	for _, asked := range []string{target, name} {
		a, err := v.Lookup(t.Context(), asked, TypeA)
		if err != nil || a.Status != Secure || a.Name != target || len(a.Records) == 0 {
			t.Errorf("%s: %+v, %v", asked, a, err)
		}
	}
	w.settle()
	if n := w.asked[target+" A"]; n != 1 {
		t.Errorf("%s was asked for %d times", target, n)
	}
}
