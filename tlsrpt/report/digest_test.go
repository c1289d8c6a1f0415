package report_test

import (
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// RPT-76: a report that is received twice is counted once. Others are not taken for
// duplicates.
func TestDigestCountsReportOnce(t *testing.T) {
	t.Parallel()
	base := func() *report.Report {
		return reportOf("a", 1, daneOf, report.Detail{Type: tlsrpt.TLSAInvalid, Sessions: 1})
	}
	for name, test := range map[string]struct {
		change  func(*report.Report)
		counted bool
	}{
		"the same":            {func(*report.Report) {}, false},
		"other content":       {func(r *report.Report) { r.Policies[0].Summary.Successes = 99 }, false},
		"another id":          {func(r *report.Report) { r.ID = "x" }, true},
		"another sender":      {func(r *report.Report) { r.Contact = "tls@other.example" }, true},
		"another day":         {func(r *report.Report) { r.Dates.Start = r.Dates.Start.Add(time.Hour) }, true},
		"another domain":      {func(r *report.Report) { r.Policies[0].Policy.Domain = "mx2.example.com" }, true},
		"another policy more": {func(r *report.Report) { r.Policies = append(r.Policies, report.PolicyResult{}) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var digest report.Digest
			changed := base()
			test.change(changed)
			if !digest.Add(base()) || digest.Add(changed) != test.counted {
				t.Error("counted wrong")
			}
			if o := digest.Overview(); o.Reports+o.Duplicates != 2 || (o.Duplicates == 0) != test.counted {
				t.Errorf("got %+v", o)
			}
		})
	}
	t.Run("without ids", func(t *testing.T) {
		t.Parallel()
		var digest report.Digest
		a, b := base(), base()
		a.ID, b.ID = "", ""
		b.Policies[0].Summary.Successes = 99
		if !digest.Add(a) || digest.Add(a) || !digest.Add(b) {
			t.Error("counted wrong")
		}
	})
	t.Run("after the year 9999", func(t *testing.T) {
		t.Parallel()
		a := base()
		a.Dates.Start, a.Dates.End = a.Dates.Start.AddDate(9000, 0, 0), a.Dates.End.AddDate(9000, 0, 0)
		if o := overviewOf(a, a); o.Reports != 1 || o.Duplicates != 1 {
			t.Errorf("got %+v", o)
		}
	})
}

// A report counts for the day of the middle of its period, whatever the sender's time zone.
func TestDigestDayIsMiddleOfPeriod(t *testing.T) {
	t.Parallel()
	for period, want := range map[[2]string]string{
		{"2026-03-01T00:00:00Z", "2026-03-01T23:59:59Z"}:      "2026-03-01",
		{"2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"}:      "2026-03-01",
		{"2026-02-28T22:00:00Z", "2026-03-01T21:59:59Z"}:      "2026-03-01",
		{"2026-03-01T08:00:00Z", "2026-03-02T08:00:00Z"}:      "2026-03-01",
		{"2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"}:      "2026-03-01",
		{"2026-03-01T00:00:00+14:00", "2026-03-02T00:00:00Z"}: "2026-03-01",
	} {
		r := reportOf("a", 1, daneOf)
		var err error
		if r.Dates.Start, err = time.Parse(time.RFC3339, period[0]); err != nil {
			t.Fatal(err)
		}
		if r.Dates.End, err = time.Parse(time.RFC3339, period[1]); err != nil {
			t.Fatal(err)
		}
		if o := overviewOf(r); o.First.String() != want || o.Domains[0].Days[0].Day != o.First {
			t.Errorf("%s: %s", period, o.First)
		}
	}
}

// The mode is that of the latest report with one.
func TestDigestModeIsLatest(t *testing.T) {
	t.Parallel()
	fail := report.Detail{Type: tlsrpt.CertificateExpired, Sessions: 1}
	unknown := tlsrpt.Policy{Type: tlsrpt.STS, Domain: "Example.COM."}
	o := overviewOf(reportOf("a", 3, unknown, fail), reportOf("a", 2, enforceOf, fail), reportOf("a", 1, testingOf, fail))
	if len(o.Domains) != 1 || o.Domains[0].Mode != "enforce" || o.Domains[0].Failures != 3 || o.Domains[0].Problems[0].Effect != report.MailWaited {
		t.Errorf("got %+v", o.Domains)
	}
}

// RPT-82: reports that are made to fill the memory do not, and no session is lost from
// the sums.
func TestDigestIsBoundedInMemory(t *testing.T) { // not parallel: it measures memory
	const hostile, domains, details = 2, 45, 1000
	var digest report.Digest
	want := int64(0)
	long := strings.Repeat("x", 260)
	for i := range hostile {
		r := reportOf(fmt.Sprintf("s%d%s", i, long), 1+i%28, daneOf)
		r.Policies = nil
		for j := range domains {
			p := report.PolicyResult{Policy: tlsrpt.Policy{Type: tlsrpt.STS, Domain: fmt.Sprintf("d%d-%d.example", i, j), Strings: []string{long}}}
			for k := range details {
				p.Details = append(p.Details, report.Detail{
					Type: tlsrpt.ResultType(fmt.Sprintf("t%d%s", k, long)), ReasonCode: fmt.Sprint(i, k, long), MXHost: fmt.Sprint(k, long),
					ReceivingIP: netip.AddrFrom4([4]byte{192, byte(i), byte(j), byte(k)}), Sessions: 1,
				})
			}
			p.Summary.Failures = int64(len(p.Details))
			want += p.Summary.Failures
			r.Policies = append(r.Policies, p)
		}
		digest.Add(r)
	}
	o := digest.Overview()
	var got int64
	others := false
	for _, d := range o.Domains {
		got += d.Failures
		others = others || slices.ContainsFunc(d.Problems, func(p report.Problem) bool { return p.Type == "(others)" })
	}
	if !others {
		t.Error("everything is listed")
	}
	if o.Omitted == 0 || got != want*int64(o.Reports)/hostile {
		t.Errorf("%d of %d failures, %d reports omitted", got, want, o.Omitted)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	runtime.KeepAlive(&digest)
	digest, o = report.Digest{}, report.Overview{}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(before.HeapAlloc) - int64(after.HeapAlloc); held > 128<<20 {
		t.Errorf("the digest holds %d MiB", held>>20)
	}
}

// Numbers do not overflow.
func TestDigestNumbersDoNotOverflow(t *testing.T) {
	t.Parallel()
	var digest report.Digest
	for i := range 1100 {
		r := reportOf(fmt.Sprint(i), 1, daneOf, report.Detail{Type: tlsrpt.TLSAInvalid, MXHost: "mx.example.com", Sessions: math.MaxInt64 / 2})
		r.Policies[0].Summary = report.Summary{Successes: math.MaxInt64 / 2, Failures: math.MaxInt64 / 2}
		digest.Add(r)
	}
	d := digest.Overview().Domains[0]
	if d.Failures != math.MaxInt64 || d.Successes != math.MaxInt64 || d.Problems[0].Sessions != math.MaxInt64 || d.Problems[0].Hosts[0].Sessions != math.MaxInt64 {
		t.Errorf("got %+v", d)
	}
	// The senders beyond the limit are summed.
	if len(d.Senders) != 1001 || d.Unexplained != 0 {
		t.Errorf("%d senders, %d unexplained", len(d.Senders), d.Unexplained)
	}
}

// Lists end at their limits: of days, and of the addresses of a host.
func TestDigestListsEndAtLimits(t *testing.T) {
	t.Parallel()
	var digest report.Digest
	for i := range 3700 {
		r := reportOf("a", 1+i, daneOf, report.Detail{
			Type: tlsrpt.TLSAInvalid, MXHost: "mx.example.com", ReceivingIP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Sessions: 1,
		})
		digest.Add(r)
	}
	d := digest.Overview().Domains[0]
	if len(d.Days) != 3660 || d.Days[0].Day != report.DayOf(day) || d.Failures != 3700 || d.Problems[0].Sessions != 3700 {
		t.Errorf("%d days from %s, %d failures", len(d.Days), d.Days[0].Day, d.Failures)
	}
	if addresses := d.Problems[0].Hosts[0].Addresses; len(addresses) != 4 {
		t.Errorf("the addresses are %v", addresses)
	}
}

// R16: a host that another sender reports with a failed fetch has no part in it.
func TestR16DigestOfFetchFailures(t *testing.T) {
	t.Parallel()
	o := overviewOf(reportOf("a", 1, enforceOf, report.Detail{Type: tlsrpt.STSPolicyFetchError, MXHost: "mx.example.com", Sessions: 1}))
	if p := o.Domains[0].Problems[0]; len(p.Hosts) != 0 {
		t.Errorf("got %+v", p)
	}
}
