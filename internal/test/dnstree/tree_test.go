package dnstree

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// fill adds all kinds of records to a zone.
func fill(z *Zone) *Zone {
	z.Add("@ MX 10 mx", "mx A 192.0.2.1", "mx AAAA 2001:db8::1", "_25._tcp.mx TLSA 3 1 1 "+strings.Repeat("ab", 32),
		"*.wild A 192.0.2.7", "*.wildalias CNAME mx", "*.deep.wild TXT deep", "alias CNAME mx", "loop CNAME loop2", "loop2 CNAME loop",
		"a.b.ent TXT x", "dname DNAME other.test.", "dname TXT x", "hidden.dname A 192.0.2.9",
		"far DNAME "+strings.Repeat(strings.Repeat("x", 60)+".", 3),
		"lame NS ns.lame", "ns.lame A 192.0.2.8", "out CNAME mx.other.test.", "outunsigned CNAME mx.unsigned.test.",
		"x.lost NS ns.lame", fmt.Sprintf("big TXT %0250d %0250d %0250d %0250d %0250d %0250d", 1, 2, 3, 4, 5, 6))
	return z
}

// newTestTree returns a tree with all kinds of zones below test.
func newTestTree() *Tree {
	t := New()
	t.Zone("test")
	t.Zone("other.test").Add("mx A 192.0.2.1", "@ TXT x")
	fill(t.Zone("unsigned.test", Unsigned))
	fill(t.Zone("nsec.test"))
	fill(t.Zone("nsec3.test", NSEC3(3, "ab12", false)))
	fill(t.Zone("optout.test", NSEC3(0, "", true)))
	return t
}

// query queries with DO and CD, without the network.
func query(t *Tree, name string, qtype uint16) *dns.Msg {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(1232, true)
	q.CheckingDisabled = true
	return t.Exchange(q)
}

// verify checks that every RRset of a section is signed by its zone, except for
// synthesized CNAMEs.
func verify(t *testing.T, tree *Tree, section []dns.RR) {
	t.Helper()
	var dnames []string
	for _, rr := range section {
		if rr.Header().Rrtype == dns.TypeDNAME {
			dnames = append(dnames, rr.Header().Name)
		}
	}
	for _, rr := range section {
		head := rr.Header()
		synthesized := head.Rrtype == dns.TypeCNAME && slices.ContainsFunc(dnames, func(owner string) bool { return isBelow(head.Name, owner) })
		zone := tree.enclosing(head.Name)
		if nsec, ok := rr.(*dns.NSEC); head.Rrtype == dns.TypeDS || ok && head.Name == zone.name && !slices.Contains(nsec.TypeBitMap, dns.TypeSOA) {
			zone = tree.above(head.Name) // the parent's side of a delegation
		}
		if head.Rrtype == dns.TypeRRSIG || synthesized || zone.keys == nil {
			continue
		}
		var set []dns.RR
		var sig *dns.RRSIG
		for _, other := range section {
			if s, ok := other.(*dns.RRSIG); ok && s.TypeCovered == head.Rrtype && s.Hdr.Name == head.Name {
				sig = s
			}
			if other.Header().Rrtype == head.Rrtype && other.Header().Name == head.Name {
				set = append(set, other)
			}
		}
		if sig == nil {
			t.Errorf("%s %s: no signature", head.Name, dns.TypeToString[head.Rrtype])
			continue
		}
		if sig.SignerName != zone.name {
			t.Errorf("%s: signed by %s, not %s", head.Name, sig.SignerName, zone.name)
		}
		if err := sig.Verify(zone.keys[0].record, set); err != nil {
			t.Errorf("%s %s: %v", head.Name, dns.TypeToString[head.Rrtype], err)
		}
	}
}

// rrs returns the records of a section as "owner TYPE", without signatures and
// denials.
func rrs(section []dns.RR) []string {
	var texts []string
	for _, rr := range section {
		if !isDNSSEC(rr, dns.TypeNone) {
			texts = append(texts, rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype])
		}
	}
	return texts
}

// answerTest is a query and the expected answer. $ means the zone.
type answerTest struct {
	name   string
	qtype  uint16
	rcode  int
	answer string // owners and types, separated by commas
}

// answerTests are for a zone made by fill.
func answerTests() []answerTest {
	return []answerTest{
		{"$", dns.TypeMX, 0, "$ MX"},
		{"$", dns.TypeSOA, 0, "$ SOA"},
		{"$", dns.TypeNS, 0, "$ NS"},
		{"MX.$", dns.TypeA, 0, "mx.$ A"},
		{"mx.$", dns.TypeTXT, 0, ""},
		{"_25._tcp.mx.$", dns.TypeTLSA, 0, "_25._tcp.mx.$ TLSA"},
		{"nope.$", dns.TypeA, dns.RcodeNameError, ""},
		{"_25._tcp.nope.$", dns.TypeTLSA, dns.RcodeNameError, ""},
		{"ent.$", dns.TypeA, 0, ""},
		{"b.ent.$", dns.TypeA, 0, ""},
		{"x.ent.$", dns.TypeA, dns.RcodeNameError, ""},
		{"alias.$", dns.TypeA, 0, "alias.$ CNAME,mx.$ A"},
		{"alias.$", dns.TypeCNAME, 0, "alias.$ CNAME"},
		{"alias.$", dns.TypeTXT, 0, "alias.$ CNAME"},
		{"x.wild.$", dns.TypeA, 0, "x.wild.$ A"},
		{"x.y.wild.$", dns.TypeA, 0, "x.y.wild.$ A"},
		{"x.wild.$", dns.TypeTXT, 0, ""},
		{"x.deep.wild.$", dns.TypeA, 0, ""},
		{"wild.$", dns.TypeA, 0, ""},
		{"deep.wild.$", dns.TypeA, 0, ""},
		{"x.wildalias.$", dns.TypeA, 0, "x.wildalias.$ CNAME,mx.$ A"},
		{"x.wildalias.$", dns.TypeTXT, 0, "x.wildalias.$ CNAME"},
		{"*.wild.$", dns.TypeA, 0, "*.wild.$ A"},
		{"out.$", dns.TypeA, 0, "out.$ CNAME,mx.other.test. A"},
		{"outunsigned.$", dns.TypeA, 0, "outunsigned.$ CNAME,mx.unsigned.test. A"},
		{"mx.dname.$", dns.TypeA, 0, "dname.$ DNAME,mx.dname.$ CNAME,mx.other.test. A"},
		{"hidden.dname.$", dns.TypeA, dns.RcodeNameError, "dname.$ DNAME,hidden.dname.$ CNAME"},
		{"mx.dname.$", dns.TypeCNAME, 0, "dname.$ DNAME,mx.dname.$ CNAME"},
		{"dname.$", dns.TypeTXT, 0, "dname.$ TXT"},
		{strings.Repeat("y", 60) + "." + strings.Repeat("y", 60) + ".far.$", dns.TypeA, dns.RcodeYXDomain, "far.$ DNAME"},
		{"loop.$", dns.TypeA, 0, "loop.$ CNAME,loop2.$ CNAME"},
		{"lame.$", dns.TypeA, dns.RcodeServerFailure, ""},
		{"ns.lame.$", dns.TypeA, dns.RcodeServerFailure, ""},
		{"lame.$", dns.TypeDS, 0, ""},
		{"x.lost.$", dns.TypeDS, 0, ""},
		{"mx.$", dns.TypeDS, 0, ""},
		{"mx.$", dns.TypeANY, 0, "mx.$ A,mx.$ AAAA"},
	}
}

// RFC 6672 section 2.2: YXDOMAIN if, and only if, a DNAME makes a name of more than 255
// octets.
func TestLongestNames(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	for octets := 250; octets <= 258; octets++ {
		kept := octets - 3*(1+60) - 1 // of the name below far
		reply := query(tree, strings.Repeat("y", 30)+"."+strings.Repeat("y", kept-31-1)+".far.nsec.test.", dns.TypeA)
		if reply == nil || (reply.Rcode == dns.RcodeYXDomain) != (octets > 255) {
			t.Errorf("%d octets: %v", octets, reply)
		}
	}
}

// RFC 4035 section 3.1: the answer for each kind of name.
func TestAnswerForEachKindOfName(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	for _, zone := range []string{"unsigned.test.", "nsec.test.", "nsec3.test.", "optout.test."} {
		for _, test := range answerTests() {
			in := func(s string) string { return strings.ReplaceAll(s, "$", zone) }
			t.Run(fmt.Sprintf("%.40s %s", in(test.name), dns.TypeToString[test.qtype]), func(t *testing.T) {
				reply := query(tree, in(test.name), test.qtype)
				if reply.Rcode != test.rcode {
					t.Errorf("%s, want %s", dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
				}
				got := rrs(reply.Answer)
				if test.qtype == dns.TypeANY {
					got = slices.DeleteFunc(got, func(s string) bool { return strings.HasSuffix(s, "NSEC") })
				}
				if got := strings.Join(got, ","); got != in(test.answer) {
					t.Errorf("answer %s, want %s", got, in(test.answer))
				}
				verify(t, tree, reply.Answer)
				verify(t, tree, reply.Ns)
			})
		}
	}
}

// RFC 4035 section 5: DS and DNSKEY lead from the anchors to every zone.
func TestChainLeadsToEveryZone(t *testing.T) {
	t.Parallel()
	tree := New()
	tree.Zone("test", Algorithm(dns.ED25519))
	for i, algorithm := range []uint8{dns.RSASHA1NSEC3SHA1, dns.RSASHA256, dns.RSASHA512, dns.ECDSAP256SHA256, dns.ECDSAP384SHA384, dns.ED25519} {
		tree.Zone(fmt.Sprintf("z%d.test", i), Algorithm(algorithm), Digest(dns.SHA1, dns.SHA256, dns.SHA384))
	}
	for name := range tree.zones {
		keys := query(tree, name, dns.TypeDNSKEY)
		verify(t, tree, keys.Answer)
		var ds []dns.RR
		if name == "." {
			ds = (&Zone{name: "."}).parse([]string{tree.Anchors()})
		} else {
			reply := query(tree, name, dns.TypeDS)
			verify(t, tree, reply.Answer)
			ds = reply.Answer
		}
		key := keys.Answer[0].(*dns.DNSKEY)
		for _, rr := range ds {
			if ds, ok := rr.(*dns.DS); ok && (!strings.EqualFold(key.ToDS(ds.DigestType).Digest, ds.Digest) || ds.KeyTag != key.KeyTag()) {
				t.Errorf("%s: DS record %s is not that of the key", name, ds)
			}
		}
	}
}

func TestChainOptions(t *testing.T) {
	t.Parallel()
	tree := New(NSEC3(0, "", false))
	tree.Zone("unsigned", Unsigned)
	tree.Zone("island", WithoutDS)
	tree.Zone("unknown", Algorithm(200), Digest(dns.SHA256, 201))
	tree.Zone("both", Algorithm(dns.ECDSAP256SHA256, 200))
	tree.Zone("past", Valid(time.Unix(1e9, 0), time.Unix(1.1e9, 0)))
	count := func(name string, qtype, want uint16) int {
		n := 0
		for _, rr := range query(tree, name, qtype).Answer {
			if rr.Header().Rrtype == want {
				n++
			}
		}
		return n
	}
	for _, test := range []struct {
		name             string
		ds, dnskey, sigs int
	}{{"unsigned", 0, 0, 0}, {"island", 0, 1, 1}, {"unknown", 2, 1, 1}, {"both", 2, 2, 2}, {"past", 1, 1, 1}} {
		if n := count(test.name, dns.TypeDS, dns.TypeDS); n != test.ds {
			t.Errorf("%s: %d DS records, want %d", test.name, n, test.ds)
		}
		if n := count(test.name, dns.TypeDNSKEY, dns.TypeDNSKEY); n != test.dnskey {
			t.Errorf("%s: %d DNSKEY records, want %d", test.name, n, test.dnskey)
		}
		if n := count(test.name, dns.TypeSOA, dns.TypeRRSIG); n != test.sigs {
			t.Errorf("%s: %d signatures, want %d", test.name, n, test.sigs)
		}
	}
	for _, rr := range query(tree, "past", dns.TypeSOA).Answer {
		if sig, ok := rr.(*dns.RRSIG); ok && (sig.Inception != 1e9 || sig.Expiration != 1.1e9) {
			t.Errorf("past: %s", sig)
		}
	}
}

func TestChangesOfZones(t *testing.T) {
	t.Parallel()
	tree := New()
	deep := tree.Zone("deep.example.test")
	if got := query(tree, "deep.example.test", dns.TypeDS).Answer[1].(*dns.RRSIG).SignerName; got != "." {
		t.Errorf("DS signed by %s, want the root", got)
	}
	tree.Zone("test")
	if got := query(tree, "deep.example.test", dns.TypeDS).Answer[1].(*dns.RRSIG).SignerName; got != "test." {
		t.Errorf("DS signed by %s, want test.", got)
	}
	text := func() string {
		reply := query(tree, "x.deep.example.test", dns.TypeTXT)
		verify(t, tree, reply.Answer)
		verify(t, tree, reply.Ns)
		var texts []string
		for _, rr := range reply.Answer {
			if txt, ok := rr.(*dns.TXT); ok {
				texts = append(texts, txt.Txt...)
			}
		}
		return strings.Join(texts, " ")
	}
	deep.Add("x TXT a", "X.deep.example.test. TXT b")
	if got := text(); got != "a b" {
		t.Errorf("after Add: %q", got)
	}
	deep.Set("x TXT c")
	if got := text(); got != "c" {
		t.Errorf("after Set: %q", got)
	}
	deep.Remove("x", dns.TypeTXT)
	if got := text(); got != "" {
		t.Errorf("after Remove: %q", got)
	}
}

func TestMistakesPanic(t *testing.T) {
	t.Parallel()
	tree := New()
	zone := tree.Zone("test")
	for name, mistake := range map[string]func(){
		"syntax":        func() { zone.Add("x NONSENSE y") },
		"outside":       func() { zone.Add("x.example. TXT y") },
		"twice":         func() { tree.Zone("TEST.") },
		"name":          func() { At("a..b") },
		"unsigned root": func() { New(Unsigned) },
		"key impossible": func() {
			newKey("test.", dns.ECDSAP256SHA256).sign([]dns.RR{&dns.MX{Mx: "..."}}, time.Time{}, time.Time{})
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			mistake()
		}()
	}
}
