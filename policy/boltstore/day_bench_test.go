package boltstore

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/cputime"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// BenchmarkDayFromFile builds, compresses and hands over the reports of one day from a file,
// for 10,000 domains, or as many as the environment variable MXSEAL_DOMAINS says, with five
// failures each. The endpoints accept at once, so the rest is what a Reporter does. MB-heap is
// the most heap memory in use, more than before. With GOMAXPROCS=1, it measures
// one core; cpu-µs is the processor time.
func BenchmarkDayFromFile(b *testing.B) {
	domains := 10_000
	if text := os.Getenv("MXSEAL_DOMAINS"); text != "" {
		var err error
		if domains, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	var most atomic.Int64 // octets of the heap, more than before
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		s := open(b, tempFile(b), Config{MaxSize: 16 << 30})
		day := report.DayOf(time.Now()) - 1
		results := []report.PolicyResult{reporttest.Failing(0)}
		for first := 0; first < domains; first += 10_000 {
			batch := &reporter.Batch{Writer: "w", Number: int64(first + 1)}
			for i := first; i < min(first+10_000, domains); i++ {
				batch.Sums = append(batch.Sums, reporter.DomainSums{Day: day, Domain: fmt.Sprintf("d%d.example", i), Results: results})
			}
			if err := s.Reports().Add(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
		// On a large day, nearly all sums have left the journal.
		mergeJournal(b, s.Reports())
		ctx, cancel := context.WithCancel(b.Context())
		var sent atomic.Int64
		runtime.GC()
		before := heapInUse()
		r, err := reporter.New(reporter.Config{
			Store: s.Reports(), Organization: "Sender", Contact: "tls@sender.example", Resolver: records{},
			Interval: 1, EndpointInterval: 1, Now: func() time.Time { return (day + 1).Start().Add(5 * time.Hour) },
			Signer: reporter.SignerFunc(func(_ context.Context, message []byte, _ []string) ([]byte, error) {
				return slices.Concat(signature, message), nil
			}),
			Mailer: reporter.MailerFunc(func(context.Context, string, []string, []byte) error {
				n := sent.Add(1)
				if n%500 == 0 {
					more := heapInUse() - before
					for old := most.Load(); more > old && !most.CompareAndSwap(old, more); old = most.Load() {
					}
				}
				if n == int64(domains) {
					cancel()
				}
				return nil
			}),
		})
		if err != nil {
			b.Fatal(err)
		}
		used -= cputime.Used(b)
		b.StartTimer()
		r.Run(ctx)
		b.StopTimer()
		used += cputime.Used(b)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(domains), "µs/report")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N)/float64(domains), "cpu-µs/report")
	b.ReportMetric(float64(most.Load())/(1<<20), "MB-heap")
}

// heapInUse returns the octets of the heap in use, with garbage.
func heapInUse() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapInuse)
}

// signature precedes the messages. It is not one, because that would cost more than the report.
var signature = []byte("DKIM-Signature: d=sender.example; h=from:tls-report-domain:tls-report-submitter\r\n")

// records has a TLSRPT record for each domain.
type records struct{}

func (records) LookupTXT(_ context.Context, name string) ([]string, error) {
	return []string{"v=TLSRPTv1; rua=mailto:tls@" + name[len("_smtp._tls."):len(name)-1]}, nil
}

func (records) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{IsNotFound: true}
}
