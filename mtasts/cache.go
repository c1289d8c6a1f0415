package mtasts

import (
	"hash/maphash"
	"iter"
	"sync"
	"sync/atomic"
)

const (
	// textPerPolicy is what a policy may take in octets, and large ones on
	// average. Nearly all are smaller.
	textPerPolicy = 4 << 10
	// perShard is for how many domains there is one more shard.
	perShard  = 1 << 10
	maxShards = 1 << 8
)

// cache holds the states of domains. Those with a policy are apart from those
// without: a flood of domains that have none, as a spammer's senders make up,
// must not push out policies in force; and neither must a few domains with
// policies of 64 KiB, which are a class of their own. It is safe for concurrent
// use, and made of shards so that lookups on several cores do not wait for each
// other.
type cache struct {
	limit, maxSize int64 // in each class, and of its policies in octets
	policies       class
	large          class // over textPerPolicy
	others         class
	seed           maphash.Seed
	shards         []shard // a power of two
}

// class counts what is in one of the classes, over all shards.
type class struct{ count, size atomic.Int64 }

// shard has the domains of one part of the hash values.
type shard struct {
	mu       sync.RWMutex
	entries  map[string]*cacheEntry
	policies ring
	large    ring
	others   ring
}

// cacheEntry is one domain. Its state never changes; index is the lock's.
type cacheEntry struct {
	state *state
	hit   atomic.Bool // since the hand of the ring last passed
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
	if !e.hit.Load() { // a write would take the cache line from other cores
		e.hit.Store(true)
	}
	return e.state
}

// put replaces the state of its domain.
func (c *cache) put(s *state) {
	sh := c.shard(s.domain)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	hit := c.drop(sh, sh.entries[s.domain])
	e := &cacheEntry{state: s}
	e.hit.Store(hit)
	ring, class := c.place(sh, s)
	class.count.Add(1)
	class.size.Add(s.policy.size())
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

// remove forgets domain.
func (c *cache) remove(domain string) {
	sh := c.shard(domain)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c.drop(sh, sh.entries[domain])
}

// drop takes e out of sh, if it is not nil, and returns whether it was hit.
func (c *cache) drop(sh *shard, e *cacheEntry) (hit bool) {
	if e == nil {
		return false
	}
	ring, class := c.place(sh, e.state)
	class.count.Add(-1)
	class.size.Add(-e.state.policy.size())
	ring.remove(e)
	delete(sh.entries, e.state.domain)
	return e.hit.Load()
}

// place returns where s belongs in sh.
func (c *cache) place(sh *shard, s *state) (*ring, *class) {
	switch {
	case s.policy == nil:
		return &sh.others, &c.others
	case s.policy.size() > textPerPolicy:
		return &sh.large, &c.large
	default:
		return &sh.policies, &c.policies
	}
}

// all yields the states that have a policy. They may change meanwhile.
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

// ring holds entries in the order of the CLOCK algorithm, which drops about the
// least recently used and, unlike a list in order of use, need not be written
// to for a hit: the hand goes round, spares once what was hit, and stops at the
// first that was not.
type ring struct {
	entries []*cacheEntry
	hand    int
}

func (r *ring) add(e *cacheEntry) {
	e.index = len(r.entries)
	r.entries = append(r.entries, e)
}

// remove puts the last entry in the place of e.
func (r *ring) remove(e *cacheEntry) {
	end := len(r.entries) - 1
	moved := r.entries[end]
	r.entries[e.index], moved.index = moved, e.index
	r.entries[end] = nil
	r.entries = r.entries[:end]
}

// victim returns what is to go, but not kept, which has just come; nil if there
// is nothing else.
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

// size is about what the policy takes in memory, in octets; none takes nothing.
// The patterns are parts of the text.
func (p *Policy) size() int64 {
	if p == nil {
		return 0
	}
	return int64(len(p.Text) + 16*cap(p.MX))
}
