package sums

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	testseed "github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// What is returned without being counted is what counting returns, and results that counting
// would change are counted.
func TestSortedIsCounted(t *testing.T) {
	t.Parallel()
	random := testseed.Rand(t)
	sortedOnes := 0
	for range 20_000 {
		results := randomResults(random)
		before := cloneResults(results)
		tally := &Tally{seed: maphash.MakeSeed(), domain: "example.com", shares: true}
		tally.Merge(results)
		want := tally.Results()
		got, ok := sorted("example.com", results)
		if ok {
			sortedOnes++
		}
		if ok && !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v:\n%+v\nwant %+v", results, got, want)
		}
		if merged := Merged("example.com", nil, results); !reflect.DeepEqual(merged, want) {
			t.Fatalf("%+v merged:\n%+v\nwant %+v", results, merged, want)
		}
		if !reflect.DeepEqual(results, before) {
			t.Fatalf("the argument was changed from %+v to %+v", before, results)
		}
	}
	if sortedOnes < 1000 || sortedOnes > 19_000 {
		t.Errorf("%d of 20000 were returned without being counted", sortedOnes)
	}
	large := []report.PolicyResult{{
		Policy:  tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"},
		Summary: report.Summary{Failures: 1},
	}}
	for _, path := range []string{"a", "b", "c"} {
		large[0].Details = append(large[0].Details, report.Detail{
			Type: tlsrpt.ValidationFailure, Info: "https://example.com/" + strings.Repeat(path, maxTexts/3), Sessions: 1,
		})
	}
	if _, ok := sorted("example.com", large); ok {
		t.Error("results beyond the limits are returned without being counted")
	}
	large[0].Details = large[0].Details[1:]
	if _, ok := sorted("example.com", large); !ok {
		t.Error("results within the limits are counted")
	}
}

// randomResults returns results that are often equal in part, and sometimes not canonical.
func randomResults(random *rand.Rand) []report.PolicyResult {
	pick := func(values ...string) string { return values[random.IntN(len(values))] }
	rarely := func(usual, other string) string {
		if random.IntN(40) == 0 {
			return other
		}
		return usual
	}
	var results []report.PolicyResult
	for range random.IntN(4) {
		r := report.PolicyResult{
			Policy: tlsrpt.Policy{
				Type:   tlsrpt.PolicyType(rarely(pick("tlsa", "sts", "no-policy-found"), "other")),
				Domain: rarely(pick("example.com", "mx.example.com", "example.net"), "Example.COM"),
			},
			Summary: report.Summary{Successes: random.Int64N(5), Failures: random.Int64N(5)},
		}
		if r.Policy.Type != tlsrpt.NoPolicyFound || random.IntN(40) == 0 {
			for range random.IntN(3) {
				r.Policy.Strings = append(r.Policy.Strings, rarely(pick("3 1 1 AA", "3 1 1 BB", "version: STSv1"), "\xff"))
			}
		}
		if r.Policy.Type == tlsrpt.STS || random.IntN(40) == 0 {
			for range random.IntN(3) {
				r.Policy.MXHosts = append(r.Policy.MXHosts, rarely(pick("mx.example.com", "*.example.com"), "MX."))
			}
		}
		for range random.IntN(4) {
			r.Details = append(r.Details, report.Detail{
				Type:        tlsrpt.ResultType(rarely(pick("starttls-not-supported", "sts-policy-fetch-error"), "unknown")),
				ReasonCode:  rarely(pick("", "self-signed", "tls-alert"), "\n"),
				MXHost:      rarely(pick("", "mx.example.com", "mx2.example.com"), "MX.example.com."),
				HELO:        rarely(pick("", "mx"), "\x00"),
				ReceivingIP: netip.MustParseAddr(rarely(pick("192.0.2.1", "2001:db8::1"), "::ffff:192.0.2.1")),
				Info:        rarely(pick("", "https://example.com/"), "not a URI"),
				Sessions:    min(random.Int64N(4), r.Summary.Failures+int64(random.IntN(20)/19)),
			})
		}
		results = append(results, r)
	}
	return results
}

func cloneResults(results []report.PolicyResult) []report.PolicyResult {
	var clone []report.PolicyResult
	for _, r := range results {
		r.Details = append([]report.Detail(nil), r.Details...)
		clone = append(clone, r)
	}
	return clone
}
