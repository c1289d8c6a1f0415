package reporter_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/mxseal/mxseal/internal/test/cputime"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// BenchmarkRecord counts sessions in 64 goroutines: the same session
// repeatedly, sessions with many domains, and sessions that all differ. cpu-ns is the
// processor time.
func BenchmarkRecord(b *testing.B) {
	const goroutines = 64
	outcomes := map[string][]tlsrpt.Outcome{
		"Success": {met(stsPolicy)}, "Failure": {missed(stsPolicy, selfSigned)},
		"Both": {met(danePolicy), missed(stsPolicy, selfSigned)},
	}
	for _, kind := range []string{"Success", "Failure", "Both"} {
		for _, domains := range []int{1, 1000, 100_000} {
			b.Run(fmt.Sprintf("%s/domains=%d", kind, domains), func(b *testing.B) {
				a := newAggregator(b, reporter.AggregatorConfig{Store: new(reporter.MemoryStore)})
				sessions := make([]*tlsrpt.Session, domains)
				for i := range sessions {
					sessions[i] = session(outcomes[kind]...)
					sessions[i].Domain = fmt.Sprintf("example%d.com", i)
					a.Record(sessions[i])
				}
				b.ReportAllocs()
				b.SetParallelism(goroutines / runtime.GOMAXPROCS(0))
				b.ResetTimer()
				used := -cputime.Used(b)
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						a.Record(sessions[i%domains])
					}
				})
				used += cputime.Used(b)
				b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
	}
	b.Run("New", func(b *testing.B) { // field note 61
		a := newAggregator(b, reporter.AggregatorConfig{Store: new(reporter.MemoryStore)})
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

// BenchmarkDay builds and compresses the reports of one day, for 100,000
// domains with five failures each, one after the other. The store computes the
// sums on demand and reports are not kept. MB-live is the maximum of heap
// memory in use.
func BenchmarkDay(b *testing.B) {
	const domains = 100_000
	r, err := reporter.New(reporter.Config{
		Store:        uniformStore{MemoryStore: new(reporter.MemoryStore), sums: []report.PolicyResult{reporttest.Failing(0)}},
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
			rep, err := r.Preview(b.Context(), "d"+strconv.Itoa(i)+".example", today)
			if err != nil || len(rep.Policies[0].Details) != 5 {
				b.Fatal(rep, err)
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

// uniformStore returns the same sums for every domain.
type uniformStore struct {
	*reporter.MemoryStore
	sums []report.PolicyResult
}

func (u uniformStore) Sums(context.Context, report.Day, string) (reporter.Part, error) {
	return reporter.Part{Number: 1, Sums: slices.Clone(u.sums)}, nil
}
