package dnstree

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// ttl is the default TTL of records, in seconds.
const ttl = 300

// Tree is a DNS tree with a server. It is safe for concurrent use. Zones,
// records and faults can be added while it is served.
type Tree struct {
	mu    sync.Mutex
	zones map[string]*Zone
	// covered counts the zones at or below each name.
	covered map[string]int
	faults  []*fault
	delays  []*delay
	adBit   bool
	log     tally
	server  server
}

// New returns a tree with only a signed root zone. The options apply to the
// root zone. Unsigned is not allowed.
func New(options ...Option) *Tree {
	t := &Tree{zones: make(map[string]*Zone), covered: make(map[string]int)}
	t.server.done = make(chan struct{})
	if root := t.Zone(".", options...); root.keys == nil {
		panic("dnstree: the root zone must be signed")
	}
	return t
}

// Zone adds a zone. By default it has an ECDSA P-256 key, NSEC records, and a
// DS record with a SHA-256 digest in the closest zone above it. Options change
// these. SOA and NS records are added automatically.
func (t *Tree) Zone(name string, options ...Option) *Zone {
	z := newZone(t, canonical(name), options)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.zones[z.name] != nil {
		panic(fmt.Sprintf("dnstree: zone %s exists already", z.name))
	}
	t.zones[z.name] = z
	t.delegate(z)
	return z
}

// Prepare builds the indexes of zones with delegations. Otherwise the first query
// builds them, which for a zone of 100,000 delegations takes longer than resolvers
// wait.
func (t *Tree) Prepare() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, z := range t.zones {
		if len(z.delegations) > 0 {
			z.ready()
		}
	}
}

// delegate makes the zone above a new zone delegate to it. Delegations that the
// zone above had to zones below the new one move to the new zone. The cost does
// not depend on the number of zones, unless there are zones below.
func (t *Tree) delegate(z *Zone) {
	zonesBelow := t.covered[z.name] > 0
	for name := z.name; ; name = parent(name) {
		t.covered[name]++
		if name == "." {
			break
		}
	}
	if z.name == "." {
		return
	}
	above := t.above(z.name)
	if zonesBelow {
		for name, below := range above.delegations {
			if isBelow(name, z.name) {
				delete(above.delegations, name)
				z.delegations[name] = below
			}
		}
	}
	above.delegations[z.name] = z
	above.index = nil
}

// Anchors returns the trust anchors of the tree in zone-file syntax: the DS
// records of the root zone.
func (t *Tree) Anchors() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text strings.Builder
	for _, rr := range t.zones["."].ds() {
		fmt.Fprintln(&text, rr)
	}
	return text.String()
}

// SetAD makes the server act like a validating resolver: it sets the AD bit in
// replies to queries with AD or DO if the answer is in the signed part of the
// tree. Faults do not change the AD bit.
func (t *Tree) SetAD(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.adBit = on
}

// above returns the zone that contains the delegation of the zone called name.
func (t *Tree) above(name string) *Zone {
	return t.enclosing(parent(name))
}

// enclosing returns the zone that contains name.
func (t *Tree) enclosing(name string) *Zone {
	for ; ; name = parent(name) {
		if z := t.zones[name]; z != nil {
			return z
		}
	}
}

// validity is the default validity of signatures. It is long, so that tests can
// move the clock, but ends before 2038, because some tools cannot read later
// times.
func validity() (from, until time.Time) {
	now := time.Now()
	return now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0)
}
