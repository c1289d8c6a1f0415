package differential

import (
	"slices"

	"github.com/miekg/dns"
)

// truth is the content of the tree for a question, before any mutation.
type truth struct {
	answer      string // as in verdict
	chain       []question
	doubted     bool // an insecure status is permitted for the intact tree
	synthesized bool // the question is for an alias that a DNAME makes
}

func (w *world) truth(q question) truth {
	reply := w.ask(q)
	t := truth{answer: content(reply.Rcode, reply.Answer, q.Type), chain: chain(reply, q)}
	if q.Type == dns.TypeCNAME && len(reply.Answer) > 0 {
		t.answer = content(dns.RcodeSuccess, reply.Answer, q.Type)
		t.synthesized = slices.ContainsFunc(reply.Answer, func(rr dns.RR) bool { return redirects(rr, reply.Answer) })
	}
	t.doubted = slices.ContainsFunc(t.chain, func(step question) bool { return w.spec.doubts(step) })
	return t
}

// doubts reports whether a validator may find that the name is in no signed
// zone: there is an insecure delegation above it, or the NSEC3 records of a
// zone above allow one.
func (spec treeSpec) doubts(q question) bool {
	name := q.Name
	if q.Type == dns.TypeDS {
		name = parent(name)
	}
	for _, z := range spec {
		if dns.IsSubDomain(z.Name, name) && (z.weak() || z.Name != "." && !z.delegated()) {
			return true
		}
	}
	return false
}

// weak reports whether the proofs of the zone are insufficient: RFC 5155
// section 9.2 for opt-out, RFC 9276 section 3.2 for many iterations.
func (z zoneSpec) weak() bool {
	return z.NSEC3 && (z.OptOut || z.Iterations > iterations)
}

// delegated reports whether the zone has a DS record with a known algorithm and
// digest type (RFC 6840 section 5.2).
func (z zoneSpec) delegated() bool {
	if z.Algorithms == nil || z.Digests == nil {
		return false
	}
	algorithms := z.Algorithms
	if z.OneDS {
		algorithms = algorithms[:1]
	}
	known := func(n uint8) bool { return n != 200 }
	return z.SpareDS || slices.ContainsFunc(algorithms, known) && slices.ContainsFunc(z.Digests, known)
}
