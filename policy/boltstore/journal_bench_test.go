package boltstore

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/policy/storetest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// octetsWritten returns how many octets the transactions of a store have written so far,
// and how many syncs they needed: each writes its pages and then a meta page.
func octetsWritten(t testing.TB, s *Store) (octets, syncs int64) {
	t.Helper()
	var transactions int64
	if err := s.db.View(func(tx *bolt.Tx) error { transactions = int64(tx.ID()); return nil }); err != nil {
		t.Fatal(err)
	}
	stats := s.db.Stats().TxStats
	return stats.GetPageAlloc() + transactions*int64(s.db.Info().PageSize), 2 * transactions
}

// traffic records sessions with random domains of a number of them, half of which fail,
// and flushes after each half second.
type traffic struct {
	recorder *reporter.Aggregator
	domains  int
	random   *rand.Rand
}

func newTraffic(t testing.TB, s *Store, domains int) *traffic {
	t.Helper()
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: s.Reports()})
	if err != nil {
		t.Fatal(err)
	}
	tr := &traffic{recorder: recorder, domains: domains, random: rand.New(rand.NewPCG(1, 2))}
	for i := range domains { // all have sums already
		recorder.Record(failing(i, 0))
		recorder.Record(succeeding(i))
		if i%5000 == 4999 {
			tr.flush(t)
		}
	}
	tr.flush(t)
	return tr
}

// succeeding returns a successful session with domain number i.
func succeeding(i int) *tlsrpt.Session {
	s := failing(i, 0)
	s.Outcomes[0].Failures = nil
	return s
}

func (tr *traffic) flush(t testing.TB) {
	t.Helper()
	if err := tr.recorder.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// half records the sessions of half a second.
func (tr *traffic) half(t testing.TB, perSecond int) {
	t.Helper()
	for j := range perSecond / 2 {
		if i := tr.random.IntN(tr.domains); j%2 == 0 {
			tr.recorder.Record(failing(i, 0))
		} else {
			tr.recorder.Record(succeeding(i))
		}
	}
	tr.flush(t)
}

// BenchmarkReportsWritten measures what is written for each session, at 100 sessions per
// second over 100,000 domains, all of which have sums. One operation is eleven minutes,
// in which the journal is full twice.
func BenchmarkReportsWritten(b *testing.B) {
	const domains, perSecond, halves = 100_000, 100, 1310
	s := open(b, tempFile(b), Config{})
	tr := newTraffic(b, s, domains)
	mergeJournal(b, s.Reports())
	info, err := os.Stat(s.path)
	if err != nil {
		b.Fatal(err)
	}
	before, syncsBefore := octetsWritten(b, s)
	flushes := int64(0)
	for b.Loop() {
		for range halves {
			tr.half(b, perSecond)
			flushes++
		}
	}
	after, syncs := octetsWritten(b, s)
	b.ReportMetric(float64(after-before)/1024/float64(flushes*perSecond/2), "KiB/session")
	b.ReportMetric(float64(syncs-syncsBefore)/float64(flushes), "syncs/flush")
	b.ReportMetric(float64(info.Size())/domains, "octets/domain")
}

// atLimits returns the sums of a domain at its limits: 256 policies with a thousand details,
// with names as long as hosts choose them.
func atLimits(domain string) []report.PolicyResult {
	var results []report.PolicyResult
	for i := range maxPolicies {
		r := report.PolicyResult{
			Policy:  tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx." + domain, Strings: []string{fmt.Sprintf("3 1 1 %064x", i)}},
			Summary: report.Summary{Failures: 4},
		}
		for j := range 4 {
			r.Details = append(r.Details, report.Detail{
				Type: tlsrpt.CertificateNotTrusted, ReasonCode: "unknown-authority", Sessions: 1,
				MXHost: "mx." + domain, HELO: fmt.Sprintf("%0200d.example", 4*i+j), ReceivingIP: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}),
			})
		}
		results = append(results, r)
	}
	return results
}

// BenchmarkReportsAddAtLimits adds the sums of domains at their limits: all sums of one
// domain at once, and one more failure of each of a thousand domains.
func BenchmarkReportsAddAtLimits(b *testing.B) {
	const domains = 1000
	s := open(b, tempFile(b), Config{})
	r := s.Reports()
	number := int64(0)
	add := func(b *testing.B, sums ...reporter.DomainSums) {
		number++
		if err := r.Add(b.Context(), &reporter.Batch{Writer: "w", Number: number, Sums: sums}); err != nil {
			b.Fatal(err)
		}
	}
	var more []reporter.DomainSums
	for i := range domains {
		domain := fmt.Sprintf("d%06d.example", i)
		full := atLimits(domain)
		add(b, reporter.DomainSums{Day: storetest.Day(), Domain: domain, Results: full})
		another := full[:1:1]
		another[0].Summary.Failures, another[0].Details = 1, another[0].Details[:1]
		more = append(more, reporter.DomainSums{Day: storetest.Day(), Domain: domain, Results: another})
	}
	full := reporter.DomainSums{Day: storetest.Day(), Domain: "d000000.example", Results: atLimits("d000000.example")}
	b.Run("OneDomain", func(b *testing.B) {
		for b.Loop() {
			add(b, full)
		}
	})
	b.Run("Thousand", func(b *testing.B) {
		for b.Loop() {
			add(b, more...)
		}
	})
}
