package dnssec

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// An attacker on the path can put into any reply what any zone signed and what no
// one signed, in several lookups by the same validator. The result is an error or
// the truth: never other records, never an absence, and never insecure if the chain
// is signed.
func TestMixedRepliesAreTrueOrErrors(t *testing.T) {
	const seed, attempts = 20261126, 100
	t.Logf("seed %d", seed)
	for variant := range uint(8) {
		m := newMixer(t, variant, rand.New(rand.NewPCG(seed, uint64(variant))))
		for range attempts {
			m.attack(t)
		}
		if m.accepted == 0 {
			t.Errorf("variant %d: nothing was answered", variant)
		}
	}
}

// mixer makes replies from what the zones of its world signed.
type mixer struct {
	*world
	rand      *rand.Rand
	anchored  func(*Config)
	questions []question
	truth     map[question]*Answer
	sets      [][]dns.RR            // RRsets with their signatures, of all zones
	denials   map[string][][]dns.RR // by zone
	accepted  int                   // lookups that did not fail
}

// newMixer builds a world with all kinds of zones. The bits of variant select NSEC3
// for the upper and for the lower zones, and whether an island has an anchor.
func newMixer(t *testing.T, variant uint, random *rand.Rand) *mixer {
	w := newWorld(t)
	upper, lower := variant&1 != 0, variant&2 != 0
	com := w.zone("com.")
	com.nsec3, com.optOut = upper, upper
	w.zone("org.", "*.org. 300 IN A 192.0.2.200").nsec3 = upper
	w.zone("example.com.",
		"example.com. 300 IN MX 10 mx.example.com.", "mx.example.com. 300 IN A 192.0.2.1",
		"_25._tcp.mx.example.com. 300 IN TLSA 3 1 1 0011", "deep.ent.example.com. 300 IN A 192.0.2.2",
		"*.wild.example.com. 300 IN A 192.0.2.3", "x.wild.example.com. 300 IN TXT a",
		"alias.example.com. 300 IN CNAME mx.example.com.", "away.example.com. 300 IN CNAME mx.plain.com.",
		"*._tcp.w.example.com. 300 IN TLSA 3 1 1 0022", "old.example.com. 300 IN DNAME example.com.",
		"*.cn.example.com. 300 IN CNAME mx.example.org.").nsec3 = lower
	w.zone("sub.example.com.", "mx.sub.example.com. 300 IN A 192.0.2.11",
		"_25._tcp.mx.sub.example.com. 300 IN TLSA 3 1 1 0033", "*.sub.example.com. 300 IN TXT b").nsec3 = !lower
	w.zone("a.ent.example.com.", "mx.a.ent.example.com. 300 IN A 192.0.2.12")
	w.unsignedZone("lab.example.com.", "mx.lab.example.com. 300 IN A 192.0.2.13")
	w.unsignedZone("plain.com.", "mx.plain.com. 300 IN A 192.0.2.4", "back.plain.com. 300 IN CNAME mx.example.com.")
	island := w.zone("island.plain.com.", "mx.island.plain.com. 300 IN A 192.0.2.5",
		"_25._tcp.mx.island.plain.com. 300 IN TLSA 3 1 1 0055")
	w.zone("example.org.", "mx.example.org. 300 IN A 192.0.2.20", "moved.example.org. 300 IN DNAME example.com.",
		"to.example.org. 300 IN CNAME alias.example.com.").nsec3 = lower

	m := &mixer{world: w, rand: random, anchored: func(*Config) {}, truth: make(map[question]*Answer), denials: make(map[string][][]dns.RR)}
	if variant&4 != 0 {
		m.anchored = func(c *Config) { c.Anchors += island.keys[0].record.ToDS(dns.SHA256).String() }
	}
	m.collect()
	for _, host := range []string{
		"mx.example.com.", "mx.sub.example.com.", "mx.a.ent.example.com.", "mx.lab.example.com.", "mx.plain.com.",
		"mx.island.plain.com.", "mx.example.org.", "alias.example.com.", "away.example.com.", "mx.old.example.com.",
		"z.wild.example.com.", "q.x.wild.example.com.", "mx.w.example.com.", "none.example.com.", "none.org.", "none.com.",
		"mx.moved.example.org.", "to.example.org.", "b.cn.example.com.", "ent.example.com.", "example.com.", "sub.example.com.",
	} {
		for _, q := range []question{{host, dns.TypeA}, {"_25._tcp." + host, dns.TypeTLSA}, {host, dns.TypeDS}, {host, dns.TypeTXT}, {host, dns.TypeCNAME}} {
			a, err := w.lookup(q.name, q.rtype, m.anchored)
			if err != nil {
				t.Fatal(q, err)
			}
			m.questions = append(m.questions, q)
			m.truth[q] = a
		}
	}
	return m
}

// collect signs all RRsets and denials.
func (m *mixer) collect() {
	for _, apex := range slices.Sorted(maps.Keys(m.zones)) {
		z := m.zones[apex]
		for _, owner := range slices.Sorted(maps.Keys(z.records)) {
			for _, rtype := range z.types(m.world, owner) {
				if set := z.set(m.world, owner, rtype); len(set) > 0 {
					m.sets = append(m.sets, m.sign(z, set))
				}
			}
			switch {
			case z.unsigned:
			case !z.nsec3:
				m.denials[apex] = append(m.denials[apex], m.sign(z, []dns.RR{z.nsecFor(m.world, owner)}))
			case z.inChain(m.world, owner):
				m.denials[apex] = append(m.denials[apex], m.sign(z, []dns.RR{z.nsec3For(m.world, owner)}))
			}
		}
	}
}

// attack looks up three names with one validator. All replies for the first name
// and its chain are attacked.
func (m *mixer) attack(t *testing.T) {
	target := m.questions[m.rand.IntN(len(m.questions))]
	rate := m.rand.IntN(4)
	m.settle()
	m.mangle = func(_, _ string, reply *dns.Msg) *dns.Msg {
		q := question{reply.Question[0].Name, reply.Question[0].Qtype}
		if q == target || m.rand.IntN(4) < rate {
			m.mix(q, reply)
		}
		return reply
	}
	v := m.validator(m.anchored)
	for _, q := range []question{target, m.questions[m.rand.IntN(len(m.questions))], m.questions[m.rand.IntN(len(m.questions))]} {
		a, err := v.Lookup(context.Background(), q.name, Type(q.rtype))
		m.settle()
		if err != nil {
			continue
		}
		m.accepted++
		if want := m.truth[q]; !isTrue(a, want) {
			t.Errorf("%s %s: %s, want %s", dns.Type(q.rtype), q.name, answerText(a), answerText(want))
		}
	}
	m.mangle = nil
}

// isTrue reports whether an answer is the expected one. Of an insecure answer, only
// the status and the secure aliases are compared.
func isTrue(a, want *Answer) bool {
	if want.Status == Secure {
		return answerText(a) == answerText(want)
	}
	firstSecure := func(a *Answer) bool { return len(a.Aliases) > 0 && a.Aliases[0].Status == Secure }
	switch {
	case a.Status != Insecure:
		return false
	case firstSecure(a) || firstSecure(want):
		return len(a.Aliases) > 0 && len(want.Aliases) > 0 && a.Aliases[0] == want.Aliases[0]
	default:
		return true
	}
}

// answerText returns what an answer says, in an order that does not depend on the server.
func answerText(a *Answer) string {
	var records []string
	for _, record := range a.Records {
		records = append(records, record.Content())
	}
	slices.Sort(records)
	return fmt.Sprintf("%s %s %v %s", a.Status, dns.RcodeToString[rcodeOf(a)], a.Aliases, strings.Join(records, " "))
}

// mix replaces sections of a reply. It mostly leaves keys alone, because without
// them everything else is refused.
func (m *mixer) mix(q question, reply *dns.Msg) {
	if q.rtype == dns.TypeDNSKEY && m.rand.IntN(4) > 0 {
		return
	}
	how := m.rand.IntN(4)
	if how != 1 {
		reply.Ns = m.authority(q)
	}
	switch how {
	case 1, 3:
		reply.Answer = m.answer(q)
	case 2:
		reply.Answer = nil
	}
	if m.rand.IntN(2) == 0 {
		reply.Rcode = []int{dns.RcodeSuccess, dns.RcodeNameError}[m.rand.IntN(2)]
	}
}

// answer returns RRsets of any zone, some of them under a wrong name, and records
// that no one signed.
func (m *mixer) answer(q question) (records []dns.RR) {
	for range m.rand.IntN(3) {
		switch m.rand.IntN(4) {
		case 0:
			if text := forgedData[q.rtype]; text != "" {
				records = append(records, dnsdata.RR(m.tb, q.name+" 300 IN "+text))
			}
		case 1:
			records = append(records, dnsdata.RR(m.tb, q.name+" 300 IN CNAME evil.plain.com."))
		default:
			set := m.sets[m.rand.IntN(len(m.sets))]
			renamed := ""
			if strings.HasPrefix(set[0].Header().Name, "*.") && m.rand.IntN(4) > 0 || m.rand.IntN(10) == 0 {
				renamed = q.name
			}
			records = append(records, named(set, renamed)...)
		}
	}
	return records
}

var forgedData = map[uint16]string{dns.TypeA: "A 203.0.113.66", dns.TypeTLSA: "TLSA 3 1 1 6666", dns.TypeTXT: "TXT evil", dns.TypeDS: "DS 1 13 2 00"}

// authority returns denials of one zone, mostly one that the name is in: any of
// them, or those that matter.
func (m *mixer) authority(q question) []dns.RR {
	zones := slices.Sorted(maps.Keys(m.zones))
	apex := zones[m.rand.IntN(len(zones))]
	for m.rand.IntN(10) > 0 && !proof.Within(q.name, apex) {
		apex = zones[m.rand.IntN(len(zones))]
	}
	z := m.zones[apex]
	reply := new(dns.Msg)
	if m.rand.IntN(5) > 0 {
		reply.Ns = m.sign(z, z.set(m.world, apex, dns.TypeSOA))
	}
	if denials := m.denials[apex]; m.rand.IntN(2) == 0 && len(denials) > 0 {
		for range m.rand.IntN(4) + 1 {
			reply.Ns = append(reply.Ns, named(denials[m.rand.IntN(len(denials))], "")...)
		}
		return reply.Ns
	}
	for at := q.name; proof.Within(at, apex); at = proof.Parent(at) {
		for _, name := range []string{at, proof.WildcardOf(at)} {
			if m.rand.IntN(2) == 0 {
				m.prove(reply, z, name)
			}
		}
		if at == apex {
			break
		}
	}
	return reply.Ns
}

// named copies records, with another owner if name is not empty.
func named(set []dns.RR, name string) []dns.RR {
	var copies []dns.RR
	for _, rr := range set {
		rr = dns.Copy(rr)
		if name != "" {
			rr.Header().Name = name
		}
		copies = append(copies, rr)
	}
	return copies
}
