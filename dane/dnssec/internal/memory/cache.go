// Package memory is what a resolver remembers: values of several kinds, by name and type,
// until they expire.
package memory

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Cache keeps values until they expire. It is bounded in bytes. It consists of shards,
// and a hit takes a read lock and at most one atomic store, so goroutines that look up
// the same name do not wait for each other.
type Cache struct {
	seed   maphash.Seed
	shards [64]shard
}

// Kind says what a value is.
type Kind uint8

// The kinds of values.
const (
	Answer  Kind = iota // the answer to the question for the name and the type
	Failure             // why that question could not be answered
	Cut                 // what the name is to the zone above
	Zone                // the zone that the name is in
	usual               // what is usual in the zone at the name
	proven              // the signature that has the name as its digest is good
)

// Key is the key of a value.
type Key struct {
	Name string
	Type uint16
	Kind Kind
}

// shard evicts with the SIEVE algorithm: a hand moves from the oldest entry to the
// newest, and removes the first one that was not used since the hand last passed it.
type shard struct {
	mu sync.RWMutex
	// recalled counts what Recall returned. A goroutine that holds mu has the line of the
	// processor's cache that it is in.
	recalled atomic.Uint64
	entries  map[Key]*entry
	newest   *entry
	oldest   *entry
	hand     *entry
	bytes    int
	limit    int
}

type entry struct {
	key          Key
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

// New returns a Cache of the bytes, or of 16 MiB if they are not positive.
func New(bytes int) *Cache {
	if bytes <= 0 {
		bytes = 16 << 20
	}
	c := &Cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = make(map[Key]*entry)
		c.shards[i].limit = bytes / len(c.shards)
	}
	return c
}

func (c *Cache) shard(key Key) *shard {
	hash := maphash.String(c.seed, key.Name) + uint64(key.Type)
	return &c.shards[hash%uint64(len(c.shards))]
}

// Get returns the value, or nil if there is none that may be used at now.
func (c *Cache) Get(key Key, now time.Time) any {
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.get(key, now)
}

// Recall returns the answer, or else the failure, of the name and type, and counts it. It
// returns nil if there is none that may be used at now.
func (c *Cache) Recall(name string, rtype uint16, now time.Time) any {
	key := Key{name, rtype, Answer}
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	value := s.get(key, now)
	if value == nil {
		key.Kind = Failure
		value = s.get(key, now)
	}
	if value != nil {
		s.recalled.Add(1)
	}
	return value
}

// Recalled returns how many answers and failures Recall has returned.
func (c *Cache) Recalled() (n uint64) {
	for i := range c.shards {
		n += c.shards[i].recalled.Load()
	}
	return n
}

// get is called with mu held.
func (s *shard) get(key Key, now time.Time) any {
	e := s.entries[key]
	if e == nil || !e.isGood(now) {
		return nil
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.value
}

// Put keeps a value of the given size until it expires.
func (c *Cache) Put(key Key, value any, size int, expires, now time.Time) {
	if !now.Before(expires) {
		return
	}
	e := &entry{key: key, value: value, expires: expires, size: size + len(key.Name) + entryOverhead}
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

// Size returns the number of entries, and the bytes that they take.
func (c *Cache) Size() (entries, bytes int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries += len(s.entries)
		bytes += s.bytes
		s.mu.RUnlock()
	}
	return entries, bytes
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
