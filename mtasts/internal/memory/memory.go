// Package memory keeps what is known of domains, bounded in octets. What protects a
// domain is forgotten last.
package memory

import (
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
)

// Class says what a domain has, and so in which order domains are forgotten.
type Class uint8

const (
	// Without means that the domain has no policy. Most domains have none, and anyone
	// can invent more. They get the room that the others leave, and an eighth at least.
	Without Class = iota
	// BackingOff means that the domain has a policy that could not be fetched. It must
	// not be fetched again too soon, whatever happens to the memory of other domains.
	// The class has a sixteenth.
	BackingOff
	// Large means that the domain has a policy that is larger than [LargeText]. The
	// class has a quarter, so that a few domains do not remove the policies of many.
	Large
	// Protected means that the domain has a policy of the usual size. With Large, the
	// class has thirteen sixteenths.
	Protected
	classes
)

// LargeText is the size of the largest policy of class Protected, in octets.
const LargeText = 4 << 10

const (
	// overhead is about what a domain takes besides the size that the caller counts: its
	// places in a map and in a ring.
	overhead = 120
	// Goroutines on several cores rarely wait for each other if there are several shards.
	octetsPerShard  = 256 << 10
	domainsPerShard = 1 << 10
	maxShards       = 1 << 8
)

// Memory maps domains to values, each of which has a class. It is safe for concurrent use.
// While calls of Put are in progress, the bounds may be exceeded by what these add.
//
// Caches of package internal/cache, one for each class, would need more memory for each
// policy, and a lookup of a domain without a policy would search all of them; see
// BenchmarkMemory.
type Memory[V comparable] struct {
	octets, limit int64 // in all; and domains with a policy, and of each other class; 0 for no limit
	used          [classes]use
	seed          maphash.Seed
	shards        []shard[V] // a power of two
}

// use is what a class has in all shards.
type use struct{ count, octets atomic.Int64 }

// shard has the domains with some of the hash values.
type shard[V comparable] struct {
	mu      sync.RWMutex
	entries map[string]*entry[V]
	rings   [classes]ring[V]
}

// entry is one domain. Only index, which the lock guards, and what hit points to change.
type entry[V comparable] struct {
	domain string
	value  V
	hit    *Hit // since the hand of the ring last passed it
	size   int32
	index  int32 // in its ring
	class  Class
}

// New returns an empty Memory of that many octets. limit bounds the domains that have a
// policy, and those of each other class; 0 means no such bound.
func New[V comparable](octets, limit int) *Memory[V] {
	n := 1
	for n < maxShards && 2*n*octetsPerShard <= octets && (limit == 0 || 2*n*domainsPerShard <= limit) {
		n *= 2
	}
	m := &Memory[V]{octets: int64(octets), limit: int64(limit), seed: maphash.MakeSeed(), shards: make([]shard[V], n)}
	for i := range m.shards {
		m.shards[i].entries = make(map[string]*entry[V])
	}
	return m
}

func (m *Memory[V]) index(domain string) int {
	return int(maphash.String(m.seed, domain) & uint64(len(m.shards)-1))
}

// Get returns the value of domain, and the zero value if there is none.
func (m *Memory[V]) Get(domain string) (value V) {
	sh := &m.shards[m.index(domain)]
	sh.mu.RLock()
	e := sh.entries[domain]
	sh.mu.RUnlock()
	if e == nil {
		return value
	}
	e.hit.Note()
	return e.value
}

// Hit says that a domain was used lately, and so is not to be forgotten soon. It outlives
// the values of the domain.
type Hit struct{ noted atomic.Bool }

// Hit returns the Hit of domain; nil if there is none.
func (m *Memory[V]) Hit(domain string) *Hit {
	sh := &m.shards[m.index(domain)]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if e := sh.entries[domain]; e != nil {
		return e.hit
	}
	return nil
}

// Note counts as a Get of the domain. It does nothing for nil.
func (h *Hit) Note() {
	if h != nil && !h.noted.Load() { // avoids a write, which would invalidate the cache line of other cores
		h.noted.Store(true)
	}
}

// Put sets the value of domain, which takes size octets with the name. It returns the
// values that had to be forgotten for it.
func (m *Memory[V]) Put(domain string, value V, class Class, size int) (forgotten []V) {
	start := m.index(domain)
	sh := &m.shards[start]
	sh.mu.Lock()
	e := &entry[V]{domain: domain, value: value, class: class, size: int32(size + overhead)}
	if before := sh.entries[domain]; before != nil {
		e.hit = before.hit
		m.drop(sh, before)
	} else {
		e.hit = new(Hit)
	}
	m.used[class].add(1, e.size)
	sh.rings[class].add(e)
	sh.entries[domain] = e
	sh.mu.Unlock()
	for victims, over := m.over(class); over; victims, over = m.over(class) {
		v, ok := m.forget(start, victims, e)
		if !ok {
			break
		}
		forgotten = append(forgotten, v)
	}
	return forgotten
}

// over returns the class of which a domain has to be forgotten after one of class newest
// was added, and whether there is one.
func (m *Memory[V]) over(newest Class) (victims Class, over bool) {
	without, broken, large, usual := &m.used[Without], &m.used[BackingOff], &m.used[Large], &m.used[Protected]
	policies := large.octets.Load() + usual.octets.Load()
	many := func(n int64) bool { return m.limit > 0 && n > m.limit }
	switch {
	case broken.octets.Load() > m.octets/16 || many(broken.count.Load()):
		return BackingOff, true
	case large.octets.Load() > m.octets/4:
		return Large, true
	case newest >= Large && (policies > m.octets*13/16 || many(large.count.Load()+usual.count.Load())):
		return newest, true
	case policies+broken.octets.Load()+without.octets.Load() > m.octets || many(without.count.Load()):
		return Without, true
	}
	return 0, false
}

// forget removes one domain of the class, but not kept, in the shard at start or the next
// one that has any, and returns its value.
func (m *Memory[V]) forget(start int, class Class, kept *entry[V]) (value V, ok bool) {
	for i := range m.shards {
		sh := &m.shards[(start+i)&(len(m.shards)-1)]
		sh.mu.Lock()
		victim := sh.rings[class].victim(kept)
		if victim != nil {
			m.drop(sh, victim)
		}
		sh.mu.Unlock()
		if victim != nil {
			return victim.value, true
		}
	}
	return value, false
}

// HasRoom reports whether a policy can be added without removing another one.
func (m *Memory[V]) HasRoom() bool {
	large, usual := &m.used[Large], &m.used[Protected]
	return large.octets.Load()+64<<10 <= m.octets/4 &&
		large.octets.Load()+usual.octets.Load()+64<<10 <= m.octets*13/16 &&
		(m.limit == 0 || large.count.Load()+usual.count.Load() < m.limit)
}

// Remove removes domain if it has that value, and no other one that came meanwhile.
func (m *Memory[V]) Remove(domain string, value V) {
	sh := &m.shards[m.index(domain)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.entries[domain]; e != nil && e.value == value {
		m.drop(sh, e)
	}
}

// drop removes e from sh.
func (m *Memory[V]) drop(sh *shard[V], e *entry[V]) {
	m.used[e.class].add(-1, -e.size)
	sh.rings[e.class].remove(e)
	delete(sh.entries, e.domain)
}

// All yields the values of the domains of the classes. The Memory may be changed meanwhile.
func (m *Memory[V]) All(of ...Class) iter.Seq[V] {
	return func(yield func(V) bool) {
		var values []V
		for i := range m.shards {
			sh := &m.shards[i]
			values = values[:0]
			sh.mu.RLock()
			for _, class := range of {
				for _, e := range sh.rings[class].entries {
					values = append(values, e.value)
				}
			}
			sh.mu.RUnlock()
			for _, v := range values {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// Use returns the number of domains of a class, and the octets that count for them.
func (m *Memory[V]) Use(class Class) (domains, octets int) {
	return int(m.used[class].count.Load()), int(m.used[class].octets.Load())
}

func (u *use) add(n int64, size int32) {
	u.count.Add(n)
	u.octets.Add(int64(size))
}

// ring has entries in the order of the CLOCK algorithm, which removes
// approximately the least recently used. Unlike a list in order of use, it is not
// written to for a hit. The hand moves around the ring, skips once the entries
// that were hit, and stops at the first that was not.
type ring[V comparable] struct {
	entries []*entry[V]
	hand    int
}

func (r *ring[V]) add(e *entry[V]) {
	e.index = int32(len(r.entries))
	r.entries = append(r.entries, e)
}

// remove removes e and moves the last entry to its place.
func (r *ring[V]) remove(e *entry[V]) {
	end := len(r.entries) - 1
	moved := r.entries[end]
	r.entries[e.index], moved.index = moved, e.index
	r.entries[end] = nil
	r.entries = r.entries[:end]
}

// victim returns the entry to remove, but not kept, which was just added; nil if
// there is no other.
func (r *ring[V]) victim(kept *entry[V]) *entry[V] {
	if len(r.entries) == 0 || len(r.entries) == 1 && r.entries[0] == kept {
		return nil
	}
	for {
		if r.hand >= len(r.entries) {
			r.hand = 0
		}
		e := r.entries[r.hand]
		r.hand++
		if e != kept && !e.hit.noted.Swap(false) {
			return e
		}
	}
}
