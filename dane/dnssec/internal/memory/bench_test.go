package memory

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"

	bounded "github.com/mxseal/mxseal/internal/cache"
)

// benchedCache is the cache of this package, or the one of package
// internal/cache that it is compared with.
type benchedCache struct {
	name string
	get  func(Key) any
	put  func(Key, any)
}

// benchedCaches returns caches of a bound in octets. put counts 500 octets for
// each entry in both.
func benchedCaches(b *testing.B, bytes int, now time.Time) []benchedCache {
	own := New(bytes)
	shared, err := bounded.New[Key, any](bounded.Config{MaxBytes: bytes}, func(seed maphash.Seed, key Key) uint64 {
		return maphash.String(seed, key.Name) + uint64(key.Type)
	})
	if err != nil {
		b.Fatal(err)
	}
	expires := now.Add(time.Hour)
	put := func(key Key, value any) { own.Put(key, value, 500-entryOverhead-len(key.Name), expires, now) }
	return []benchedCache{
		{"own", func(key Key) any { return own.Get(key, now) }, put},
		{"own, counted", func(key Key) any { return own.Recall(key.Name, key.Type, now) }, put},
		{"shared", func(key Key) any { value, _ := shared.Get(key, now); return value }, func(key Key, value any) {
			shared.Put(key, value, 500-240, expires, now)
		}},
	}
}

func benchedKeys(n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = Key{Name: fmt.Sprintf("_25._tcp.mx%d.example.org.", i), Type: dns.TypeTLSA}
	}
	return keys
}

// Hits, by 64 goroutines if in parallel. -cpu 1,2 shows how they scale.
func BenchmarkCacheHit(b *testing.B) {
	keys := benchedKeys(10_000)
	for _, c := range benchedCaches(b, 16<<20, time.Now()) {
		for i := range keys {
			c.put(keys[i], &keys[i])
		}
		b.Run(c.name+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.get(keys[0])
			}
		})
		b.Run(c.name+"/many in parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(len(keys)); pb.Next(); i++ {
					c.get(keys[i%len(keys)])
				}
			})
		})
	}
}

// A cyclic run over 1.2 times as many keys as fit, and random keys of which few
// are frequent (Zipf). A miss is followed by a put.
func BenchmarkCacheRun(b *testing.B) {
	const fit = 10_000
	keys := benchedKeys(10 * fit)
	for name, run := range map[string]func() func() int{
		"cyclic": func() func() int {
			i := 0
			return func() int { i++; return i % (fit * 6 / 5) }
		},
		"zipf": func() func() int {
			zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, 10*fit-1)
			return func() int { return int(zipf.Uint64()) }
		},
	} {
		for _, c := range benchedCaches(b, fit*500, time.Now()) {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				next, hits, calls := run(), 0, 0
				for b.Loop() {
					i := next()
					calls++
					if c.get(keys[i]) != nil {
						hits++
					} else {
						c.put(keys[i], &keys[i])
					}
				}
				b.ReportMetric(float64(100*hits)/float64(calls), "%hits")
			})
		}
	}
}
