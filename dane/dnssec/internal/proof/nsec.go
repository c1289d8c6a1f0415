package proof

import (
	"slices"

	"github.com/miekg/dns"
)

// nsec is an authenticated NSEC record. It says that owner exists with these
// types, and that no name between owner and next exists.
type nsec struct {
	owner, next string
	apex        string
	types       []uint16
}

func newNSEC(rr *dns.NSEC, apex string) nsec {
	return nsec{owner: rr.Hdr.Name, next: dns.CanonicalName(rr.NextDomain), apex: apex, types: rr.TypeBitMap}
}

// spans reports whether name lies in the zone after owner and before next. The
// last record of the zone points back to the apex (RFC 4034 section 4.1.1).
func (n nsec) spans(name string) bool {
	if !Within(name, n.apex) || CompareNames(n.owner, name) >= 0 {
		return false
	}
	if Below(name, n.owner) && hidesBelow(n.types) {
		return false
	}
	return n.next == n.apex || CompareNames(name, n.next) < 0
}

// covers reports whether name does not exist. A name in the span that has next
// below it exists, without records (an empty non-terminal).
func (n nsec) covers(name string) bool { return n.spans(name) && !Below(n.next, name) }

// noData reports whether name exists without records of rtype.
func (n nsec) noData(name string, rtype uint16) bool {
	if n.owner == name {
		return denies(n.types, rtype)
	}
	return n.spans(name) && Below(n.next, name)
}

// encloser returns the longest existing ancestor of a name that n covers.
func (n nsec) encloser(name string) string {
	a, b := commonAncestor(name, n.owner), commonAncestor(name, n.next)
	if len(a) > len(b) {
		return a
	}
	return b
}

// denyByNSEC returns nil if the NSEC records prove nothing about the question.
func (d *Denials) denyByNSEC(name string, rtype uint16) *Absence {
	for _, n := range d.nsec {
		if n.noData(name, rtype) {
			delegated := n.owner == name && isDelegation(n.types)
			return &Absence{Rcode: dns.RcodeSuccess, Delegation: delegated}
		}
	}
	for _, n := range d.nsec {
		if !n.covers(name) {
			continue
		}
		wildcard := WildcardOf(n.encloser(name))
		if slices.ContainsFunc(d.nsec, func(n nsec) bool { return n.covers(wildcard) }) {
			return &Absence{Rcode: dns.RcodeNameError}
		}
		if slices.ContainsFunc(d.nsec, func(n nsec) bool { return n.noData(wildcard, rtype) }) {
			return &Absence{Rcode: dns.RcodeSuccess, Wildcard: true}
		}
	}
	return nil
}

// nsecProvesExpansion reports whether name does not exist and encloser is its
// closest encloser, so that the wildcard at encloser answers for name.
func (d *Denials) nsecProvesExpansion(name, encloser string) bool {
	return slices.ContainsFunc(d.nsec, func(n nsec) bool {
		return n.covers(name) && n.encloser(name) == encloser
	})
}
