package cache

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const benchEntries = 10_000

// benchKey is about as large as the keys of plans, the most frequent use of a
// Cache.
type benchKey struct {
	domain string
	_      [2]bool
}

func benchKeys(n int) []benchKey {
	keys := make([]benchKey, n)
	for i := range keys {
		keys[i].domain = fmt.Sprintf("domain%d.example.org", i)
	}
	return keys
}

// benched is a Cache, or the LRU cache that it is compared with.
type benched struct {
	name string
	get  func(benchKey) (*int, bool)
	put  func(benchKey, *int)
}

func benchedCaches(b *testing.B, entries int) []benched {
	own, err := New[benchKey, *int](Config{MaxEntries: entries, MaxBytes: entries * 2000}, func(seed maphash.Seed, key benchKey) uint64 {
		return maphash.String(seed, key.domain)
	})
	if err != nil {
		b.Fatal(err)
	}
	other, err := lru.New[benchKey, *int](entries)
	if err != nil {
		b.Fatal(err)
	}
	return []benched{
		{"cache", func(key benchKey) (*int, bool) { return own.Get(key, now) }, func(key benchKey, value *int) {
			own.Put(key, value, 1000, now.Add(time.Hour), now)
		}},
		{"lru", other.Get, func(key benchKey, value *int) { other.Add(key, value) }},
	}
}

// Hits, by 64 goroutines if in parallel. -cpu 1,2 shows how they scale.
func BenchmarkHit(b *testing.B) {
	keys := benchKeys(benchEntries)
	for _, c := range benchedCaches(b, benchEntries) {
		for i := range keys {
			c.put(keys[i], new(int))
		}
		b.Run(c.name+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.get(keys[0])
			}
		})
		for name, n := range map[string]int{"one": 1, "many": len(keys)} {
			b.Run(c.name+"/"+name+" in parallel", func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(64 / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					for i := rand.IntN(n); pb.Next(); i++ {
						c.get(keys[i%n])
					}
				})
			})
		}
	}
}

// A cyclic run over 1.2 times as many keys as fit, and over random keys of which
// few are frequent (Zipf). A miss is followed by a put.
func BenchmarkRun(b *testing.B) {
	keys := benchKeys(benchEntries * 10)
	for name, run := range map[string]func() func() int{"cyclic": cyclic, "zipf": zipf} {
		for _, c := range benchedCaches(b, benchEntries) {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				next, hits, calls, value := run(), 0, 0, new(int)
				for b.Loop() {
					key := keys[next()]
					calls++
					if _, ok := c.get(key); ok {
						hits++
					} else {
						c.put(key, value)
					}
				}
				b.ReportMetric(float64(100*hits)/float64(calls), "%hits")
			})
		}
	}
}

func cyclic() func() int {
	i := 0
	return func() int {
		i++
		return i % (benchEntries * 6 / 5)
	}
}

func zipf() func() int {
	source := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, 10*benchEntries-1)
	return func() int { return int(source.Uint64()) }
}
