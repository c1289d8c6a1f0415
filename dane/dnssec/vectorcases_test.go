package dnssec

import (
	"crypto"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
	"github.com/mxseal/mxseal/internal/test/dnsvectors"
)

// vectorBook collects the cases of one world, and the messages that they share.
type vectorBook struct {
	*world
	t    *testing.T
	file *dnsvectors.File
	at   map[string]int // of a message
}

// vectorCase is a question, and what is done to the replies to it and to others.
type vectorCase struct {
	what string
	q    question
	want Status
	bend bends
	more []question // that some validators ask

	time    time.Time // if not that of the world
	anchors []dns.RR  // if not those of the root
	also    Status    // what others may find, and why
	why     string
}

// bends change the replies to some questions.
type bends map[question]func(m *dns.Msg)

// newVectors makes all cases.
func newVectors(t *testing.T) *dnsvectors.File {
	b := &vectorBook{world: newWorld(t), t: t, file: new(dnsvectors.File), at: make(map[string]int)}
	for _, style := range vectorStyles {
		b.addTree(style)
	}
	for _, style := range vectorStyles {
		b.genuine(style)
		b.forgedAnswers(style)
		b.forgedDenials(style)
		b.forgedChains(style)
	}
	b.algorithms()
	b.keys()
	b.digests()
	b.iterations()
	b.times()
	b.trustAnchors()
	for _, style := range vectorStyles {
		b.lies(style)
		if style != "nsec" {
			b.unknownNSEC3(style)
		}
	}
	b.mixedNSEC3("nsec3")
	b.mixedNSEC3("salted")
	b.outsideNSEC()
	b.tooManyLabels()
	b.responseCodes()
	b.classes()
	return b.file
}

// add adds a case with the replies to every question that a validator may need to ask.
func (b *vectorBook) add(c vectorCase) {
	b.t.Helper()
	vector := dnsvectors.Case{
		What: c.what, Time: b.now, Name: c.q.name, Type: dns.TypeToString[c.q.rtype], Status: vectorStatus(c.want), Why: c.why,
	}
	if !c.time.IsZero() {
		vector.Time = c.time
	}
	if c.why != "" {
		vector.Also = vectorStatus(c.also)
	}
	anchors := c.anchors
	if anchors == nil {
		anchors = b.anchorRecords()
	}
	for _, rr := range anchors {
		vector.Anchors = append(vector.Anchors, strings.Join(strings.Fields(rr.String()), " "))
	}
	asked := make(map[question]bool)
	var ask func(q question)
	ask = func(q question) {
		if asked[q] {
			return
		}
		asked[q] = true
		m := b.honest(q)
		if bend := c.bend[q]; bend != nil {
			bend(m)
		}
		vector.Replies = append(vector.Replies, b.message(m))
		for _, rr := range m.Answer {
			if alias, ok := rr.(*dns.CNAME); ok {
				ask(question{strings.ToLower(alias.Target), q.rtype})
			}
		}
		if q.rtype == dns.TypeDNSKEY || q.rtype == dns.TypeDS {
			return
		}
		for _, at := range proof.Ancestors(q.name) {
			if at != "." {
				ask(question{at, dns.TypeDS})
			}
			if b.zones[at] != nil {
				ask(question{at, dns.TypeDNSKEY})
			}
		}
	}
	ask(c.q)
	for _, q := range c.more {
		ask(q)
	}
	if c.q.rtype == dns.TypeDS || c.q.rtype == dns.TypeDNSKEY {
		ask(question{c.q.name, dns.TypeSOA}) // for the chain above
	}
	b.file.Cases = append(b.file.Cases, vector)
}

// vectorStatus returns a status as the vectors have it. They call the result of a lookup that
// gets no answer to judge failed, because indeterminate has another meaning in RFC 4033.
func vectorStatus(s Status) string {
	if s == Indeterminate {
		return "failed"
	}
	return s.String()
}

// honest returns the reply of an honest resolver.
func (b *vectorBook) honest(q question) *dns.Msg {
	query := new(dns.Msg).SetQuestion(q.name, q.rtype)
	query.Id = 0
	return b.reply(query)
}

// message returns the number of a message.
func (b *vectorBook) message(m *dns.Msg) int {
	b.t.Helper()
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		b.t.Fatalf("%v: %v", m.Question, err)
	}
	text := base64.StdEncoding.EncodeToString(wire)
	i, known := b.at[text]
	if !known {
		i = len(b.file.Messages)
		b.file.Messages = append(b.file.Messages, text)
		b.at[text] = i
	}
	return i
}

// Why others may come to another status.
const (
	whyOptOut = "the name may be in an unsigned zone, because of opt-out (RFC 5155 section 9.2): nothing about it is proven, so nothing is bogus. Some validators call a bad proof bogus all the same"
	whySigned = "the answer has a good signature, which is enough. Some validators check first that there is no delegation at the name, by a proof that is too costly (RFC 9276 section 3.2)"
	whyCostly = "the proofs of the zone are too costly (RFC 9276 section 3.2), so the name may be in an unsigned zone: nothing is bogus. Some validators call a bad signature or proof bogus all the same"
)

// hidden makes a forgery about a name that may be in an unsigned zone insecure.
func (c vectorCase) hidden(why string) vectorCase {
	c.want, c.also, c.why = Insecure, Bogus, why
	return c
}

// addHidden adds a forgery. If may is true, opt-out may hide an unsigned zone of the name.
func (b *vectorBook) addHidden(may bool, c vectorCase) {
	b.t.Helper()
	if may {
		c = c.hidden(whyOptOut)
	}
	b.add(c)
}

// vectorStyles are the ways in which the zones below a top-level domain deny names. The
// top-level domain has the name of the style.
var vectorStyles = []string{"nsec", "nsec3", "optout", "salted"}

// styled makes a zone deny names in the way of a style.
func styled(z *testZone, style string) {
	z.nsec3 = style != "nsec"
	z.optOut = style == "optout"
	if style == "salted" {
		z.salt, z.iter = "a1b2c3d4", 20
	}
}

// addTree adds a top-level domain and the zones below it.
func (b *vectorBook) addTree(style string) {
	top := style + "."
	styled(b.zone(top, "*."+"wild."+top+" 300 IN A 192.0.2.30"), style)
	d := "d." + top
	styled(b.zone(d,
		d+" 300 IN MX 10 mx."+d, d+" 300 IN MX 20 mx.plain."+top, "mx."+d+" 300 IN A 192.0.2.1", "mx."+d+" 300 IN AAAA 2001:db8::1",
		"two."+d+" 300 IN A 192.0.2.2", "two."+d+" 300 IN A 192.0.2.3",
		"_25._tcp.mx."+d+" 300 IN TLSA 3 1 1 "+strings.Repeat("0a", 32), "deep.ent."+d+" 300 IN A 192.0.2.4",
		"*.wild."+d+" 300 IN A 192.0.2.5", "x.wild."+d+" 300 IN TXT x", "*._tcp.w."+d+" 300 IN TLSA 3 1 1 "+strings.Repeat("0b", 32),
		"alias."+d+" 300 IN CNAME mx."+d, "away."+d+" 300 IN CNAME mx.plain."+top, "second."+d+" 300 IN CNAME alias."+d,
		"lost."+d+" 300 IN CNAME none."+d, "*.cn."+d+" 300 IN CNAME mx."+d, "old."+d+" 300 IN DNAME tree."+d, "www.tree."+d+" 300 IN A 192.0.2.6",
	), style)
	styled(b.zone("sub."+d, "mx.sub."+d+" 300 IN A 192.0.2.7", "_25._tcp.mx.sub."+d+" 300 IN TLSA 3 1 1 "+strings.Repeat("0c", 32)), style)
	styled(b.zone("sibling."+top, "mx.sibling."+top+" 300 IN A 192.0.2.8"), style)
	b.unsignedZone("lab."+d, "mx.lab."+d+" 300 IN A 192.0.2.9")
	b.unsignedZone("plain."+top, "mx.plain."+top+" 300 IN A 192.0.2.10", "back.plain."+top+" 300 IN CNAME mx."+d)
	island := b.zone("island.plain."+top, "mx.island.plain."+top+" 300 IN A 192.0.2.11")
	styled(island, style)
	styled(b.zone("orphan."+top, "mx.orphan."+top+" 300 IN A 192.0.2.12"), style)
	b.zones["orphan."+top].noDS = true
}

// genuine are questions with genuine replies.
func (b *vectorBook) genuine(style string) {
	top := style + "."
	absent := Secure // where a denial may hide an unsigned delegation, it proves nothing (RFC 5155 section 9.2)
	if style == "optout" {
		absent = Insecure
	}
	for _, c := range []struct {
		name  string
		rtype uint16
		want  Status
	}{
		{"mx.d.", dns.TypeA, Secure}, {"mx.d.", dns.TypeAAAA, Secure}, {"MX.D.", dns.TypeA, Secure}, {"d.", dns.TypeMX, Secure}, {"d.", dns.TypeDS, Secure},
		{"d.", dns.TypeDNSKEY, Secure}, {"d.", dns.TypeSOA, Secure}, {"d.", dns.TypeNS, Secure},
		{"two.d.", dns.TypeA, Secure}, {"_25._tcp.mx.d.", dns.TypeTLSA, Secure}, {"mx.d.", dns.TypeTXT, Secure},
		{"d.", dns.TypeTXT, Secure}, {"none.d.", dns.TypeA, absent}, {"a.b.none.d.", dns.TypeA, absent}, {"_25._tcp.none.d.", dns.TypeTLSA, absent},
		{"ent.d.", dns.TypeA, Secure}, {"none.ent.d.", dns.TypeA, absent}, {"y.wild.d.", dns.TypeA, absent}, {"a.b.wild.d.", dns.TypeA, absent},
		{"x.wild.d.", dns.TypeTXT, Secure}, {"x.wild.d.", dns.TypeA, Secure}, {"y.wild.d.", dns.TypeTXT, absent}, {"*.wild.d.", dns.TypeA, Secure},
		{"_25._tcp.w.d.", dns.TypeTLSA, absent}, {"alias.d.", dns.TypeA, Secure}, {"alias.d.", dns.TypeCNAME, Secure}, {"alias.d.", dns.TypeTXT, Secure},
		{"second.d.", dns.TypeA, Secure}, {"lost.d.", dns.TypeA, absent}, {"away.d.", dns.TypeA, Insecure}, {"away.d.", dns.TypeCNAME, Secure},
		{"z.cn.d.", dns.TypeA, absent}, {"www.old.d.", dns.TypeA, Secure}, {"none.old.d.", dns.TypeA, absent}, {"old.d.", dns.TypeDNAME, Secure},
		{"mx.sub.d.", dns.TypeA, Secure}, {"_25._tcp.mx.sub.d.", dns.TypeTLSA, Secure}, {"mx.lab.d.", dns.TypeA, Insecure}, {"none.lab.d.", dns.TypeA, Insecure},
		{"mx.plain.", dns.TypeA, Insecure}, {"mx.plain.", dns.TypeTXT, Insecure}, {"none.plain.", dns.TypeA, Insecure}, {"back.plain.", dns.TypeA, Insecure},
		{"plain.", dns.TypeDS, absent}, {"lab.d.", dns.TypeDS, absent}, {"mx.island.plain.", dns.TypeA, Insecure},
		{"mx.orphan.", dns.TypeA, Insecure}, {"none.", dns.TypeA, absent},
	} {
		b.add(vectorCase{what: "genuine", q: question{strings.ToLower(c.name) + top, c.rtype}, want: c.want})
	}
}

// fault is something wrong, or harmless, in a reply. bend gets the zone that signs the
// records asked for, and their RRset with its signature: the first of the answer section.
type fault struct {
	what string
	want Status
	bend func(b *vectorBook, z *testZone, m *dns.Msg)
}

// answerFaults are those of a positive answer.
var answerFaults = []fault{
	{"no signature", Bogus, func(_ *vectorBook, _ *testZone, m *dns.Msg) { m.Answer = without(m.Answer, isType(dns.TypeRRSIG)) }},
	{"nothing of DNSSEC", Bogus, func(_ *vectorBook, _ *testZone, m *dns.Msg) { strip(m) }},
	{"data altered", Bogus, func(b *vectorBook, _ *testZone, m *dns.Msg) { altered(b.t, m.Answer[0]) }},
	{"a record added", Bogus, func(b *vectorBook, _ *testZone, m *dns.Msg) {
		more := dns.Copy(m.Answer[0])
		altered(b.t, more)
		m.Answer = append([]dns.RR{more}, m.Answer...)
	}},
	{"signature altered", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = flipped(s.Signature) })},
	{"signature truncated", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = base64of(fromBase64(s.Signature)[:32]) })},
	{"signature of zeros", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = base64of(make([]byte, 64)) })},
	{"expiration extended", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Expiration += 86400 })},
	{"inception moved", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Inception -= 86400 })},
	{"original TTL altered", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.OrigTtl++ })},
	{"key tag altered", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.KeyTag++ })},
	{"algorithm altered", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Algorithm = dns.ECDSAP384SHA384 })},
	{"type covered altered", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.TypeCovered = dns.TypeTXT })},
	{"more labels than the owner", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Labels = 9 })},
	{"fewer labels", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Labels-- })},
	{"no labels", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Labels = 0 })},
	{"signer in another zone", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.SignerName = "sibling." + s.SignerName[2:] })},
	{"signer that is not a zone", Bogus, firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.SignerName = "mx." + s.SignerName })},
	{"expired", Bogus, resigned(func(b *vectorBook, z *testZone) (*testKey, string, time.Time, time.Time) {
		return z.keys[0], z.name, b.now.Add(-20 * 24 * time.Hour), b.now.Add(-10 * 24 * time.Hour)
	})},
	{"not yet valid", Bogus, resigned(func(b *vectorBook, z *testZone) (*testKey, string, time.Time, time.Time) {
		return z.keys[0], z.name, b.now.Add(10 * 24 * time.Hour), b.now.Add(20 * 24 * time.Hour)
	})},
	{"expiration before inception", Bogus, resigned(func(b *vectorBook, z *testZone) (*testKey, string, time.Time, time.Time) {
		return z.keys[0], z.name, b.now.Add(10 * 24 * time.Hour), b.now.Add(-10 * 24 * time.Hour)
	})},
	{"signed by a stranger", Bogus, resigned(func(b *vectorBook, z *testZone) (*testKey, string, time.Time, time.Time) {
		return newKey(b.t, z.name, dns.ECDSAP256SHA256, 256), z.name, z.validFrom, z.validTo
	})},
	{"signed by a stranger under the tag of the key", Bogus, func(b *vectorBook, z *testZone, m *dns.Msg) {
		resigned(func(b *vectorBook, z *testZone) (*testKey, string, time.Time, time.Time) {
			return newKey(b.t, z.name, dns.ECDSAP256SHA256, 256), z.name, z.validFrom, z.validTo
		})(b, z, m)
		firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.KeyTag = z.keys[0].record.KeyTag() })(b, z, m)
	}},
	{"signed by another zone", Bogus, resigned(func(b *vectorBook, z *testZone) (*testKey, string, time.Time, time.Time) {
		sibling := b.zones["sibling."+z.name[2:]]
		return sibling.keys[0], sibling.name, z.validFrom, z.validTo
	})},
	{"signed by another zone in the name of this one", Bogus, resigned(func(b *vectorBook, z *testZone) (*testKey, string, time.Time, time.Time) {
		return b.zones["sibling."+z.name[2:]].keys[0], z.name, z.validFrom, z.validTo
	})},
	{"the signature of another name", Bogus, func(b *vectorBook, z *testZone, m *dns.Msg) {
		other := b.honest(question{"two." + z.name, dns.TypeA})
		s := other.Answer[len(other.Answer)-1]
		s.Header().Name = m.Question[0].Name
		m.Answer = append(without(m.Answer, isType(dns.TypeRRSIG)), s)
	}},
	{"an unsigned alias instead", Bogus, func(b *vectorBook, z *testZone, m *dns.Msg) {
		m.Answer = []dns.RR{dnsdata.RR(b.t, m.Question[0].Name+" 300 IN CNAME mx.plain."+z.name[2:])}
		m.Ns = nil
	}},
	{"nothing", Bogus, func(_ *vectorBook, _ *testZone, m *dns.Msg) { m.Answer, m.Ns = nil, nil }},
	{"an unsigned denial", Bogus, func(b *vectorBook, z *testZone, m *dns.Msg) {
		m.Answer, m.Ns = nil, z.set(b.world, z.name, dns.TypeSOA)
	}},
	{"NXDOMAIN with the SOA record only", Bogus, func(b *vectorBook, z *testZone, m *dns.Msg) {
		m.Answer, m.Ns, m.Rcode = nil, b.sign(z, z.set(b.world, z.name, dns.TypeSOA)), dns.RcodeNameError
	}},
	{"the proof that another name does not exist", Bogus, func(b *vectorBook, z *testZone, m *dns.Msg) {
		m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
		b.deny(m, z, "none."+z.name, proof.WildcardOf(z.name))
	}},
	{"the proof that another name has no such records", Bogus, func(b *vectorBook, z *testZone, m *dns.Msg) {
		m.Answer, m.Ns = nil, nil
		b.deny(m, z, "deep.ent."+z.name)
	}},
	{"the proof of the zone above that the name does not exist", Bogus, func(b *vectorBook, z *testZone, m *dns.Msg) {
		m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
		b.deny(m, b.above(z.name), z.name, proof.WildcardOf(z.name))
	}},
	{"the TTL lowered", Secure, func(_ *vectorBook, _ *testZone, m *dns.Msg) {
		for _, rr := range m.Answer {
			rr.Header().Ttl = 1
		}
	}},
	{"the owner in capitals", Secure, func(_ *vectorBook, _ *testZone, m *dns.Msg) {
		for _, rr := range m.Answer {
			rr.Header().Name = strings.ToUpper(rr.Header().Name)
		}
	}},
	{"a bad signature beside the good one", Secure, func(b *vectorBook, z *testZone, m *dns.Msg) {
		more := b.honest(question{m.Question[0].Name, m.Question[0].Qtype})
		firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = flipped(s.Signature) })(b, z, more)
		m.Answer = append(more.Answer[len(more.Answer)-1:], m.Answer...)
	}},
	{"an expired signature beside the good one", Secure, func(b *vectorBook, z *testZone, m *dns.Msg) {
		more := b.honest(question{m.Question[0].Name, m.Question[0].Qtype})
		resigned(func(b *vectorBook, z *testZone) (*testKey, string, time.Time, time.Time) {
			return z.keys[0], z.name, b.now.Add(-20 * 24 * time.Hour), b.now.Add(-10 * 24 * time.Hour)
		})(b, z, more)
		m.Answer = append(more.Answer[len(more.Answer)-1:], m.Answer...)
	}},
}

// firstSignature edits the first signature of the answer section.
func firstSignature(edit func(*vectorBook, *dns.RRSIG)) func(*vectorBook, *testZone, *dns.Msg) {
	return func(b *vectorBook, _ *testZone, m *dns.Msg) {
		at := slices.IndexFunc(m.Answer, isType(dns.TypeRRSIG))
		edit(b, m.Answer[at].(*dns.RRSIG))
	}
}

// resigned replaces the signature of the only RRset of the answer section. A record that
// was expanded from a wildcard is signed as that of the wildcard.
func resigned(by func(*vectorBook, *testZone) (k *testKey, signer string, from, to time.Time)) func(*vectorBook, *testZone, *dns.Msg) {
	return func(b *vectorBook, z *testZone, m *dns.Msg) {
		set := without(m.Answer, isType(dns.TypeRRSIG))
		old := m.Answer[len(set)].(*dns.RRSIG)
		name := set[0].Header().Name
		owner := name
		if int(old.Labels) < dns.CountLabel(name) {
			owner = proof.WildcardOf(strings.Join(dns.SplitDomainName(name)[dns.CountLabel(name)-int(old.Labels):], ".") + ".")
		}
		for _, rr := range set {
			rr.Header().Name = owner
		}
		k, signer, from, to := by(b, z)
		m.Answer = append(set, signWith(b.t, signer, k, from, to, set))
		for _, rr := range m.Answer {
			rr.Header().Name = name
		}
	}
}

// altered changes the data of a record.
func altered(tb testing.TB, rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.A:
		rr.A = net.IPv4(203, 0, 113, 66)
	case *dns.TLSA:
		rr.Certificate = strings.Repeat("66", 32)
	case *dns.MX:
		rr.Mx = "mx.evil.nsec."
	case *dns.DS:
		rr.Digest = strings.Repeat("66", 32)
	case *dns.SOA:
		rr.Minttl++
	case *dns.CNAME:
		rr.Target = "mx.sibling." + rr.Target[strings.LastIndex(strings.TrimSuffix(rr.Target, "."), ".")+1:]
	default:
		tb.Fatalf("%v", rr)
	}
}

func fromBase64(text string) []byte {
	octets, _ := base64.StdEncoding.DecodeString(text)
	return octets
}

// flipped returns a signature with one bit changed.
func flipped(signature string) string {
	octets := fromBase64(signature)
	octets[len(octets)/2] ^= 1
	return base64of(octets)
}

// forgedAnswers are the faults in positive answers.
func (b *vectorBook) forgedAnswers(style string) {
	d := "d." + style + "."
	z := b.zones[d]
	for _, q := range []question{{"mx." + d, dns.TypeA}, {"_25._tcp.mx." + d, dns.TypeTLSA}, {"y.wild." + d, dns.TypeA}, {d, dns.TypeMX}} {
		if style != "nsec" && style != "nsec3" && q.name != "mx."+d {
			continue // where nothing differs
		}
		for _, f := range answerFaults {
			b.add(vectorCase{what: f.what, q: q, want: f.want, bend: bends{q: func(m *dns.Msg) { f.bend(b, z, m) }}})
		}
	}
	wild := question{"y.wild." + d, dns.TypeA}
	b.addHidden(style == "optout", vectorCase{what: "expanded from a wildcard without proof", q: wild, want: Bogus, bend: bends{wild: func(m *dns.Msg) { m.Ns = nil }}})
	b.addHidden(style == "optout", vectorCase{what: "expanded from a wildcard with the proof for another name", q: wild, want: Bogus, bend: bends{wild: func(m *dns.Msg) {
		m.Ns = nil
		b.prove(m, z, "none."+d)
	}}})
	explicit := question{"mx." + d, dns.TypeA}
	b.add(vectorCase{what: "a wildcard in place of a name that exists", q: explicit, want: Bogus, bend: bends{explicit: func(m *dns.Msg) {
		m.Answer = b.sign(z, []dns.RR{dnsdata.RR(b.t, "*.wild."+d+" 300 IN A 192.0.2.5")})
		for _, rr := range m.Answer {
			rr.Header().Name = explicit.name
		}
		b.prove(m, z, "none."+d)
	}}})
	for _, name := range []string{"alias." + d, "z.cn." + d} {
		q := question{name, dns.TypeA}
		isHidden := style == "optout" && name != "alias."+d
		b.addHidden(isHidden, vectorCase{what: "alias altered", q: q, want: Bogus, bend: bends{q: func(m *dns.Msg) {
			m.Answer = m.Answer[:2]
			altered(b.t, m.Answer[0])
		}}})
		b.addHidden(isHidden, vectorCase{what: "alias without signature", q: q, want: Bogus, bend: bends{q: func(m *dns.Msg) { m.Answer = m.Answer[:1] }}})
	}
	b.add(vectorCase{what: "alias alone", q: question{"alias." + d, dns.TypeA}, want: Secure, bend: bends{{"alias." + d, dns.TypeA}: func(m *dns.Msg) { m.Answer = m.Answer[:2] }}})
	target := question{"mx." + d, dns.TypeA}
	b.add(vectorCase{what: "the target of an alias altered", q: question{"alias." + d, dns.TypeA}, want: Bogus, bend: bends{
		{"alias." + d, dns.TypeA}: func(m *dns.Msg) { m.Answer = m.Answer[:2] },
		target:                    func(m *dns.Msg) { altered(b.t, m.Answer[0]) },
	}})
	old := question{"www.old." + d, dns.TypeA}
	b.add(vectorCase{what: "DNAME without signature", q: old, want: Bogus, bend: bends{old: func(m *dns.Msg) { m.Answer = without(m.Answer, isCovering(dns.TypeDNAME)) }}})
	b.add(vectorCase{what: "DNAME altered", q: old, want: Bogus, bend: bends{old: func(m *dns.Msg) {
		m.Answer[0].(*dns.DNAME).Target = "sub." + d
		m.Answer = append(m.Answer[:2:2], dnsdata.RR(b.t, "www.old."+d+" 300 IN CNAME www.sub."+d))
	}}})
	b.add(vectorCase{what: "the CNAME of a DNAME leads elsewhere", q: old, want: Bogus, also: Secure,
		why:  "the CNAME is not what the DNAME gives, so it is forged. Some validators follow the DNAME alone (RFC 6672 section 5.3.4.3)",
		more: []question{{"www.tree." + d, dns.TypeA}},
		bend: bends{old: func(m *dns.Msg) {
			m.Answer = append(m.Answer[:2:2], dnsdata.RR(b.t, "www.old."+d+" 300 IN CNAME mx.plain."+style+"."))
		}}})
}

// forgedDenials are the faults in proofs of absence.
func (b *vectorBook) forgedDenials(style string) {
	top := style + "."
	d := "d." + top
	for _, tt := range []struct {
		what    string
		q       question
		zone    string
		mayHide bool
	}{
		{"a name", question{"none." + d, dns.TypeA}, d, true},
		{"a name far down", question{"a.b.none." + d, dns.TypeTLSA}, d, true},
		{"a type", question{"mx." + d, dns.TypeTXT}, d, false},
		{"a type of an empty name", question{"ent." + d, dns.TypeA}, d, false},
		{"a type of a wildcard", question{"y.wild." + d, dns.TypeTXT}, d, true},
		{"DS records", question{"plain." + top, dns.TypeDS}, top, false},
	} {
		z := b.zones[tt.zone]
		one := func(what string, want Status, bend func(m *dns.Msg)) {
			b.addHidden(tt.mayHide && style == "optout", vectorCase{what: "denial of " + tt.what + ": " + what, q: tt.q, want: want, bend: bends{tt.q: bend}})
		}
		one("no signatures", Bogus, func(m *dns.Msg) { m.Ns = without(m.Ns, isType(dns.TypeRRSIG)) })
		one("the SOA record only", Bogus, func(m *dns.Msg) { m.Ns = m.Ns[:2] })
		one("nothing", Bogus, func(m *dns.Msg) { m.Ns = nil })
		one("signatures altered", Bogus, func(m *dns.Msg) {
			for _, rr := range m.Ns {
				if s, ok := rr.(*dns.RRSIG); ok && s.TypeCovered != dns.TypeSOA {
					s.Signature = flipped(s.Signature)
				}
			}
		})
		one("signatures expired", Bogus, func(m *dns.Msg) {
			proofs := without(m.Ns, isType(dns.TypeRRSIG))
			m.Ns = nil
			for _, rr := range proofs {
				m.Ns = append(m.Ns, rr, signWith(b.t, z.name, z.keys[0], b.now.Add(-20*24*time.Hour), b.now.Add(-10*24*time.Hour), []dns.RR{rr}))
			}
		})
		one("signed by a stranger", Bogus, func(m *dns.Msg) {
			stranger := newKey(b.t, z.name, dns.ECDSAP256SHA256, 256)
			proofs := without(m.Ns, isType(dns.TypeRRSIG))
			m.Ns = nil
			for _, rr := range proofs {
				m.Ns = append(m.Ns, rr, signWith(b.t, z.name, stranger, z.validFrom, z.validTo, []dns.RR{rr}))
			}
		})
		proofs := (len(b.honest(tt.q).Ns) - 2) / 2
		for i := range proofs {
			one(fmt.Sprintf("record %d of %d missing", i+1, proofs), Bogus, func(m *dns.Msg) { m.Ns = slices.Delete(m.Ns, 2+2*i, 4+2*i) })
		}
		one("the proof for another zone", Bogus, func(m *dns.Msg) {
			m.Ns = nil
			sibling := b.zones["sibling."+top]
			b.deny(m, sibling, "none."+sibling.name, proof.WildcardOf(sibling.name))
		})
	}
	// A name that exists is denied by true records about others.
	for _, q := range []question{{"mx." + d, dns.TypeA}, {"ent." + d, dns.TypeA}, {"mx.sub." + d, dns.TypeA}, {"y.wild." + d, dns.TypeA}} {
		c := vectorCase{what: "a name that exists is denied by the records about it", q: q, want: Bogus, bend: bends{q: func(m *dns.Msg) {
			m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
			b.deny(m, b.zones[d], q.name, proof.WildcardOf(proof.Parent(q.name)), d)
		}}}
		if style == "nsec" && q.name == "ent."+d {
			c.also, c.why = Secure, "the header says that the name does not exist, and the records prove that it does, without such records. Some validators believe the proof"
		}
		b.addHidden(style == "optout" && q.name == "y.wild."+d, c)
	}
}

// forgedChains are the faults on the way down to a name.
func (b *vectorBook) forgedChains(style string) {
	top := style + "."
	d := "d." + top
	host := question{"mx." + d, dns.TypeA}
	for _, at := range []string{d, top} {
		z, above := b.zones[at], b.above(at)
		ds, keys := question{at, dns.TypeDS}, question{at, dns.TypeDNSKEY}
		one := func(what string, q question, want Status, bend func(m *dns.Msg)) {
			b.add(vectorCase{what: fmt.Sprintf("%q: %s", at, what), q: host, want: want, bend: bends{q: bend}})
		}
		one("DS records without signature", ds, Bogus, func(m *dns.Msg) { m.Answer = without(m.Answer, isType(dns.TypeRRSIG)) })
		one("DS records altered", ds, Bogus, func(m *dns.Msg) { altered(b.t, m.Answer[0]) })
		one("DS records with an altered signature", ds, Bogus, func(m *dns.Msg) {
			firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = flipped(s.Signature) })(b, z, m)
		})
		one("DS records expired", ds, Bogus, func(m *dns.Msg) {
			m.Answer = append(m.Answer[:1:1], signWith(b.t, above.name, above.keys[0], b.now.Add(-20*24*time.Hour), b.now.Add(-10*24*time.Hour), m.Answer[:1]))
		})
		one("DS records signed by the zone itself", ds, Bogus, func(m *dns.Msg) {
			m.Answer = append(m.Answer[:1:1], signWith(b.t, z.name, z.keys[0], z.validFrom, z.validTo, m.Answer[:1]))
		})
		one("DS records missing", ds, Bogus, func(m *dns.Msg) { m.Answer, m.Ns = nil, nil })
		one("DS records denied without signature", ds, Bogus, func(m *dns.Msg) {
			m.Answer, m.Ns = nil, above.set(b.world, above.name, dns.TypeSOA)
		})
		one("DS records denied by the zone itself", ds, Bogus, func(m *dns.Msg) {
			m.Answer, m.Ns = nil, nil
			b.deny(m, z, z.name)
		})
		one("DS records denied by the record about them", ds, Bogus, func(m *dns.Msg) {
			m.Answer, m.Ns = nil, nil
			b.deny(m, above, at)
		})
		one("DS records denied by the record about another delegation", ds, Bogus, func(m *dns.Msg) {
			m.Answer, m.Ns = nil, nil
			b.deny(m, above, "zz."+above.name)
		})
		one("keys without signature", keys, Bogus, func(m *dns.Msg) { m.Answer = without(m.Answer, isType(dns.TypeRRSIG)) })
		one("keys with an altered signature", keys, Bogus, func(m *dns.Msg) {
			firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = flipped(s.Signature) })(b, z, m)
		})
		one("keys expired", keys, Bogus, func(m *dns.Msg) {
			m.Answer = append(m.Answer[:1:1], signWith(b.t, z.name, z.keys[0], b.now.Add(-20*24*time.Hour), b.now.Add(-10*24*time.Hour), m.Answer[:1]))
		})
		one("a key added", keys, Bogus, func(m *dns.Msg) {
			m.Answer = append(m.Answer, newKey(b.t, z.name, dns.ECDSAP256SHA256, 257).record)
		})
		one("the keys of a stranger", keys, Bogus, func(m *dns.Msg) {
			k := newKey(b.t, z.name, dns.ECDSAP256SHA256, 257)
			m.Answer = []dns.RR{k.record}
			m.Answer = append(m.Answer, signWith(b.t, z.name, k, z.validFrom, z.validTo, m.Answer))
		})
		one("no keys", keys, Bogus, func(m *dns.Msg) { m.Answer, m.Ns = nil, nil })
	}
	plain := question{"plain." + top, dns.TypeDS}
	for _, tt := range []struct {
		what string
		bend func(m *dns.Msg)
	}{
		{"the absence of DS records is not proven", func(m *dns.Msg) { m.Ns = nil }},
		{"the absence of DS records is proven without signatures", strip},
		{"the absence of DS records is proven for another name", func(m *dns.Msg) { m.Ns = nil; b.deny(m, b.zones[top], "d."+top) }},
		{"the proof of the absence of DS records is altered", func(m *dns.Msg) { m.Ns[len(m.Ns)-1].(*dns.RRSIG).Signature = base64of(make([]byte, 64)) }},
	} {
		b.add(vectorCase{what: tt.what, q: question{"mx.plain." + top, dns.TypeA}, want: Bogus, bend: bends{plain: tt.bend}})
	}
}

// zoneWith adds a zone below "nsec." with a mail host, and edits it.
func (b *vectorBook) zoneWith(label string, edit func(z *testZone)) question {
	name := label + ".nsec."
	z := b.zone(name, "mx."+name+" 300 IN A 192.0.2.1")
	edit(z)
	return question{"mx." + name, dns.TypeA}
}

// algorithms are zones of every algorithm.
func (b *vectorBook) algorithms() {
	const old = "SHA-1 is not trusted (RFC 9905), so a zone with these algorithms alone counts as unsigned; older validators accept it"
	for _, a := range []struct {
		algorithm uint8
		want      Status
	}{
		{dns.RSASHA1, Insecure}, {dns.RSASHA1NSEC3SHA1, Insecure}, {dns.RSASHA256, Secure}, {dns.RSASHA512, Secure},
		{dns.ECDSAP256SHA256, Secure}, {dns.ECDSAP384SHA384, Secure}, {dns.ED25519, Secure},
	} {
		q := b.zoneWith(fmt.Sprintf("algorithm%d", a.algorithm), func(z *testZone) {
			z.keys = []*testKey{newKey(b.t, z.name, a.algorithm, 257)}
		})
		for _, name := range []string{q.name, "none." + proof.Parent(q.name)} {
			c := vectorCase{what: fmt.Sprintf("algorithm %d", a.algorithm), q: question{name, dns.TypeA}, want: a.want}
			if a.want == Insecure {
				c.also, c.why = Secure, old
			}
			b.add(c)
		}
		c := vectorCase{what: fmt.Sprintf("algorithm %d, signature altered", a.algorithm), q: q, want: Bogus, bend: bends{q: func(m *dns.Msg) {
			firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = flipped(s.Signature) })(b, nil, m)
		}}}
		if a.want == Insecure {
			c.want, c.also, c.why = Insecure, Bogus, old
		}
		b.add(c)
		b.add(vectorCase{what: fmt.Sprintf("algorithm %d, no signature", a.algorithm), q: q, want: c.want, also: c.also, why: c.why, bend: bends{q: strip}})
	}
	b.ed448()
	for _, bits := range []int{1024, 2048, 4096} {
		q := b.zoneWith(fmt.Sprintf("rsa%d", bits), func(z *testZone) {
			z.keys = []*testKey{newRSAKey(b.t, newKey(b.t, z.name, dns.RSASHA256, 257).record, bits)}
		})
		b.add(vectorCase{what: fmt.Sprintf("RSA with %d bits", bits), q: q, want: Secure})
	}
	for _, algorithm := range []uint8{1, 3, 12, 17, 100, 253, 254} {
		q := b.zoneWith(fmt.Sprintf("unknown%d", algorithm), func(z *testZone) {
			ds := z.keys[0].record.ToDS(dns.SHA256)
			ds.Algorithm = algorithm
			z.ds = []dns.RR{ds}
		})
		b.add(vectorCase{what: fmt.Sprintf("DS records of algorithm %d only, which nobody has to know", algorithm), q: q, want: Insecure})
		b.add(vectorCase{what: fmt.Sprintf("DS records of algorithm %d only, and no signatures", algorithm), q: q, want: Insecure, bend: bends{q: strip}})
	}
	q := b.zoneWith("unknownbeside", func(z *testZone) {
		ds := newKey(b.t, z.name, dns.ECDSAP256SHA256, 257).record.ToDS(dns.SHA256)
		ds.Algorithm = 253
		z.ds = []dns.RR{ds, z.keys[0].record.ToDS(dns.SHA256)}
	})
	b.add(vectorCase{what: "a DS record of an unknown algorithm beside a good one", q: q, want: Secure})
	b.add(vectorCase{what: "a DS record of an unknown algorithm beside a good one, and no signatures", q: q, want: Bogus, bend: bends{q: strip}})
	q = b.zoneWith("bothalgorithms", func(z *testZone) {
		z.keys = append(z.keys, newKey(b.t, z.name, dns.ED25519, 257))
	})
	b.add(vectorCase{what: "two algorithms", q: q, want: Secure})
	for _, algorithm := range []uint8{dns.ECDSAP256SHA256, dns.ED25519} {
		b.add(vectorCase{what: fmt.Sprintf("two algorithms, signed with number %d only (RFC 6840 section 5.11)", algorithm), q: q, want: Secure, bend: bends{q: func(m *dns.Msg) {
			m.Answer = without(m.Answer, func(rr dns.RR) bool {
				s, ok := rr.(*dns.RRSIG)
				return ok && s.Algorithm != algorithm
			})
		}}})
	}
}

// ed448 is a zone of algorithm 16, which openssl signs.
func (b *vectorBook) ed448() {
	const why = "algorithm 16 is RECOMMENDED for validators (RFC 8624 section 3.1) and not implemented here: the zone counts as unsigned"
	q := b.zoneWith("algorithm16", func(z *testZone) { z.keys = []*testKey{newEd448Key(b.t, z.name)} })
	b.add(vectorCase{what: "algorithm 16", q: q, want: Insecure, also: Secure, why: why})
	b.add(vectorCase{what: "algorithm 16, signature altered", q: q, want: Insecure, also: Bogus, why: why, bend: bends{q: func(m *dns.Msg) {
		firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = flipped(s.Signature) })(b, nil, m)
	}}})
	b.add(vectorCase{what: "algorithm 16, no signature", q: q, want: Insecure, also: Bogus, why: why, bend: bends{q: strip}})
}

// ed448Signer signs with openssl, because Go has no Ed448. Package dns is told to sign with
// Ed25519, which takes the message itself too, and the algorithm in the message is corrected.
type ed448Signer struct {
	t   *testing.T
	key string // file
}

func newEd448Key(t *testing.T, zone string) *testKey {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "key.pem")
	openssl(t, "genpkey", "-algorithm", "ed448", "-out", key)
	public := openssl(t, "pkey", "-in", key, "-pubout", "-outform", "DER")
	k := randomKey(t, zone, dns.ED25519, 257).record
	k.Algorithm, k.PublicKey = dns.ED448, base64of(public[len(public)-57:])
	return &testKey{record: k, signer: ed448Signer{t: t, key: key}}
}

func (s ed448Signer) Public() crypto.PublicKey { return nil }

func (s ed448Signer) Sign(_ io.Reader, message []byte, _ crypto.SignerOpts) ([]byte, error) {
	message[2] = dns.ED448
	file := filepath.Join(s.t.TempDir(), "message")
	if err := os.WriteFile(file, message, 0o600); err != nil {
		return nil, err
	}
	return openssl(s.t, "pkeyutl", "-sign", "-rawin", "-inkey", s.key, "-in", file), nil
}

func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("openssl", args...).Output()
	if err != nil {
		t.Fatalf("openssl %s: %v", args[0], err)
	}
	return out
}

// keys are zones with special keys.
func (b *vectorBook) keys() {
	only := func(q question, k *testKey) bends {
		return bends{q: func(m *dns.Msg) {
			m.Answer = without(m.Answer, func(rr dns.RR) bool {
				s, ok := rr.(*dns.RRSIG)
				return ok && s.KeyTag != k.record.KeyTag()
			})
		}}
	}
	for _, tt := range []struct {
		label, what string
		edit        func(k *dns.DNSKEY)
		want        Status
		also        Status
		why         string
	}{
		{"nozone", "the flag that says zone key is not set", func(k *dns.DNSKEY) { k.Flags &^= dns.ZONE }, Bogus, 0, ""},
		{"protocol2", "the protocol of the key is 2", func(k *dns.DNSKEY) { k.Protocol = 2 }, Bogus, 0, ""},
		{"revoked", "the key is revoked", func(k *dns.DNSKEY) { k.Flags |= dns.REVOKE }, Bogus, Secure,
			"a revoked key counts for nothing but its own revocation (RFC 5011 section 2.1). Some validators look at the flag in keys of trust anchors only"},
		{"nosep", "the flag that says entry point is not set", func(k *dns.DNSKEY) { k.Flags = dns.ZONE }, Secure, 0, ""},
	} {
		b.add(vectorCase{what: tt.what, q: b.zoneWith(tt.label, func(z *testZone) { tt.edit(z.keys[0].record) }), want: tt.want, also: tt.also, why: tt.why})
		if tt.want != Bogus {
			continue
		}
		bad := newKey(b.t, tt.label+"2.nsec.", dns.ECDSAP256SHA256, 256)
		tt.edit(bad.record)
		q := b.zoneWith(tt.label+"2", func(z *testZone) {
			z.keys = append(z.keys, bad)
			z.ds = []dns.RR{z.keys[0].record.ToDS(dns.SHA256)}
		})
		b.add(vectorCase{what: tt.what + ", and it signed the data alone", q: q, want: Bogus, also: tt.also, why: tt.why, bend: only(q, bad)})
		b.add(vectorCase{what: tt.what + ", beside a good one", q: q, want: Secure})
	}
	zsk := newKey(b.t, "split.nsec.", dns.ECDSAP256SHA256, 256)
	q := b.zoneWith("split", func(z *testZone) {
		z.ds = []dns.RR{z.keys[0].record.ToDS(dns.SHA256)}
		z.keys = append(z.keys, zsk)
	})
	b.add(vectorCase{what: "a key for keys and a key for data", q: q, want: Secure, bend: only(q, zsk)})
	apex := question{"split.nsec.", dns.TypeDNSKEY}
	b.add(vectorCase{what: "only the key for data signed the keys", q: q, want: Bogus, bend: only(apex, zsk)})
	// Two keys with the same tag.
	first, second := sameTag(b.t, "collision.nsec.")
	q = b.zoneWith("collision", func(z *testZone) {
		z.keys = []*testKey{first, second}
		z.ds = []dns.RR{first.record.ToDS(dns.SHA256)}
	})
	apex = question{"collision.nsec.", dns.TypeDNSKEY}
	b.add(vectorCase{what: "two keys with the same tag", q: q, want: Secure})
	for i := range 2 {
		b.add(vectorCase{what: fmt.Sprintf("two keys with the same tag, signed by number %d", i+1), q: q, want: Secure, bend: bends{q: func(m *dns.Msg) {
			m.Answer = append(m.Answer[:1:1], m.Answer[1+i])
		}}})
	}
	b.add(vectorCase{what: "two keys with the same tag, only the other one signed the keys", q: q, want: Bogus, bend: bends{apex: func(m *dns.Msg) {
		m.Answer = append(m.Answer[:2:2], m.Answer[3])
	}}})
	q = b.zoneWith("unsigned", func(z *testZone) { z.ds = []dns.RR{z.keys[0].record.ToDS(dns.SHA256)} })
	b.add(vectorCase{what: "a zone with DS records that is not signed", q: q, want: Bogus, bend: bends{q: strip, {"unsigned.nsec.", dns.TypeDNSKEY}: func(m *dns.Msg) {
		strip(m)
		m.Answer = nil
	}}})
}

// sameTag returns two keys with the same tag.
func sameTag(t *testing.T, zone string) (*testKey, *testKey) {
	known := make(map[uint16]*testKey)
	for {
		k := newKey(t, zone, dns.ECDSAP256SHA256, 257)
		if other := known[k.record.KeyTag()]; other != nil {
			return other, k
		}
		known[k.record.KeyTag()] = k
	}
}

// digests are zones with special DS records.
func (b *vectorBook) digests() {
	stranger := func(z *testZone) *dns.DNSKEY { return newKey(b.t, z.name, dns.ECDSAP256SHA256, 257).record }
	for i, tt := range []struct {
		what string
		ds   func(z *testZone, own *dns.DNSKEY) []dns.RR
		want Status
	}{
		{"DS with SHA-1 only", func(_ *testZone, own *dns.DNSKEY) []dns.RR { return []dns.RR{own.ToDS(dns.SHA1)} }, Secure},
		{"DS with SHA-256", func(_ *testZone, own *dns.DNSKEY) []dns.RR { return []dns.RR{own.ToDS(dns.SHA256)} }, Secure},
		{"DS with SHA-384", func(_ *testZone, own *dns.DNSKEY) []dns.RR { return []dns.RR{own.ToDS(dns.SHA384)} }, Secure},
		{"DS with all digests", func(_ *testZone, own *dns.DNSKEY) []dns.RR {
			return []dns.RR{own.ToDS(dns.SHA1), own.ToDS(dns.SHA256), own.ToDS(dns.SHA384)}
		}, Secure},
		{"DS of an unknown digest only", func(_ *testZone, own *dns.DNSKEY) []dns.RR {
			ds := own.ToDS(dns.SHA256)
			ds.DigestType = 99
			return []dns.RR{ds}
		}, Insecure},
		{"DS of an unknown digest beside a good one", func(_ *testZone, own *dns.DNSKEY) []dns.RR {
			ds := own.ToDS(dns.SHA256)
			ds.DigestType = 99
			return []dns.RR{ds, own.ToDS(dns.SHA256)}
		}, Secure},
		{"DS of another key", func(z *testZone, _ *dns.DNSKEY) []dns.RR { return []dns.RR{stranger(z).ToDS(dns.SHA256)} }, Bogus},
		{"DS of another key beside that of a key", func(z *testZone, own *dns.DNSKEY) []dns.RR {
			return []dns.RR{stranger(z).ToDS(dns.SHA256), own.ToDS(dns.SHA256)}
		}, Secure},
		{"DS with the wrong digest", func(_ *testZone, own *dns.DNSKEY) []dns.RR {
			ds := own.ToDS(dns.SHA256)
			ds.Digest = strings.Repeat("00", 32)
			return []dns.RR{ds}
		}, Bogus},
		{"DS with a digest that is too short", func(_ *testZone, own *dns.DNSKEY) []dns.RR {
			ds := own.ToDS(dns.SHA256)
			ds.Digest = ds.Digest[:32]
			return []dns.RR{ds}
		}, Bogus},
		{"DS with the wrong tag", func(_ *testZone, own *dns.DNSKEY) []dns.RR {
			ds := own.ToDS(dns.SHA256)
			ds.KeyTag++
			return []dns.RR{ds}
		}, Bogus},
		{"DS with another algorithm that is known", func(_ *testZone, own *dns.DNSKEY) []dns.RR {
			ds := own.ToDS(dns.SHA256)
			ds.Algorithm = dns.ECDSAP384SHA384
			return []dns.RR{ds}
		}, Bogus},
		{"DS with SHA-1 that does not match, beside SHA-256 that does (RFC 4509 section 3)", func(z *testZone, own *dns.DNSKEY) []dns.RR {
			ds := stranger(z).ToDS(dns.SHA1)
			ds.KeyTag = own.KeyTag()
			return []dns.RR{ds, own.ToDS(dns.SHA256)}
		}, Secure},
	} {
		q := b.zoneWith(fmt.Sprintf("ds%d", i), func(z *testZone) { z.ds = tt.ds(z, z.keys[0].record) })
		b.add(vectorCase{what: tt.what, q: q, want: tt.want})
		if tt.want == Secure {
			b.add(vectorCase{what: tt.what + ", no signatures", q: q, want: Bogus, bend: bends{q: strip}})
		}
	}
	q := b.zoneWith("sha1first", func(z *testZone) {
		own := z.keys[0].record
		ds := stranger(z).ToDS(dns.SHA256)
		ds.KeyTag = own.KeyTag()
		z.ds = []dns.RR{own.ToDS(dns.SHA1), ds}
	})
	b.add(vectorCase{what: "DS with SHA-1 that matches, beside SHA-256 that does not", q: q, want: Bogus,
		also: Secure, why: "RFC 4509 section 3 says SHOULD: SHA-1 is ignored beside SHA-256"})
}

// iterations are zones with many NSEC3 iterations (RFC 9276 section 3.2).
func (b *vectorBook) iterations() {
	for _, tt := range []struct {
		iterations uint16
		costly     bool
	}{{0, false}, {1, false}, {50, false}, {100, false}, {151, true}, {500, true}, {2500, true}} {
		name := fmt.Sprintf("iterations%d.nsec.", tt.iterations)
		z := b.zone(name, "mx."+name+" 300 IN A 192.0.2.1", "*.wild."+name+" 300 IN A 192.0.2.2")
		z.nsec3, z.iter = true, tt.iterations
		b.unsignedZone("plain."+name, "mx.plain."+name+" 300 IN A 192.0.2.3")
		absent := Secure
		if tt.costly {
			absent = Insecure
		}
		what := fmt.Sprintf("%d NSEC3 iterations", tt.iterations)
		signed := vectorCase{what: what, q: question{"mx." + name, dns.TypeA}, want: Secure}
		if tt.costly {
			signed.also, signed.why = Insecure, whySigned
		}
		b.add(signed)
		b.add(vectorCase{what: what, q: question{"mx." + name, dns.TypeTXT}, want: absent})
		b.add(vectorCase{what: what, q: question{"none." + name, dns.TypeA}, want: absent})
		b.add(vectorCase{what: what, q: question{"x.wild." + name, dns.TypeA}, want: absent})
		b.add(vectorCase{what: what, q: question{"mx.plain." + name, dns.TypeA}, want: Insecure})
		denied, answered := question{"none." + name, dns.TypeA}, question{"mx." + name, dns.TypeA}
		for _, c := range []vectorCase{
			{what: what + ", no signatures", q: denied, want: Bogus, bend: bends{denied: strip}},
			{what: what + ", signature altered", q: answered, want: Bogus, bend: bends{answered: func(m *dns.Msg) {
				firstSignature(func(_ *vectorBook, s *dns.RRSIG) { s.Signature = flipped(s.Signature) })(b, z, m)
			}}},
		} {
			if tt.costly {
				c = c.hidden(whyCostly)
			}
			b.add(c)
		}
	}
}

// times are genuine replies at other times.
func (b *vectorBook) times() {
	from, to := b.zones["."].validFrom, b.zones["."].validTo
	for _, tt := range []struct {
		what string
		at   time.Time
		want Status
	}{
		{"a day before the inception", from.Add(-24 * time.Hour), Bogus},
		{"a minute before the inception", from.Add(-time.Minute), Bogus},
		{"at the inception", from, Secure},
		{"at the expiration", to, Secure},
		{"a second after the expiration", to.Add(time.Second), Bogus},
		{"a year after the expiration", to.AddDate(1, 0, 0), Bogus},
	} {
		for _, q := range []question{{"mx.d.nsec.", dns.TypeA}, {"none.d.nsec3.", dns.TypeA}} {
			b.add(vectorCase{what: tt.what, q: q, want: tt.want, time: tt.at})
		}
	}
}

// trustAnchors are genuine replies with other trust anchors.
func (b *vectorBook) trustAnchors() {
	root, island := b.zones["."].keys[0].record, b.zones["island.plain.nsec."].keys[0].record
	stranger := newKey(b.t, ".", dns.ECDSAP256SHA256, 257).record
	wrong := root.ToDS(dns.SHA256)
	wrong.Digest = strings.Repeat("00", 32)
	inIsland := question{"mx.island.plain.nsec.", dns.TypeA}
	host := question{"mx.d.nsec.", dns.TypeA}
	for _, tt := range []struct {
		what    string
		q       question
		want    Status
		anchors []dns.RR
	}{
		{"the trust anchor has SHA-384", host, Secure, []dns.RR{root.ToDS(dns.SHA384)}},
		{"the trust anchor is that of another key", host, Bogus, []dns.RR{stranger.ToDS(dns.SHA256)}},
		{"the trust anchor has another digest", host, Bogus, []dns.RR{wrong}},
		{"two trust anchors, one of another key", host, Secure, []dns.RR{stranger.ToDS(dns.SHA256), root.ToDS(dns.SHA256)}},
		{"a trust anchor for an island", inIsland, Secure, []dns.RR{root.ToDS(dns.SHA256), island.ToDS(dns.SHA256)}},
		{"a trust anchor for an island, beside it", question{"mx.plain.nsec.", dns.TypeA}, Insecure, []dns.RR{root.ToDS(dns.SHA256), island.ToDS(dns.SHA256)}},
		{"a trust anchor for another island", question{"mx.island.plain.nsec3.", dns.TypeA}, Insecure, []dns.RR{root.ToDS(dns.SHA256), island.ToDS(dns.SHA256)}},
	} {
		b.add(vectorCase{what: tt.what, q: tt.q, want: tt.want, anchors: tt.anchors})
	}
	b.add(vectorCase{what: "a trust anchor for an island, no signatures", q: inIsland, want: Bogus,
		anchors: []dns.RR{root.ToDS(dns.SHA256), island.ToDS(dns.SHA256)}, bend: bends{inIsland: strip}})
	top := b.zones["nsec3."].keys[0].record.ToDS(dns.SHA256)
	for _, name := range []string{"mx.d.nsec3.", "none.d.nsec3."} {
		b.add(vectorCase{what: "a trust anchor for a top-level domain only", q: question{name, dns.TypeA}, want: Secure, anchors: []dns.RR{top}})
	}
	b.add(vectorCase{what: "nothing above the trust anchor", q: host, want: Insecure, anchors: []dns.RR{top}})
}
