package dnssec

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

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
	above := new(habits) // of the zone that the name is directly below, if that is known
	for i, at := range proof.Ancestors(q.name) {
		known := l.chain.known(at)
		switch {
		case known != nil && known.kind == signed:
			above = l.cache.habits(at, s.now)
			continue
		case known != nil && known.kind != sameZone:
			return
		case known != nil, l.cache.get(cacheKey{name: at, kind: cachedZone}, s.now) != nil:
			above = new(habits)
			continue
		}
		if above.holdsNames() || !above.delegates() && isUnlikelyZone(q, at, i) {
			return
		}
		guesses := []uint16{dns.TypeDS, dns.TypeDNSKEY}
		switch {
		case at == ".":
			guesses = guesses[1:]
		case above.mostlyUnsigned():
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
		above = new(habits)
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

// habits is how often what was looked up below the apex of a signed zone turned out to
// be inside the zone, and how often in a zone of its own. It guides guesses, and proves
// nothing. It is safe for concurrent use.
type habits struct {
	records  atomic.Uint32 // RRsets in the zone
	denials  atomic.Uint32 // names in the zone, more than one label below its apex, that do not exist
	signed   atomic.Uint32 // delegations
	unsigned atomic.Uint32
}

// holdsNames reports whether a name below is more likely to be in the zone than in one
// of its own.
func (h *habits) holdsNames() bool {
	inside := h.records.Load() + h.denials.Load()
	return inside > 0 && inside >= h.signed.Load()+h.unsigned.Load()
}

// delegates reports whether a name directly below is likely to be a zone.
func (h *habits) delegates() bool {
	return h.signed.Load()+h.unsigned.Load() > 0 && !h.holdsNames()
}

// mostlyUnsigned reports whether the keys of a delegation are probably not needed.
func (h *habits) mostlyUnsigned() bool {
	unsigned := h.unsigned.Load()
	return unsigned >= 16 && unsigned/8 > h.signed.Load()
}

// habits returns those of a signed zone.
func (c *cache) habits(apex string, now time.Time) *habits {
	key := cacheKey{name: apex, kind: cachedHabits}
	if known, ok := c.get(key, now).(*habits); ok {
		return known
	}
	h := new(habits)
	c.put(key, h, 16, after(now, proof.MaxTTL), now)
	return h
}

// isInSignedZone reports whether name is in a signed zone as far as the cache knows.
func (c *cache) isInSignedZone(name string, now time.Time) bool {
	for at := name; ; at = proof.Parent(at) {
		known, _ := c.get(cacheKey{name: at, kind: cachedCut}, now).(*cut)
		switch {
		case known != nil && known.kind == signed:
			return c.habits(at, now).records.Load() > 0
		case known != nil && known.kind != sameZone, at == ".":
			return false
		}
	}
}
