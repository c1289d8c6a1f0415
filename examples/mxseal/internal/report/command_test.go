package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
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
			want: []string{"9 did not (90.0 %)", "1. tlsa-invalid", "No TLSA record matches", "8 sessions at mx3.example.com: 5, mx2.example.com: 3", "What to do:",
				"2. certificate-expired", "mx1.example.com", "What to do: Renew"},
		},
		{
			name: "RPT-82 a terminal is not told what to do",
			text: begin + `{"result-type":"\u001b[2Jx","receiving-mx-hostname":"\u001b]0;x","failed-session-count":1}]}]}`,
			want: []string{`1. ?[2Jx`, "a result that RFC 8460 does not have", `?]0;x`},
		},
		{
			name: "failures without a reason",
			text: strings.Replace(begin, `,"failure-details":[`, "}]}", 1),
			want: []string{"no reason for 9 failed sessions"},
		},
		{
			name: "RPT-29 nothing failed",
			text: strings.NewReplacer(`,"failure-details":[`, "}]}", `failure-session-count":9`, `failure-session-count":0`).Replace(begin),
			want: []string{"there is nothing to do"},
		},
		{name: "no report", text: "Dear Sir or Madam", code: cli.ExitUsage, want: []string{"mxseal report: ", "/report: report: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "report")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if code := run(t.Context(), &cli.Env{Stdout: &out, Stderr: &out}, []string{file}); code != tt.code {
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

// Several files are explained one after another, and one that is no report does not hide
// the others. "-" is standard input.
func TestFiles(t *testing.T) {
	t.Parallel()
	good := begin + `]}]}`
	file := filepath.Join(t.TempDir(), "good")
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	for _, tt := range []struct {
		args  []string
		code  int
		count int
	}{
		{[]string{file, file}, 0, 2},
		{[]string{"-"}, 0, 1},
		{[]string{none, file}, cli.ExitUsage, 1},
		{nil, cli.ExitUsage, 0},
		{[]string{"-x"}, cli.ExitUsage, 0},
	} {
		var stdout, stderr strings.Builder
		env := &cli.Env{Stdin: strings.NewReader(good), Stdout: &stdout, Stderr: &stderr}
		if code := run(t.Context(), env, tt.args); code != tt.code {
			t.Errorf("%q: exit status %d: %s", tt.args, code, stderr.String())
		}
		if got := strings.Count(stdout.String(), "example.com"); (got > 0) != (tt.count > 0) || got%max(tt.count, 1) != 0 {
			t.Errorf("%q: want %d reports:\n%s", tt.args, tt.count, stdout.String())
		}
		if (tt.code != 0) != (stderr.Len() > 0) {
			t.Errorf("%q: standard error: %q", tt.args, stderr.String())
		}
	}
}
