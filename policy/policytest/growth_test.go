package policytest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/heapsize"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// BenchmarkDomains builds internets of more and more domains, each with a host, TLSA
// records and an MTA-STS policy, and then resolves 1,000 of them. The time and the
// memory for each domain are about the same for all sizes (C14).
func BenchmarkDomains(b *testing.B) {
	const resolved = 1_000
	for _, domains := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(domains), func(b *testing.B) {
			var building, resolving time.Duration
			var octets int64
			for b.Loop() {
				before := heapsize.Used()
				start := time.Now()
				inet := policytest.New(nil)
				for i := range domains {
					name := fmt.Sprintf("d%d.example", i)
					inet.Domain(name).MX("mx."+name).Policy("enforce", "mx."+name)
					inet.Host("mx."+name, policytest.TLSA("3 1 1"))
				}
				config := inet.Config()
				building += time.Since(start)
				octets += heapsize.Used() - before

				resolver, err := policy.New(config)
				if err != nil {
					b.Fatal(err)
				}
				start = time.Now()
				for i := range resolved {
					if _, err := resolver.Resolve(b.Context(), fmt.Sprintf("d%d.example", i*domains/resolved)); err != nil {
						b.Fatal(err)
					}
				}
				resolving += time.Since(start)
				resolver.Close()
				inet.Close()
			}
			each := float64(b.N * domains)
			b.ReportMetric(float64(building.Microseconds())/each, "µs-build/domain")
			b.ReportMetric(float64(resolving.Microseconds())/float64(b.N*resolved), "µs-resolve/domain")
			b.ReportMetric(float64(octets)/each/1024, "KiB/domain")
		})
	}
}
