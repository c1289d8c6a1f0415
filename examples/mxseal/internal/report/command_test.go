package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

const begin = `{"organization-name":"S","date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-01T23:59:59Z"},
"contact-info":"tls@sender.example","report-id":"1","policies":[{"policy":{"policy-type":"sts","policy-domain":"example.com"},
"summary":{"total-successful-session-count":1,"total-failure-session-count":9},"failure-details":[`

// A report is printed as a table with advice. A file that is not a report is an
// error.
func TestReportIsPrintedWithAdvice(t *testing.T) {
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

// Files, directories, an mbox and standard input are read. What is no report is left out
// where other mail is expected, and does not hide the others.
func TestReportsAreReadFromFilesAndDirectories(t *testing.T) {
	t.Parallel()
	good, dir := begin+`]}]}`, t.TempDir()
	day := func(date string) string { return strings.ReplaceAll(good, "2026-03-01", date) }
	mail := func(text string) string {
		return "From x Thu Jan  1 00:00:00 2026\nFrom: a@b.example\nContent-Type: application/tlsrpt+json\n\n" + strings.ReplaceAll(text, "\n", " ") + "\n\n"
	}
	letter := "From x Thu Jan  1 00:00:00 2026\nFrom: a@b.example\nSubject: hello\n\nHello.\n\n"
	for name, text := range map[string]string{
		"good": good, "none": "Dear Sir or Madam", "box/mbox": mail(day("2026-03-02")) + letter + mail(day("2026-03-03")),
		"many/a": day("2026-03-01"), "many/b": day("2026-03-02"), "many/c": day("2026-03-09"), "many/letter": letter, "empty/letter": letter,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args   string
		code   int
		want   []string
		stderr string
	}{
		{"good", 0, []string{"example.com"}, ""},
		{"-", 0, []string{"example.com"}, ""},
		{"many", 0, []string{"sessions by day", "  2026-03-01 ====", "  2026-03-02 ", "  ...\n  2026-03-09 ", " 10, 9 failed\n"}, ""},
		{"-each many", 0, []string{"2026-03-01", "2026-03-02", "2026-03-09"}, ""},
		{"many -json", 0, []string{`{"reports":3,`, `"failures":27`}, ""},
		{"box/mbox", 0, []string{"  2026-03-02 ", "  2026-03-03 "}, ""},
		{"missing none", cli.ExitUsage, nil, "/none: report: "},
		{"box", 0, []string{"  2026-03-02 ", "  2026-03-03 "}, ""},
		{"none", cli.ExitUsage, nil, "/none: report: "},
		{"none good", cli.ExitUsage, []string{"example.com"}, "/none: "},
		{"empty", cli.ExitUsage, nil, "/empty: "},
		{"missing", cli.ExitUsage, nil, "/missing: "},
		{"", cli.ExitUsage, nil, "want at least one file"},
		{"-x", cli.ExitUsage, nil, "-x"},
		{"-each -json good", cli.ExitUsage, nil, "cannot be used together"},
	} {
		var stdout, stderr strings.Builder
		args := strings.Fields(tt.args)
		for i, arg := range args {
			if arg[0] != '-' {
				args[i] = filepath.Join(dir, arg)
			}
		}
		env := &cli.Env{Stdin: strings.NewReader(good), Stdout: &stdout, Stderr: &stderr}
		if code := run(t.Context(), env, args); code != tt.code {
			t.Errorf("%q: exit status %d, want %d: %s", tt.args, code, tt.code, stderr.String())
		}
		rest := stdout.String()
		for _, want := range tt.want {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Errorf("%q: no %q where it belongs in\n%s", tt.args, want, stdout.String())
				break
			}
			rest = after
		}
		if !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.Len() > 0 {
			t.Errorf("%q: standard error: %q", tt.args, stderr.String())
		}
	}
}

// A day with few sessions, or few failures, can be seen, and no bar is longer than the
// longest one.
func TestBarShowsFewSessions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		successes, failures int64
		most                uint64
		met, failed         int
	}{
		{100, 0, 100, barWidth, 0},
		{0, 100, 100, 0, barWidth},
		{99999, 1, 100000, barWidth - 1, 1},
		{1, 99999, 100000, 0, barWidth},
		{1, 1, 100000, 1, 1},
		{50, 25, 100, barWidth / 2, barWidth / 4},
		{0, 0, 0, 0, 0},
	} {
		met, failed := bar(report.DaySum{Successes: tt.successes, Failures: tt.failures}, tt.most)
		if met != tt.met || failed != tt.failed {
			t.Errorf("%d and %d of %d: %d and %d, want %d and %d", tt.successes, tt.failures, tt.most, met, failed, tt.met, tt.failed)
		}
	}
}
