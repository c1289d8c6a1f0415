package dnssec

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// cache keeps values until they expire. It is bounded in bytes. It consists of shards,
// and a hit takes a read lock and at most one atomic store, so goroutines that look up
// the same name do not wait for each other.
type cache struct {
	seed   maphash.Seed
	shards [64]shard
}

// cacheKind says what a value is.
type cacheKind uint8

const (
	cachedAnswer  cacheKind = iota // *Answer
	cachedFailure                  // *Error
	cachedCut                      // *cut
	cachedZone                     // string: the apex of the zone that the name is in
	cachedHabits                   // *habits: of the zone at the name
	cachedProven                   // true: the signature that has the name as its digest is good
)

type cacheKey struct {
	name  string
	rtype uint16
	kind  cacheKind
}

// shard evicts with the SIEVE algorithm: a hand moves from the oldest entry to the
// newest, and removes the first one that was not used since the hand last passed it.
type shard struct {
	mu      sync.RWMutex
	entries map[cacheKey]*entry
	newest  *entry
	oldest  *entry
	hand    *entry
	bytes   int
	limit   int
}

type entry struct {
	key          cacheKey
	value        any
	expires      time.Time
	size         int
	used         atomic.Bool
	newer, older *entry
}

// isGood reports whether the value may still be used, by both the monotonic clock and
// the wall clock. The monotonic clock of some systems stops while they are suspended,
// and the wall clock may be set back.
func (e *entry) isGood(now time.Time) bool {
	return now.Before(e.expires) && now.Round(0).Before(e.expires)
}

// entryOverhead estimates the memory of an entry without name and value, including
// that in the map.
const entryOverhead = 250

// newCache returns a cache of the bytes, or of 16 MiB if they are not positive.
func newCache(bytes int) *cache {
	if bytes <= 0 {
		bytes = 16 << 20
	}
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = make(map[cacheKey]*entry)
		c.shards[i].limit = bytes / len(c.shards)
	}
	return c
}

func (c *cache) shard(key cacheKey) *shard {
	hash := maphash.String(c.seed, key.name) + uint64(key.rtype)
	return &c.shards[hash%uint64(len(c.shards))]
}

// get returns the value, or nil if there is none that may be used at now.
func (c *cache) get(key cacheKey, now time.Time) any {
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries[key]
	if e == nil || !e.isGood(now) {
		return nil
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.value
}

// proven is the part of the cache that remembers good signatures, for one lookup.
type proven struct {
	cache *cache
	now   time.Time
}

func (p *proven) key(digest [32]byte) cacheKey {
	return cacheKey{name: string(digest[:]), kind: cachedProven}
}

// Has reports whether the signature was verified before.
func (p *proven) Has(digest [32]byte) bool { return p.cache.get(p.key(digest), p.now) != nil }

// Add remembers that the signature is good, for as long as its RRset may be kept.
func (p *proven) Add(digest [32]byte, ttl uint32) {
	p.cache.put(p.key(digest), true, 0, after(p.now, ttl), p.now)
}

// put keeps a value of the given size until it expires.
func (c *cache) put(key cacheKey, value any, size int, expires, now time.Time) {
	if !now.Before(expires) {
		return
	}
	e := &entry{key: key, value: value, expires: expires, size: size + len(key.name) + entryOverhead}
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.entries[key]; old != nil {
		s.remove(old)
	}
	if e.size > s.limit {
		return
	}
	for s.bytes+e.size > s.limit {
		s.evict(now)
	}
	s.entries[key] = e
	s.bytes += e.size
	e.older = s.newest
	if s.newest != nil {
		s.newest.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
}

func (s *shard) evict(now time.Time) {
	for {
		e := s.hand
		if e == nil {
			e = s.oldest
		}
		s.hand = e.newer
		if !e.used.Load() || !e.isGood(now) {
			s.remove(e)
			return
		}
		e.used.Store(false)
	}
}

func (s *shard) remove(e *entry) {
	delete(s.entries, e.key)
	s.bytes -= e.size
	if s.hand == e {
		s.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
}
