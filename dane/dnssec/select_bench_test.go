package dnssec

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkSelection reports the 99th percentile and the maximum of a hundred cold lookups
// while servers fail, and beside it those while all are well. The limit is 1 s. "later" is
// without the first lookup. A server takes 10 ms.
func BenchmarkSelection(b *testing.B) {
	const rtt = 10 * time.Millisecond
	answers := func(string, string, dns.Question) (time.Duration, bool) { return rtt, true }
	for _, bench := range []struct {
		what    string
		servers []string
		behave  func(server, network string, q dns.Question) (time.Duration, bool)
	}{
		{"1 of 2 dead", []string{"192.0.2.1", "192.0.2.2"}, func(server, _ string, _ dns.Question) (time.Duration, bool) {
			return rtt, server != "192.0.2.1"
		}},
		{"2 of 3 dead", []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, func(server, _ string, _ dns.Question) (time.Duration, bool) {
			return rtt, server == "192.0.2.3"
		}},
		{"1 of 2 drops half", []string{"192.0.2.1", "192.0.2.2"}, func(server, network string, _ dns.Question) (time.Duration, bool) {
			return rtt, server != "192.0.2.1" || network == "tcp" || rand.IntN(2) == 0
		}},
		{"drops half, alone", []string{"192.0.2.1"}, func(_, network string, _ dns.Question) (time.Duration, bool) {
			return rtt, network == "tcp" || rand.IntN(2) == 0
		}},
		{"UDP blocked, alone", []string{"192.0.2.1"}, func(_, network string, _ dns.Question) (time.Duration, bool) {
			return rtt, network == "tcp"
		}},
	} {
		b.Run(bench.what, func(b *testing.B) {
			for b.Loop() {
				_, well := coldLookups(b, bench.servers, answers)
				first, later := coldLookups(b, bench.servers, bench.behave)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(percentile(well, 99).Milliseconds()), "well-p99-ms")
				b.ReportMetric(float64(percentile(later, 50).Milliseconds()), "later-p50-ms")
				b.ReportMetric(float64(percentile(later, 99).Milliseconds()), "later-p99-ms")
				b.ReportMetric(float64(percentile(append(later, first), 99).Milliseconds()), "p99-ms")
				b.ReportMetric(float64(percentile(append(later, first), 100).Milliseconds()), "max-ms")
			}
		})
	}
}

// coldLookups makes lookups, each with an empty cache, and returns how long the first took,
// and the others.
func coldLookups(b *testing.B, servers []string, behave func(server, network string, q dns.Question) (time.Duration, bool)) (first time.Duration, later []time.Duration) {
	f := newFleet(mail(b))
	f.behave = behave
	v := f.world.validator(func(c *Config) { c.Servers, c.Dial, c.Timeout, c.CacheBytes = servers, f.dial, 0, 1 })
	for i := range 100 {
		began := time.Now()
		if a, err := v.Lookup(context.Background(), "_25._tcp.mx.example.com.", TypeTLSA); err != nil || a.Status != Secure {
			b.Fatal(a, err)
		}
		if took := time.Since(began); i == 0 {
			first = took
		} else {
			later = append(later, took)
		}
	}
	v.Close()
	f.questions.Wait()
	return first, later
}

func percentile(times []time.Duration, p int) time.Duration {
	times = slices.Sorted(slices.Values(times))
	return times[min(len(times)*p/100, len(times)-1)]
}
