package dnssec

import (
	"crypto"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// lies are replies of genuine records that prove something else than the reply says.
func (b *vectorBook) lies(style string) {
	b.denialsOfAliases(style)
	b.denialsOfWildcards(style)
	b.denialsBelowDNAME(style)
	b.closerEnclosers(style)
}

// denied adds a case whose reply is a denial with the genuine records about the names.
func (b *vectorBook) denied(what string, q question, rcode int, mayHide bool, names ...string) {
	b.t.Helper()
	b.addHidden(mayHide, vectorCase{what: what, q: q, want: Bogus, bend: bends{q: func(m *dns.Msg) {
		m.Answer, m.Ns, m.Rcode = nil, nil, rcode
		b.deny(m, b.world.at(q.name), names...)
	}}})
}

// denialsOfAliases are NODATA with the record about a name that has a CNAME (RFC 6840
// section 4.3).
func (b *vectorBook) denialsOfAliases(style string) {
	d := "d." + style + "."
	const what = "the record about an alias denies a type"
	for _, q := range []question{
		{"alias." + d, dns.TypeA}, {"alias." + d, dns.TypeTXT}, {"second." + d, dns.TypeAAAA}, {"away." + d, dns.TypeA}, {"lost." + d, dns.TypeTLSA},
	} {
		b.denied(what, q, dns.RcodeSuccess, false, q.name)
	}
	for _, name := range []string{"z.cn." + d, "a.b.cn." + d} {
		b.denied(what+", from a wildcard", question{name, dns.TypeA}, dns.RcodeSuccess, style == "optout", name, "*.cn."+d)
	}
}

// denialsOfWildcards are NODATA with the record about a wildcard that has the type.
func (b *vectorBook) denialsOfWildcards(style string) {
	top := style + "."
	for _, tt := range []struct {
		q        question
		wildcard string
	}{
		{question{"y.wild.d." + top, dns.TypeA}, "*.wild.d." + top},
		{question{"a.b.wild.d." + top, dns.TypeA}, "*.wild.d." + top},
		{question{"_25._tcp.w.d." + top, dns.TypeTLSA}, "*._tcp.w.d." + top},
		{question{"y.wild." + top, dns.TypeA}, "*.wild." + top},
	} {
		b.denied("the record about a wildcard denies a type that it has", tt.q, dns.RcodeSuccess, style == "optout", tt.q.name, tt.wildcard)
	}
}

// denialsBelowDNAME are NXDOMAIN with the record about the owner of a DNAME (RFC 6840
// section 4.1, RFC 6672 section 5.3.4.1).
func (b *vectorBook) denialsBelowDNAME(style string) {
	d := "d." + style + "."
	for _, q := range []question{{"www.old." + d, dns.TypeA}, {"none.old." + d, dns.TypeA}, {"_25._tcp.www.old." + d, dns.TypeTLSA}} {
		b.denied("the record about the owner of a DNAME denies a name below it", q, dns.RcodeNameError, false, q.name, "*.old."+d)
	}
}

// closerEnclosers are records that are expanded from a wildcard although a name between it
// and the question exists (RFC 4592 section 3.3.1), with the proof that the name asked for
// does not.
func (b *vectorBook) closerEnclosers(style string) {
	d, closer := "d."+style+".", "closer."+style+"."
	styled(b.zone(closer,
		"*."+closer+" 300 IN A 192.0.2.20", "*."+closer+" 300 IN TLSA 3 1 1 "+strings.Repeat("0d", 32),
		"mx."+closer+" 300 IN A 192.0.2.21", "deep.ent."+closer+" 300 IN A 192.0.2.22",
	), style)
	for _, tt := range []struct {
		q        question
		wildcard string
	}{
		{question{"y.x.wild." + d, dns.TypeA}, "*.wild." + d}, {question{"a.b.x.wild." + d, dns.TypeA}, "*.wild." + d},
		{question{"y.mx." + closer, dns.TypeA}, "*." + closer}, {question{"_25._tcp.mx." + closer, dns.TypeTLSA}, "*." + closer},
		{question{"y.ent." + closer, dns.TypeA}, "*." + closer}, {question{"y.deep.ent." + closer, dns.TypeA}, "*." + closer},
	} {
		b.addHidden(style == "optout", vectorCase{what: "expanded from a wildcard past a name that exists", q: tt.q, want: Bogus, bend: bends{tt.q: func(m *dns.Msg) {
			z := b.world.at(tt.q.name)
			m.Answer, m.Ns, m.Rcode = b.sign(z, z.set(b.world, tt.wildcard, tt.q.rtype)), nil, dns.RcodeSuccess
			for _, rr := range m.Answer {
				rr.Header().Name = tt.q.name
			}
			b.prove(m, z, tt.q.name)
			if z.nsec3 { // the name itself, and not only the next closer name
				addOnce(m, b.sign(z, []dns.RR{z.nsec3For(b.world, tt.q.name)}))
			}
		}}})
	}
}

// responseCodes are genuine records in replies whose response code says that there is no
// answer.
func (b *vectorBook) responseCodes() {
	const why = "there is no answer to judge. Validators with three results say bogus"
	host := question{"mx.d.nsec.", dns.TypeA}
	for _, rcode := range []int{dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused, dns.RcodeNotAuth} {
		for _, tt := range []struct{ asked, at question }{
			{host, host}, {question{"none.d.nsec.", dns.TypeA}, question{"none.d.nsec.", dns.TypeA}},
			{question{"mx.d.nsec3.", dns.TypeTXT}, question{"mx.d.nsec3.", dns.TypeTXT}},
			{host, question{"d.nsec.", dns.TypeDS}}, {host, question{"d.nsec.", dns.TypeDNSKEY}},
		} {
			b.add(vectorCase{what: fmt.Sprintf("%s to %s %s, with the records", dns.RcodeToString[rcode], tt.at.name, dns.TypeToString[tt.at.rtype]),
				q: tt.asked, want: Indeterminate, also: Bogus, why: why, bend: bends{tt.at: func(m *dns.Msg) { m.Rcode = rcode }}})
		}
	}
}

// classes are records of another class than IN.
func (b *vectorBook) classes() {
	const why = "the question is in class IN, and none of the records is. Some validators pass on what the zone signed, under its class"
	moved := func(class uint16) func(m *dns.Msg) {
		return func(m *dns.Msg) {
			for _, rr := range slices.Concat(m.Answer, m.Ns) {
				rr.Header().Class = class
			}
		}
	}
	host := question{"mx.d.nsec.", dns.TypeA}
	for _, class := range []uint16{dns.ClassCHAOS, dns.ClassHESIOD, 65280} {
		what := "records of class " + dns.Class(class).String()
		for _, q := range []question{host, {"_25._tcp.mx.d.nsec3.", dns.TypeTLSA}, {"none.d.nsec.", dns.TypeA}, {"none.d.nsec3.", dns.TypeA}, {"mx.d.nsec.", dns.TypeTXT}} {
			b.add(vectorCase{what: what, q: q, want: Bogus, bend: bends{q: moved(class)}})
		}
		for _, at := range []question{{"d.nsec.", dns.TypeDS}, {"d.nsec.", dns.TypeDNSKEY}, {"nsec.", dns.TypeDNSKEY}} {
			b.add(vectorCase{what: fmt.Sprintf("%s: %s %s", what, at.name, dns.TypeToString[at.rtype]), q: host, want: Bogus, bend: bends{at: moved(class)}})
		}
		b.add(vectorCase{what: what + ", signed as such", q: host, want: Bogus, also: Secure, why: why, bend: bends{host: func(m *dns.Msg) {
			m.Answer = m.Answer[:1]
			m.Answer[0].Header().Class = class
			m.Answer = b.sigs(b.zones["d.nsec."], m.Answer...)
		}}})
	}
}

// proofsSigned replaces each proof of the authority section by the records that edit
// makes of it, which the zone signs.
func (b *vectorBook) proofsSigned(m *dns.Msg, z *testZone, edit func(rr dns.RR) []dns.RR) {
	old := m.Ns
	m.Ns = nil
	for _, rr := range old {
		switch rr.Header().Rrtype {
		case dns.TypeNSEC, dns.TypeNSEC3:
			for _, edited := range edit(rr) {
				m.Ns = append(m.Ns, b.sigs(z, edited)...)
			}
		case dns.TypeRRSIG:
			if s := rr.(*dns.RRSIG); s.TypeCovered == dns.TypeSOA {
				m.Ns = append(m.Ns, s)
			}
		default:
			m.Ns = append(m.Ns, rr)
		}
	}
}

// unknownNSEC3 are NSEC3 records that a zone signed and that prove nothing (RFC 5155
// sections 8.1 and 8.2).
func (b *vectorBook) unknownNSEC3(style string) {
	top := style + "."
	d := "d." + top
	for _, edit := range []struct {
		what string
		edit func(rr *dns.NSEC3)
	}{
		{"hash algorithm 0", func(rr *dns.NSEC3) { rr.Hash = 0 }},
		{"hash algorithm 2", func(rr *dns.NSEC3) { rr.Hash = 2 }},
		{"flags 2", func(rr *dns.NSEC3) { rr.Flags |= 2 }},
		{"flags 128", func(rr *dns.NSEC3) { rr.Flags |= 128 }},
	} {
		for _, tt := range []struct {
			q       question
			mayHide bool
		}{
			{question{"none." + d, dns.TypeA}, true}, {question{"mx." + d, dns.TypeTXT}, false}, {question{"ent." + d, dns.TypeA}, false},
			{question{"y.wild." + d, dns.TypeA}, true}, {question{"y.wild." + d, dns.TypeTXT}, true},
		} {
			b.addHidden(tt.mayHide && style == "optout", vectorCase{what: "NSEC3 with " + edit.what, q: tt.q, want: Bogus, bend: bends{tt.q: func(m *dns.Msg) {
				b.proofsSigned(m, b.zones[d], func(rr dns.RR) []dns.RR { edit.edit(rr.(*dns.NSEC3)); return []dns.RR{rr} })
			}}})
		}
		plain := question{"plain." + top, dns.TypeDS}
		b.add(vectorCase{what: "the absence of DS records is proven by NSEC3 with " + edit.what, q: question{"mx.plain." + top, dns.TypeA}, want: Bogus, bend: bends{plain: func(m *dns.Msg) {
			b.proofsSigned(m, b.zones[top], func(rr dns.RR) []dns.RR { edit.edit(rr.(*dns.NSEC3)); return []dns.RR{rr} })
		}}})
	}
	typed := question{"mx." + d, dns.TypeTXT}
	b.add(vectorCase{what: "NSEC3 with unknown flags beside a good one", q: typed, want: Secure, bend: bends{typed: func(m *dns.Msg) {
		b.proofsSigned(m, b.zones[d], func(rr dns.RR) []dns.RR {
			stray := b.zones[d].nsec3For(b.world, d)
			stray.Flags = 2
			return []dns.RR{stray, rr}
		})
	}}})
}

// mixedNSEC3 are proofs of the records of two chains, as while a zone changes its salt.
func (b *vectorBook) mixedNSEC3(style string) {
	const why = "RFC 5155 section 8.2 says that a validator MAY call such a reply bogus. Some take each record by its own parameters"
	d := "d." + style + "."
	z := b.zones[d]
	inOther := func(salt string, iterations uint16, do func()) {
		oldSalt, oldIterations := z.salt, z.iter
		defer func() { z.salt, z.iter = oldSalt, oldIterations }()
		z.salt, z.iter = salt, iterations
		do()
	}
	// other returns the proof of another chain of the same zone.
	other := func(q question, salt string, iterations uint16) (proof []dns.RR) {
		inOther(salt, iterations, func() { proof = b.honest(q).Ns[2:] })
		return proof
	}
	for _, chain := range []struct {
		what       string
		salt       string
		iterations uint16
	}{{"salts", "0badc0de", z.iter}, {"iterations", z.salt, z.iter + 1}} {
		for _, q := range []question{{"none." + d, dns.TypeA}, {"y.wild." + d, dns.TypeTXT}} {
			b.add(vectorCase{what: "a proof of two chains of NSEC3 with different " + chain.what, q: q, want: Bogus, also: Secure, why: why, bend: bends{q: func(m *dns.Msg) {
				m.Ns = append(m.Ns[:4:4], other(q, chain.salt, chain.iterations)[2:]...)
			}}})
			b.add(vectorCase{what: "a proof and a record of another chain of NSEC3 with different " + chain.what, q: q, want: Secure, also: Bogus, why: why, bend: bends{q: func(m *dns.Msg) {
				m.Ns = append(m.Ns, other(q, chain.salt, chain.iterations)[:2]...)
			}}})
		}
		// Read by the parameters of the first chain, records of the second one deny what exists.
		for _, q := range []question{{"mx." + d, dns.TypeA}, {"_25._tcp.mx." + d, dns.TypeTLSA}} {
			b.add(vectorCase{what: "records of a chain of NSEC3 cover hashes of another one with different " + chain.what, q: q, want: Bogus, bend: bends{q: func(m *dns.Msg) {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
				b.deny(m, z, d)
				for _, name := range []string{"mx." + d, "*." + d} {
					hash := dns.HashName(name, dns.SHA1, z.iter, z.salt)
					inOther(chain.salt, chain.iterations, func() { addOnce(m, b.sign(z, []dns.RR{z.nsec3AtHash(b.world, hash)})) })
				}
			}}})
		}
	}
}

// outsideNSEC are NSEC records of a zone that lead to a name of another one.
func (b *vectorBook) outsideNSEC() {
	const why = "the next name is one of the zone (RFC 4034 section 4.1.1), and no clause says what a validator does if it is not. Some believe what the zone signed"
	const d = "d.nsec."
	z := b.zones[d]
	for _, next := range []string{"sibling.nsec.", "zz.", "nsec."} {
		what := fmt.Sprintf("the next name %q of an NSEC record is outside the zone", next)
		lead := func(rr dns.RR) []dns.RR { rr.(*dns.NSEC).NextDomain = next; return []dns.RR{rr} }
		for _, q := range []question{{"none." + d, dns.TypeA}, {"zz." + d, dns.TypeA}, {"_25._tcp.none." + d, dns.TypeTLSA}, {"y.wild." + d, dns.TypeA}} {
			b.add(vectorCase{what: what, q: q, want: Bogus, also: Secure, why: why, bend: bends{q: func(m *dns.Msg) { b.proofsSigned(m, z, lead) }}})
		}
		for _, q := range []question{{"mx." + d, dns.TypeA}, {"_25._tcp.mx." + d, dns.TypeTLSA}} {
			b.add(vectorCase{what: what + " and denies a name that exists", q: q, want: Bogus, also: Secure, why: why, bend: bends{q: func(m *dns.Msg) {
				m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
				b.deny(m, z, d)
				b.proofsSigned(m, z, lead)
			}}})
		}
	}
}

// relabeled signs with Ed25519, which takes the message itself, with another number of
// labels in it.
type relabeled struct {
	crypto.Signer
	labels uint8
}

func (s relabeled) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	message[3] = s.labels
	return s.Signer.Sign(random, message, opts)
}

// tooManyLabels are signatures by the zone with more labels than the owner has (RFC 4035
// section 5.3.1).
func (b *vectorBook) tooManyLabels() {
	host := b.zoneWith("labels", func(z *testZone) { z.keys = []*testKey{newKey(b.t, z.name, dns.ED25519, 257)} })
	z := b.world.at(host.name)
	apex, none := question{z.name, dns.TypeDNSKEY}, question{"none." + z.name, dns.TypeA}
	typed, wildcard := question{host.name, dns.TypeTXT}, question{"*.wild." + z.name, dns.TypeA}
	z.add(b.t, "*.wild."+z.name+" 300 IN A 192.0.2.2")
	sign := func(set []dns.RR, more int) []dns.RR {
		owner := set[0].Header().Name
		labels := uint8(dns.CountLabel(owner) + more)
		s := signWith(b.t, z.name, &testKey{record: z.keys[0].record, signer: relabeled{z.keys[0].signer, labels}}, z.validFrom, z.validTo, set)
		s.Labels = labels
		return append(set, s)
	}
	for _, more := range []int{1, 2, 200} {
		what := fmt.Sprintf("a signature with %d labels more than the owner", more)
		for _, tt := range []struct{ asked, at question }{{host, host}, {host, apex}, {wildcard, wildcard}} {
			b.add(vectorCase{what: fmt.Sprintf("%s: %s %s", what, tt.at.name, dns.TypeToString[tt.at.rtype]), q: tt.asked, want: Bogus, bend: bends{tt.at: func(m *dns.Msg) {
				m.Answer = sign(m.Answer[:1:1], more)
			}}})
		}
		for _, q := range []question{none, typed} {
			b.add(vectorCase{what: what + ", in a proof", q: q, want: Bogus, bend: bends{q: func(m *dns.Msg) {
				proofs := m.Ns[2:]
				m.Ns = m.Ns[:2:2]
				for _, rr := range without(proofs, isType(dns.TypeRRSIG)) {
					m.Ns = append(m.Ns, sign([]dns.RR{rr}, more)...)
				}
			}}})
		}
	}
	b.add(vectorCase{what: "a wildcard asked for itself", q: wildcard, want: Secure})
	b.add(vectorCase{what: "a signature with as many labels as a wildcard, which do not count its asterisk", q: wildcard, want: Bogus, bend: bends{wildcard: func(m *dns.Msg) {
		m.Answer = sign(m.Answer[:1:1], 0)
	}}})
}
