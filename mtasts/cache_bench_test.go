package mtasts

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// Hits in the memory alone, of domains with and without a policy, by 64
// goroutines if in parallel.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	c := newCache(defaultMaxPolicies)
	domains := map[string][]string{}
	for i := range n {
		with, without := fmt.Sprintf("domain%d.example.org", i), fmt.Sprintf("other%d.example.org", i)
		c.put(withPolicy(with, 100))
		c.put(&state{domain: without})
		domains["policy"] = append(domains["policy"], with)
		domains["none"] = append(domains["none"], without)
	}
	for _, class := range []string{"policy", "none"} {
		names := domains[class]
		b.Run(class+"/one", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.get(names[0])
			}
		})
		b.Run(class+"/many in parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(n); pb.Next(); i++ {
					c.get(names[i%n])
				}
			})
		})
	}
}
