package reporter_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/vectorfile"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// sessionsInput and sessionsResult are a case of testdata/sessions.json, which
// docs/vectors.md explains.
type sessionsInput struct {
	What     string          `json:"what"`
	Sessions []sessionVector `json:"sessions"`
}

type sessionVector struct {
	Domain        string          `json:"domain"`
	Time          time.Time       `json:"time"`
	MXHost        string          `json:"mx_host,omitempty"`
	HELO          string          `json:"helo,omitempty"`
	SendingIP     netip.Addr      `json:"sending_ip,omitzero"`
	ReceivingIP   netip.Addr      `json:"receiving_ip,omitzero"`
	Outcomes      []outcomeVector `json:"outcomes"`
	CarriesReport bool            `json:"carries_report,omitempty"`
}

type outcomeVector struct {
	Type     tlsrpt.PolicyType `json:"policy_type"`
	Domain   string            `json:"policy_domain"`
	Strings  []string          `json:"policy_string,omitempty"`
	MXHosts  []string          `json:"mx_host,omitempty"`
	Failures []failureVector   `json:"failures,omitempty"`
	Met      bool              `json:"met,omitempty"`
}

type failureVector struct {
	Type       tlsrpt.ResultType `json:"type"`
	ReasonCode string            `json:"reason,omitempty"`
}

type sessionsResult struct {
	Reports []dayVector `json:"reports"`
}

// dayVector is what a report for a domain says about a day.
type dayVector struct {
	Domain   string                `json:"domain"`
	Date     report.Day            `json:"date"`
	Policies []report.PolicyResult `json:"policies"`
}

func (v sessionVector) session() *tlsrpt.Session {
	s := &tlsrpt.Session{
		Domain: v.Domain, Time: v.Time, MXHost: v.MXHost, HELO: v.HELO, SendingIP: v.SendingIP, ReceivingIP: v.ReceivingIP, CarriesReport: v.CarriesReport,
	}
	for _, o := range v.Outcomes {
		outcome := tlsrpt.Outcome{Policy: tlsrpt.Policy{Type: o.Type, Domain: o.Domain, Strings: o.Strings, MXHosts: o.MXHosts}, Met: o.Met}
		for _, f := range o.Failures {
			outcome.Failures = append(outcome.Failures, tlsrpt.Failure(f))
		}
		s.Outcomes = append(s.Outcomes, outcome)
	}
	return s
}

// reportSessions records the sessions, and returns what the reports about them say.
func reportSessions(t *testing.T, input sessionsInput) sessionsResult {
	store := new(reporter.MemoryStore)
	a := newAggregator(t, reporter.AggregatorConfig{Store: store})
	var days []report.Day
	for _, s := range input.Sessions {
		a.Record(s.session())
		days = append(days, report.DayOf(s.Time))
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(days)
	result := sessionsResult{Reports: []dayVector{}}
	for _, day := range slices.Compact(days) {
		var domains []string
		for domain, err := range store.Domains(t.Context(), day) {
			if err != nil {
				t.Fatal(err)
			}
			domains = append(domains, domain)
		}
		slices.Sort(domains)
		for _, domain := range domains {
			results := sums(t, a, store, day, domain)
			check(t, results)
			result.Reports = append(result.Reports, dayVector{domain, day, results})
		}
	}
	return result
}

// sessionsInputs are the sessions of senders.
func sessionsInputs() (inputs []sessionsInput) {
	sts := outcomeVector{Type: tlsrpt.STS, Domain: stsPolicy.Domain, Strings: stsPolicy.Strings, MXHosts: stsPolicy.MXHosts}
	tlsa := outcomeVector{Type: tlsrpt.TLSA, Domain: danePolicy.Domain, Strings: danePolicy.Strings}
	none := outcomeVector{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}
	with := func(o outcomeVector, failures ...failureVector) outcomeVector {
		o.Failures = failures
		return o
	}
	plain := sessionVector{
		Domain: "example.com", Time: day.Add(12 * time.Hour), MXHost: "mx.example.com", HELO: "mail.example.com",
		SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.MustParseAddr("2001:db8::1"),
	}
	of := func(outcomes ...outcomeVector) sessionVector {
		s := plain
		s.Outcomes = append([]outcomeVector{}, outcomes...)
		return s
	}
	changed := func(s sessionVector, change func(*sessionVector)) sessionVector {
		change(&s)
		return s
	}
	add := func(what string, sessions ...sessionVector) {
		inputs = append(inputs, sessionsInput{what, append([]sessionVector{}, sessions...)})
	}
	noTLS, untrusted := failureVector{Type: tlsrpt.STARTTLSNotSupported}, failureVector{tlsrpt.CertificateNotTrusted, "self-signed"}

	add("nothing")
	add("a session without outcome", of())
	for _, o := range []outcomeVector{sts, tlsa, none} {
		add("a success under "+string(o.Type), of(o))
		add("three successes under "+string(o.Type), of(o), of(o), of(o))
		add("a success and two failures under "+string(o.Type), of(o), of(with(o, untrusted)), of(with(o, untrusted)))
		add("two failures in one session under "+string(o.Type), of(with(o, untrusted, noTLS)))
		add("the same failure twice in one session under "+string(o.Type), of(with(o, untrusted, untrusted)))
		for _, resultType := range tlsrpt.AllResultTypes() {
			add("a failure under "+string(o.Type), of(with(o, failureVector{resultType, "some-reason"})), of(with(o, failureVector{resultType, "some-reason"})), of(with(o, failureVector{Type: resultType})))
		}
	}
	add("an unknown result type counts as a validation failure", of(with(sts, failureVector{Type: "weather"})))
	add("both policies of a domain met", of(tlsa, sts))
	add("one policy met, the other not", of(tlsa, with(sts, untrusted)))
	add("a session that carries a report does not count", of(sts), changed(of(sts), func(s *sessionVector) { s.CarriesReport = true }))
	add("the same policy in another order of records", of(outcomeVector{Type: tlsrpt.TLSA, Domain: "mx.example.com", Strings: []string{"3 1 1 aa", "3 1 1 ab"}}), of(outcomeVector{Type: tlsrpt.TLSA, Domain: "mx.example.com", Strings: []string{"3 1 1 ab", "3 1 1 aa"}}))
	add("the same records at two hosts", of(outcomeVector{Type: tlsrpt.TLSA, Domain: "mx1.example.com", Strings: []string{"3 1 1 aa"}}), of(outcomeVector{Type: tlsrpt.TLSA, Domain: "mx2.example.com", Strings: []string{"3 1 1 aa"}}))
	add("a TLSA lookup that failed", of(with(outcomeVector{Type: tlsrpt.TLSA, Domain: "mx.example.com"}, failureVector{Type: tlsrpt.DNSSECInvalid})))
	add("a policy that changed in the day", of(sts), of(outcomeVector{Type: tlsrpt.STS, Domain: "example.com", Strings: []string{"version: STSv1", "mode: testing", "mx: *.example.com", "max_age: 86400"}, MXHosts: sts.MXHosts}))
	add("a policy with other patterns", of(sts), of(outcomeVector{Type: tlsrpt.STS, Domain: "example.com", Strings: sts.Strings, MXHosts: []string{"mx.example.com"}}))
	add("lines in another order are another policy", of(sts), of(outcomeVector{Type: tlsrpt.STS, Domain: "example.com", Strings: []string{"mode: enforce", "version: STSv1", "mx: *.example.com", "max_age: 86400"}, MXHosts: sts.MXHosts}))
	add("patterns in capitals", of(outcomeVector{Type: tlsrpt.STS, Domain: "Example.COM.", Strings: sts.Strings, MXHosts: []string{"*.EXAMPLE.com"}}), of(sts))
	add("patterns in U-labels", of(outcomeVector{Type: tlsrpt.STS, Domain: "grün.example", MXHosts: []string{"*.grün.example", "mx.grün.example"}}))
	add("a malformed pattern is left out", of(outcomeVector{Type: tlsrpt.STS, Domain: "example.com", MXHosts: []string{"*.example.com", "*", "a..b", "mx.example.com"}}))
	add("a policy that could not be read", of(with(outcomeVector{Type: tlsrpt.STS, Domain: "example.com", Strings: []string{"version: STSv1", "<html>"}}, failureVector{tlsrpt.STSPolicyInvalid, "bad-line"})))
	add("a fetch that failed, beside sessions without policy", of(with(outcomeVector{Type: tlsrpt.STS, Domain: "example.com"}, failureVector{tlsrpt.STSPolicyFetchError, "http-404"})), of(none), of(with(none, noTLS)))
	remembered := func(failures ...failureVector) outcomeVector {
		o := with(sts, failures...)
		o.Met = true
		return o
	}
	noFetch := failureVector{tlsrpt.STSPolicyFetchError, "http-404"}
	add("a fetch that failed, and a remembered policy that is met", of(remembered(noFetch)), of(remembered(noFetch)), of(sts))
	add("a fetch that failed, and a remembered policy that is not met", of(remembered(noFetch)), of(with(sts, untrusted, noFetch)))
	add("a failure of the host counts, whatever is said to be met", of(remembered(untrusted)), of(remembered(noFetch, untrusted)))
	add("policy-string of no policy is left out", of(outcomeVector{Type: tlsrpt.NoPolicyFound, Domain: "example.com", Strings: []string{"x"}, MXHosts: []string{"mx.example.com"}}))
	add("an unknown policy type is no policy", of(outcomeVector{Type: "dane", Domain: "example.com", Strings: []string{"x"}}))
	add("patterns of TLSA are left out", of(outcomeVector{Type: tlsrpt.TLSA, Domain: "mx.example.com", Strings: tlsa.Strings, MXHosts: []string{"mx.example.com"}}))
	add("a policy domain that is none", of(outcomeVector{Type: tlsrpt.STS, Domain: "a b", Strings: sts.Strings, MXHosts: sts.MXHosts}))
	for _, domain := range []string{"EXAMPLE.com", "example.com.", "bücher.example", "xn--bcher-kva.example", "a_b.example", "192.0.2.1", "a..b", ""} {
		add(fmt.Sprintf("the domain %q", domain), of(sts), changed(of(sts), func(s *sessionVector) { s.Domain = domain }))
	}
	for _, c := range []struct {
		what   string
		change func(*sessionVector)
	}{
		{"another host", func(s *sessionVector) { s.MXHost = "mx2.example.com" }}, {"the host in capitals", func(s *sessionVector) { s.MXHost = "MX.Example.com." }}, {"no host", func(s *sessionVector) { s.MXHost = "" }}, {"a host in U-labels", func(s *sessionVector) { s.MXHost = "mx.grün.example" }},
		{"another greeting", func(s *sessionVector) { s.HELO = "other.example" }}, {"no greeting", func(s *sessionVector) { s.HELO = "" }}, {"a greeting with control characters", func(s *sessionVector) { s.HELO = " mail\r\n\x1b.example\u00fc " }},
		{"another receiving address", func(s *sessionVector) { s.ReceivingIP = netip.MustParseAddr("192.0.2.9") }}, {"an IPv4 address in IPv6 form", func(s *sessionVector) { s.ReceivingIP = netip.MustParseAddr("::ffff:192.0.2.9") }}, {"an address with a zone", func(s *sessionVector) { s.SendingIP = netip.MustParseAddr("fe80::1%eth0") }},
		{"no addresses", func(s *sessionVector) { s.SendingIP, s.ReceivingIP = netip.Addr{}, netip.Addr{} }}, {"another sending address", func(s *sessionVector) { s.SendingIP = netip.MustParseAddr("192.0.2.2") }},
		{"another reason", func(s *sessionVector) {
			s.Outcomes = []outcomeVector{with(sts, failureVector{tlsrpt.CertificateNotTrusted, "unknown-authority"})}
		}},
		{"a reason with a control character", func(s *sessionVector) {
			s.Outcomes = []outcomeVector{with(sts, failureVector{tlsrpt.CertificateNotTrusted, "a\x00b"})}
		}},
	} {
		add(c.what+", in a failure", of(with(sts, untrusted)), changed(of(with(sts, untrusted)), c.change), of(with(sts, untrusted)))
		add(c.what+", in a failed fetch", of(with(sts, failureVector{Type: tlsrpt.STSPolicyFetchError})), changed(of(with(sts, failureVector{Type: tlsrpt.STSPolicyFetchError})), c.change))
	}
	for _, at := range []string{"2026-03-01T00:00:00Z", "2026-03-01T23:59:59.999Z", "2026-03-02T00:00:00Z", "2026-02-28T23:59:59Z", "2026-03-02T01:30:00+02:00", "2026-03-01T20:00:00-05:00", "2024-02-29T12:00:00Z", "2026-12-31T23:30:00-01:00"} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			panic(err) // it is above
		}
		add("a session at "+at, of(sts), changed(of(with(sts, noTLS)), func(s *sessionVector) { s.Time = when }))
	}
	// Whole days, of everything above.
	r := rand.New(rand.NewPCG(1, 0))
	pool := slices.Concat(inputs)
	for i := range 30 {
		var sessions []sessionVector
		for range 4 + r.IntN(12) {
			if some := pool[r.IntN(len(pool))].Sessions; len(some) > 0 {
				sessions = append(sessions, some[r.IntN(len(some))])
			}
		}
		add(fmt.Sprintf("a day, %d", i+1), sessions...)
	}
	return inputs
}

// The vectors for other senders of reports have the results of this one.
// Another reader, in Python, finds them by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	inputs := sessionsInputs()
	if len(inputs) < 140 {
		t.Errorf("only %d reports", len(inputs))
	}
	vectorfile.Check(t, "testdata/sessions.json", inputs, reportSessions)
}
