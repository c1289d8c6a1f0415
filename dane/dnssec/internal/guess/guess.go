// Package guess says which DS and DNSKEY records the proof of an answer is likely to need.
// Asked for together with the answer, they take no time of their own.
package guess

import (
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/internal/names"
)

// Known is what is known about a name on the way down to another.
type Known uint8

// What may be known about a name.
const (
	Nothing Known = iota
	Signed        // it is a signed zone
	Inside        // it is in the zone above
	Ended         // nothing below is in a signed zone
)

// Questions calls ask for DS and DNSKEY records of the names from the root down to name,
// until ask returns false. known says what is known about a name, with the habits of a
// signed zone.
func Questions(name string, rtype uint16, known func(at string) (Known, *memory.Habits), ask func(at string, rtype uint16) bool) {
	above := new(memory.Habits) // of the zone that the name is directly below, if that is known
	for i, at := range proof.Ancestors(name) {
		is, habits := known(at)
		switch is {
		case Signed:
			above = habits
			continue
		case Ended:
			return
		case Inside:
			above = new(memory.Habits)
			continue
		}
		if above.HoldsNames() || !above.Delegates() && isUnlikelyZone(name, rtype, at, i) {
			return
		}
		if at != "." && !ask(at, dns.TypeDS) || !above.MostlyUnsigned() && !ask(at, dns.TypeDNSKEY) {
			return
		}
		above = new(memory.Habits)
	}
}

// isUnlikelyZone reports whether at, which has the given number of labels and is name or
// above it, is probably inside the zone above: a name with an underscore (RFC 8552), a mail
// host, a name far down, or one below a domain that can be registered. What is above a
// mail host may be a zone of its own.
func isUnlikelyZone(name string, rtype uint16, at string, labels int) bool {
	if strings.HasPrefix(at, "_") {
		return true
	}
	owner := name // without labels that say what its records are for
	for strings.HasPrefix(owner, "_") {
		owner = proof.Parent(owner)
	}
	switch rtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeTLSA:
		return labels > 2 && (at == owner || len(proof.Ancestors(owner)) > 1+5)
	default:
		return labels > 2 && (labels > 3 || !proof.Within(registrable(owner), at))
	}
}

// registrable returns the part of owner that can be registered.
func registrable(owner string) string {
	return names.Registrable(strings.TrimSuffix(owner, ".")) + "."
}
