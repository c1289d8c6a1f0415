package sums

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// A failure that a session has twice counts once, whether or not it is known already.
func TestSameFailureTwice(t *testing.T) {
	t.Parallel()
	tally := New(seed, "example.com", nil)
	for range 3 {
		session, outcome := failing("mx.example.com", "text")
		outcome.Failures = append(outcome.Failures, outcome.Failures[0])
		if tally.Count(session, outcome) {
			t.Fatal("counted without a look at both failures")
		}
		tally.CountNew(session, outcome)
		other, otherOutcome := failing("mx2.example.com", "text")
		tally.CountNew(other, otherOutcome)
	}
	result := tally.Results()[0]
	if result.Summary.Failures != 6 || len(result.Details) != 2 || result.Details[0].Sessions != 3 || result.Details[1].Sessions != 3 {
		t.Errorf("%+v", result)
	}
}

// RPT-29: a session that met a remembered policy is a success, and its failed refresh a detail,
// which may count more sessions than failed. With a failure of the host, the session failed.
func TestRememberedPolicy(t *testing.T) {
	t.Parallel()
	tally := New(seed, "example.com", nil)
	refresh := tlsrpt.Failure{Type: tlsrpt.STSPolicyFetchError, ReasonCode: "http-timeout"}
	for range 3 {
		session, outcome := failing("mx.example.com", "text")
		broken := outcome.Failures[0]
		for _, failures := range [][]tlsrpt.Failure{{refresh}, {broken, refresh}} {
			outcome.Failures, outcome.Met = failures, true
			if !tally.Count(session, outcome) {
				tally.CountNew(session, outcome)
			}
		}
		outcome.Failures, outcome.Met = []tlsrpt.Failure{refresh}, false
		tally.Count(session, outcome)
	}
	result := tally.Results()[0]
	if result.Summary != (report.Summary{Successes: 3, Failures: 6}) || len(result.Details) != 2 || result.Details[0].Type != refresh.Type ||
		result.Details[0].Sessions != 9 || result.Details[1].Sessions != 3 {
		t.Errorf("%+v", result)
	}
	if merged := Merged("example.com", nil, tally.Results()); !reflect.DeepEqual(merged[0], result) {
		t.Errorf("merged: %+v", merged)
	}
}

// Without room, New returns nil, and CountNew counts nothing or only what there is room for.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	const domain = "example.com"
	session, outcome := failing("mx.example.com", "text")
	least := tallyOctets + 2*len(domain)
	policy := policyOctets + len(domain)
	for _, test := range []struct {
		octets  int
		exists  bool
		counted bool
		details int
	}{
		{least - 1, false, false, 0},
		{least, true, false, 0},
		{least + policy - 1, true, false, 0},
		{least + policy, true, true, 0},
		{least + policy + detailOctets + len(DetailsOmitted) - 1, true, true, 0},
		{least + policy + detailOctets + len(DetailsOmitted), true, true, 1},
	} {
		room := NewRoom(test.octets)
		tally := New(seed, domain, room)
		if (tally != nil) != test.exists {
			t.Errorf("%d octets: %v", test.octets, tally)
		}
		if tally == nil {
			continue
		}
		counted := tally.CountNew(session, outcome)
		results := tally.Results()
		if counted != test.counted || (len(results) == 1) != test.counted {
			t.Errorf("%d octets: counted %v, %+v", test.octets, counted, results)
		}
		if len(results) == 1 && (len(results[0].Details) != test.details || results[0].Summary.Failures != 1) {
			t.Errorf("%d octets: %+v", test.octets, results)
		}
	}
}

// Knows is true only if every policy and failure is in the tally, or is counted by type there.
func TestKnows(t *testing.T) {
	t.Parallel()
	sum := func(host, text string) report.PolicyResult {
		session, outcome := failing(host, text)
		one := New(seed, "example.com", nil)
		one.CountNew(session, outcome)
		return one.Results()[0]
	}
	known := sum("mx.example.com", "text")
	plain := report.PolicyResult{Policy: tlsrpt.Policy{Type: tlsrpt.STS, Domain: "example.com"}}
	byType := known
	byType.Details = []report.Detail{Omitted(known.Details[0])}
	byType.Details[0].Sessions = 1
	met := known
	met.Details = nil
	for _, test := range []struct {
		has, of []report.PolicyResult
		want    bool
	}{
		{nil, nil, true},
		{[]report.PolicyResult{known}, []report.PolicyResult{known}, true},
		{[]report.PolicyResult{known}, []report.PolicyResult{known, sum("mx.example.com", "other")}, false},
		{[]report.PolicyResult{known}, []report.PolicyResult{sum("mx2.example.com", "text")}, false},
		{[]report.PolicyResult{byType}, []report.PolicyResult{sum("mx2.example.com", "text")}, true},
		{nil, []report.PolicyResult{met}, false},
		{nil, []report.PolicyResult{known}, false},
		{[]report.PolicyResult{met}, []report.PolicyResult{met}, true},
		{[]report.PolicyResult{plain}, []report.PolicyResult{met}, true},
		{[]report.PolicyResult{plain}, []report.PolicyResult{known}, false},
	} {
		tally := New(seed, "example.com", nil)
		tally.Merge(test.has)
		if got := tally.Knows(test.of); got != test.want {
			t.Errorf("%+v knows %+v: %v", test.has, test.of, got)
		}
	}
}

// The limits of one domain are exact: this many details and so much text are listed, and the
// rest is counted by type.
func TestExactBounds(t *testing.T) {
	t.Parallel()
	tally := New(seed, "example.com", nil)
	for i := range maxDetails + 500 {
		session, outcome := failing(fmt.Sprintf("mx%d.example.com", i), "text")
		tally.CountNew(session, outcome)
	}
	if details := tally.Results()[0].Details; len(details) != maxDetails+1 || details[0].Sessions != 500 || details[0].ReasonCode != DetailsOmitted {
		t.Errorf("%d details, the first is %+v", len(details), details[0])
	}

	tally = New(seed, "example.com", nil)
	text := strings.Repeat("x", 10_000)
	for i := range 40 {
		session, outcome := failing("mx.example.com", fmt.Sprint(i, text))
		outcome.Failures = nil
		tally.CountNew(session, outcome)
	}
	if n := len(tally.Results()); n != maxTexts/10_029+1 || tally.texts > maxTexts {
		t.Errorf("%d policies, %d octets of text", n, tally.texts)
	}

	lines := []string{strings.Repeat("x", maxPolicyText-3), "y", "z"}
	if got := boundedText(lines); len(got) != 2 { // with the end of each line, maxPolicyText
		t.Errorf("%d lines", len(got))
	}
	lines[0] += "x"
	if got := boundedText(lines); len(got) != 1 {
		t.Errorf("%d lines", len(got))
	}
	reason := strings.Repeat("r", tlsrpt.MaxReasonCode+1)
	if got := canonicalDetail(report.Detail{ReasonCode: reason}).ReasonCode; len(got) > tlsrpt.MaxReasonCode {
		t.Errorf("a reason code of %d octets", len(got))
	}
}

// Drain keeps the keys that were counted since the last Drain, and no others; they are found
// again. All of the room of the others is released.
func TestDrainKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	room := NewRoom(1 << 20)
	tally := New(seed, "example.com", room)
	empty := tally.octets
	count := func(host, text string) bool {
		session, outcome := failing(host, text)
		return tally.Count(session, outcome) || !tally.CountNew(session, outcome)
	}
	const hosts = 3 * few
	for i := range hosts {
		if count(fmt.Sprintf("mx%d.example.com", i), "text") || count("mx.example.com", fmt.Sprint("text", i)) {
			t.Fatal("known before it was counted")
		}
	}
	tally.Drain()
	for i := 1; i < hosts; i++ { // the first ones are not used any more
		if !count(fmt.Sprintf("mx%d.example.com", i), "text") || !count("mx.example.com", fmt.Sprint("text", i)) {
			t.Errorf("host or policy %d is not known after Drain", i)
		}
	}
	tally.Drain()
	for range 2 {
		count("mx0.example.com", "text")
		count("mx.example.com", "text0")
		count("new.example.com", "text")
		count("mx.example.com", "new")
	}
	results := tally.Results()
	if len(results) != 3 {
		t.Fatalf("%+v", results)
	}
	for _, result := range results {
		for _, detail := range result.Details {
			if detail.Sessions != 2 {
				t.Errorf("%+v", result)
			}
		}
	}
	tally.Drain()
	tally.Drain()
	if tally.octets != empty || room.Used() != int64(empty) {
		t.Errorf("%d octets are left of a tally with nothing in it, %d in the room", tally.octets, room.Used())
	}
}

// A tally does not keep the memory of the texts that it was given, which may be parts of
// something large.
func TestKeepsNoText(t *testing.T) {
	t.Parallel()
	large := strings.Clone("example.com" + "mx.example.com" + "helo.example.com" + "reason" + "a line")
	part := func(from string) string {
		i := strings.Index(large, from)
		return large[i : i+len(from)]
	}
	session := &tlsrpt.Session{
		Domain: part("example.com"), MXHost: part("mx.example.com"), HELO: part("helo.example.com"),
		ReceivingIP: netip.MustParseAddr("192.0.2.1"),
	}
	outcome := &tlsrpt.Outcome{
		Policy:   tlsrpt.Policy{Type: tlsrpt.STS, Domain: part("example.com"), Strings: []string{part("a line")}, MXHosts: []string{part("mx.example.com")}},
		Failures: []tlsrpt.Failure{{Type: tlsrpt.ValidationFailure, ReasonCode: part("reason")}},
	}
	tally := New(seed, part("example.com"), nil)
	tally.CountNew(session, outcome)
	tally.Merge([]report.PolicyResult{{
		Policy:  outcome.Policy,
		Summary: report.Summary{Failures: 1},
		Details: []report.Detail{{Type: tlsrpt.CertificateExpired, Sessions: 1, MXHost: part("mx.example.com"), HELO: part("helo.example.com"), ReasonCode: part("reason")}},
	}})
	begin := uintptr(unsafe.Pointer(unsafe.StringData(large)))
	check := func(what, kept string) {
		if at := uintptr(unsafe.Pointer(unsafe.StringData(kept))); at >= begin && at < begin+uintptr(len(large)) {
			t.Errorf("the %s %q is the caller's memory", what, kept)
		}
	}
	check("domain", tally.domain)
	for _, result := range tally.Results() {
		check("policy domain", result.Policy.Domain)
		check("line", result.Policy.Strings[0])
		check("pattern", result.Policy.MXHosts[0])
		for _, d := range result.Details {
			check("host", d.MXHost)
			check("HELO", d.HELO)
			check("reason code", d.ReasonCode)
		}
	}
}
