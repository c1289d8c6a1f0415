package dnstree

import (
	"sort"

	"github.com/miekg/dns"
)

// proof collects the NSEC or NSEC3 records of one answer, without duplicates.
type proof struct {
	zone    *Zone
	records []dns.RR
	seen    map[dns.RR]bool
	// optOut is true if the proof depends on an NSEC3 record with the Opt-Out
	// flag, which proves less (RFC 5155 section 9.2).
	optOut bool
}

func (z *Zone) proof() *proof {
	return &proof{zone: z, seen: make(map[dns.RR]bool)}
}

// noType proves that the name has no records of the type. If the name has no
// NSEC or NSEC3 record of its own, it is an empty non-terminal between two NSEC
// owners, or is in an opt-out span (RFC 5155 section 7.2.4).
func (p *proof) noType(name string) {
	switch {
	case p.match(name):
	case p.zone.nsec3 == nil:
		p.cover(name)
	default:
		p.enclose(name)
	}
}

// noName proves that neither the name nor a wildcard for it exists.
func (p *proof) noName(name, encloser string) {
	if p.zone.nsec3 == nil {
		p.cover(name)
		p.cover(child("*", encloser))
		return
	}
	p.cover(child("*", p.enclose(name)))
}

// wildcardUsed proves that the name itself does not exist, so that the answer
// may come from the wildcard below encloser.
func (p *proof) wildcardUsed(name, encloser string) {
	if p.zone.nsec3 != nil {
		name = nextCloser(name, encloser)
	}
	p.cover(name)
}

// wildcardNoType proves that the name does not exist and that the wildcard for
// it has no records of the type.
func (p *proof) wildcardNoType(name, encloser string) {
	if p.zone.nsec3 == nil {
		p.cover(name)
	} else {
		p.enclose(name)
	}
	p.noType(child("*", encloser))
}

// enclose adds the closest encloser proof of RFC 5155 section 7.2.1. It returns
// the closest provable encloser.
func (p *proof) enclose(name string) string {
	next := name
	for encloser := parent(name); ; next, encloser = encloser, parent(encloser) {
		if p.match(encloser) {
			p.cover(next)
			return encloser
		}
	}
}

// match adds the record whose owner matches name, if there is one.
func (p *proof) match(name string) bool {
	chain := p.zone.ready().denials
	key := p.zone.denialKey(name)
	i := p.zone.search(key)
	if i == len(chain) || chain[i].key != key {
		return false
	}
	p.add(chain[i].record)
	return true
}

// cover adds the record that covers name.
func (p *proof) cover(name string) {
	chain := p.zone.ready().denials
	if len(chain) == 0 {
		return
	}
	i := p.zone.search(p.zone.denialKey(name)) - 1
	if i < 0 {
		i = len(chain) - 1 // before the first hash: the last record wraps around
	}
	if nsec3, ok := chain[i].record.(*dns.NSEC3); ok && nsec3.Flags&1 != 0 {
		p.optOut = true
	}
	p.add(chain[i].record)
}

func (p *proof) add(record dns.RR) {
	if !p.seen[record] {
		p.seen[record] = true
		p.records = append(p.records, p.zone.signed([]dns.RR{record})...)
	}
}

// denialKey returns the sort key of name in the chain of the zone.
func (z *Zone) denialKey(name string) string {
	if z.nsec3 != nil {
		return z.hash(name)
	}
	return sortKey(name)
}

// search returns the index of the first record of the chain whose key is not
// less than key.
func (z *Zone) search(key string) int {
	chain := z.ready().denials
	return sort.Search(len(chain), func(i int) bool { return chain[i].key >= key })
}
