package report_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// RPT-82: a report cannot send control characters to the terminal.
func TestReportTableIsPrintable(t *testing.T) {
	t.Parallel()
	rep := newReport()
	const bad = "\x1b[2J\t\n\u202e"
	rep.Organization, rep.Contact, rep.ID = bad, bad, bad
	p := &rep.Policies[0]
	p.Policy.Type, p.Policy.Domain = bad, bad
	d := &p.Details[0]
	d.Type, d.ReasonCode, d.MXHost = bad, bad, bad
	var b strings.Builder
	if err := rep.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 2+2*len(rep.Policies)+1+len(p.Details) {
		t.Errorf("%d lines:\n%s", len(lines), b.String())
	}
	if strings.ContainsFunc(strings.Join(lines, ""), func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("not printable: %q", b.String())
	}
}

// RPT-82: the same holds for Explain, with hostile text in every field.
func TestExplainIsPrintable(t *testing.T) {
	t.Parallel()
	rep := newReport()
	const bad = "\x1b[2J\t\n\u202e\x00 "
	rep.Organization, rep.Contact, rep.ID = bad, bad, bad
	for i := range rep.Policies {
		p := &rep.Policies[i]
		p.Policy.Domain, p.Policy.Strings = bad, []string{"mode: " + bad}
		p.Summary.Failures += 7
		for _, resultType := range append(tlsrpt.AllResultTypes(), bad) {
			p.Details = append(p.Details, report.Detail{Type: resultType, ReasonCode: bad, MXHost: bad, HELO: bad, Sessions: 1})
		}
	}
	rep.Policies[1].Policy.Type = bad
	text := explained(t, rep)
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
		t.Errorf("not printable: %q", text)
	}
	for line := range strings.Lines(text) {
		if len(line) > 81 {
			t.Errorf("long line: %q", line)
		}
	}
}

func explained(t *testing.T, rep *report.Report) string {
	t.Helper()
	var b strings.Builder
	if err := rep.Explain(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestExplainError(t *testing.T) {
	t.Parallel()
	if err := newReport().WriteTable(failingWriter{}); !errors.Is(err, errWrite) {
		t.Errorf("WriteTable: the error is %v", err)
	}
	if err := newReport().Explain(failingWriter{}); !errors.Is(err, errWrite) {
		t.Errorf("Explain: the error is %v", err)
	}
	if err := (report.Overview{}).Explain(failingWriter{}); !errors.Is(err, errWrite) {
		t.Errorf("Overview.Explain: the error is %v", err)
	}
}

type failingWriter struct{}

var errWrite = errors.New("write failed")

func (failingWriter) Write([]byte) (int, error) { return 0, errWrite }

// reportOf returns the report of a sender and day about failures under one policy, each
// of the same number of sessions.
func reportOf(sender string, day int, policy tlsrpt.Policy, details ...report.Detail) *report.Report {
	start := time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC)
	r := &report.Report{
		Organization: sender, Contact: "tls@sender.example", ID: sender,
		Dates:    report.DateRange{Start: start, End: start.Add(24*time.Hour - time.Second)},
		Policies: []report.PolicyResult{{Policy: policy, Summary: report.Summary{Successes: 10}, Details: details}},
	}
	for _, d := range details {
		r.Policies[0].Summary.Failures += d.Sessions
	}
	return r
}

var (
	daneOf    = tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "mx.example.com"}
	enforceOf = tlsrpt.Policy{Type: tlsrpt.STS, Domain: "example.com", Strings: []string{"version: STSv1", "mode: enforce"}}
	testingOf = tlsrpt.Policy{Type: tlsrpt.STS, Domain: "example.com", Strings: []string{"version: STSv1\r\nmode: testing\r\n"}}
	noneFound = tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}
)

func digestOf(reports ...*report.Report) *report.Digest {
	digest := new(report.Digest)
	for _, r := range reports {
		digest.Add(r)
	}
	return digest
}

func overviewOf(reports ...*report.Report) report.Overview { return digestOf(reports...).Overview() }

// R15: every reason code of this library is explained by its own entry.
func TestR15OwnCodes(t *testing.T) {
	t.Parallel()
	for _, reason := range tlsrpt.Reasons() {
		types := reason.Types
		if types == nil {
			types = tlsrpt.AllResultTypes()
		}
		for _, resultType := range types {
			code := strings.Replace(reason.Code, "*", "404", 1)
			p := overviewOf(reportOf("a", 1, daneOf, report.Detail{Type: resultType, ReasonCode: code, Sessions: 1})).Domains[0].Problems[0]
			if p.Meaning != reason.Meaning || p.Advice != reason.Advice {
				t.Errorf("%s/%s: %q, %q", resultType, code, p.Meaning, p.Advice)
			}
		}
	}
}

// R15: the codes of others are explained like ours for the same cause, and unknown ones by
// the result type.
func TestR15CodesOfOthers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		result tlsrpt.ResultType
		code   string
		like   string
	}{
		{tlsrpt.ValidationFailure, "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED", "path-length"}, // RFC 8460 appendix B
		{tlsrpt.CertificateExpired, "Certificate has expired", "leaf-expired"},
		{tlsrpt.CertificateNotTrusted, "self-signed_certificate", "self-signed"},
		{tlsrpt.CertificateNotTrusted, "self-signed certificate in certificate chain", "unknown-authority"},
		{tlsrpt.CertificateNotTrusted, "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "unknown-authority"},
		{tlsrpt.CertificateNotTrusted, "unable to get local issuer certificate", "unknown-authority"},
		{tlsrpt.ValidationFailure, "X509_V_ERR_HOSTNAME_MISMATCH", "name-not-in-certificate"},
		{tlsrpt.CertificateHostMismatch, "4.7.5 [internal] SSL certificate subject does not match host", "name-not-in-certificate"},
		{tlsrpt.ValidationFailure, "MX_HOSTS_MISMATCH", "mx-not-in-policy"},
		{tlsrpt.ValidationFailure, "tls-remote-alert-40-handshake-failure", "tls-alert-handshake-failure"},
		{tlsrpt.ValidationFailure, "connection-closed-during-handshake", "connection-closed"},
		{tlsrpt.CertificateNotTrusted, "ca-not-authorized-for-this-name", "name-constraints"},
		{tlsrpt.TLSAInvalid, "X509_V_ERR_DANE_NO_MATCH", "tlsa-no-match"},
		{tlsrpt.STSWebPKIInvalid, "certificate is not yet valid", "not-yet-valid"},
		{tlsrpt.ValidationFailure, "VALIDATION_FAILURE", ""},
		{tlsrpt.STSPolicyFetchError, "leaf-expired", ""}, // the code is not one of this type
		{tlsrpt.TLSAInvalid, "", ""},
	} {
		p := overviewOf(reportOf("a", 1, daneOf, report.Detail{Type: test.result, ReasonCode: test.code, Sessions: 1})).Domains[0].Problems[0]
		want, _ := tlsrpt.Explain(tlsrpt.Failure{Type: test.result})
		for _, reason := range tlsrpt.Reasons() {
			if reason.Code == test.like {
				want = reason.Meaning
			}
		}
		if p.Meaning != want {
			t.Errorf("%s/%s: %q, want %q", test.result, test.code, p.Meaning, want)
		}
	}
}

// Each effect, by the policy and the result.
func TestEffectOfEachPolicyAndResult(t *testing.T) {
	t.Parallel()
	unknown := tlsrpt.Policy{Type: tlsrpt.STS, Domain: "example.com"}
	withHosts := enforceOf
	withHosts.MXHosts = []string{"mx.example.com"}
	for _, test := range []struct {
		policy tlsrpt.Policy
		result tlsrpt.ResultType
		want   report.Effect
		says   string
	}{
		{daneOf, tlsrpt.TLSAInvalid, report.MailWaited, "The mail waited"},
		{daneOf, tlsrpt.DNSSECInvalid, report.MailWaited, "The mail waited. What to do:"},
		{enforceOf, tlsrpt.CertificateExpired, report.MailWaited, "The mail waited"},
		{enforceOf, tlsrpt.STSPolicyFetchError, report.MailRemembered, "until that expires"},
		{testingOf, tlsrpt.CertificateExpired, report.MailObserved, "In the mode enforce it would have waited"},
		{testingOf, tlsrpt.STSWebPKIInvalid, report.MailRemembered, "until that expires"},
		{enforceOf, tlsrpt.STSPolicyInvalid, report.MailUnprotected, "unless the sender remembered"},
		{withHosts, tlsrpt.STSPolicyInvalid, report.MailRemembered, "until that expires"},
		{unknown, tlsrpt.STSPolicyFetchError, report.MailUnprotected, "unless the sender remembered"},
		{tlsrpt.Policy{Type: "odd", Domain: "example.com"}, tlsrpt.ValidationFailure, "", "by policy odd"},
		{noneFound, tlsrpt.STARTTLSNotSupported, report.MailUnprotected, "without TLS, or to an impostor"},
		{noneFound, tlsrpt.DANERequired, report.MailWaited, "The mail waited"},
		{unknown, tlsrpt.CertificateExpired, "", "What to do"},
	} {
		rep := reportOf("a", 1, test.policy, report.Detail{Type: test.result, Sessions: 1})
		p := overviewOf(rep).Domains[0].Problems[0]
		if text := strings.Join(strings.Fields(explained(t, rep)), " "); p.Effect != test.want || !strings.Contains(text, test.says) {
			t.Errorf("%s %s: %q\n%s", test.policy.Type, test.result, p.Effect, text)
		}
	}
}

// The worst comes first: mail that waited before failures that were only observed, ongoing
// problems before past ones, many sessions before few. Domains are in the same order.
func TestWorstFailureComesFirst(t *testing.T) {
	t.Parallel()
	fail := func(resultType tlsrpt.ResultType, sessions int64) report.Detail {
		return report.Detail{Type: resultType, Sessions: sessions}
	}
	o := overviewOf(
		reportOf("a", 1, enforceOf, fail(tlsrpt.STARTTLSNotSupported, 500), fail(tlsrpt.STSPolicyFetchError, 900)),
		reportOf("a", 2, enforceOf, fail(tlsrpt.CertificateExpired, 1), fail(tlsrpt.ValidationFailure, 2)),
		reportOf("b", 2, testingOf, fail(tlsrpt.CertificateHostMismatch, 1000)),
		reportOf("b", 2, tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.net"}, fail(tlsrpt.ValidationFailure, 5000)),
		reportOf("b", 2, tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "z.example"}, fail(tlsrpt.ValidationFailure, 6000)),
	)
	var got []string
	for _, d := range o.Domains {
		got = append(got, d.Domain)
		for _, p := range d.Problems {
			got = append(got, string(p.Type))
		}
	}
	const want = "example.com validation-failure certificate-expired starttls-not-supported sts-policy-fetch-error certificate-host-mismatch z.example validation-failure example.net validation-failure"
	if strings.Join(got, " ") != want {
		t.Errorf("the order is %q", got)
	}
}

// The text says since when, at which hosts, and who reports it, and counts what it omits.
func TestOverviewSaysWhenAndWhere(t *testing.T) {
	t.Parallel()
	at := func(resultType tlsrpt.ResultType, host, ip string) report.Detail {
		return report.Detail{Type: resultType, MXHost: host, ReceivingIP: netip.MustParseAddr(ip), Sessions: 2}
	}
	hosts := []report.Detail{at(tlsrpt.TLSAInvalid, "MX1.example.com.", "192.0.2.1"), at(tlsrpt.TLSAInvalid, "mx1.example.com", "192.0.2.2")}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		hosts = append(hosts, report.Detail{Type: tlsrpt.TLSAInvalid, HELO: "250-" + name + ".example.com Hello\r\n250 SIZE", Sessions: 1})
	}
	unexplained := reportOf("c", 4, daneOf)
	unexplained.Policies[0].Summary.Failures = 7
	digest := digestOf(
		reportOf("a", 1, daneOf, append(hosts, at(tlsrpt.STARTTLSNotSupported, "mx1.example.com", "192.0.2.1"))...),
		reportOf("b", 3, daneOf, hosts...), reportOf("b", 3, daneOf, hosts...),
		reportOf("b", 4, daneOf, at(tlsrpt.TLSAInvalid, "mx1.example.com", "2001:db8::1"), at(tlsrpt.CertificateExpired, "mx1.example.com", "192.0.2.1")),
		unexplained,
	)
	for i := range 12 {
		digest.Add(reportOf(fmt.Sprintf("sender%02d", i), 4, daneOf))
	}
	o := digest.Overview()
	var b strings.Builder
	if err := o.Explain(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"16 reports, 2026-03-01 to 2026-03-04 1 duplicate not counted",
		"mx.example.com by DANE 160 sessions met the policy, 33 did not (17.1 %)",
		"1. tlsa-invalid What: No TLSA record matches the host's certificate. Where: 22 sessions at mx1.example.com (192.0.2.1, 192.0.2.2, 2001:db8::1): 10, a.example.com: 2, b.example.com: 2, c.example.com: 2, d.example.com: 2 and 2 more When: since 2026-03-01, last on 2026-03-04 Who: a, b Effect: The mail waited, or another host got it. What to do:",
		"2. certificate-expired What: The host's certificate has expired. Where: 2 sessions at mx1.example.com (192.0.2.1) When: new on 2026-03-04 Who: b",
		"3. starttls-not-supported What: The host offered no STARTTLS. Where: 2 sessions at mx1.example.com (192.0.2.1) When: 2026-03-01, and not since then Who: a",
		"The reports give no reason for 7 failed sessions.",
		"2026-03-01 10 12", "2026-03-03 10 10", "2026-03-04 140 11",
		"20 14 b 10 12 a 10 7 c 10 0 sender00", "10 0 sender06 and 5 more senders 1. tlsa-invalid",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// A report without failures says that there is nothing to do, and so does none at all.
func TestExplainNothingToDo(t *testing.T) {
	t.Parallel()
	if text := explained(t, reportOf("a", 1, daneOf)); !strings.HasSuffix(text, "met the policy, 0 did not\n\nNo session failed: there is nothing to do.\n") {
		t.Errorf("got\n%s", text)
	}
	var b strings.Builder
	if err := (report.Overview{}).Explain(&b); err != nil || !strings.HasPrefix(b.String(), "no reports\n") {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

// RPT-29: where only the refresh of a policy failed, no session did, and the text says what to do
// all the same. So do reports of senders that count such sessions as failed.
func TestExplainFailedRefreshOnly(t *testing.T) {
	t.Parallel()
	ours := reportOf("a", 1, enforceOf, report.Detail{Type: tlsrpt.STSPolicyFetchError, ReasonCode: "http-status-404", Sessions: 10})
	ours.Policies[0].Summary.Failures = 0
	others := reportOf("b", 1, enforceOf, report.Detail{Type: tlsrpt.STSPolicyFetchError, ReasonCode: "http-status-404", Sessions: 10})
	for _, test := range []struct {
		rep  *report.Report
		want string
	}{
		{ours, "10 sessions met the policy, 0 did not"},
		{others, "10 sessions met the policy, 10 did not (50.0 %)"},
	} {
		text := strings.Join(strings.Fields(explained(t, test.rep)), " ")
		for _, want := range []string{
			test.want, "1. sts-policy-fetch-error, http-status-404", "How often: 10 sessions",
			"The sender goes on with the policy that it remembers", "What to do: Serve the policy at",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
		if strings.Contains(text, "nothing to do") || strings.Contains(text, "no reason") {
			t.Errorf("got\n%s", text)
		}
		if d := overviewOf(test.rep).Domains[0]; d.Unexplained != 0 || d.Successes != 10 || d.Problems[0].Sessions != 10 || d.Problems[0].Effect != report.MailRemembered {
			t.Errorf("%+v", d)
		}
	}
}

// RPT-29: sessions that met the remembered policy explain no failures of other sessions. Where a sender counts
// them as failed, they explain those.
func TestRememberedPolicyExplainsNoFailure(t *testing.T) {
	t.Parallel()
	const successes = 10 // of reportOf
	fetch := func(n int64) report.Detail {
		return report.Detail{Type: tlsrpt.STSPolicyFetchError, ReasonCode: "http-status-404", Sessions: n}
	}
	host := func(n int64) report.Detail {
		return report.Detail{Type: tlsrpt.CertificateExpired, MXHost: "mx.example.com", Sessions: n}
	}
	for name, test := range map[string]struct {
		failures    int64
		details     []report.Detail
		unexplained int64
	}{
		"only successes":                      {0, []report.Detail{fetch(successes)}, 0},
		"failures without details":            {5, []report.Detail{fetch(successes)}, 5},
		"some without details":                {5, []report.Detail{fetch(successes), host(2)}, 3},
		"failures with both details":          {5, []report.Detail{fetch(successes + 5), host(5)}, 0},
		"two kinds of details":                {8, []report.Detail{fetch(6), fetch(4), host(1)}, 7},
		"counted as failed":                   {10, []report.Detail{fetch(10)}, 0},
		"counted as failed, some with both":   {10, []report.Detail{fetch(10), host(3)}, 0},
		"counted as failed, some unexplained": {10, []report.Detail{fetch(6), host(1)}, 3},
		"more details than failures":          {2, []report.Detail{host(9)}, 0},
	} {
		r := reportOf("a", 1, enforceOf, test.details...)
		r.Policies[0].Summary.Failures = test.failures
		if d := overviewOf(r).Domains[0]; d.Unexplained != test.unexplained || d.Failures != test.failures {
			t.Errorf("%s: %d of %d failures unexplained, want %d", name, d.Unexplained, d.Failures, test.unexplained)
		}
	}
}

// Programs read the overview in JSON.
func TestOverviewJSON(t *testing.T) {
	t.Parallel()
	o := overviewOf(reportOf("a", 1, enforceOf, report.Detail{Type: tlsrpt.CertificateExpired, ReasonCode: "leaf-expired", MXHost: "mx.example.com", ReceivingIP: netip.MustParseAddr("192.0.2.1"), Sessions: 3}))
	got, err := json.Marshal(o)
	const want = `{"reports":1,"duplicates":0,"first":"2026-03-01","last":"2026-03-01","domains":[{"domain":"example.com","type":"sts","mode":"enforce",` +
		`"successes":10,"failures":3,"first":"2026-03-01","last":"2026-03-01","days":[{"day":"2026-03-01","successes":10,"failures":3}],` +
		`"senders":[{"sender":"a","successes":10,"failures":3}],"problems":[{"type":"certificate-expired","reason_code":"leaf-expired",` +
		`"meaning":"the server's certificate has expired","advice":"renew the certificate, and make the server load it","effect":"waited","sessions":3,` +
		`"first":"2026-03-01","last":"2026-03-01","hosts":[{"host":"mx.example.com","addresses":["192.0.2.1"],"sessions":3}],"senders":["a"]}]}]}`
	if err != nil || string(got) != want {
		t.Errorf("got\n%s, %v\nwant\n%s", got, err, want)
	}
	var back report.Overview
	if err := json.Unmarshal(got, &back); err != nil || back.Domains[0].Days[0].Day != report.DayOf(day) {
		t.Errorf("read back as %+v, %v", back, err)
	}
	read := report.Day(7)
	if err := read.UnmarshalText([]byte("yesterday")); err == nil || read != 7 {
		t.Errorf("yesterday was read as day %d, %v; want an error and no change", read, err)
	}
	if got, err := json.Marshal(overviewOf()); err != nil || !strings.Contains(string(got), `"domains":[]`) {
		t.Errorf("of no reports: %s, %v", got, err)
	}
}
