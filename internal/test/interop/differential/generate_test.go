package differential

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A generator generates trees and questions about them.
type generator struct{ *rand.Rand }

func newGenerator(seed, tree uint64) generator { return generator{rand.New(rand.NewPCG(seed, tree))} }

func pick[T any](g generator, of []T) T { return of[g.IntN(len(of))] }

// chance is true once in n times.
func (g generator) chance(n int) bool { return g.IntN(n) == 0 }

var (
	labels  = []string{"a", "b", "c", "www", "mx", "_25._tcp.mx", "a.b", "d.c.b", "*", "*.a", "*.b", "*.w", "*._tcp.mx", "zz"}
	topmost = []string{"alpha", "beta", "gamma"}

	// Unknown algorithms make a zone insecure. Next to known algorithms they
	// have no effect.
	algorithms = [][]uint8{
		{dns.ECDSAP256SHA256}, {dns.ECDSAP256SHA256}, {dns.ECDSAP256SHA256}, {dns.ED25519}, {dns.ED25519},
		{dns.RSASHA256}, {dns.RSASHA512}, {dns.ECDSAP384SHA384},
		{dns.ECDSAP256SHA256, dns.ECDSAP256SHA256}, {dns.RSASHA256, dns.ECDSAP256SHA256},
		{dns.ECDSAP256SHA256, 200}, {200},
	}
	digests = [][]uint8{
		{dns.SHA256}, {dns.SHA256}, {dns.SHA256}, {dns.SHA384}, {dns.SHA256, dns.SHA384}, {dns.SHA1},
		{dns.SHA1, dns.SHA256}, {dns.SHA256, 200}, {200},
	}
)

// tree generates a tree of one to four levels below the root.
func (g generator) tree() treeSpec {
	spec := treeSpec{g.zone(".")}
	for !usableRoot(spec[0]) {
		spec[0] = g.zone(".")
	}
	// unbound 1.17 loops forever if the reply lacks the NSEC3 record of the
	// root apex, because it continues with the parent of the root, which is the
	// root.
	spec[0].NSEC3, spec[0].Iterations, spec[0].Salt, spec[0].OptOut = false, 0, "", false
	for range 2 + g.IntN(5) {
		above := pick(g, spec)
		depth := 0
		for name := above.Name; name != "."; name = spec.zone(parent(name)).Name {
			depth++
		}
		name := child(pick(g, labels[:3]), above.Name)
		switch {
		case depth == 4:
			continue
		case above.Name == ".":
			name = pick(g, topmost) + "."
		case g.chance(4):
			name = child(pick(g, labels[:3]), name) // below an empty non-terminal
		}
		if !slices.ContainsFunc(spec, func(z zoneSpec) bool { return dns.IsSubDomain(name, z.Name) }) {
			spec = append(spec, g.zone(name))
		}
	}
	for i := range spec {
		spec[i].Records = g.records(spec, spec[i])
	}
	return spec
}

// usableRoot reports whether the DS records of a root zone can be used as trust
// anchors.
func usableRoot(z zoneSpec) bool {
	return z.Shift == 0 && slices.ContainsFunc(z.Algorithms, func(a uint8) bool { return a != 200 }) &&
		slices.ContainsFunc(z.Digests, func(d uint8) bool { return d != 200 })
}

// zone generates the signing parameters of a zone.
func (g generator) zone(name string) zoneSpec {
	z := zoneSpec{Name: name, Algorithms: pick(g, algorithms), Digests: pick(g, digests)}
	if g.chance(2) {
		z.NSEC3 = true
		z.Iterations = pick(g, []uint16{0, 0, 0, 1, 5, 10, 50, 400})
		z.Salt = pick(g, []string{"", "", "ab", "0123456789abcdef"})
		z.OptOut = g.chance(2)
	}
	switch {
	case g.chance(6):
		return zoneSpec{Name: name}
	case g.chance(15):
		z.Digests = nil
	case g.chance(30):
		z.Shift = pick(g, []int{-100, 100})
	}
	z.OneDS = g.chance(6)
	z.SpareDS = g.chance(8)
	if g.chance(8) {
		z.SpareKey = pick(g, []uint16{dns.ZONE, dns.ZONE | dns.SEP, dns.ZONE | dns.SEP | dns.REVOKE, 0x80 | dns.SEP})
	}
	return z
}

// records generates the records of a zone. None is in a zone below it.
func (g generator) records(spec treeSpec, z zoneSpec) []string {
	var lines []string
	redirected := func(owner string) bool { // a DNAME must not hide a zone
		return slices.ContainsFunc(spec, func(o zoneSpec) bool { return dns.IsSubDomain(owner, o.Name) && o.Name != z.Name })
	}
	count := 2 + g.IntN(6)
	if z.Name == "." {
		count = g.IntN(3)
	}
	used := map[string]bool{}
	for range count {
		label := pick(g, labels)
		owner := child(label, z.Name)
		// The dns package cannot sign a wildcard directly below the root.
		if used[owner] || owner == "*." || spec.zone(owner).Name != z.Name {
			continue
		}
		used[owner] = true
		switch n := g.IntN(12); {
		case n == 0 && !redirected(owner) && !strings.HasPrefix(label, "*"):
			lines = append(lines, owner+" DNAME "+g.target(spec))
		case n <= 3:
			lines = append(lines, owner+" CNAME "+g.target(spec))
		default:
			lines = append(lines, g.data(owner)...)
		}
	}
	if g.chance(2) && z.Name != "." {
		lines = append(lines, z.Name+" MX 10 "+g.target(spec), z.Name+" MX 20 "+child("mx", z.Name))
	}
	if g.chance(15) && z.Name != "." && !redirected(z.Name) && len(lines) < 3 {
		lines = append(lines, z.Name+" DNAME "+g.target(spec))
	}
	return lines
}

func (g generator) data(owner string) []string {
	lines := []string{owner + " A 192.0.2.1"}
	for _, more := range []string{"A 192.0.2.2", "AAAA 2001:db8::1", "TXT \"" + owner + "\"", "MX 5 mx.alpha.",
		"TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"} {
		if g.chance(3) {
			lines = append(lines, owner+" "+more)
		}
	}
	if g.chance(3) {
		return lines[1:]
	}
	return lines
}

// target generates the target of an alias.
func (g generator) target(spec treeSpec) string {
	name := pick(g, spec).Name
	return child(strings.Replace(pick(g, labels), "*", "x", 1), name)
}

// question generates a question about a name in the tree, or near one.
func (g generator) question(spec treeSpec) question {
	z := pick(g, spec)
	name := z.Name
	switch g.IntN(8) {
	case 0: // the apex
	case 1:
		name = g.target(spec)
	case 2:
		name = child(pick(g, labels[:3]), name)
	default:
		if len(z.Records) > 0 {
			name, _, _ = strings.Cut(pick(g, z.Records), " ")
		}
	}
	switch g.IntN(6) {
	case 0:
		name = child("www", name)
	case 1:
		name = child(pick(g, []string{"x", "a", "x.y"}), strings.TrimPrefix(name, "*."))
	case 2:
		name = child("x", strings.TrimPrefix(name, "*."))
		name = name[2:]
		if g.chance(3) {
			name = parent(name)
		}
	}
	q := question{name, pick(g, []uint16{
		dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeTXT, dns.TypeMX, dns.TypeMX,
		dns.TypeTLSA, dns.TypeTLSA, dns.TypeTLSA, dns.TypeDS, dns.TypeDS, dns.TypeCNAME, dns.TypeDNAME, dns.TypeSOA,
		dns.TypeNS, dns.TypeDNSKEY,
	})}
	if q.Name == "" || q.Name == "." && q.Type == dns.TypeDS {
		q = question{".", dns.TypeSOA}
	}
	return q
}

// scenario generates a question and a mutation of its replies.
func (g generator) scenario(w *world) *scenario {
	s := &scenario{tree: w.spec, question: g.question(w.spec)}
	if g.chance(4) {
		return s
	}
	for range 20 {
		s.mutation = g.mutation(w, s.question)
		if s.prepare(w) {
			return s
		}
	}
	s.mutation = mutation{}
	return s
}

// mutation generates a mutation. It usually alters the reply to the question,
// and sometimes the reply to a subsequent query.
func (g generator) mutation(w *world, q question) mutation {
	steps := chain(w.ask(q), q)
	at := pick(g, steps)
	switch z := w.spec.zone(at.Name); g.IntN(8) {
	case 0:
		at = question{z.Name, dns.TypeDNSKEY}
	case 1, 2:
		for z.Name != "." && g.chance(3) {
			z = w.spec.zone(parent(z.Name))
		}
		if z.Name != "." {
			at = question{z.Name, dns.TypeDS}
		}
	}
	m := mutation{At: at, Kind: pick(g, kindNames), Donor: g.question(w.spec), Index: g.IntN(1 << 16)}
	switch g.IntN(4) {
	case 0:
		m.Donor.Type = at.Type
	case 1:
		m.Donor.Name = at.Name
	case 2:
		m.Donor = question{child(pick(g, labels[:5]), parent(at.Name)), at.Type}
	}
	if m.Donor.Name == "." && m.Donor.Type == dns.TypeDS {
		m.Donor.Type = dns.TypeDNSKEY
	}
	return m
}

// chain returns the questions that follow from a question along the aliases of
// its reply.
func chain(reply *dns.Msg, q question) []question {
	steps := []question{q}
	if q.Type == dns.TypeCNAME {
		return steps
	}
	for _, rr := range reply.Answer {
		if alias, ok := rr.(*dns.CNAME); ok && alias.Hdr.Name == steps[len(steps)-1].Name {
			steps = append(steps, question{dns.CanonicalName(alias.Target), q.Type})
		}
	}
	return steps
}

// String returns the Go literal of a zone.
func (z zoneSpec) String() string {
	text := strings.ReplaceAll(fmt.Sprintf("%#v", z), "differential.", "")
	return strings.ReplaceAll(text, "[]uint8", "[]byte")
}
