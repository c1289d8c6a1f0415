package dnssec

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
)

// BenchmarkLookup compares lookups that the cache answers with a cold one.
func BenchmarkLookup(b *testing.B) {
	w := mail(b)
	v := w.validator()
	ctx := context.Background()
	for _, bench := range []struct{ what, name string }{
		{"cached", "_25._tcp.mx.example.com."},
		{"cached/no final dot", "_25._tcp.mx.example.com"},
		{"cached/absent", "_26._tcp.mx.example.com."},
	} {
		b.Run(bench.what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Lookup(ctx, bench.name, TypeTLSA); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for what, names := range map[string][]string{
		"cached/64 goroutines, one name":   {"_25._tcp.mx.example.com."},
		"cached/64 goroutines, many names": manyNames(b, v),
	} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			var started atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				name := names[int(started.Add(1))%len(names)]
				for pb.Next() {
					if _, err := v.Lookup(ctx, name, TypeTLSA); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.lookup("_25._tcp.mx.example.com.", dns.TypeTLSA); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// manyNames returns names that the cache has.
func manyNames(b *testing.B, v *Validator) []string {
	var names []string
	for i := range 64 {
		name := fmt.Sprintf("_%d._tcp.mx.example.com.", 1000+i)
		if _, err := v.Lookup(context.Background(), name, TypeTLSA); err != nil {
			b.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// BenchmarkRoundTrips reports how many round trips to the server a lookup waits
// for, next to the same question without validation.
func BenchmarkRoundTrips(b *testing.B) {
	const latency = 5 * time.Millisecond
	run := func(b *testing.B, lookup func() error) {
		start := time.Now()
		for b.Loop() {
			if err := lookup(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(start))/float64(latency)/float64(b.N), "roundtrips/op")
	}
	w := mail(b)
	warm := w.validator()
	if _, err := warm.Lookup(context.Background(), "example.com.", TypeMX); err != nil {
		b.Fatal(err)
	}
	w.latency = latency
	q := question{"_25._tcp.mx.example.com.", dns.TypeTLSA}
	b.Run("plain", func(b *testing.B) {
		run(b, func() error {
			_, err := warm.exchange(context.Background(), false, q)
			return err
		})
	})
	b.Run("cold", func(b *testing.B) {
		run(b, func() error {
			_, err := w.lookup(q.name, q.rtype)
			return err
		})
	})
	b.Run("warm parents", func(b *testing.B) {
		run(b, func() error {
			l := warm.newLookup(context.Background())
			now := l.session.now
			l.cache.Put(q.key(memory.Answer), nil, 0, now.Add(time.Second), now)
			_, err := l.run(q)
			return err
		})
	})
}
