package cache

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
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
	mu      sync.RWMutex
	entries map[K]*entry[K, V]
	window  segment[K, V] // new entries
	main    segment[K, V] // entries that stayed when they left the window
	unused  int           // candidates without a use
}

// segment is a part of a shard: a list, and what its entries count.
type segment[K comparable, V any] struct {
	newest, oldest *entry[K, V]
	count          int
	bytes          int64
}

// entry is a value. Its place in the list is guarded by the lock of the shard. Otherwise
// only uses changes.
type entry[K comparable, V any] struct {
	key          K
	value        V
	seat         *seat[K, V] // where it may be found without the lock
	expires      time.Time   // the zero time means never
	wall         int64       // expires by the wall clock alone, in nanoseconds since 1970
	size         int64       // with entryOverhead
	newer, older *entry[K, V]
	uses         atomic.Int32
	isMain       bool // it is in the main segment
}

// use counts a use. Uses that are counted at the same time may count as one.
func (e *entry[K, V]) use() {
	// No write at the limit: it would take the cache line from other cores.
	if n := e.uses.Load(); n < maxUses {
		e.uses.Store(n + 1)
	}
}

// takeUse takes one use back, if there is one.
func (e *entry[K, V]) takeUse() bool {
	n := e.uses.Load()
	if n > 0 {
		e.uses.Store(n - 1)
	}
	return n > 0
}

// isGood reports whether the value may still be used. The monotonic clock of some
// systems stands still while they are suspended, and the wall clock may be set
// back. So the value must be good by both.
func (e *entry[K, V]) isGood(now time.Time) bool {
	return e.expires.IsZero() || now.Before(e.expires) && now.UnixNano() < e.wall
}

// wallClock returns t by the wall clock, in nanoseconds since 1970.
func wallClock(t time.Time) int64 {
	if t.Year() > 2261 {
		return math.MaxInt64
	}
	return t.UnixNano()
}

// list returns all entries.
func (s *shard[K, V]) list() []*entry[K, V] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*entry[K, V], 0, len(s.entries))
	for _, e := range s.entries {
		all = append(all, e)
	}
	return all
}

// The following methods are called with mu locked.

// set adds e. A new key comes to the window. Otherwise e comes to the front of the segment
// of the old entry, which is returned, and has its uses.
func (s *shard[K, V]) set(e *entry[K, V]) (old *entry[K, V]) {
	old = s.remove(e.key)
	if old != nil {
		e.uses.Store(old.uses.Load())
		e.isMain = old.isMain
	}
	if s.entries == nil {
		s.entries = make(map[K]*entry[K, V])
	}
	s.entries[e.key] = e
	s.segment(e).add(e)
	return old
}

// remove removes key and returns its entry, or nil.
func (s *shard[K, V]) remove(key K) *entry[K, V] {
	e := s.entries[key]
	if e != nil {
		delete(s.entries, key)
		e.seat.CompareAndSwap(e, nil)
		s.segment(e).remove(e)
	}
	return e
}

func (s *shard[K, V]) segment(e *entry[K, V]) *segment[K, V] {
	if e.isMain {
		return &s.main
	}
	return &s.window
}

// windowIsFull reports whether the window has more than its part, and not only
// the entry that was just added.
func (s *shard[K, V]) windowIsFull() bool {
	return s.window.count > 1 && windowShare*s.window.bytes > s.window.bytes+s.main.bytes
}

// fill moves the oldest entries of a full window to the main segment. It is
// called when the cache has room.
func (s *shard[K, V]) fill() {
	for s.windowIsFull() {
		e := s.window.oldest
		s.window.remove(e)
		e.isMain = true
		s.main.add(e)
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
func (s *shard[K, V]) evict(kept K, now time.Time) *entry[K, V] {
	candidate := s.window.oldest
	if candidate == nil || candidate.key == kept {
		return s.evictUnused((1+maxUses)*s.main.count, kept, now) // enough tries to find one
	}
	if e := s.evictUnused(s.tries(candidate, now), kept, now); e != nil {
		return e
	}
	return s.remove(candidate.key)
}

// tries returns how many entries of the main segment a candidate may compete
// with: one for each of its uses, and one more. But of the candidates without a
// use, only a part competes, so that a cyclic run does not replace all entries
// before they are used again. If the window has less than half of its
// part, the candidate has a try more instead, so that the window grows again.
func (s *shard[K, V]) tries(candidate *entry[K, V], now time.Time) int {
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
func (s *shard[K, V]) evictUnused(tries int, kept K, now time.Time) *entry[K, V] {
	for range min(tries, (1+maxUses)*s.main.count) {
		e := s.main.oldest
		if e.key == kept || e.isGood(now) && e.takeUse() {
			s.main.remove(e)
			s.main.add(e)
			continue
		}
		return s.remove(e.key)
	}
	return nil
}

// add adds e at the front.
func (g *segment[K, V]) add(e *entry[K, V]) {
	e.older = g.newest
	if g.newest != nil {
		g.newest.newer = e
	} else {
		g.oldest = e
	}
	g.newest = e
	g.count++
	g.bytes += e.size
}

func (g *segment[K, V]) remove(e *entry[K, V]) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		g.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		g.oldest = e.newer
	}
	e.newer, e.older = nil, nil
	g.count--
	g.bytes -= e.size
}
