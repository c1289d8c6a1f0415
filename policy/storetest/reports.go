package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// Day returns the day that [Reports] uses: the day on which the tests began, because
// stores may drop sums of the distant past.
var Day = sync.OnceValue(func() report.Day { return report.DayOf(time.Now()) })

// Reports tests a store of report sums. The package comment describes open, and
// [reporter.Store] the requirements.
func Reports(t *testing.T, open func(t *testing.T, name string) reporter.Store) {
	t.Helper()
	for i, tt := range []struct {
		name string
		test func(t *testing.T, s *sumStore)
	}{
		{"adds up", addsUp},
		{"adds a batch once", addsOnce},
		{"keeps all fields", keeps},
		{"seals", seals},
		{"numbers parts", numbersParts},
		{"keeps days apart", keepsDaysApart},
		{"forgets old days", forgets},
		{"yields domains that are deleted meanwhile", yieldsWhileDeleting},
		{"bounds a domain", bounds},
		{"bounds a domain in octets", boundsOctets},
		{"forgets late", forgetsLate},
		{"adds concurrently", addsConcurrently},
		{"seals under additions", sealsUnderAdditions},
		{"obeys the context", sumsObeyContext},
		{"leases to one at a time", leasesReports},
		{"has an ID", hasID},
	} {
		t.Run(tt.name, func(t *testing.T) {
			again := func() reporter.Store { return open(t, fmt.Sprintf("reports%d", i)) }
			other := func() reporter.Store { return open(t, fmt.Sprintf("others%d", i)) }
			tt.test(t, &sumStore{t: t, Store: again(), again: again, other: other, writer: newWriter("w")})
		})
	}
}

var (
	noPolicy = tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}
	sts      = tlsrpt.Policy{
		Type: tlsrpt.STS, Domain: "example.com",
		Strings: []string{"version: STSv1", "mode: enforce", "mx: *.example.com", "max_age: 1", "\"\\<&>\x00\u2028\ufffd é", ""},
		MXHosts: []string{"*.example.com", "mx.example.net"},
	}
	dane = tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx.example.com", Strings: []string{"2 0 1 aa", "3 1 1 1f85"}}

	selfSigned = report.Detail{
		Type: tlsrpt.CertificateNotTrusted, ReasonCode: "self-signed",
		SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.MustParseAddr("2001:db8::1"),
		MXHost: "mx.example.com", HELO: "\"mx\\<", Info: "https://example.com/?a=b&c",
	}
	noSTARTTLS = report.Detail{Type: tlsrpt.STARTTLSNotSupported}
)

func newWriter(name string) string { return fmt.Sprintf("%s-%d", name, time.Now().UnixNano()) }

// result returns the results of a policy: successes, and the failures in details.
func result(p tlsrpt.Policy, successes int64, details ...report.Detail) report.PolicyResult {
	r := report.PolicyResult{Policy: p, Summary: report.Summary{Successes: successes}}
	for _, d := range details {
		r.Summary.Failures += d.Sessions
		r.Details = append(r.Details, d)
	}
	return r
}

func times(n int64, d report.Detail) report.Detail {
	d.Sessions = n
	return d
}

// sumStore is a Store whose errors end the test.
type sumStore struct {
	reporter.Store
	t      *testing.T
	again  func() reporter.Store // opens another Store on the same data
	other  func() reporter.Store // opens a Store on other data
	writer string
	number int64
}

// add adds results to the sums of a domain and day.
func (s *sumStore) add(day report.Day, domain string, results ...report.PolicyResult) *reporter.Batch {
	s.t.Helper()
	s.number++
	b := &reporter.Batch{Writer: s.writer, Number: s.number, Sums: []reporter.DomainSums{{Day: day, Domain: domain, Results: results}}}
	s.addBatch(b)
	return b
}

func (s *sumStore) addBatch(b *reporter.Batch) {
	s.t.Helper()
	if err := s.Add(s.t.Context(), b); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sumStore) sums(day report.Day, domain string) reporter.Part {
	s.t.Helper()
	part, err := s.Sums(s.t.Context(), day, domain)
	if err != nil {
		s.t.Fatal(err)
	}
	return inOrder(part)
}

// seal seals a part and returns it.
func (s *sumStore) seal(day report.Day, domain string) reporter.Part {
	s.t.Helper()
	number, err := s.Seal(s.t.Context(), day, domain)
	if err != nil {
		s.t.Fatal(err)
	}
	if number == 0 {
		return reporter.Part{}
	}
	part := s.sums(day, domain)
	if part.Number != number {
		s.t.Errorf("part %d after part %d was sealed", part.Number, number)
	}
	return part
}

// inOrder returns the sums in the order of a report.
func inOrder(p reporter.Part) reporter.Part {
	p.Sums = reporter.MergeResults("example.com", nil, p.Sums)
	return p
}

func (s *sumStore) delete(day report.Day, domain string, number int) {
	s.t.Helper()
	if err := s.Delete(s.t.Context(), day, domain, number); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sumStore) domains(day report.Day) []string {
	s.t.Helper()
	var list []string
	for domain, err := range s.Domains(s.t.Context(), day) {
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, domain)
	}
	slices.Sort(list)
	return list
}

func (s *sumStore) want(what string, got reporter.Part, number int, sums ...report.PolicyResult) {
	s.t.Helper()
	if want := (reporter.Part{Number: number, Sums: sums}); !reflect.DeepEqual(got, want) {
		s.t.Errorf("%s: got\n%+v\nwant\n%+v", what, got, want)
	}
}

func addsUp(t *testing.T, s *sumStore) {
	s.want("nothing", s.sums(Day(), "example.com"), 0)
	added := []report.PolicyResult{result(dane, 1), result(sts, 2, times(3, selfSigned), times(1, noSTARTTLS))}
	b := s.add(Day(), "example.com", added...)
	s.add(Day(), "example.com", result(sts, 0, times(2, noSTARTTLS)), result(noPolicy, 5))
	s.add(Day(), "example.net", result(noPolicy, 1))
	s.want("all", s.sums(Day(), "example.com"), 1,
		result(noPolicy, 5), result(sts, 2, times(3, selfSigned), times(3, noSTARTTLS)), result(dane, 1))
	if !reflect.DeepEqual(b.Sums[0].Results, []report.PolicyResult{result(dane, 1), result(sts, 2, times(3, selfSigned), times(1, noSTARTTLS))}) {
		t.Error("the store changed its argument")
	}
	if got := s.domains(Day()); !slices.Equal(got, []string{"example.com", "example.net"}) {
		t.Errorf("domains %q", got)
	}
}

// A batch may be added again, because the answer was lost.
func addsOnce(t *testing.T, s *sumStore) {
	first := s.add(Day(), "example.com", result(noPolicy, 1))
	second := s.add(Day(), "example.com", result(noPolicy, 10))
	for _, b := range []*reporter.Batch{second, first, second} {
		s.addBatch(b)
	}
	other := &reporter.Batch{Writer: newWriter("other"), Number: 1, Sums: first.Sums}
	s.addBatch(other)
	s.addBatch(other)
	s.want("two writers", s.sums(Day(), "example.com"), 1, result(noPolicy, 12))
	s.seal(Day(), "example.com")
	s.delete(Day(), "example.com", 1)
	s.addBatch(second)
	s.want("again after the report", s.sums(Day(), "example.com"), 0)
}

func keeps(_ *testing.T, s *sumStore) {
	long := sts
	long.Strings = []string{string(make([]byte, 16000))}
	// The refresh failed in sessions that met the policy (RFC 8460 section 4.2.1).
	remembered := result(sts, 4)
	remembered.Policy.MXHosts = []string{"remembered.example.com"}
	remembered.Details = []report.Detail{times(4, report.Detail{Type: tlsrpt.STSPolicyFetchError, ReasonCode: "http-timeout"})}
	all := []report.PolicyResult{
		result(sts, 1<<40, times(1<<41, selfSigned), times(1, noSTARTTLS)),
		result(long, 1),
		remembered,
		result(dane, 0, times(1, report.Detail{Type: tlsrpt.TLSAInvalid, MXHost: "mx.example.com"})),
	}
	s.add(Day(), "example.com", all...)
	s.want("all", s.sums(Day(), "example.com"), 1, reporter.MergeResults("example.com", nil, all)...)
}

func seals(t *testing.T, s *sumStore) {
	s.want("nothing to seal", s.seal(Day(), "example.com"), 0)
	s.add(Day(), "example.com", result(noPolicy, 1))
	s.want("sealed", s.seal(Day(), "example.com"), 1, result(noPolicy, 1))
	s.add(Day(), "example.com", result(noPolicy, 10))
	s.want("later additions do not change it", s.seal(Day(), "example.com"), 1, result(noPolicy, 1))
	s.want("and Sums shows the same", s.sums(Day(), "example.com"), 1, result(noPolicy, 1))
	s.delete(Day(), "example.com", 1)
	s.want("what was added later is the next", s.sums(Day(), "example.com"), 2, result(noPolicy, 10))
	s.delete(Day(), "example.com", 1)
	s.delete(Day(), "example.com", 2)
	s.want("what is not sealed cannot be deleted", s.seal(Day(), "example.com"), 2, result(noPolicy, 10))
	if got := s.domains(Day()); !slices.Equal(got, []string{"example.com"}) {
		t.Errorf("domains %q", got)
	}
	s.delete(Day(), "example.com", 2)
	s.want("nothing left", s.seal(Day(), "example.com"), 0)
	if got := s.domains(Day()); len(got) > 0 {
		t.Errorf("domains %q", got)
	}
}

// Numbers are not used twice, or a report would look like a repetition.
func numbersParts(_ *testing.T, s *sumStore) {
	for number := 1; number < 12; number++ {
		s.add(Day(), "example.com", result(noPolicy, int64(number)))
		s.want("sealed", s.seal(Day(), "example.com"), number, result(noPolicy, int64(number)))
		s.delete(Day(), "example.com", number)
	}
}

func keepsDaysApart(t *testing.T, s *sumStore) {
	s.add(Day(), "example.com", result(noPolicy, 1))
	s.add(Day()-1, "example.com", result(noPolicy, 2))
	s.add(Day()-1, "example.net", result(noPolicy, 3))
	s.want("yesterday", s.seal(Day()-1, "example.com"), 1, result(noPolicy, 2))
	s.delete(Day()-1, "example.com", 1)
	s.want("today", s.sums(Day(), "example.com"), 1, result(noPolicy, 1))
	if got := s.domains(Day() - 1); !slices.Equal(got, []string{"example.net"}) {
		t.Errorf("domains of yesterday %q", got)
	}
}

// A Reporter asks to delete what is older than seven days. A Store may refuse more than that.
func forgets(t *testing.T, s *sumStore) {
	for _, day := range []report.Day{Day() - 8, Day() - 7, Day()} {
		s.add(day, "example.com", result(noPolicy, 1))
	}
	s.seal(Day()-8, "example.com")
	s.seal(Day(), "example.com")
	for range 2 {
		if err := s.DeleteBefore(t.Context(), Day()-7); err != nil {
			t.Fatal(err)
		}
	}
	s.want("eight days ago", s.sums(Day()-8, "example.com"), 0)
	s.want("seven days ago", s.sums(Day()-7, "example.com"), 1, result(noPolicy, 1))
	s.want("today", s.seal(Day(), "example.com"), 1, result(noPolicy, 1))
	if got := s.domains(Day() - 8); len(got) > 0 {
		t.Errorf("domains of a day that was deleted %q", got)
	}
}

// R7: a clock that is ahead for one reading must not delete anything.
func forgetsLate(t *testing.T, s *sumStore) {
	s.add(Day()-8, "example.com", result(noPolicy, 1))
	for i, before := range []report.Day{Day() - 7, Day() - 8, Day() - 7, Day() - 9, Day() - 7, Day() - 7} {
		if err := s.DeleteBefore(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		if i < 5 {
			s.want(fmt.Sprintf("after call %d", i), s.sums(Day()-8, "example.com"), 1, result(noPolicy, 1))
		}
	}
	s.want("after two calls", s.sums(Day()-8, "example.com"), 0)
	s.add(Day()-8, "example.com", result(noPolicy, 1))
	s.want("added again", s.sums(Day()-8, "example.com"), 1, result(noPolicy, 1))
}

// R5: the texts of a domain are limited in octets, and no session is lost.
func boundsOctets(t *testing.T, s *sumStore) {
	const batches, each, size = 4, 100, 15_000
	for i := range batches {
		var results []report.PolicyResult
		for j := range each {
			long := dane
			long.Strings = []string{fmt.Sprintf("3 1 1 %06x", i*each+j) + strings.Repeat("0", size)}
			results = append(results, result(long, 1, times(1, selfSigned)))
		}
		s.add(Day(), "example.com", results...)
	}
	var sessions, octets int64
	for _, r := range s.seal(Day(), "example.com").Sums {
		sessions += r.Summary.Successes + r.Summary.Failures
		for _, line := range r.Policy.Strings {
			octets += int64(len(line))
		}
	}
	if sessions != 2*batches*each || octets > 1<<20 || octets < size {
		t.Errorf("%d sessions, want %d; %d octets of text, want at most 1 MiB", sessions, 2*batches*each, octets)
	}
}

func yieldsWhileDeleting(t *testing.T, s *sumStore) {
	const n = 1500
	var b reporter.Batch
	b.Writer, b.Number = s.writer, 1
	for i := range n {
		b.Sums = append(b.Sums, reporter.DomainSums{Day: Day(), Domain: fmt.Sprintf("d%d.example", i), Results: []report.PolicyResult{result(noPolicy, 1)}})
	}
	s.addBatch(&b)
	seen := make(map[string]bool)
	for domain, err := range s.Domains(t.Context(), Day()) {
		if err != nil {
			t.Fatal(err)
		}
		seen[domain] = true
		if part := s.seal(Day(), domain); part.Number > 0 {
			s.delete(Day(), domain, part.Number)
		}
	}
	if left := s.domains(Day()); len(seen) != n || len(left) > 0 {
		t.Errorf("%d domains, %d left", len(seen), len(left))
	}
	s.add(Day(), "d1.example", result(noPolicy, 1))
	s.add(Day(), "d2.example", result(noPolicy, 1))
	for range s.Domains(t.Context(), Day()) {
		break // an iteration may end early
	}
}

// Peers choose some of the values that distinguish failures. So the size of the sums of
// a domain is limited, also over many additions, without losing sessions.
func bounds(t *testing.T, s *sumStore) {
	const batches, each = 8, 400
	const policyBatches, policies = 10, 60
	for i := range batches {
		r := result(sts, 1)
		for j := range each {
			d := selfSigned
			d.HELO = fmt.Sprintf("mx%d.example.com", i*each+j)
			r.Details = append(r.Details, times(1, d))
		}
		r.Summary.Failures = each
		tlsa := dane
		tlsa.Strings = []string{fmt.Sprintf("3 1 1 %04x", i)}
		s.add(Day(), "example.com", r, result(tlsa, 1))
	}
	for i := range policyBatches {
		var results []report.PolicyResult
		for j := range policies {
			tlsa := dane
			tlsa.Strings = []string{fmt.Sprintf("3 1 1 %08x", i*policies+j)}
			results = append(results, result(tlsa, 1))
		}
		s.add(Day(), "example.com", results...)
	}
	part := s.sums(Day(), "example.com")
	var failures, listed, successes, details int64
	for _, r := range part.Sums {
		failures += r.Summary.Failures
		successes += r.Summary.Successes
		details += int64(len(r.Details))
		for _, d := range r.Details {
			listed += d.Sessions
		}
	}
	if failures != batches*each || listed != failures || successes != 2*batches+policyBatches*policies {
		t.Errorf("%d failures, %d in details; %d successes", failures, listed, successes)
	}
	if details > 1100 || len(part.Sums) > 300 {
		t.Errorf("%d details, %d policies", details, len(part.Sums))
	}
}

func addsConcurrently(t *testing.T, s *sumStore) {
	const writers, each = 4, 25
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			writer := newWriter(fmt.Sprint(i))
			for n := range int64(each) {
				err := s.Add(t.Context(), &reporter.Batch{Writer: writer, Number: n + 1, Sums: []reporter.DomainSums{
					{Day: Day(), Domain: "example.com", Results: []report.PolicyResult{result(sts, 1, times(2, selfSigned))}},
					{Day: Day(), Domain: fmt.Sprintf("d%d.example", i), Results: []report.PolicyResult{result(noPolicy, 1)}},
				}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	s.want("all", s.sums(Day(), "example.com"), 1, result(sts, writers*each, times(2*writers*each, selfSigned)))
	if got := s.domains(Day()); len(got) != writers+1 {
		t.Errorf("domains %q", got)
	}
}

// Each session is in one part, whatever the order of calls.
func sealsUnderAdditions(t *testing.T, s *sumStore) {
	const each = 100
	done := make(chan struct{})
	go func() {
		defer close(done)
		writer := newWriter("adding")
		for n := range int64(each) {
			err := s.Add(t.Context(), &reporter.Batch{Writer: writer, Number: n + 1, Sums: []reporter.DomainSums{
				{Day: Day(), Domain: "example.com", Results: []report.PolicyResult{result(noPolicy, 1)}},
			}})
			if err != nil {
				t.Error(err)
			}
		}
	}()
	var successes int64
	last := 0
	report := func() {
		part := s.seal(Day(), "example.com")
		if part.Number == 0 {
			return
		}
		if part.Number != last+1 {
			t.Errorf("part %d after %d", part.Number, last)
		}
		last = part.Number
		successes += part.Sums[0].Summary.Successes
		s.delete(Day(), "example.com", part.Number)
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			report()
		}
	}
	report()
	if successes != each {
		t.Errorf("%d sessions in the parts, %d were added", successes, each)
	}
}

// A call whose context is done may be an error, but it never means that there is
// nothing.
func sumsObeyContext(t *testing.T, s *sumStore) {
	s.add(Day(), "example.com", result(noPolicy, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if part, err := s.Sums(ctx, Day(), "example.com"); err == nil && part.Number == 0 || err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Sums: %+v, %v", part, err)
	}
	if number, err := s.Seal(ctx, Day(), "example.com"); err == nil && number == 0 || err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Seal: %d, %v", number, err)
	}
	n := 0
	for _, err := range s.Domains(ctx, Day()) {
		if err == nil || errors.Is(err, context.Canceled) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("Domains: %d", n)
	}
}

// All callers get the same ID of a store, and no other store has it. A store that is not
// shared is not opened again, so its own tests have to do that.
func hasID(t *testing.T, s *sumStore) {
	if _, ok := s.Store.(reporter.Identifier); !ok {
		return // the operator has to choose Config.Instance
	}
	ids := make([]string, 8)
	read := func(store reporter.Store) string {
		id, err := store.(reporter.Identifier).ID(t.Context())
		if err != nil {
			t.Error(err)
		}
		return id
	}
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() { ids[i] = read(s.Store) })
	}
	all.Wait()
	ids = append(ids, read(s.Store))
	if _, shared := s.Store.(reporter.Leaser); shared {
		ids = append(ids, read(s.again()))
	}
	for _, id := range ids {
		if id != ids[0] || id == "" || len(id) > 32 || !names.IsAlphanumeric(id) {
			t.Errorf("the ID %q after %q", id, ids[0])
		}
	}
	if other := read(s.other()); other == ids[0] {
		t.Errorf("another store has the ID %q as well", other)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if id, err := s.other().(reporter.Identifier).ID(ctx); (err != nil) == (id != "") {
		t.Errorf("after the context has ended: ID %q, error %v", id, err)
	}
}

// A Store that is a Leaser leases a domain and day to one caller at a time, in this
// program and in others.
func leasesReports(t *testing.T, s *sumStore) {
	first, ok := s.Store.(reporter.Leaser)
	if !ok {
		return // it is not shared
	}
	second := s.again().(reporter.Leaser)
	lease := func(leaser reporter.Leaser, day report.Day, domain string, d time.Duration) (func(), bool) {
		release, ok, err := leaser.Lease(t.Context(), day, domain, d)
		if err != nil {
			t.Fatal(err)
		}
		return release, ok
	}
	release, ok := lease(first, Day(), "example.com", time.Hour)
	if !ok {
		t.Fatal("no lease")
	}
	for _, leaser := range []reporter.Leaser{first, second} {
		if _, ok := lease(leaser, Day(), "example.com", time.Hour); ok {
			t.Error("a second lease")
		}
	}
	if _, ok := lease(second, Day(), "example.net", time.Hour); !ok {
		t.Error("no lease of another domain")
	}
	if _, ok := lease(second, Day()-1, "example.com", time.Hour); !ok {
		t.Error("no lease of another day")
	}
	release()
	if _, ok := lease(second, Day(), "example.com", time.Hour); !ok {
		t.Error("no lease after it was released")
	}
	release()
	if _, ok := lease(first, Day(), "example.com", time.Hour); ok {
		t.Error("releasing a lease twice ended that of another caller")
	}

	lost, ok := lease(first, Day(), "example.org", 20*time.Millisecond)
	if !ok {
		t.Fatal("no lease of a third domain")
	}
	eventually(t, "the lease ends", func() bool {
		_, ok := lease(second, Day(), "example.org", time.Hour)
		return ok
	})
	lost()
	if _, ok := lease(first, Day(), "example.org", time.Hour); ok {
		t.Error("releasing a lease that had ended ended that of another caller")
	}
}
