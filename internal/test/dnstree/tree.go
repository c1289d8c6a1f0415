package dnstree

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// ttl is that of all records which do not say otherwise.
const ttl = 300

// Tree is a DNS tree and the server that answers from it. It is safe for
// concurrent use; zones, records and faults may be added while it is served.
type Tree struct {
	mu     sync.Mutex
	zones  map[string]*Zone
	faults []*fault
	delays []*delay
	adBit  bool
	log    tally
	server server
}

// New returns a tree that has a root zone, signed, and nothing else. The
// options are those of the root zone; it cannot be Unsigned.
func New(options ...Option) *Tree {
	t := &Tree{zones: make(map[string]*Zone)}
	t.server.done = make(chan struct{})
	if root := t.Zone(".", options...); root.keys == nil {
		panic("dnstree: the root zone must be signed")
	}
	return t
}

// Zone adds a zone to the tree. It is signed with a key for ECDSA P-256, denies
// with NSEC and has a DS record with a SHA-256 digest in the zone above it, the
// closest one in the tree; the options change that. The zone has SOA and NS
// records without being given any.
func (t *Tree) Zone(name string, options ...Option) *Zone {
	z := newZone(t, canonical(name), options)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.zones[z.name] != nil {
		panic(fmt.Sprintf("dnstree: zone %s is there already", z.name))
	}
	t.zones[z.name] = z
	for _, other := range t.zones {
		other.index = nil // delegations may have moved
	}
	return z
}

// Anchors returns the trust anchors of the tree in zone-file syntax: a DS record
// for each key of the root zone.
func (t *Tree) Anchors() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text strings.Builder
	for _, rr := range t.zones["."].ds() {
		fmt.Fprintln(&text, rr)
	}
	return text.String()
}

// SetAD makes the server set the AD bit on what it knows to be signed without
// a gap, for those who asked for it with the AD or DO bit: it then plays a
// validating resolver. What Break did to an answer does not change its AD bit.
func (t *Tree) SetAD(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.adBit = on
}

// above returns the zone that holds the delegation of the zone called name.
func (t *Tree) above(name string) *Zone {
	return t.enclosing(parent(name))
}

// enclosing returns the zone of the tree that name belongs to.
func (t *Tree) enclosing(name string) *Zone {
	for ; ; name = parent(name) {
		if z := t.zones[name]; z != nil {
			return z
		}
	}
}

// validity is the default lifetime of signatures: long, so that tests may move
// the clock, but short of 2038, which some tools cannot read signatures beyond.
func validity() (from, until time.Time) {
	now := time.Now()
	return now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0)
}
