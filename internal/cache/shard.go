package cache

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// maxUses limits the uses of an entry that count. So an entry that was used
	// often, but no longer is, goes after a few rounds.
	maxUses = 3
	// windowShare is the part of a shard that is for new entries: one in
	// windowShare octets.
	windowShare = 5
	// unusedShare is the part of the new entries without a use that compete for a
	// place in the main segment: one in unusedShare.
	unusedShare = 4
)

// shard has the entries whose keys have some of the hash values. Both segments
// are in the order in which entries came to the front, and hits do not change it.
type shard[K comparable, V any] struct {
	mu     sync.RWMutex
	window segment[K, V] // new entries
	main   segment[K, V] // entries that stayed when they left the window
	unused int           // candidates without a use
}

// segment is a part of a shard.
type segment[K comparable, V any] struct {
	entries *simplelru.LRU[K, *entry[V]] // nil until the first is added
	bytes   int64
}

// entry is a value. Only uses changes.
type entry[V any] struct {
	value   V
	expires time.Time // the zero time means never
	wall    time.Time // expires by the wall clock alone
	size    int64     // with entryOverhead
	uses    atomic.Int32
}

// use counts a use. Uses that are counted at the same time may count as one.
func (e *entry[V]) use() {
	// No write at the limit: it would take the cache line from other cores.
	if n := e.uses.Load(); n < maxUses {
		e.uses.Store(n + 1)
	}
}

// takeUse takes one use back, if there is one.
func (e *entry[V]) takeUse() bool {
	n := e.uses.Load()
	if n > 0 {
		e.uses.Store(n - 1)
	}
	return n > 0
}

// isGood reports whether the value may still be used. The monotonic clock of some
// systems stands still while they are suspended, and the wall clock may be set
// back. So the value must be good by both.
func (e *entry[V]) isGood(now time.Time) bool {
	return e.expires.IsZero() || now.Before(e.expires) && now.Before(e.wall)
}

// find returns the entry of key, or nil.
func (s *shard[K, V]) find(key K) *entry[V] {
	s.mu.RLock()
	e := s.main.find(key)
	if e == nil {
		e = s.window.find(key)
	}
	s.mu.RUnlock()
	return e
}

// entries returns all entries.
func (s *shard[K, V]) entries() []*entry[V] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append(s.window.values(), s.main.values()...)
}

// The following methods are called with mu locked.

// set sets the entry of key. A new key comes to the window. Otherwise the new
// entry takes the place and the uses of the old one, which is returned.
func (s *shard[K, V]) set(key K, e *entry[V]) (old *entry[V]) {
	for _, segment := range []*segment[K, V]{&s.main, &s.window} {
		if old := segment.find(key); old != nil {
			e.uses.Store(old.uses.Load())
			segment.bytes -= old.size
			segment.add(key, e)
			return old
		}
	}
	s.window.add(key, e)
	return nil
}

// remove removes key and returns its entry, or nil.
func (s *shard[K, V]) remove(key K) *entry[V] {
	if e := s.main.remove(key); e != nil {
		return e
	}
	return s.window.remove(key)
}

// windowIsFull reports whether the window has more than its part, and not only
// the entry that was just added.
func (s *shard[K, V]) windowIsFull() bool {
	return s.window.len() > 1 && windowShare*s.window.bytes > s.window.bytes+s.main.bytes
}

// fill moves the oldest entries of a full window to the main segment. It is
// called when the cache has room.
func (s *shard[K, V]) fill() {
	for s.windowIsFull() {
		key, e := s.window.oldest()
		s.window.remove(key)
		s.main.add(key, e)
	}
}

// evict removes one entry, but not that of kept, and returns it; nil if there is
// no other.
//
// The oldest entry of the window is the candidate for the main segment. It
// competes with the oldest entries there. One that was not used since it last
// came to the front goes. One that was used loses a use and comes to the front
// again, and the candidate goes instead, unless it has another try.
//
// So entries of the main segment stay if they are used at least once while
// unusedShare times as many new entries arrive as the segment has. To replace those
// that are not, new entries need not be used.
func (s *shard[K, V]) evict(kept K, now time.Time) *entry[V] {
	key, candidate := s.window.oldest()
	if candidate == nil || key == kept {
		return s.evictUnused((1+maxUses)*s.main.len(), kept, now) // enough tries to find one
	}
	if e := s.evictUnused(s.tries(candidate, now), kept, now); e != nil {
		return e
	}
	return s.window.remove(key)
}

// tries returns how many entries of the main segment a candidate may compete
// with: one for each of its uses, and one more. But of the candidates without a
// use, only a part competes, so that a cyclic run does not replace all entries
// before they are used again. If the window has less than half of its
// part, the candidate has a try more instead, so that the window grows again.
func (s *shard[K, V]) tries(candidate *entry[V], now time.Time) int {
	uses := int(candidate.uses.Load())
	switch {
	case !candidate.isGood(now):
		return 0
	case 2*windowShare*s.window.bytes < s.window.bytes+s.main.bytes:
		return uses + 2
	case uses == 0:
		s.unused++
		if s.unused%unusedShare != 0 {
			return 0
		}
	}
	return uses + 1
}

// evictUnused removes the first of the oldest entries of the main segment that
// was not used, and returns it. Those that were used come to the front. It
// returns nil if the first tries were used.
func (s *shard[K, V]) evictUnused(tries int, kept K, now time.Time) *entry[V] {
	for range min(tries, (1+maxUses)*s.main.len()) {
		key, e := s.main.oldest()
		if key == kept || e.isGood(now) && e.takeUse() {
			s.main.toFront(key)
			continue
		}
		return s.main.remove(key)
	}
	return nil
}

func (g *segment[K, V]) len() int {
	if g.entries == nil {
		return 0
	}
	return g.entries.Len()
}

func (g *segment[K, V]) find(key K) *entry[V] {
	if g.entries == nil {
		return nil
	}
	e, _ := g.entries.Peek(key)
	return e
}

// oldest returns the entry at the end of the order, or nil.
func (g *segment[K, V]) oldest() (K, *entry[V]) {
	if g.entries == nil {
		var none K
		return none, nil
	}
	key, e, _ := g.entries.GetOldest()
	return key, e
}

func (g *segment[K, V]) keys() []K {
	if g.entries == nil {
		return nil
	}
	return g.entries.Keys()
}

func (g *segment[K, V]) values() []*entry[V] {
	if g.entries == nil {
		return nil
	}
	return g.entries.Values()
}

func (g *segment[K, V]) add(key K, e *entry[V]) {
	if g.entries == nil {
		// It fails only without a bound. The bounds are the Cache's.
		g.entries, _ = simplelru.NewLRU[K, *entry[V]](math.MaxInt, nil)
	}
	g.entries.Add(key, e)
	g.bytes += e.size
}

func (g *segment[K, V]) toFront(key K) { g.entries.Get(key) }

func (g *segment[K, V]) remove(key K) *entry[V] {
	e := g.find(key)
	if e == nil {
		return nil
	}
	g.entries.Remove(key)
	g.bytes -= e.size
	return e
}
