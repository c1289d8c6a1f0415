package proof

import (
	"slices"

	"github.com/miekg/dns"
)

// denies reports whether the types that exist at the name of a question rule out
// records of rtype. A CNAME would have been the answer (RFC 6840 section 4.3). At a
// delegation, the record of the parent denies only DS, and the record of the child all
// types except DS (section 4.1 and RFC 4035 section 5.2).
func denies(types []uint16, rtype uint16) bool {
	if slices.Contains(types, rtype) || slices.Contains(types, dns.TypeCNAME) {
		return false
	}
	if rtype == dns.TypeDS {
		return !slices.Contains(types, dns.TypeSOA)
	}
	return !isDelegation(types)
}

// isDelegation reports whether the types are those of the parent's side of a zone
// cut.
func isDelegation(types []uint16) bool {
	return slices.Contains(types, dns.TypeNS) && !slices.Contains(types, dns.TypeSOA)
}

// hidesBelow reports whether a record with these types says nothing about the
// names below it, because they are in another zone or are redirected (RFC 6840
// section 4.1).
func hidesBelow(types []uint16) bool {
	return isDelegation(types) || slices.Contains(types, dns.TypeDNAME)
}
