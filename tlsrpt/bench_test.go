package tlsrpt_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
)

// largeReport has 100 policies with five failure details each.
func largeReport() *tlsrpt.Report {
	report := newReport()
	report.Policies = nil
	for i := range byte(100) {
		host := fmt.Sprintf("mx%d.example.com", i)
		result := tlsrpt.PolicyResult{
			Policy: tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: host, Strings: []string{
				"3 1 1 1f850a337e6db9c609c522d136a475638cc43e1ed424f8eec8513d747d1d085d",
				"3 1 1 12350a337e6db9c6123522d136a475638cc43e1ed424f8eec8513d747d1d1234",
			}},
			Summary: tlsrpt.Summary{Successes: 1000, Failures: 15},
		}
		for j := range byte(5) {
			result.Details = append(result.Details, tlsrpt.Detail{
				Type: tlsrpt.CertificateNotTrusted, ReasonCode: "unknown-authority",
				SendingIP:   netip.AddrFrom4([4]byte{198, 51, 100, j}),
				ReceivingIP: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, i, 15: j}),
				MXHost:      host, HELO: host, Sessions: 3,
			})
		}
		report.Policies = append(report.Policies, result)
	}
	return report
}

func BenchmarkReport(b *testing.B) {
	report := largeReport()
	text := marshal(b, report)
	b.Run("Marshal", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := report.MarshalJSON(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, received := range map[string][]byte{"Parse": text, "ParseGzip": zip(b, text)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tlsrpt.ParseReport(bytes.NewReader(received)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecord has 64 goroutines count what was counted before: all the same,
// or sessions with many domains; and sessions that differ every time.
func BenchmarkRecord(b *testing.B) {
	const goroutines = 64
	outcomes := map[string][]tlsrpt.Outcome{
		"Success": {met(stsPolicy)}, "Failure": {missed(stsPolicy, selfSigned)},
		"Both": {met(danePolicy), missed(stsPolicy, selfSigned)},
	}
	for _, kind := range []string{"Success", "Failure", "Both"} {
		for _, domains := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/domains=%d", kind, domains), func(b *testing.B) {
				a := tlsrpt.NewAggregator(tlsrpt.AggregatorConfig{Store: new(tlsrpt.MemoryStore)})
				sessions := make([]*tlsrpt.Session, domains)
				for i := range sessions {
					sessions[i] = session(outcomes[kind]...)
					sessions[i].Domain = fmt.Sprintf("example%d.com", i)
					a.Record(sessions[i])
				}
				b.ReportAllocs()
				b.SetParallelism(goroutines / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						a.Record(sessions[i%domains])
					}
				})
			})
		}
	}
	b.Run("New", func(b *testing.B) { // field note 61
		a := tlsrpt.NewAggregator(tlsrpt.AggregatorConfig{Store: new(tlsrpt.MemoryStore)})
		var number atomic.Int64
		b.ReportAllocs()
		b.SetParallelism(goroutines / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			s := session(missed(stsPolicy, selfSigned))
			for pb.Next() {
				s.HELO = strconv.FormatInt(number.Add(1), 10)
				a.Record(s)
			}
		})
	})
}

// BenchmarkDay makes the reports of a day with 100,000 domains, five failures
// each, one after the other and compressed, as they go out. Only the sums that
// come out of the store are in memory, not the reports: MB-live is the most that
// was in use at any time.
func BenchmarkDay(b *testing.B) {
	const domains = 100_000
	reporter, err := tlsrpt.NewReporter(tlsrpt.ReporterConfig{
		Store:        uniformStore{MemoryStore: new(tlsrpt.MemoryStore), sums: largeReport().Policies[:1]},
		Organization: "Sender", Contact: "tls-reports@sender.example",
	})
	if err != nil {
		b.Fatal(err)
	}
	var most, before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		for i := range domains {
			report, err := reporter.Preview(b.Context(), "d"+strconv.Itoa(i)+".example", today)
			if err != nil || len(report.Policies[0].Details) != 5 {
				b.Fatal(report, err)
			}
			if i%1000 == 0 {
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				most.HeapInuse = max(most.HeapInuse, now.HeapInuse)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/domains, "µs/report")
	b.ReportMetric(float64(most.HeapInuse-before.HeapInuse)/(1<<20), "MB-live")
}

// uniformStore has the same sums for every domain.
type uniformStore struct {
	*tlsrpt.MemoryStore
	sums []tlsrpt.PolicyResult
}

func (u uniformStore) Sums(context.Context, tlsrpt.Day, string) (tlsrpt.Part, error) {
	return tlsrpt.Part{Number: 1, Sums: slices.Clone(u.sums)}, nil
}
