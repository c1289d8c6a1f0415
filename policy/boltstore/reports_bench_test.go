package boltstore

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/internal/test/heapsize"
	"github.com/mxseal/mxseal/policy/storetest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// failing returns a failed session with domain number i, in one of five ways.
func failing(i, way int) *tlsrpt.Session {
	domain := fmt.Sprintf("d%06d.example", i)
	return &tlsrpt.Session{
		Domain: domain, Time: storetest.Day().Start(), MXHost: "mx." + domain, HELO: "mx." + domain,
		SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.AddrFrom4([4]byte{198, 51, 100, byte(way)}),
		Outcomes: []tlsrpt.Outcome{{
			Policy: tlsrpt.Policy{
				Type: tlsrpt.STS, Domain: domain, MXHosts: []string{"*." + domain},
				Strings: []string{"version: STSv1", "mode: enforce", "mx: *." + domain, "max_age: 604800"},
			},
			Failures: []tlsrpt.Failure{{Type: tlsrpt.CertificateNotTrusted, ReasonCode: "unknown-authority"}},
		}},
	}
}

// BenchmarkReportsDay builds and compresses the reports of one day from the
// file, for 100,000 domains with five failure details each. MB-live is the
// maximum of heap memory in use, without that used before. The file is
// memory-mapped and not included.
func BenchmarkReportsDay(b *testing.B) {
	const domains, ways = 100_000, 5
	s := open(b, tempFile(b), Config{})
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: s.Reports()})
	if err != nil {
		b.Fatal(err)
	}
	for i := range domains {
		for way := range ways {
			recorder.Record(failing(i, way))
		}
		if i%10_000 == 9_999 {
			if err := recorder.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := recorder.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	sender, err := reporter.New(reporter.Config{
		Store: s.Reports(), Organization: "Sender", Contact: "tls-reports@sender.example",
	})
	if err != nil {
		b.Fatal(err)
	}
	before := heapsize.Used()
	most := before
	b.ResetTimer()
	for range b.N {
		built := 0
		for domain, err := range s.Reports().Domains(b.Context(), storetest.Day()) {
			if err != nil {
				b.Fatal(err)
			}
			rep, err := sender.Preview(b.Context(), domain, storetest.Day())
			if err != nil || len(rep.Policies[0].Details) != ways {
				b.Fatal(rep, err)
			}
			if built++; built%1000 == 0 {
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				most = max(most, int64(now.HeapAlloc))
			}
		}
		if built != domains {
			b.Fatal(built)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/day")
	b.ReportMetric(float64(most-before)/(1<<20), "MB-live")
}

// BenchmarkReportsAdd adds one failure for each of a thousand domains to
// existing sums. It is compared with a transaction that writes one record of
// the same size, which also waits for the disk.
func BenchmarkReportsAdd(b *testing.B) {
	const domains = 1000
	s := open(b, tempFile(b), Config{})
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: s.Reports()})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Transaction", func(b *testing.B) {
		record := []byte(strings.Repeat("x", domains*600))
		for b.Loop() {
			err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(meta).Put([]byte("benchmark"), record) })
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Flush", func(b *testing.B) {
		for b.Loop() {
			for i := range domains {
				recorder.Record(failing(i, 0))
			}
			if err := recorder.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
