package memory

import (
	"fmt"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/seed"
)

// The cache stays within its bound, keeps what is in use, and removes entries only
// to make room.
func TestCacheBound(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	const bytes = 64 * 40 * 1000
	c := New(bytes)
	key := func(i int) Key { return Key{Name: fmt.Sprintf("n%d.example.", i)} }
	hot := key(-1)
	c.Put(hot, "hot", 10, now.Add(time.Hour), now)
	random := seed.Rand(t)
	for i := range 50000 {
		c.Put(key(i), i, random.IntN(2000), now.Add(time.Hour), now)
		if i%50 == 0 && c.Get(hot, now) == nil {
			t.Fatalf("an entry in use was evicted after %d", i)
		}
		if i%10 == 0 && c.Get(key(i), now) != i {
			t.Fatalf("got %v, want %d", c.Get(key(i), now), i)
		}
		if i%7 == 0 {
			c.Put(key(random.IntN(i+1)), i, 0, now.Add(-time.Second), now)
			c.Put(key(random.IntN(i+1)), i, 50000, now.Add(time.Hour), now)
		}
	}
	total := 0
	for i := range c.shards {
		s := &c.shards[i]
		sum, n := 0, 0
		for e := s.oldest; e != nil; e = e.newer {
			sum, n = sum+e.size, n+1
			if s.entries[e.key] != e {
				t.Fatal("list and map differ")
			}
		}
		if sum != s.bytes || n != len(s.entries) || s.bytes > s.limit {
			t.Errorf("shard %d: %d bytes of %d in %d entries, counted %d in %d", i, s.bytes, s.limit, len(s.entries), sum, n)
		}
		total += sum
	}
	if _, size := c.Size(); size != total {
		t.Errorf("Size says %d bytes, there are %d", size, total)
	}
	if total < bytes/2 {
		t.Errorf("only %d of %d bytes in use", total, bytes)
	}
	c.Put(hot, "old", 10, now.Add(time.Second), now)
	if c.Get(hot, now.Add(time.Second)) != nil {
		t.Error("got an expired entry")
	}
}
