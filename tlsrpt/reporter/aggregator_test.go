package reporter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/heapsize"
	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// day is the start of the UTC day of these tests.
var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

var (
	stsPolicy = tlsrpt.Policy{
		Type: tlsrpt.STS, Domain: "example.com",
		Strings: []string{"version: STSv1", "mode: enforce", "mx: *.example.com", "max_age: 86400"},
		MXHosts: []string{"*.example.com"},
	}
	danePolicy = tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx.example.com", Strings: []string{"3 1 1 1f850a"}}
	noPolicy   = tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}

	noSTARTTLS = tlsrpt.Failure{Type: tlsrpt.STARTTLSNotSupported}
	selfSigned = tlsrpt.Failure{Type: tlsrpt.CertificateNotTrusted, ReasonCode: "self-signed"}

	// today is the Day of the tests.
	today = report.DayOf(day)
)

// session returns a session with mx.example.com at noon of day.
func session(outcomes ...tlsrpt.Outcome) *tlsrpt.Session {
	return &tlsrpt.Session{
		Domain: "example.com", Time: day.Add(12 * time.Hour), MXHost: "mx.example.com", HELO: "mx.example.com",
		SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.MustParseAddr("2001:db8::1"),
		Outcomes: outcomes,
	}
}

func met(p tlsrpt.Policy) tlsrpt.Outcome { return tlsrpt.Outcome{Policy: p} }
func missed(p tlsrpt.Policy, failures ...tlsrpt.Failure) tlsrpt.Outcome {
	return tlsrpt.Outcome{Policy: p, Failures: failures}
}

// detail returns the report detail of a failure of such a session.
func detail(f tlsrpt.Failure, sessions int64) report.Detail {
	if !f.Type.AboutHost() {
		return report.Detail{Type: f.Type, ReasonCode: f.ReasonCode, Sessions: sessions}
	}
	s := session()
	return report.Detail{
		Type: f.Type, ReasonCode: f.ReasonCode, SendingIP: s.SendingIP, ReceivingIP: s.ReceivingIP,
		MXHost: s.MXHost, HELO: s.HELO, Sessions: sessions,
	}
}

// sums flushes a and returns the stored sums.
func sums(t *testing.T, a *reporter.Aggregator, store reporter.Store, day report.Day, domain string) []report.PolicyResult {
	t.Helper()
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	part, err := store.Sums(t.Context(), day, domain)
	if err != nil {
		t.Fatal(err)
	}
	return part.Sums
}

// check writes a report of the results and parses it.
func check(t *testing.T, results []report.PolicyResult) {
	t.Helper()
	marshal(t, &report.Report{
		Organization: "Sender", Contact: "tls-reports@sender.example", ID: "1", Policies: results,
		Dates: report.DateRange{Start: day, End: day.Add(24*time.Hour - time.Second)},
	})
}

func marshal(t testing.TB, r *report.Report) []byte {
	t.Helper()
	text, err := reporttest.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newAggregator(t testing.TB, config reporter.AggregatorConfig) *reporter.Aggregator {
	t.Helper()
	a, err := reporter.NewAggregator(config)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// M14: NewAggregator returns an error without a Store, instead of a panic at
// the first flush.
func TestM14AggregatorNeedsStore(t *testing.T) {
	t.Parallel()
	if a, err := reporter.NewAggregator(reporter.AggregatorConfig{}); err == nil || a != nil || !strings.Contains(err.Error(), "Store") {
		t.Errorf("%v, error %v", a, err)
	}
}

func TestAggregatorSumsByPolicy(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	for range 2 { // the first time is new, the second is known
		a.Record(session(met(stsPolicy), met(danePolicy)))                // RPT-24, RPT-50, AMB-6
		a.Record(session(met(stsPolicy), missed(danePolicy, selfSigned))) // field note 59
		a.Record(session(missed(stsPolicy, selfSigned, noSTARTTLS)))      // RPT-25, RPT-26
	}
	a.Record(session(missed(stsPolicy, noSTARTTLS, noSTARTTLS))) // counted once
	a.Record(session(met(noPolicy)))                             // RPT-51
	a.Record(session())

	want := []report.PolicyResult{
		{Policy: noPolicy, Summary: report.Summary{Successes: 1}},
		{Policy: stsPolicy, Summary: report.Summary{Successes: 4, Failures: 3}, Details: []report.Detail{
			detail(noSTARTTLS, 3), detail(selfSigned, 2),
		}},
		{Policy: danePolicy, Summary: report.Summary{Successes: 2, Failures: 2}, Details: []report.Detail{detail(selfSigned, 2)}},
	}
	got := sums(t, a, &store, today, "example.com")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	check(t, got)

	// A second flush adds nothing. Later sessions are added.
	a.Record(session(met(noPolicy)))
	want[0].Summary.Successes++
	if got := sums(t, a, &store, today, "example.com"); !reflect.DeepEqual(got, want) {
		t.Errorf("later, got\n%+v\nwant\n%+v", got, want)
	}
}

// Field note 60: an unusable policy is reported with its text, including its
// errors (RPT-49, RPT-62), and counts as a failed session (RPT-30).
func TestBrokenPolicyIsReportedWithItsText(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	broken := tlsrpt.Policy{Type: tlsrpt.STS, Domain: "example.com", Strings: []string{"version: STSv1", "mode: strict", "\x00\ufffd\xff", ""}}
	failure := tlsrpt.Failure{Type: tlsrpt.STSPolicyInvalid, ReasonCode: "policy-mode"}
	a.Record(session(missed(broken, failure)))
	broken.Strings = []string{"version: STSv1", "mode: strict", "\x00\ufffd\ufffd", ""} // as encoded in JSON
	want := []report.PolicyResult{{Policy: broken, Summary: report.Summary{Failures: 1}, Details: []report.Detail{detail(failure, 1)}}}
	got := sums(t, a, &store, today, "example.com")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	check(t, got)
}

// R16: the failure to get a policy is not that of the mail host that was tried next, and
// the same failure before several hosts is one detail.
func TestR16FetchFailuresNameNoHost(t *testing.T) {
	t.Parallel()
	for _, resultType := range []tlsrpt.ResultType{tlsrpt.STSPolicyFetchError, tlsrpt.STSPolicyInvalid, tlsrpt.STSWebPKIInvalid} {
		t.Run(string(resultType), func(t *testing.T) {
			t.Parallel()
			var store reporter.MemoryStore
			a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
			failure := tlsrpt.Failure{Type: resultType, ReasonCode: "x"}
			other := session(missed(stsPolicy, failure, selfSigned))
			other.MXHost, other.ReceivingIP = "mx2.example.com", netip.MustParseAddr("2001:db8::2")
			a.Record(session(missed(stsPolicy, failure)))
			a.Record(other)
			a.Record(session(missed(stsPolicy, failure)))
			results := sums(t, a, &store, today, "example.com")
			if len(results) != 1 || len(results[0].Details) != 2 {
				t.Fatalf("got %+v", results)
			}
			for _, d := range results[0].Details {
				if d.Type == resultType && d != (report.Detail{Type: resultType, ReasonCode: "x", Sessions: 3}) {
					t.Errorf("the failure is reported as %+v", d)
				}
				if d.Type != resultType && d.MXHost != "mx2.example.com" {
					t.Errorf("the failure of the host is reported as %+v", d)
				}
			}
		})
	}
}

// RPT-27, AMB-8: a session counts for the UTC day in which it ended.
func TestSessionCountsForDayOfItsEnd(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	now := day.Add(36 * time.Hour)
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store, Now: func() time.Time { return now }})
	for _, at := range []time.Time{
		day.Add(-time.Nanosecond),
		day.In(time.FixedZone("", -12*3600)), day.Add(24*time.Hour - time.Nanosecond),
		day.Add(24 * time.Hour), {}, // the zero time means now
	} {
		s := session(met(noPolicy))
		s.Time = at
		a.Record(s)
	}
	for d, want := range map[report.Day]int64{today - 1: 1, today: 2, today + 1: 2} {
		if got := sums(t, a, &store, d, "example.com"); len(got) != 1 || got[0].Summary.Successes != want {
			t.Errorf("%v: %+v, want %d", d, got, want)
		}
	}
}

func TestDayIsOfUTC(t *testing.T) {
	t.Parallel()
	if today.String() != "2026-03-01" || !today.Start().Equal(day) || !today.End().Equal(day.Add(24*time.Hour-time.Second)) {
		t.Errorf("%v is from %v to %v", today, today.Start(), today.End())
	}
	if d := report.DayOf(time.Unix(-1, 0)); d != -1 || d.String() != "1969-12-31" {
		t.Errorf("the second before 1970 is in %v", d)
	}
}

// RPT-17, RPT-83: sessions that deliver reports are not counted.
func TestReportMailIsNotCounted(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	s := session(met(stsPolicy))
	s.CarriesReport = true
	a.Record(s)
	if got := sums(t, a, &store, today, "example.com"); got != nil {
		t.Errorf("counted: %+v", got)
	}
}

// RPT-37, RPT-38, RPT-41, RPT-64, RPT-82: values from peers and callers are
// converted to the form of a report, and are counted together with values that
// already have it.
func TestValuesAreCountedInCanonicalForm(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	s := session(tlsrpt.Outcome{
		Policy: tlsrpt.Policy{
			Type: tlsrpt.STS, Domain: "GRÜN.example.", Strings: stsPolicy.Strings,
			MXHosts: []string{"*.Grün.example", "bad pattern", "MX.example.com"},
		},
		Failures: []tlsrpt.Failure{{Type: "weather", ReasonCode: "rain\r\n"}},
	}, tlsrpt.Outcome{
		Policy: tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "no domain", MXHosts: []string{"x"}},
	}, tlsrpt.Outcome{
		Policy: tlsrpt.Policy{Type: "other", Domain: "example.com", Strings: []string{"x"}},
	})
	s.Domain = "Grün.EXAMPLE"
	s.MXHost, s.HELO = "MX.Example.COM.", strings.Repeat("é\n", 300)
	s.SendingIP, s.ReceivingIP = netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("fe80::1%eth0")
	want := []report.PolicyResult{
		{Policy: noPolicy, Summary: report.Summary{Successes: 2}},
		{
			Policy: tlsrpt.Policy{
				Type: tlsrpt.STS, Domain: "xn--grn-ioa.example", Strings: stsPolicy.Strings,
				MXHosts: []string{"*.xn--grn-ioa.example", "mx.example.com"},
			},
			Summary: report.Summary{Failures: 2},
			Details: []report.Detail{{
				Type: tlsrpt.ValidationFailure, ReasonCode: "rain??", Sessions: 2,
				SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.MustParseAddr("fe80::1"),
				MXHost: "mx.example.com", HELO: strings.Repeat("?", 255),
			}},
		},
		{Policy: tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "xn--grn-ioa.example"}, Summary: report.Summary{Successes: 2}},
	}
	a.Record(s)
	a.Record(s)
	got := sums(t, a, &store, today, "xn--grn-ioa.example")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	check(t, got)

	s.Domain = "not a domain"
	a.Record(s) // is ignored
}

// DNS returns the records of a set in any order. All orders are one policy.
func TestOrderOfRecordsDoesNotMatter(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	policy := tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx.example.com", Strings: []string{"2 1 1 00", "3 1 1 00"}}
	turned := policy
	turned.Strings = []string{"3 1 1 00", "2 1 1 00"}
	a.Record(session(met(turned)))
	a.Record(session(met(policy)))
	want := []report.PolicyResult{{Policy: policy, Summary: report.Summary{Successes: 2}}}
	if got := sums(t, a, &store, today, "example.com"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if turned.Strings[0] != "3 1 1 00" {
		t.Error("the caller's slice was written to")
	}
}

// The caller can modify its slices after Record without an effect on the sums.
func TestAggregatorKeepsNoSliceOfCaller(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	policy := danePolicy
	policy.Strings = []string{danePolicy.Strings[0]}
	a.Record(session(met(policy)))
	policy.Strings[0] = "3 1 1 00"
	if got := sums(t, a, &store, today, "example.com"); !reflect.DeepEqual(got[0].Policy, danePolicy) {
		t.Errorf("got %+v", got)
	}
}

// RPT-82, field note 61: peers can create many distinct failures and policies.
// Their number is limited, also over several flushes, and the totals remain
// correct.
func TestFailuresAndPoliciesAreBounded(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	const n = 3000
	for i := range n {
		s := session(missed(stsPolicy, selfSigned))
		s.HELO = fmt.Sprintf("mx%d.example.com", i)
		a.Record(s)
		a.Record(session(met(tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx.example.com", Strings: []string{fmt.Sprintf("3 1 1 %06x", i)}})))
		if i%1000 == 500 {
			if err := a.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	results := sums(t, a, &store, today, "example.com")
	check(t, results)
	var dane int64
	for _, r := range results {
		if r.Policy.Type == tlsrpt.TLSA {
			dane += r.Summary.Successes
			continue
		}
		var details int64
		for _, d := range r.Details {
			details += d.Sessions
		}
		if r.Summary.Failures != n || details != n || len(r.Details) > 1011 {
			t.Errorf("%d failures, %d in %d details", r.Summary.Failures, details, len(r.Details))
		}
		if d := r.Details[0]; d != (report.Detail{Type: selfSigned.Type, ReasonCode: reporter.DetailsOmitted, Sessions: d.Sessions}) || d.Sessions < n-1000 {
			t.Errorf("first detail is %+v", d)
		}
	}
	if dane != n || len(results) > 256+3 {
		t.Errorf("%d sessions under %d policies", dane, len(results))
	}
}

// The text of a policy is limited.
func TestPolicyTextIsBounded(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	policy := stsPolicy
	policy.Strings = []string{"version: STSv1", strings.Repeat("x", 64<<10)}
	a.Record(session(met(policy)))
	if got := sums(t, a, &store, today, "example.com"); !reflect.DeepEqual(got[0].Policy.Strings, policy.Strings[:1]) {
		t.Errorf("kept %d lines", len(got[0].Policy.Strings))
	}
}

// failingStore returns errors while it is set to fail.
type failingStore struct {
	reporter.MemoryStore
	err atomic.Pointer[error]
}

func (f *failingStore) Add(ctx context.Context, b *reporter.Batch) error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return f.MemoryStore.Add(ctx, b)
}

// Sums that the store does not accept are not lost and not counted twice.
func TestRefusedSumsAreNotLost(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk full")
	store := new(failingStore)
	store.err.Store(&broken)
	a := newAggregator(t, reporter.AggregatorConfig{Store: store})
	a.Record(session(missed(stsPolicy, selfSigned)))
	if err := a.Flush(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("the error is %v", err)
	}
	a.Record(session(missed(stsPolicy, selfSigned)))
	store.err.Store(nil)
	want := []report.PolicyResult{{Policy: stsPolicy, Summary: report.Summary{Failures: 2}, Details: []report.Detail{detail(selfSigned, 2)}}}
	if got := sums(t, a, store, today, "example.com"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if a.Dropped() != 0 {
		t.Errorf("%d dropped", a.Dropped())
	}
}

func TestRunStoresSumsEachSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		broken := errors.New("disk full")
		store := new(failingStore)
		store.err.Store(&broken)
		a := newAggregator(t, reporter.AggregatorConfig{Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		a.Record(session(met(noPolicy)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if strings.Count(log.String(), "disk full") != 1 {
			t.Errorf("the log says %q", log.String())
		}
		store.err.Store(nil)
		a.Record(session(met(noPolicy)))
		time.Sleep(time.Second)
		synctest.Wait()
		if got, _ := store.Sums(ctx, today, "example.com"); len(got.Sums) != 1 || got.Sums[0].Summary.Successes != 2 {
			t.Errorf("a second later: %+v", got)
		}
		if !strings.Contains(log.String(), "accepts sums again") {
			t.Errorf("the log says %q", log.String())
		}
		a.Record(session(met(noPolicy)))
		cancel() // the last sums are stored before Run returns
		<-done
		if got, _ := store.Sums(t.Context(), today, "example.com"); got.Sums[0].Summary.Successes != 3 {
			t.Errorf("at the end: %+v", got)
		}
	})
}

// Sums are stored even if ctx is done before Run begins, or while it stores
// other sums.
func TestRunStoresSumsAtItsEnd(t *testing.T) {
	t.Parallel()
	t.Run("before the beginning", func(t *testing.T) {
		t.Parallel()
		var store reporter.MemoryStore
		a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
		a.Record(session(met(noPolicy)))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a.Run(ctx)
		wantSuccesses(t, &store, 1)
	})
	t.Run("during a flush", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			store := new(slowStore)
			a := newAggregator(t, reporter.AggregatorConfig{Store: store})
			store.adding = func() {
				a.Record(session(met(noPolicy)))
				cancel()
			}
			a.Record(session(met(noPolicy)))
			a.Run(ctx)
			wantSuccesses(t, store, 2)
		})
	})
}

// slowStore calls a function during the first Add.
type slowStore struct {
	reporter.MemoryStore
	adding func()
}

func (s *slowStore) Add(ctx context.Context, b *reporter.Batch) error {
	if adding := s.adding; adding != nil {
		s.adding = nil
		adding()
	}
	return s.MemoryStore.Add(ctx, b)
}

func wantSuccesses(t *testing.T, store reporter.Store, want int64) {
	t.Helper()
	part, err := store.Sums(t.Context(), today, "example.com")
	if err != nil || len(part.Sums) != 1 || part.Sums[0].Summary.Successes != want {
		t.Errorf("%+v, %v; want %d", part, err, want)
	}
}

// No session is lost or counted twice between Record and Flush.
func TestConcurrentRecordsAreCountedOnce(t *testing.T) {
	t.Parallel()
	var store reporter.MemoryStore
	a := newAggregator(t, reporter.AggregatorConfig{Store: &store})
	const goroutines, each = 8, 500
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			for i := range each {
				a.Record(session(met(danePolicy), missed(stsPolicy, selfSigned)))
				if i%100 == 0 {
					if err := a.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	got := sums(t, a, &store, today, "example.com")
	want := []report.PolicyResult{
		{Policy: stsPolicy, Summary: report.Summary{Failures: goroutines * each}, Details: []report.Detail{detail(selfSigned, goroutines*each)}},
		{Policy: danePolicy, Summary: report.Summary{Successes: goroutines * each}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	a := newAggregator(t, reporter.AggregatorConfig{Store: new(reporter.MemoryStore)})
	s := session(met(danePolicy), missed(stsPolicy, selfSigned, noSTARTTLS))
	if n := testing.AllocsPerRun(100, func() { a.Record(s) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// R6: while the Store accepts nothing, what waits for it is limited in octets: with a
// wildcard of domains that all have a long policy, texts are dropped first and totals last.
// Domains that were counted before are counted further, and nothing is lost silently.
func TestR6WaitingSumsAreBounded(t *testing.T) {
	const limit, sessions = 8 << 20, 20_000
	broken := errors.New("away")
	store := new(failingStore)
	store.err.Store(&broken)
	a := newAggregator(t, reporter.AggregatorConfig{Store: store, MaxOctets: limit})
	record := func(domain string, i int) {
		policy := stsPolicy
		policy.Strings = append([]string{fmt.Sprintf("version: STSv1 %d", i)}, strings.Repeat("x", 15<<10))
		s := session(missed(policy, selfSigned))
		s.Domain, s.HELO = domain, fmt.Sprintf("%d.%s", i, domain)
		a.Record(s)
	}
	good := session(missed(stsPolicy, selfSigned))
	a.Record(good)
	before := heapsize.Used()
	for i := range sessions {
		record(fmt.Sprintf("d%d.evil.example", i), i)
		if i%5000 == 0 {
			if err := a.Flush(t.Context()); !errors.Is(err, broken) {
				t.Fatal(err)
			}
		}
		a.Record(good)
	}
	if used := heapsize.Used() - before; used > limit*3/2 {
		t.Errorf("%d octets are in use", used)
	}
	dropped := a.Dropped()
	if dropped == 0 || dropped > sessions*9/10 {
		t.Errorf("%d of %d sessions are dropped", dropped, sessions)
	}
	store.err.Store(nil)
	for range 2 { // the second forgets what was not counted since the first
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	counted := int64(0)
	for domain, err := range store.Domains(t.Context(), today) {
		if err != nil {
			t.Fatal(err)
		}
		part, err := store.Sums(t.Context(), today, domain)
		if err != nil {
			t.Fatal(err)
		}
		for _, result := range part.Sums {
			if domain != "example.com" {
				counted += result.Summary.Failures
			} else if result.Summary.Failures != sessions+1 || len(result.Policy.Strings) == 0 || len(result.Details) != 1 {
				t.Errorf("the sums of the other domain are %+v", result)
			}
		}
	}
	if counted+dropped != sessions {
		t.Errorf("%d sessions are counted, %d dropped, of %d", counted, dropped, sessions)
	}
	record("late.example", 0)
	if got := sums(t, a, store, today, "late.example"); len(got) != 1 || len(got[0].Policy.Strings) != 2 {
		t.Errorf("after the Store is back: %+v", got)
	}
}
