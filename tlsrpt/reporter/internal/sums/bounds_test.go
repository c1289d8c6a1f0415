package sums

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// Count looks up as many failures of one outcome as it has room for, and no more.
func TestKnownFailuresOfOneOutcome(t *testing.T) {
	t.Parallel()
	for n := 1; n <= maxKnownFailures+1; n++ {
		session, outcome := failing("mx.example.com", "text")
		outcome.Failures = nil
		for _, failure := range tlsrpt.AllResultTypes()[:n] {
			outcome.Failures = append(outcome.Failures, tlsrpt.Failure{Type: failure})
		}
		tally := New(seed, "example.com", nil)
		tally.CountNew(session, outcome)
		if got := tally.Count(session, outcome); got != (n <= maxKnownFailures) {
			t.Errorf("%d failures that are known: counted %v", n, got)
		}
	}
}

// There are so many policies of one domain, and one more for each type without text.
func TestMostPolicies(t *testing.T) {
	t.Parallel()
	tally := New(seed, "example.com", nil)
	for i := range maxPolicies + 10 {
		session, outcome := failing("mx.example.com", fmt.Sprint("text ", i))
		if !tally.CountNew(session, outcome) {
			t.Fatalf("policy %d is not counted", i)
		}
	}
	results := tally.Results()
	plain := slices.IndexFunc(results, func(r report.PolicyResult) bool { return len(r.Policy.Strings) == 0 })
	if len(results) != maxPolicies+1 || plain < 0 || results[plain].Summary.Failures != 10 {
		t.Errorf("%d policies", len(results))
	}
}

// What may be left out is taken up to the exact bounds of one domain, and what must be counted
// beyond them.
func TestTakeIsExact(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		octets, text int // relative to what is left
	}{
		{"text", 0, maxTexts},
		{"octets", maxOctets, 0},
		{"octets and text", maxOctets - 100, 100},
	} {
		for over := range 2 {
			tally := New(seed, "example.com", nil)
			octets := tt.octets
			if octets > 0 {
				octets += over - tally.octets
			}
			text := tt.text
			if octets == 0 {
				text += over
			}
			if got := tally.take(octets, text, true); got != (over == 0) {
				t.Errorf("%s, %d over the bound: %v", tt.name, over, got)
			}
			if got := tally.take(octets, text, false); !got {
				t.Errorf("%s, %d over the bound, and not left out: %v", tt.name, over, got)
			}
		}
	}
	// Failures are counted by type as long as the bound is not exceeded.
	tally := New(seed, "example.com", nil)
	session, outcome := failing("mx.example.com", "text")
	tally.CountNew(session, outcome)
	for i, over := range []int{0, 1} {
		tally.octets = maxOctets + over
		known := tally.detail(tally.policies[0], report.Detail{Type: tlsrpt.AllResultTypes()[i], MXHost: "mx2.example.com"})
		if (known != nil) != (over == 0) || known != nil && known.key.ReasonCode != DetailsOmitted {
			t.Errorf("%d octets over the bound: %+v", over, known)
		}
	}
}

// R6: a failure that Drain has forgotten is counted again when it comes back, although it was
// the last one that was found. Nothing that is forgotten stays in memory.
func TestR6ForgottenFailureComesBack(t *testing.T) {
	t.Parallel()
	tally := New(seed, "example.com", nil)
	session, outcome := failing("mx.example.com", "text")
	_, success := failing("mx.example.com", "text")
	success.Failures = nil
	count := func(o *tlsrpt.Outcome) {
		if !tally.Count(session, o) && !tally.CountNew(session, o) {
			t.Fatal("not counted")
		}
	}
	for i := range 3 {
		other, otherOutcome := failing(fmt.Sprintf("mx%d.example.com", i), "text")
		tally.CountNew(other, otherOutcome)
		other, otherOutcome = failing("mx.example.com", fmt.Sprint("text ", i))
		tally.CountNew(other, otherOutcome)
	}
	count(outcome)
	count(outcome)
	for range 2 {
		tally.Drain()
		count(success) // which keeps the policy
	}
	p := tally.policies[0]
	if len(tally.policies) != 1 || len(p.details) != 0 {
		t.Fatalf("%d policies and %d failures are kept", len(tally.policies), len(p.details))
	}
	if slices.ContainsFunc(tally.policies[1:cap(tally.policies)], func(p *policySum) bool { return p != nil }) {
		t.Error("a policy that was forgotten is in memory")
	}
	if slices.ContainsFunc(p.details[:cap(p.details)], func(d *detailSum) bool { return d != nil }) {
		t.Error("a failure that was forgotten is in memory")
	}
	count(outcome)
	result := tally.Results()[0]
	if result.Summary.Failures != 1 || len(result.Details) != 1 || result.Details[0].Sessions != 1 {
		t.Errorf("%+v", result)
	}
}

// Sums are known in canonical form, too.
func TestKnowsWhatIsNotCanonical(t *testing.T) {
	t.Parallel()
	session, outcome := failing("mx.example.com", "text")
	tally := New(seed, "example.com", nil)
	tally.CountNew(session, outcome)
	results := tally.Results()
	results[0].Details[0].MXHost = "MX.Example.Com."
	if !tally.Knows(results) {
		t.Error("a host in another form is not known")
	}
}

// What hosts and policies say is brought into the form of a report, and into its bounds.
func TestCanonicalForm(t *testing.T) {
	t.Parallel()
	p := canonicalPolicy(tlsrpt.Policy{
		Type: tlsrpt.STS, Domain: "Example.Com.", Strings: []string{"a\xff", strings.Repeat("x", maxPolicyText)},
		MXHosts: []string{"*.EXAMPLE.com", "a..example.com", "mx.example.com."},
	}, "example.org")
	if p.Domain != "example.com" || !slices.Equal(p.Strings, []string{"a\ufffd"}) || !slices.Equal(p.MXHosts, []string{"*.example.com", "mx.example.com"}) {
		t.Errorf("%+v", p)
	}
	if p = clonePolicy(tlsrpt.Policy{Type: tlsrpt.STS, Domain: "example.com", Strings: []string{}, MXHosts: []string{}}); p.Strings != nil || p.MXHosts != nil {
		t.Errorf("%+v", p)
	}
	d := canonicalDetail(report.Detail{
		Type: tlsrpt.ValidationFailure, MXHost: "MX.Example.Com.", HELO: "a\x00b",
		SendingIP: netip.MustParseAddr("::ffff:192.0.2.1"), ReceivingIP: netip.MustParseAddr("fe80::1%eth0"),
	})
	if d.MXHost != "mx.example.com" || strings.Contains(d.HELO, "\x00") || d.SendingIP.String() != "192.0.2.1" || d.ReceivingIP.String() != "fe80::1" {
		t.Errorf("%+v", d)
	}
	for _, octets := range []int{maxHostText - 1, maxHostText, maxHostText + 1, 2 * maxHostText} {
		text := strings.Repeat("x", octets)
		if d := canonicalDetail(report.Detail{MXHost: text, HELO: text}); len(d.MXHost) != min(octets, maxHostText) || len(d.HELO) != min(octets, maxHostText) {
			t.Errorf("of %d octets: %d and %d", octets, len(d.MXHost), len(d.HELO))
		}
	}
}
