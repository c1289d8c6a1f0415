package mtasts

import (
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
)

const (
	// textPerPolicy limits the size of a small policy, and the average size of
	// large ones, in octets. Nearly all policies are small.
	textPerPolicy = 4 << 10
	// perShard is the number of domains for each shard.
	perShard  = 1 << 10
	maxShards = 1 << 8
)

// cache is the memory: the states of domains. There are three classes of domains,
// each with its own limits: those with a policy, those with a large policy, and
// those without. A flood of invented domains without a policy must not remove
// policies in force, and neither must a few domains with policies of 64 KiB. A
// cache is safe for concurrent use. Its shards let lookups on several cores go on
// without waiting for each other.
//
// Three caches of package internal/cache would need more memory for each policy,
// and a lookup of a domain without a policy would search all of them; see
// BenchmarkMemory.
type cache struct {
	limit, maxSize int64 // domains in each class, and octets of their policies
	policies       class
	large          class // larger than textPerPolicy
	others         class
	seed           maphash.Seed
	shards         []shard // a power of two
}

// class counts the domains of a class and their octets, in all shards.
type class struct{ count, size atomic.Int64 }

// shard has the domains with some of the hash values.
type shard struct {
	mu       sync.RWMutex
	entries  map[string]*cacheEntry
	policies ring
	large    ring
	others   ring
}

// cacheEntry is one domain. Its state never changes. The lock guards index.
type cacheEntry struct {
	state *state
	hit   atomic.Bool // since the hand of the ring last passed it
	index int         // in its ring
}

func newCache(limit int) *cache {
	n := 1
	for n < maxShards && 2*n*perShard <= limit {
		n *= 2
	}
	c := &cache{limit: int64(limit), maxSize: int64(limit) * textPerPolicy, seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range c.shards {
		c.shards[i].entries = make(map[string]*cacheEntry)
	}
	return c
}

func (c *cache) shard(domain string) *shard {
	return &c.shards[maphash.String(c.seed, domain)&uint64(len(c.shards)-1)]
}

// get returns the state of domain, or nil.
func (c *cache) get(domain string) *state {
	sh := c.shard(domain)
	sh.mu.RLock()
	e := sh.entries[domain]
	sh.mu.RUnlock()
	if e == nil {
		return nil
	}
	if !e.hit.Load() { // avoids a write, which would invalidate the cache line of other cores
		e.hit.Store(true)
	}
	return e.state
}

// put adds s, or replaces the state of its domain.
func (c *cache) put(s *state) {
	sh := c.shard(s.domain)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	hit := c.drop(sh, sh.entries[s.domain])
	e := &cacheEntry{state: s}
	e.hit.Store(hit)
	ring, class := c.place(sh, s)
	class.count.Add(1)
	class.size.Add(sizeOf(s))
	ring.add(e)
	sh.entries[s.domain] = e
	for class.count.Load() > c.limit || class.size.Load() > c.maxSize {
		victim := ring.victim(e)
		if victim == nil {
			return
		}
		c.drop(sh, victim)
	}
}

// hasRoom reports whether a policy can be added without removing another one.
func (c *cache) hasRoom() bool {
	return c.policies.count.Load() < c.limit && c.policies.size.Load()+textPerPolicy <= c.maxSize &&
		c.large.count.Load() < c.limit && c.large.size.Load()+MaxPolicySize <= c.maxSize
}

// remove removes domain.
func (c *cache) remove(domain string) {
	sh := c.shard(domain)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c.drop(sh, sh.entries[domain])
}

// drop removes e from sh, if it is not nil, and reports whether it was hit.
func (c *cache) drop(sh *shard, e *cacheEntry) (hit bool) {
	if e == nil {
		return false
	}
	ring, class := c.place(sh, e.state)
	class.count.Add(-1)
	class.size.Add(-sizeOf(e.state))
	ring.remove(e)
	delete(sh.entries, e.state.domain)
	return e.hit.Load()
}

// place returns the ring in sh and the class to which s belongs.
func (c *cache) place(sh *shard, s *state) (*ring, *class) {
	switch {
	case s.policy == nil && s.lapsed == nil:
		return &sh.others, &c.others
	case sizeOf(s) > textPerPolicy:
		return &sh.large, &c.large
	default:
		return &sh.policies, &c.policies
	}
}

// all yields the states that have a policy, or had one that has expired. The cache may
// be changed meanwhile.
func (c *cache) all() iter.Seq[*state] {
	return func(yield func(*state) bool) {
		var states []*state
		for i := range c.shards {
			sh := &c.shards[i]
			states = sh.policies.states(&sh.mu, states[:0])
			states = sh.large.states(&sh.mu, states)
			for _, s := range states {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// ring has entries in the order of the CLOCK algorithm, which removes
// approximately the least recently used. Unlike a list in order of use, it is not
// written to for a hit. The hand moves around the ring, skips once the entries
// that were hit, and stops at the first that was not.
type ring struct {
	entries []*cacheEntry
	hand    int
}

func (r *ring) add(e *cacheEntry) {
	e.index = len(r.entries)
	r.entries = append(r.entries, e)
}

// remove removes e and moves the last entry to its place.
func (r *ring) remove(e *cacheEntry) {
	end := len(r.entries) - 1
	moved := r.entries[end]
	r.entries[e.index], moved.index = moved, e.index
	r.entries[end] = nil
	r.entries = r.entries[:end]
}

// victim returns the entry to remove, but not kept, which was just added; nil if
// there is no other.
func (r *ring) victim(kept *cacheEntry) *cacheEntry {
	if len(r.entries) < 2 {
		return nil
	}
	for {
		if r.hand >= len(r.entries) {
			r.hand = 0
		}
		e := r.entries[r.hand]
		r.hand++
		if e != kept && !e.hit.Swap(false) {
			return e
		}
	}
}

func (r *ring) states(mu *sync.RWMutex, states []*state) []*state {
	mu.RLock()
	defer mu.RUnlock()
	for _, e := range r.entries {
		states = append(states, e.state)
	}
	return states
}

// sizeOf is the memory that the policies of a state use, in octets; 0 for none.
func sizeOf(s *state) int64 {
	n := s.policy.size()
	for l := s.lapsed; l != nil; l = l.lapsed {
		n += l.policy.size()
	}
	return n
}

// size is approximately the memory that the policy uses, in octets; 0 for nil. The
// patterns share the memory of the text.
func (p *Policy) size() int64 {
	if p == nil {
		return 0
	}
	return int64(len(p.Text) + 16*cap(p.MX))
}
