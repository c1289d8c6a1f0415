package cache

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/heapsize"
	"github.com/mxseal/mxseal/internal/test/seed"
)

var now = time.Unix(1800000000, 0)

func newCache[K comparable, V any](t testing.TB, config Config) *Cache[K, V] {
	t.Helper()
	c, err := New[K, V](config, maphash.Comparable[K])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, config := range []Config{{}, {MaxEntries: -1}, {MaxBytes: -1}, {MaxEntries: 1, MaxBytes: -1}} {
		if _, err := New[int, int](config, maphash.Comparable[int]); err == nil {
			t.Errorf("%+v: no error", config)
		}
	}
	for config, shards := range map[Config]int{
		{MaxEntries: 1}:                            1,
		{MaxEntries: 8 << 10}:                      8,
		{MaxEntries: 10_000_000}:                   maxShards,
		{MaxBytes: 16 << 20}:                       64,
		{MaxEntries: 8 << 10, MaxBytes: 512 << 10}: 2,
	} {
		if got := len(newCache[int, int](t, config).shards); got != shards {
			t.Errorf("%+v: %d shards, want %d", config, got, shards)
		}
	}
}

// model is what a Cache may contain: the last value of each key.
type model map[int]struct {
	value   int
	expires time.Time
}

// play applies random calls to a cache and to a model, and checks the cache after
// each: a value that is found is the last one, it has not expired, and the bounds
// hold.
func play(t *testing.T, config Config, random *rand.Rand, calls int) {
	t.Helper()
	c := newCache[int, int](t, config)
	m := make(model)
	now := now
	const keys = 500
	for i := range calls {
		// A square makes small keys more frequent.
		key := random.IntN(keys) * random.IntN(keys) / keys
		switch random.IntN(10) {
		case 0:
			c.Remove(key)
			delete(m, key)
		case 1:
			now = now.Add(time.Duration(random.IntN(1000)) * time.Millisecond)
		case 2, 3, 4:
			expires := now.Add(time.Duration(random.IntN(100)-5) * time.Second)
			if random.IntN(4) == 0 {
				expires = time.Time{}
			}
			size := random.IntN(2000)
			if random.IntN(20) == 0 {
				size *= 50
			}
			c.Put(key, i, size, expires, now)
			last := m[key]
			last.value, last.expires = i, expires
			m[key] = last
			fits := config.MaxBytes == 0 || size+entryOverhead <= config.MaxBytes
			_, found := c.Get(key, now)
			if want := fits && (expires.IsZero() || now.Before(expires)); found != want {
				t.Fatalf("call %d: the new value is kept: %v, want %v", i, found, want)
			}
		default:
			value, ok := c.Get(key, now)
			last, known := m[key]
			if ok && (!known || value != last.value || !last.expires.IsZero() && !now.Before(last.expires)) {
				t.Fatalf("call %d: got %d of %+v at %v", i, value, last, now)
			}
		}
		checkBounds(t, c)
	}
	checkCounts(t, c)
	last := make(map[int]bool)
	for _, entry := range m {
		last[entry.value] = true
	}
	n := 0
	for value := range c.Values(now) {
		n++
		if !last[value] {
			t.Fatalf("Values has %d, which was replaced", value)
		}
	}
	if n > c.Len() || n == 0 && c.Len() >= 50 { // a few entries may all have expired
		t.Errorf("%d values of %d entries", n, c.Len())
	}
}

func checkBounds[K comparable, V any](t *testing.T, c *Cache[K, V]) {
	t.Helper()
	if c.config.MaxEntries > 0 && c.Len() > c.config.MaxEntries || c.config.MaxBytes > 0 && c.Bytes() > c.config.MaxBytes {
		t.Fatalf("%d entries of %d octets exceed %+v", c.Len(), c.Bytes(), c.config)
	}
}

// checkCounts compares the counts with the entries.
func checkCounts[K comparable, V any](t *testing.T, c *Cache[K, V]) {
	t.Helper()
	entries, bytes := 0, int64(0)
	for i := range c.shards {
		for _, segment := range []segment[K, V]{c.shards[i].window, c.shards[i].main} {
			sum := int64(0)
			n := 0
			for e := segment.oldest; e != nil; e = e.newer {
				sum += e.size
				n++
				if c.shards[i].entries[e.key] != e {
					t.Errorf("an entry of shard %d is not found", i)
				}
			}
			if n != segment.count {
				t.Errorf("a segment of shard %d has %d entries, counted %d", i, n, segment.count)
			}
			if sum != segment.bytes {
				t.Errorf("a segment of shard %d has %d octets, counted %d", i, sum, segment.bytes)
			}
			entries += segment.count
			bytes += sum
		}
	}
	if entries != c.Len() || bytes != int64(c.Bytes()) {
		t.Errorf("%d entries of %d octets, counted %d of %d", entries, bytes, c.Len(), c.Bytes())
	}
}

func TestCacheFollowsModel(t *testing.T) {
	t.Parallel()
	random := seed.Rand(t)
	for _, config := range []Config{
		{MaxEntries: 1},
		{MaxEntries: 2},
		{MaxEntries: 100},
		{MaxBytes: 10_000},
		{MaxBytes: 100_000},
		{MaxBytes: 8 * bytesPerShard},
		{MaxEntries: 50, MaxBytes: 60_000},
	} {
		t.Run(fmt.Sprintf("%+v", config), func(t *testing.T) { play(t, config, random, 20_000) })
	}
}

func FuzzModel(f *testing.F) {
	f.Add(uint64(1), 100, 10_000)
	f.Fuzz(func(t *testing.T, seed uint64, entries, bytes int) {
		config := Config{MaxEntries: max(entries%10_000, 0), MaxBytes: max(bytes%10_000_000, 0)}
		if config.MaxBytes < 2000+entryOverhead {
			config.MaxEntries = max(config.MaxEntries, 1)
			config.MaxBytes = 0
		}
		play(t, config, rand.New(rand.NewPCG(seed, 0)), 2000)
	})
}

// Everything fits up to the bound, however the keys are spread over the shards.
func TestCacheFillsUpToBound(t *testing.T) {
	t.Parallel()
	const n = 8 * entriesPerShard
	c := newCache[int, int](t, Config{MaxEntries: n})
	for i := range n {
		c.Put(i, i, 0, time.Time{}, now)
	}
	for i := range n {
		if value, ok := c.Get(i, now); !ok || value != i {
			t.Fatalf("%d is %d, %v", i, value, ok)
		}
	}
	for i := n; i < 3*n; i++ {
		c.Put(i, i, 0, time.Time{}, now)
	}
	if c.Len() != n {
		t.Errorf("%d entries, want %d", c.Len(), n)
	}
}

// One entry may take the room of all others, in all shards.
func TestLargeEntryTakesRoomOfAll(t *testing.T) {
	t.Parallel()
	const limit = 8 * bytesPerShard
	c := newCache[int, int](t, Config{MaxBytes: limit})
	for i := range 1000 {
		c.Put(i, i, 5000, time.Time{}, now)
		c.Get(i, now)
	}
	c.Put(-1, 0, limit-entryOverhead, time.Time{}, now)
	if _, ok := c.Get(-1, now); !ok || c.Len() != 1 {
		t.Errorf("%v, among %d entries", ok, c.Len())
	}
	c.Put(-1, 0, limit-entryOverhead+1, time.Time{}, now)
	if _, ok := c.Get(-1, now); ok || c.Len() != 0 || c.Bytes() != 0 {
		t.Errorf("%v, %d entries of %d octets", ok, c.Len(), c.Bytes())
	}
}

// A value must be good by both clocks.
func TestValueExpiresByBothClocks(t *testing.T) {
	t.Parallel()
	c := newCache[string, int](t, Config{MaxEntries: 10})
	start := time.Now() // has a monotonic reading
	c.Put("a", 1, 0, start.Add(time.Minute), start)
	if _, ok := c.Get("a", start.Add(time.Minute-1)); !ok {
		t.Error("expired too early")
	}
	if _, ok := c.Get("a", start.Add(time.Minute)); ok {
		t.Error("not expired")
	}
	// The machine was suspended: only the wall clock went on.
	suspended := start.Add(time.Minute).Round(0)
	if _, ok := c.Get("a", suspended); ok {
		t.Error("not expired by the wall clock")
	}
	c.Put("a", 2, 0, start, start)
	if c.Len() != 0 {
		t.Error("an expired value was kept, or the one that it replaces")
	}
	c.Put("a", 3, 0, time.Time{}, start)
	if v, ok := c.Get("a", start.AddDate(1000, 0, 0)); !ok || v != 3 {
		t.Error("a value without expiry has expired")
	}
}

// Expired entries go before any that was not used.
func TestExpiredGoFirst(t *testing.T) {
	t.Parallel()
	c := newCache[int, int](t, Config{MaxEntries: 10})
	for i := range 10 {
		expires := time.Time{}
		if i%2 == 0 {
			expires = now.Add(time.Second)
		}
		c.Put(i, i, 0, expires, now)
		for range maxUses {
			c.Get(i, now)
		}
	}
	later := now.Add(time.Second)
	for i := 10; i < 14; i++ {
		c.Put(i, i, 0, time.Time{}, later)
	}
	for i := 1; i < 10; i += 2 {
		if _, ok := c.Get(i, later); !ok {
			t.Errorf("%d was evicted", i)
		}
	}
}

// A run over many keys, each used once, does not evict what is in use, in number
// or in octets.
func TestScanDoesNotEvictWhatIsUsed(t *testing.T) {
	t.Parallel()
	const n = 1000
	for name, tt := range map[string]struct {
		config Config
		size   int // of the keys of the run
	}{
		"entries":       {Config{MaxEntries: n}, 1000},
		"bytes":         {Config{MaxBytes: n * (1000 + entryOverhead)}, 1000},
		"large entries": {Config{MaxBytes: n * (1000 + entryOverhead)}, 15_000},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache[int, int](t, tt.config)
			inUse := n / 2
			for range 3 {
				for i := range inUse {
					if _, ok := c.Get(i, now); !ok {
						c.Put(i, i, 1000, time.Time{}, now)
					}
				}
			}
			// The run itself: long, while nothing else is used.
			for i := range 2 * n * 1000 / tt.size {
				c.Put(n+i, i, tt.size, time.Time{}, now)
			}
			if kept := countHits(c, 0, inUse); kept < inUse*9/10 {
				t.Errorf("%d of %d are left after a run", kept, inUse)
			}
			// Several longer runs, while each is used now and then.
			for i := range 20 * n {
				c.Put(n+i, i, tt.size, time.Time{}, now)
				c.Get(i%inUse, now)
			}
			if kept := countHits(c, 0, inUse); kept < inUse*9/10 {
				t.Errorf("%d of %d in use are left after runs", kept, inUse)
			}
		})
	}
}

func countHits(c *Cache[int, int], from, to int) (hits int) {
	for i := from; i < to; i++ {
		if _, ok := c.Get(i, now); ok {
			hits++
		}
	}
	return hits
}

// A cyclic run over more keys than fit finds more than half of what any cache
// could find, even if it repeats each key a few times, and also a run over other
// keys than before.
func TestCyclicRunFindsHalf(t *testing.T) {
	t.Parallel()
	const n = 10_000
	for _, repeat := range []int{1, 3} {
		c := newCache[int, int](t, Config{MaxEntries: n})
		for _, first := range []int{0, 10 * n} {
			for round := range 12 {
				hits := 0
				for i := range n * 6 / 5 {
					for again := range repeat {
						if _, ok := c.Get(first+i, now); !ok {
							c.Put(first+i, i, 0, time.Time{}, now)
						} else if again == 0 {
							hits++
						}
					}
				}
				if round == 11 && hits < n/2 {
					t.Errorf("%d times each, from %d: %d hits of %d possible", repeat, first, hits, n)
				}
			}
		}
	}
}

// What is no longer used makes room, even for keys that are used only once.
func TestUnusedValuesMakeRoom(t *testing.T) {
	t.Parallel()
	const n = 1000
	c := newCache[int, int](t, Config{MaxEntries: n})
	for range 10 {
		for i := range n {
			c.Put(i, i, 0, time.Time{}, now)
			c.Get(i, now)
		}
	}
	for i := range 2 * unusedShare * maxUses * n {
		c.Put(n+i, i, 0, time.Time{}, now)
	}
	if kept := countHits(c, 0, n); kept > 0 {
		t.Errorf("%d of %d are left", kept, n)
	}
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	base := seed.New(t)
	c := newCache[int, int](t, Config{MaxEntries: 4 * entriesPerShard, MaxBytes: 4 * bytesPerShard})
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(base, uint64(g)))
			for i := range 20_000 {
				key := random.IntN(6000)
				switch random.IntN(20) {
				case 0:
					c.Remove(key)
				case 1, 2, 3, 4:
					c.Put(key, key, random.IntN(1000), now.Add(time.Hour), now)
				default:
					if value, ok := c.Get(key, now); ok && value != key {
						t.Errorf("%d is %d", key, value)
					}
				}
				if i%5000 == 0 {
					for range c.Values(now) {
					}
				}
			}
		})
	}
	group.Wait()
	checkCounts(t, c)
	checkBounds(t, c)
}

// Values may be used while the loop changes the cache, and may be left early.
func TestValuesMayBeUsedWhileCacheChanges(t *testing.T) {
	t.Parallel()
	c := newCache[int, int](t, Config{MaxEntries: 4 * entriesPerShard})
	for i := range 100 {
		c.Put(i, i, 0, now.Add(time.Duration(i)), now)
	}
	var values []int
	for value := range c.Values(now.Add(50)) {
		values = append(values, value)
		c.Remove(value)
	}
	slices.Sort(values)
	if len(values) != 49 || values[0] != 51 || values[48] != 99 {
		t.Errorf("%d values: %v", len(values), values)
	}
	for range c.Values(now) {
		break
	}
}

// A hit does not allocate.
func TestHitDoesNotAllocate(t *testing.T) { // no other test runs beside it
	type key struct {
		name string
		flag bool
	}
	c := newCache[key, *int](t, Config{MaxEntries: 10})
	c.Put(key{"example.org", true}, new(int), 0, now.Add(time.Hour), now)
	if n := testing.AllocsPerRun(100, func() { c.Get(key{"example.org", true}, now) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The entries take no more of the heap than their sizes.
func TestEntriesTakeNoMoreThanTheirSizes(t *testing.T) { // no other test runs beside it
	const text = 100
	for _, n := range []int{40_000, 60_000, 100_000} {
		before := heapsize.Used()
		c := newCache[string, string](t, Config{MaxBytes: 1 << 30})
		for i := range n {
			c.Put(fmt.Sprintf("a-domain-%07d.example.org", i), strings.Repeat("x", text), 32+112, now.Add(time.Hour), now)
		}
		used := int(heapsize.Used() - before)
		t.Logf("%d entries: %d octets each, of which the overhead is %d", n, used/n, used/n-32-112)
		if used > c.Bytes() {
			t.Errorf("%d octets in use, counted %d", used, c.Bytes())
		}
		runtime.KeepAlive(c)
	}
}

// C8: what values share counts once, as long as one of them is in the cache.
func TestC8SharedOctetsCountOnce(t *testing.T) {
	t.Parallel()
	const parts, octets = 20, 1000
	var users [parts]atomic.Int32
	c, err := NewSharing(Config{MaxBytes: 100_000}, maphash.Comparable[int], func(value, by int) int {
		switch n := users[value%parts].Add(int32(by)); {
		case by > 0 && n == 1:
			return octets
		case n == 0:
			return -octets
		}
		return 0
	})
	if err != nil {
		t.Fatal(err)
	}
	random := seed.Rand(t)
	at := now
	for range 20_000 {
		key := random.IntN(300)
		switch random.IntN(10) {
		case 0:
			c.Remove(key)
		case 1:
			at = at.Add(time.Second)
		default:
			c.Put(key, random.IntN(1000), random.IntN(500), at.Add(time.Duration(random.IntN(100))*time.Second), at)
		}
		if c.Bytes() > 100_000 {
			t.Fatalf("%d octets", c.Bytes())
		}
	}
	want, shared := 0, map[int]bool{}
	for i := range c.shards {
		for _, e := range c.shards[i].list() {
			want += int(e.size)
			shared[e.value%parts] = true
		}
	}
	if want += len(shared) * octets; c.Bytes() != want {
		t.Errorf("%d octets counted, want %d", c.Bytes(), want)
	}
}

// A hit takes no lock if the key was used lately.
func TestHitTakesNoLock(t *testing.T) {
	t.Parallel()
	c := newCache[string, int](t, Config{MaxEntries: 10})
	c.Put("a", 1, 0, time.Time{}, now)
	c.Get("a", now)
	s := c.shard("a")
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := c.Get("a", now); !ok || v != 1 {
		t.Errorf("got %d, %v", v, ok)
	}
}

// What is removed or replaced is not found any more, whatever others read meanwhile.
func TestReadersSeeRemovals(t *testing.T) {
	t.Parallel()
	c := newCache[string, int](t, Config{MaxEntries: 10})
	var readers sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		readers.Go(func() {
			for !done.Load() {
				c.Get("a", now)
				c.Get("b", now)
			}
		})
	}
	defer readers.Wait()
	defer done.Store(true)
	for i := range 20_000 {
		c.Put("a", i, 0, time.Time{}, now)
		if v, ok := c.Get("a", now); !ok || v != i {
			t.Fatalf("got %d, %v, after %d was put", v, ok, i)
		}
		c.Put("a", -i, 0, time.Time{}, now)
		if v, ok := c.Last("a"); !ok || v != -i {
			t.Fatalf("got %d, %v, after %d was put", v, ok, -i)
		}
		c.Remove("a")
		if v, ok := c.Get("a", now); ok {
			t.Fatalf("got %d after it was removed", v)
		}
	}
}
