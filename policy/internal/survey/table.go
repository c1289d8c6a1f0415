package survey

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/internal/cache"
	"github.com/mxseal/mxseal/policy/internal/hop"
)

// Found is what the lookups for one host have found. All plans whose domains have that host
// share it.
type Found struct {
	*dane.Discovery
	inTurn []netip.Addr // its addresses in the order in which they are tried
	made   time.Time    // by the wall clock alone
	size   int
	uses   atomic.Int32
}

func newFound(d *dane.Discovery, now time.Time) *Found {
	return &Found{Discovery: d, inTurn: hop.InTurn(d.Addrs), made: now.Round(0), size: size(d)}
}

// Use notes that one more plan that is kept refers to f, or one less, as by is 1 or -1. It
// returns by how many octets that changes what is kept.
func (f *Found) Use(by int) (octets int) {
	switch n := f.uses.Add(int32(by)); {
	case by > 0 && n == 1:
		return f.size
	case by < 0 && n == 0:
		return -f.size
	default:
		return 0
	}
}

// Size is about what f takes in memory, in octets.
func (f *Found) Size() int { return f.size }

// size is about what a discovery takes in memory with its answers, in octets.
func size(d *dane.Discovery) int {
	size := 300 + len(d.Name) + 2*24*cap(d.Addrs)
	for _, record := range d.Records {
		size += 2 * (40 + len(record.Data))
	}
	for _, lookup := range d.Lookups {
		size += 80 + len(lookup.Name)
		if lookup.Answer != nil {
			size += 130 + 100*(len(lookup.Answer.Records)+len(lookup.Answer.Aliases))
		}
	}
	return size
}

// Table has what was found at hosts, until the first answer expires. It is bounded, and safe
// for concurrent use.
type Table struct {
	found *cache.Cache[key, *Found]
}

// key is what was asked.
type key struct {
	name string
	port uint16 // of TLSA records; 0 if they were not asked for
}

// NewTable returns an empty Table of that many octets, which is positive.
func NewTable(octets int) (*Table, error) {
	found, err := cache.New[key, *Found](cache.Config{MaxBytes: octets}, func(seed maphash.Seed, k key) uint64 { return maphash.String(seed, k.name) })
	return &Table{found}, err
}

// get returns what was found at the host; nil if nothing is known that still holds.
func (t *Table) get(h Host, now time.Time) *Found {
	f, ok := t.found.Get(h.key(), now)
	if !ok || now.Round(0).Before(f.made) { // made before the clock was set back
		return nil
	}
	return f
}

// put keeps f, unless it does not say how long it holds, or a lookup of one family failed.
func (t *Table) put(h Host, f *Found, now time.Time) {
	for _, lookup := range f.Lookups {
		if lookup.Err != nil {
			return
		}
	}
	if !f.Expires.IsZero() {
		t.found.Put(h.key(), f, f.size, f.Expires, now)
	}
}

func (h Host) key() key {
	if h.NoTLSA {
		return key{name: h.Name}
	}
	return key{h.Name, h.Port}
}
