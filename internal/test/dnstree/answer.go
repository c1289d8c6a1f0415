package dnstree

import (
	"slices"

	"github.com/miekg/dns"
)

// maxAliases limits the CNAME and DNAME steps of an answer. It is larger than
// the limit of resolvers, so that a validator reaches its own limit first.
const maxAliases = 32

// resolution is an answer under construction.
type resolution struct {
	tree              *Tree
	answer, authority []dns.RR
	rcode             int
	secure            bool // all steps were in the signed part of the tree
}

// resolve answers a query as a recursive resolver does for a query with DO and
// CD.
func (t *Tree) resolve(name string, qtype uint16) *resolution {
	r := &resolution{tree: t, secure: true}
	visited := make(map[string]bool)
	for next := canonical(name); next != "" && !visited[next] && len(visited) <= maxAliases; {
		visited[next] = true
		next = r.step(next, qtype)
	}
	return r
}

// step adds the answer for one name. If the name is an alias, it returns the
// target.
func (r *resolution) step(name string, qtype uint16) (next string) {
	z := r.tree.enclosing(name)
	if qtype == dns.TypeDS && name == z.name && name != "." {
		z = r.tree.above(name) // RFC 4035 section 3.1.4.1
	}
	r.secure = r.secure && z.secure()
	nodes := z.ready().nodes
	if n := nodes[name]; n != nil {
		return r.found(z, n, name, qtype)
	}
	encloser := parent(name)
	for nodes[encloser] == nil {
		encloser = parent(encloser)
	}
	n := nodes[encloser]
	switch {
	case n.cut:
		return r.lame()
	case n.sets[dns.TypeDNAME] != nil:
		return r.redirect(z, n, name, qtype)
	}
	if wildcard := nodes[child("*", encloser)]; wildcard != nil {
		return r.expand(z, wildcard, name, encloser, qtype)
	}
	r.rcode = dns.RcodeNameError
	r.deny(z, func(p *proof) { p.noName(name, encloser) })
	return ""
}

// found adds the answer for a name that exists.
func (r *resolution) found(z *Zone, n *node, name string, qtype uint16) (next string) {
	switch set, alias := n.sets[qtype], n.sets[dns.TypeCNAME]; {
	case n.cut && qtype != dns.TypeDS:
		return r.lame()
	case qtype == dns.TypeANY && len(n.sets) > 0:
		for _, t := range n.types() {
			r.answer = append(r.answer, z.signed(n.sets[t])...)
		}
	case set != nil:
		r.answer = append(r.answer, z.signed(set)...)
	case alias != nil:
		r.answer = append(r.answer, z.signed(alias)...)
		return canonical(alias[0].(*dns.CNAME).Target)
	default:
		r.deny(z, func(p *proof) { p.noType(name) })
	}
	return ""
}

// expand adds the answer for name from the wildcard below encloser (RFC 4592).
func (r *resolution) expand(z *Zone, wildcard *node, name, encloser string, qtype uint16) (next string) {
	set := wildcard.sets[qtype]
	if alias := wildcard.sets[dns.TypeCNAME]; set == nil && alias != nil {
		set = alias
		next = canonical(alias[0].(*dns.CNAME).Target)
	}
	if wildcard.cut {
		return r.lame()
	}
	if set == nil {
		r.deny(z, func(p *proof) { p.wildcardNoType(name, encloser) })
		return ""
	}
	for _, rr := range z.signed(set) {
		rr = dns.Copy(rr)
		rr.Header().Name = name
		r.answer = append(r.answer, rr)
	}
	r.prove(z, func(p *proof) { p.wildcardUsed(name, encloser) })
	return next
}

// redirect adds the answer for a name below a DNAME, with a synthesized CNAME
// (RFC 6672 section 3.1). The CNAME is not signed.
func (r *resolution) redirect(z *Zone, owner *node, name string, qtype uint16) (next string) {
	set := owner.sets[dns.TypeDNAME]
	dname := set[0].(*dns.DNAME)
	r.answer = append(r.answer, z.signed(set)...)
	prefix := name[:len(name)-len(dname.Hdr.Name)]
	if dname.Hdr.Name == "." {
		prefix = name
	}
	target := prefix + canonical(dname.Target)
	if canonical(dname.Target) == "." {
		target = prefix
	}
	if _, err := dns.PackDomainName(target, make([]byte, maxName), 0, nil, false); err != nil {
		r.rcode = dns.RcodeYXDomain
		return ""
	}
	r.answer = append(r.answer, &dns.CNAME{
		Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: dname.Hdr.Ttl},
		Target: target,
	})
	if qtype == dns.TypeCNAME {
		return ""
	}
	return target
}

// lame sets the answer for names below a delegation without a zone.
func (r *resolution) lame() (next string) {
	r.answer, r.authority, r.rcode = nil, nil, dns.RcodeServerFailure
	return ""
}

// deny adds the SOA record and the proof of a negative answer.
func (r *resolution) deny(z *Zone, prove func(*proof)) {
	r.authority = append(r.authority, z.signed(z.ready().nodes[z.name].sets[dns.TypeSOA])...)
	r.prove(z, prove)
}

func (r *resolution) prove(z *Zone, prove func(*proof)) {
	if z.keys == nil {
		return
	}
	p := z.proof()
	prove(p)
	for _, rr := range p.records {
		if !slices.Contains(r.authority, rr) {
			r.authority = append(r.authority, rr)
		}
	}
	r.secure = r.secure && !p.optOut
}
