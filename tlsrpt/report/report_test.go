package report_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// day is the UTC day of the reports in these tests.
var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// newReport returns a report with all kinds of content.
func newReport() *report.Report {
	return &report.Report{
		Organization: "Sender Söhne",
		Dates:        report.DateRange{Start: day, End: day.Add(24*time.Hour - time.Second)},
		Contact:      "tls-reports@sender.example",
		ID:           "1",
		Policies: []report.PolicyResult{{
			Policy: tlsrpt.Policy{
				Type: tlsrpt.STS, Domain: "example.com",
				Strings: []string{"version: STSv1", "mode: enforce", "mx: *.example.com", "max_age: 86400"},
				MXHosts: []string{"*.example.com"},
			},
			Summary: report.Summary{Successes: 3, Failures: 2},
			Details: []report.Detail{{
				Type: tlsrpt.CertificateNotTrusted, ReasonCode: "self-signed",
				SendingIP: netip.MustParseAddr("192.0.2.1"), ReceivingIP: netip.MustParseAddr("2001:db8::1"),
				MXHost: "mx.example.com", HELO: "mx<1>.example.com", Sessions: 1,
			}, {
				Type: tlsrpt.STSPolicyFetchError, Sessions: 1, Info: "https://sender.example/why?x=1#y",
			}},
		}, {
			Policy: tlsrpt.Policy{
				Type: tlsrpt.TLSA, Domain: "mx.example.com", Strings: []string{"3 1 1 1f850a"},
			},
			Summary: report.Summary{Successes: 5},
		}, {
			Policy:  tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"},
			Summary: report.Summary{Successes: 1},
		}},
	}
}

func marshal(t testing.TB, r *report.Report) []byte {
	t.Helper()
	text, err := reporttest.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// RPT-22, RPT-23, RPT-24, RPT-25, RPT-26, RPT-31, RPT-32, RPT-33, RPT-34,
// RPT-35, RPT-36, RPT-37, RPT-38, RPT-39, RPT-40, RPT-41, RPT-42, RPT-43,
// RPT-44, RPT-45, RPT-46, RPT-47, RPT-48, RPT-49, RPT-51; field note 58: a
// report has no null and no empty strings, arrays even for single values, and
// no members for unknown values.
func TestReportJSON(t *testing.T) {
	t.Parallel()
	want := `{"organization-name":"Sender Söhne",` +
		`"date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-01T23:59:59Z"},` +
		`"contact-info":"tls-reports@sender.example","report-id":"1","policies":[` +
		`{"policy":{"policy-type":"sts","policy-domain":"example.com",` +
		`"policy-string":["version: STSv1","mode: enforce","mx: *.example.com","max_age: 86400"],` +
		`"mx-host":["*.example.com"]},` +
		`"summary":{"total-successful-session-count":3,"total-failure-session-count":2},` +
		`"failure-details":[{"result-type":"certificate-not-trusted","sending-mta-ip":"192.0.2.1",` +
		`"receiving-mx-hostname":"mx.example.com","receiving-mx-helo":"mx<1>.example.com",` +
		`"receiving-ip":"2001:db8::1","failed-session-count":1,"failure-reason-code":"self-signed"},` +
		`{"result-type":"sts-policy-fetch-error","failed-session-count":1,` +
		`"additional-information":"https://sender.example/why?x=1#y"}]},` +
		`{"policy":{"policy-type":"tlsa","policy-domain":"mx.example.com","policy-string":["3 1 1 1f850a"]},` +
		`"summary":{"total-successful-session-count":5,"total-failure-session-count":0}},` +
		`{"policy":{"policy-type":"no-policy-found","policy-domain":"example.com"},` +
		`"summary":{"total-successful-session-count":1,"total-failure-session-count":0}}]}`
	rep := newReport()
	// Reports are in whole seconds of UTC (RPT-32, AMB-8).
	rep.Dates.Start = rep.Dates.Start.In(time.FixedZone("", 3600))
	rep.Dates.End = rep.Dates.End.Add(999 * time.Millisecond)
	if got := string(marshal(t, rep)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	back, err := report.Parse(strings.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, newReport()) {
		t.Errorf("read back as\n%+v", back)
	}
}

// MarshalJSON returns an error for a report that RFC 8460 section 4 does not
// allow.
func TestReportThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	details := func(r *report.Report) *report.Detail { return &r.Policies[0].Details[0] }
	tests := map[string]func(*report.Report){
		"RPT-23 policies":             func(r *report.Report) { r.Policies = nil },
		"RPT-31 organization-name":    func(r *report.Report) { r.Organization = "" },
		"RPT-32 date-range":           func(r *report.Report) { r.Dates.End = r.Dates.Start },
		"RPT-32 no date-range":        func(r *report.Report) { r.Dates = report.DateRange{} },
		"RPT-33 contact-info":         func(r *report.Report) { r.Contact = "sender.example" },
		"RPT-33 contact-info name":    func(r *report.Report) { r.Contact = "X <x@sender.example>" },
		"RPT-34 report-id":            func(r *report.Report) { r.ID = "" },
		"RPT-35 policy-type":          func(r *report.Report) { r.Policies[0].Policy.Type = "dane" },
		"RPT-37 policy-domain":        func(r *report.Report) { r.Policies[0].Policy.Domain = "grün.example" },
		"RPT-38 mx-host in U-labels":  func(r *report.Report) { r.Policies[0].Policy.MXHosts[0] = "*.grün.example" },
		"RPT-38 mx-host of tlsa":      func(r *report.Report) { r.Policies[1].Policy.MXHosts = []string{"mx.example.com"} },
		"RPT-39 summary":              func(r *report.Report) { r.Policies[0].Summary.Successes = -1 },
		"RPT-22 summary":              func(r *report.Report) { r.Policies[0].Summary.Successes = 1 << 53 },
		"RPT-40 RPT-64 result-type":   func(r *report.Report) { details(r).Type = "weather" },
		"RPT-41 address with zone":    func(r *report.Report) { details(r).SendingIP = netip.MustParseAddr("fe80::1%eth0") },
		"RPT-44 address in another":   func(r *report.Report) { details(r).ReceivingIP = netip.MustParseAddr("::ffff:192.0.2.1") },
		"RPT-45 failed sessions none": func(r *report.Report) { details(r).Sessions = 0 },
		"RPT-45 more than all":        func(r *report.Report) { details(r).Sessions = 3 },
		"RPT-45 more than there are":  func(r *report.Report) { r.Policies[0].Details[1].Sessions = 6 },
		"RPT-46 additional-info":      func(r *report.Report) { details(r).Info = "see the web page" },
		"RPT-51 policy-string":        func(r *report.Report) { r.Policies[2].Policy.Strings = []string{"x"} },
	}
	for clause, change := range tests {
		t.Run(clause, func(t *testing.T) {
			t.Parallel()
			rep := newReport()
			change(rep)
			if text, err := rep.MarshalJSON(); err == nil {
				t.Errorf("written as %s", text)
			}
		})
	}
}

// The report of RFC 8460 appendix B can be read and written. It changes in
// three ways: mx-host is an array (AMB-5), addresses are in the form of RFC
// 5952, and the URI has no spaces.
func TestAppendixBRoundTrip(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/appendix-b.json")
	if err != nil {
		t.Fatal(err)
	}
	rep, err := report.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	written := marshal(t, rep)
	again, err := report.Parse(bytes.NewReader(written))
	if err != nil || !reflect.DeepEqual(rep, again) {
		t.Errorf("read back as\n%+v, %v\nnot\n%+v", again, err, rep)
	}
	want := strings.NewReplacer(
		`"mx-host": "*.mail.company-y.example"`, `"mx-host": ["*.mail.company-y.example"]`,
		":0012::", ":12::", ":0013::", ":13::",
		"report_info ? id = 5065427 c - 23 d3# StarttlsNotSupported ",
		"report_info%20?%20id%20=%205065427%20c%20-%2023%20d3#%20StarttlsNotSupported%20",
	).Replace(string(text))
	if !reflect.DeepEqual(decode(t, written), decode(t, []byte(want))) {
		t.Errorf("got\n%s\nwant\n%s", written, want)
	}
}

func decode(t *testing.T, text []byte) (value any) {
	t.Helper()
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return value
}

// A Report can be part of other JSON values.
func TestReportInOtherJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(map[string]any{"report": newReport()})
	if err != nil {
		t.Fatal(err)
	}
	var back struct{ Report report.Report }
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(&back.Report, newReport()) {
		t.Errorf("read back as %+v, %v", back.Report, err)
	}
}
