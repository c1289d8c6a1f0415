// Package cache keeps values in memory, within bounds and until they expire.
package cache

import (
	"errors"
	"hash/maphash"
	"iter"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/tally"
)

const (
	// entryOverhead is the memory in octets that an entry takes besides what the
	// caller counts: itself, and its place in a map, with keys and values of up to 32
	// octets.
	entryOverhead = 180
	// A cache has more shards the larger it is, so that goroutines rarely wait
	// for each other and small caches evict in a strict order.
	entriesPerShard = 1 << 10
	bytesPerShard   = 256 << 10
	maxShards       = 1 << 8
	// seatsPerShard is about how many entries of a usual size a full shard has.
	seatsPerShard = 1 << 7
)

// Config bounds a [Cache]. At least one bound must be set.
type Config struct {
	// MaxEntries bounds the number of entries. 0 means no bound.
	MaxEntries int
	// MaxBytes bounds the memory in octets. It counts the size that the caller
	// of Put gives, and 180 octets for each entry. 0 means no bound.
	MaxBytes int
}

// Cache maps keys to values. An entry stays until it expires, is removed, or is
// evicted because a bound is reached.
//
// Entries that were used again are kept apart from new ones: see [shard.evict].
// So a run over more keys than fit evicts the keys of that run, and not those
// that are in use. A cyclic run finds a part of its keys each time around.
//
// A Cache is safe for concurrent use. Get does not allocate. If the key was used lately, it
// takes no lock, and writes nothing that other cores read. While calls of Put are in
// progress, the bounds may be exceeded by what these calls add.
type Cache[K comparable, V any] struct {
	config Config
	count  atomic.Int64 // entries in all shards
	bytes  atomic.Int64 // their sizes, with entryOverhead
	hash   func(maphash.Seed, K) uint64
	shared func(V, int) int // nil if values share nothing
	seed   maphash.Seed
	shards []shard[K, V] // a power of two
	// seats has the entries that were found last. A seat is empty or has an entry that is
	// in the map of its shard. The seats of a shard are those whose index ends in the bits
	// of its own; they are written with its lock held, and read without.
	seats []seat[K, V]
	hits  tally.Counter
}

type seat[K comparable, V any] struct{ atomic.Pointer[entry[K, V]] }

// New returns an empty Cache. hash spreads keys over shards; for strings it is
// [maphash.String]. New returns an error if a bound is negative or none is set.
func New[K comparable, V any](config Config, hash func(maphash.Seed, K) uint64) (*Cache[K, V], error) {
	return NewSharing[K, V](config, hash, nil)
}

// NewSharing is [New] for values that share memory, which is counted once. shared is called
// with 1 when a value comes into the Cache, and with -1 when it leaves. It returns by how
// many octets that changes what the values in the Cache share. It must not use the Cache.
func NewSharing[K comparable, V any](config Config, hash func(maphash.Seed, K) uint64, shared func(value V, by int) (octets int)) (*Cache[K, V], error) {
	if config.MaxEntries < 0 || config.MaxBytes < 0 || config == (Config{}) {
		return nil, errors.New("cache: the bounds must not be negative, and one must be set")
	}
	n := config.shards()
	return &Cache[K, V]{
		config: config, hash: hash, shared: shared, seed: maphash.MakeSeed(),
		shards: make([]shard[K, V], n), seats: make([]seat[K, V], n*seatsPerShard),
	}, nil
}

// shards returns the number of shards, a power of two.
func (config Config) shards() int {
	n := 1
	for n < maxShards &&
		(config.MaxEntries == 0 || 2*n*entriesPerShard <= config.MaxEntries) &&
		(config.MaxBytes == 0 || 2*n*bytesPerShard <= config.MaxBytes) {
		n *= 2
	}
	return n
}

// place returns the index of the key's shard, and the seat of its entry.
func (c *Cache[K, V]) place(key K) (index int, seat *seat[K, V]) {
	hash := c.hash(c.seed, key)
	return int(hash & uint64(len(c.shards)-1)), &c.seats[hash&uint64(len(c.seats)-1)]
}

// shard returns the shard of key.
func (c *Cache[K, V]) shard(key K) *shard[K, V] {
	index, _ := c.place(key)
	return &c.shards[index]
}

// find returns the entry of key, or nil.
func (c *Cache[K, V]) find(key K) *entry[K, V] {
	index, seat := c.place(key)
	if e := seat.Load(); e != nil && e.key == key {
		return e
	}
	s := &c.shards[index]
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.entries[key]
	if e != nil {
		seat.Store(e)
	}
	return e
}

// Get returns the value of key, unless it has expired at now.
func (c *Cache[K, V]) Get(key K, now time.Time) (value V, ok bool) {
	e := c.find(key)
	if e == nil {
		return value, false
	}
	e.use() // even if it has expired: the key is in use, and Put keeps the count
	if !e.isGood(now) {
		return value, false
	}
	c.hits.Add(1)
	return e.value, true
}

// Last returns the value of key, even if it has expired. It does not count as a use.
func (c *Cache[K, V]) Last(key K) (value V, ok bool) {
	if e := c.find(key); e != nil {
		return e.value, true
	}
	return value, false
}

// Put sets the value of key until expires; the zero time means that it does not
// expire. size is the memory in octets that the value and the key refer to. A
// value that has expired at now, or that is larger than the bound, is not kept,
// and the previous value is removed.
func (c *Cache[K, V]) Put(key K, value V, size int, expires, now time.Time) {
	start, seat := c.place(key)
	e := &entry[K, V]{key: key, value: value, seat: seat, expires: expires, wall: wallClock(expires), size: int64(size) + entryOverhead}
	if !e.isGood(now) || c.config.MaxBytes > 0 && e.size > int64(c.config.MaxBytes) {
		c.Remove(key)
		return
	}
	s := &c.shards[start]
	s.mu.Lock()
	c.added(e)
	if old := s.set(e); old != nil {
		c.removed(old)
	}
	c.shrink(s, key, now)
	s.mu.Unlock()
	// The own shard had too little to evict.
	for i := 1; i < len(c.shards) && c.isOver(); i++ {
		s := &c.shards[(start+i)&(len(c.shards)-1)]
		s.mu.Lock()
		c.shrink(s, key, now)
		s.mu.Unlock()
	}
}

// shrink evicts entries of s, which is locked, until the cache is within its
// bounds or s has none but that of kept.
func (c *Cache[K, V]) shrink(s *shard[K, V], kept K, now time.Time) {
	for c.isOver() {
		e := s.evict(kept, now)
		if e == nil {
			return
		}
		c.removed(e)
	}
	s.fill()
}

// Remove removes key.
func (c *Cache[K, V]) Remove(key K) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.remove(key); e != nil {
		c.removed(e)
	}
}

// RemoveFunc removes the keys for which match returns true, among those with the
// same hash as key. match must not use the cache.
func (c *Cache[K, V]) RemoveFunc(key K, match func(K) bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.entries {
		if match(other) {
			c.removed(s.remove(other))
		}
	}
}

// Values yields the values that have not expired at now, in no order. The cache
// may be changed meanwhile; values that are put meanwhile may be left out.
func (c *Cache[K, V]) Values(now time.Time) iter.Seq[V] {
	return func(yield func(V) bool) {
		for i := range c.shards {
			for _, e := range c.shards[i].list() {
				if e.isGood(now) && !yield(e.value) {
					return
				}
			}
		}
	}
}

// Hits returns how often Get has returned a value.
func (c *Cache[K, V]) Hits() uint64 { return c.hits.Read() }

// Len returns the number of entries, with those that have expired.
func (c *Cache[K, V]) Len() int { return int(c.count.Load()) }

// Bytes returns the octets that count for MaxBytes.
func (c *Cache[K, V]) Bytes() int { return int(c.bytes.Load()) }

func (c *Cache[K, V]) isOver() bool {
	return c.config.MaxEntries > 0 && c.count.Load() > int64(c.config.MaxEntries) ||
		c.config.MaxBytes > 0 && c.bytes.Load() > int64(c.config.MaxBytes)
}

func (c *Cache[K, V]) added(e *entry[K, V]) {
	c.count.Add(1)
	c.bytes.Add(e.size + c.share(e, 1))
}

func (c *Cache[K, V]) removed(e *entry[K, V]) {
	c.count.Add(-1)
	c.bytes.Add(c.share(e, -1) - e.size)
}

func (c *Cache[K, V]) share(e *entry[K, V], by int) (octets int64) {
	if c.shared == nil {
		return 0
	}
	return int64(c.shared(e.value, by))
}
