package dnssec

import (
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/private"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
)

// guess sends questions for the DS and DNSKEY records that the proof of an answer to q
// is likely to need and that are not known yet. It sends all at once and does not wait,
// so that proving the answer takes no longer than getting it. A wrong guess costs a
// small query, and a missing one costs time: guesses decide nothing else.
func (l *lookup) guess(q question) {
	if l.local && private.IsSpecialUse(q.name) || l.private.Of(q.name) != nil {
		return
	}
	s := &l.session
	above := new(memory.Habits) // of the zone that the name is directly below, if that is known
	for i, at := range proof.Ancestors(q.name) {
		known := l.chain.known(at)
		switch {
		case known != nil && known.kind == signed:
			above = l.cache.Habits(at, s.now)
			continue
		case known != nil && known.kind != sameZone:
			return
		case known != nil, l.cache.Get(memory.Key{Name: at, Kind: memory.Zone}, s.now) != nil:
			above = new(memory.Habits)
			continue
		}
		if above.HoldsNames() || !above.Delegates() && isUnlikelyZone(q, at, i) {
			return
		}
		guesses := []uint16{dns.TypeDS, dns.TypeDNSKEY}
		switch {
		case at == ".":
			guesses = guesses[1:]
		case above.MostlyUnsigned():
			guesses = guesses[:1]
		}
		for _, rtype := range guesses {
			if s.budget.queries.Load() < int64(s.budget.limits.Queries/2) {
				return // guesses must not use up what a long chain of aliases needs
			}
			if err := s.guess(question{at, rtype}); err != nil {
				return
			}
		}
		above = new(memory.Habits)
	}
}

// isUnlikelyZone reports whether at, which has the given number of labels and is the
// name of q or above it, is probably inside the zone above: a name with an underscore
// (RFC 8552), a mail host, or a name far down.
func isUnlikelyZone(q question, at string, labels int) bool {
	if strings.HasPrefix(at, "_") {
		return true
	}
	owner := q.name // without labels that say what its records are for
	for strings.HasPrefix(owner, "_") {
		owner = proof.Parent(owner)
	}
	if at != owner {
		return labels > 3 && len(proof.Ancestors(owner)) > 1+5
	}
	switch q.rtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeTLSA:
		return labels > 2
	default:
		return labels > 3
	}
}

// isInSignedZone reports whether name is in a signed zone as far as the cache knows.
func isInSignedZone(c *memory.Cache, name string, now time.Time) bool {
	for at := name; ; at = proof.Parent(at) {
		known, _ := c.Get(memory.Key{Name: at, Kind: memory.Cut}, now).(*cut)
		switch {
		case known != nil && known.kind == signed:
			return c.Habits(at, now).Records.Load() > 0
		case known != nil && known.kind != sameZone, at == ".":
			return false
		}
	}
}
