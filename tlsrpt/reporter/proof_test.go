package reporter_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// P13, RPT-57: an outcome has any number of failures. Each is counted once for the session,
// and the session once, whether the failures are known or new.
func TestP13FailuresOfOutcomeCountOnce(t *testing.T) {
	t.Parallel()
	all := []tlsrpt.Failure{
		noSTARTTLS, selfSigned, {Type: tlsrpt.CertificateExpired}, {Type: tlsrpt.CertificateHostMismatch}, {Type: tlsrpt.ValidationFailure},
		{Type: tlsrpt.CertificateNotTrusted, ReasonCode: "another"}, {Type: tlsrpt.TLSAInvalid},
	}
	for n := range len(all) + 1 {
		for _, repeated := range []bool{false, true} {
			store := new(reporter.MemoryStore)
			a := newAggregator(t, reporter.AggregatorConfig{Store: store})
			failures := slices.Clone(all[:n])
			if repeated {
				failures = append(failures, failures...)
			}
			const sessions = 3 // the first one is new, the others are known
			for range sessions {
				a.Record(session(missed(stsPolicy, failures...)))
			}
			results := sums(t, a, store, today, "example.com")
			if len(results) != 1 || len(results[0].Details) != n {
				t.Fatalf("%d failures: %+v", n, results)
			}
			want := report.Summary{Failures: sessions}
			if n == 0 {
				want = report.Summary{Successes: sessions}
			}
			if results[0].Summary != want {
				t.Errorf("%d failures: %+v, want %+v", n, results[0].Summary, want)
			}
			for _, f := range all[:n] {
				if !slices.Contains(results[0].Details, detail(f, sessions)) {
					t.Errorf("%d failures: %+v is missing in %+v", n, f, results[0].Details)
				}
			}
			check(t, results)
		}
	}
	// An outcome that is known in part only is counted completely, once.
	for known := range len(all) {
		store := new(reporter.MemoryStore)
		a := newAggregator(t, reporter.AggregatorConfig{Store: store})
		a.Record(session(missed(stsPolicy, all[:known]...)))
		a.Record(session(missed(stsPolicy, all...)))
		for _, d := range sums(t, a, store, today, "example.com")[0].Details {
			want := int64(1)
			if i := slices.IndexFunc(all, func(f tlsrpt.Failure) bool { return f.Type == d.Type && f.ReasonCode == d.ReasonCode }); i < known {
				want = 2
			}
			if d.Sessions != want {
				t.Errorf("%d known: %+v, want %d", known, d, want)
			}
		}
	}
}

// P14, RPT-48: policies are counted apart that differ in anything: TLSA records of two hosts,
// the same records at two hosts, and so on. There are few of them, or many.
func TestP14PoliciesAreCountedApart(t *testing.T) {
	t.Parallel()
	tlsa := func(host string, records ...string) tlsrpt.Policy {
		return tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: host, Strings: records}
	}
	sts := func(domain string, hosts []string, lines ...string) tlsrpt.Policy {
		return tlsrpt.Policy{Type: tlsrpt.STS, Domain: domain, Strings: lines, MXHosts: hosts}
	}
	policies := []tlsrpt.Policy{
		tlsa("mx1.example.com", "3 1 1 aa"), tlsa("mx2.example.com", "3 1 1 aa"), tlsa("mx1.example.com", "3 1 1 ab"), tlsa("mx1.example.com", "3 1 1 aa", "3 1 1 ab"),
		tlsa("mx1.example.com", "3 1 1 ac", "3 1 1 ad"), tlsa("mx1.example.com", "3 1 1 ab", "3 1 1 ad"), tlsa("mx1.example.com"),
		sts("example.com", []string{"mx1.example.com"}, "mode: enforce"), sts("example.com", []string{"mx2.example.com"}, "mode: enforce"),
		sts("example.com", []string{"mx1.example.com"}, "mode: testing"), sts("example.net", []string{"mx1.example.com"}, "mode: enforce"),
		sts("example.com", []string{"mx1.example.com", "mx2.example.com"}, "mode: enforce"), sts("example.com", nil, "mode: enforce"),
		sts("mx1.example.com", nil, "3 1 1 aa"), noPolicy, {Type: tlsrpt.NoPolicyFound, Domain: "example.net"},
	}
	for _, some := range [][]tlsrpt.Policy{policies[:2], policies[:4], policies[2:4], policies[:5], policies[7:9], policies[7:12], policies} {
		store := new(reporter.MemoryStore)
		a := newAggregator(t, reporter.AggregatorConfig{Store: store})
		for round := range 3 {
			for i, p := range some {
				for range i + 1 {
					if round == 2 {
						a.Record(session(missed(p, noSTARTTLS)))
					} else {
						a.Record(session(met(p)))
					}
				}
			}
		}
		results := sums(t, a, store, today, "example.com")
		if len(results) != len(some) {
			t.Errorf("%d policies: %d results", len(some), len(results))
		}
		for i, p := range some {
			at := slices.IndexFunc(results, func(r report.PolicyResult) bool {
				return r.Policy.Type == p.Type && r.Policy.Domain == p.Domain && slices.Equal(r.Policy.Strings, p.Strings) && slices.Equal(r.Policy.MXHosts, p.MXHosts)
			})
			if at < 0 {
				t.Errorf("%+v is missing", p)
				continue
			}
			want := report.Summary{Successes: 2 * int64(i+1), Failures: int64(i + 1)}
			if got := results[at]; got.Summary != want || !slices.Equal(got.Details, []report.Detail{detail(noSTARTTLS, int64(i+1))}) {
				t.Errorf("%+v: %+v, want %+v", p, got, want)
			}
		}
		check(t, results)
		// The same again, and the sum of both.
		merged := reporter.MergeResults("example.com", results, results)
		if len(merged) != len(results) {
			t.Fatalf("%d results of %d", len(merged), len(results))
		}
		for i, r := range merged {
			if r.Summary.Successes != 2*results[i].Summary.Successes || r.Summary.Failures != 2*results[i].Summary.Failures || r.Details[0].Sessions != 2*results[i].Details[0].Sessions {
				t.Errorf("merged: %+v", r)
			}
		}
	}
	// DNS returns records in any order.
	store := new(reporter.MemoryStore)
	a := newAggregator(t, reporter.AggregatorConfig{Store: store})
	a.Record(session(met(tlsa("mx1.example.com", "3 1 1 aa", "3 1 1 ab"))))
	a.Record(session(met(tlsa("mx1.example.com", "3 1 1 ab", "3 1 1 aa"))))
	if results := sums(t, a, store, today, "example.com"); len(results) != 1 || results[0].Summary.Successes != 2 {
		t.Errorf("the same records in another order: %+v", results)
	}
}

// In addition to P14: the limits are exact, and nothing is lost at them. What is summed counts as one.
func TestP14LimitsLoseNothing(t *testing.T) {
	t.Parallel()
	const policies, details = 256, 1000
	for _, further := range []int{0, 7} {
		store := new(reporter.MemoryStore)
		a := newAggregator(t, reporter.AggregatorConfig{Store: store})
		for i := range policies + further {
			a.Record(session(met(tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: fmt.Sprintf("mx%d.example.com", i), Strings: []string{"3 1 1 aa"}})))
		}
		results := sums(t, a, store, today, "example.com")
		var total int64
		for _, r := range results {
			if total += r.Summary.Successes; (r.Policy.Domain == "example.com") != (r.Policy.Strings == nil) || r.Policy.Strings != nil && r.Summary.Successes != 1 {
				t.Errorf("%d further: %+v", further, r)
			}
		}
		if total != int64(policies+further) || len(results) < policies || len(results) > policies+min(further, 1) {
			t.Errorf("%d further: %d policies, %d sessions", further, len(results), total)
		}

		a = newAggregator(t, reporter.AggregatorConfig{Store: store})
		for i := range details + further {
			s := session(missed(stsPolicy, noSTARTTLS))
			s.HELO, s.Domain = fmt.Sprintf("mx%d.example.com", i), "example.net"
			a.Record(s)
		}
		results = sums(t, a, store, today, "example.net")
		if len(results) != 1 || results[0].Summary.Failures != int64(details+further) {
			t.Fatalf("%d further: %+v", further, results)
		}
		var failures, summed int64
		for _, d := range results[0].Details {
			want := detail(noSTARTTLS, 1)
			if want.HELO = d.HELO; d.ReasonCode == reporter.DetailsOmitted {
				want = report.Detail{Type: noSTARTTLS.Type, ReasonCode: reporter.DetailsOmitted, Sessions: d.Sessions}
				summed = d.Sessions
			}
			if failures += d.Sessions; d != want {
				t.Errorf("%d further: %+v", further, d)
			}
		}
		// The store has the same limit, and may add one more to the sum.
		single := len(results[0].Details)
		if summed > 0 {
			single--
		}
		if failures != int64(details+further) || single > details || single < details-1 || (summed > 0) != (further > 0) {
			t.Errorf("%d further: %d failures, %d by themselves, %d summed", further, failures, single, summed)
		}
	}
}

// In addition to P14: the order of a report is by frequency, and then fixed.
func TestP14OrderIsByFrequency(t *testing.T) {
	t.Parallel()
	store := new(reporter.MemoryStore)
	a := newAggregator(t, reporter.AggregatorConfig{Store: store})
	for i, f := range []tlsrpt.Failure{selfSigned, noSTARTTLS, {Type: tlsrpt.CertificateExpired}} {
		for range i + 1 {
			a.Record(session(missed(stsPolicy, f)))
		}
	}
	a.Record(session(met(danePolicy), met(noPolicy)))
	results := sums(t, a, store, today, "example.com")
	var order []string
	for _, r := range results {
		order = append(order, string(r.Policy.Type))
		for _, d := range r.Details {
			order = append(order, fmt.Sprintf("%d %s", d.Sessions, d.Type))
		}
	}
	want := []string{"no-policy-found", "sts", "3 certificate-expired", "2 starttls-not-supported", "1 certificate-not-trusted", "tlsa"}
	if !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
}
