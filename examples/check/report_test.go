package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const begin = `{"organization-name":"S","date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-01T23:59:59Z"},
"contact-info":"tls@sender.example","report-id":"1","policies":[{"policy":{"policy-type":"sts","policy-domain":"example.com"},
"summary":{"total-successful-session-count":1,"total-failure-session-count":9},"failure-details":[`

// A report is printed as a table with advice. A file that is not a report is an
// error.
func TestReport(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		code       int
		want       []string
	}{
		{
			name: "failures, the most frequent first",
			text: begin + `{"result-type":"certificate-expired","receiving-mx-hostname":"mx1.example.com","failed-session-count":1},
				{"result-type":"tlsa-invalid","receiving-mx-hostname":"mx2.example.com","failed-session-count":3},
				{"result-type":"tlsa-invalid","receiving-mx-hostname":"mx3.example.com","failed-session-count":5}]}]}`,
			want: []string{"9 did not (90.0 %)", "5         tlsa-invalid", "1         certificate-expired", "What to do",
				"tlsa-invalid (mx2.example.com, mx3.example.com): no TLSA record matches", "certificate-expired (mx1.example.com): renew"},
		},
		{
			name: "RPT-82 a terminal is not told what to do",
			text: begin + `{"result-type":"\u001b[2Jx","receiving-mx-hostname":"\u001b]0;x","failed-session-count":1}]}]}`,
			want: []string{`?[2Jx (?]0;x): this result is none of RFC 8460`},
		},
		{
			name: "RPT-29 nothing failed",
			text: strings.Replace(begin, `,"failure-details":[`, "}]}", 1),
			want: []string{"there is nothing to do"},
		},
		{name: "no report", text: "Dear Sir or Madam", code: exitUsage, want: []string{"check: report: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "report")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if code := run(t.Context(), []string{"-report", file}, &out, &out, deps{}); code != tt.code {
				t.Errorf("exit status %d", code)
			}
			rest := out.String()
			for _, want := range tt.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("no %q where it belongs in\n%s", want, out.String())
				}
				rest = after
			}
			if strings.Contains(out.String(), "\x1b") {
				t.Errorf("%q", out.String())
			}
		})
	}
}

// -report and domains exclude each other.
func TestReportUsage(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if code := run(t.Context(), []string{"-report", "x", "example.org"}, &out, &out, deps{}); code != exitUsage || !strings.Contains(out.String(), "usage") {
		t.Errorf("%d %s", code, out.String())
	}
	if code := run(t.Context(), []string{"-report", filepath.Join(t.TempDir(), "none")}, &out, &out, deps{}); code != exitUsage {
		t.Errorf("a file that is not there: %d", code)
	}
}
