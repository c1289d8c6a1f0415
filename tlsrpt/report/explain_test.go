package report_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

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

func TestExplainError(t *testing.T) {
	t.Parallel()
	if err := newReport().WriteTable(failingWriter{}); !errors.Is(err, errWrite) {
		t.Errorf("WriteTable: the error is %v", err)
	}
	if err := newReport().Explain(failingWriter{}); !errors.Is(err, errWrite) {
		t.Errorf("Explain: the error is %v", err)
	}
}

type failingWriter struct{}

var errWrite = errors.New("write failed")

func (failingWriter) Write([]byte) (int, error) { return 0, errWrite }

// The problems are sorted by frequency, with at most five hosts each.
func TestExplainProblems(t *testing.T) {
	t.Parallel()
	rep := newReport()
	p := &rep.Policies[0]
	p.Details = []report.Detail{{Type: tlsrpt.CertificateExpired, MXHost: "mx.example.com", Sessions: 2}}
	for i := range 7 {
		p.Details = append(p.Details, report.Detail{Type: tlsrpt.TLSAInvalid, MXHost: fmt.Sprintf("mx%d.example.com", i), Sessions: 1})
	}
	var b strings.Builder
	if err := rep.Explain(&b); err != nil {
		t.Fatal(err)
	}
	_, problems, _ := strings.Cut(b.String(), "What to do\n")
	first, second, _ := strings.Cut(problems, "\n")
	if !strings.HasPrefix(first, "  tlsa-invalid (mx0.example.com, mx1.example.com, mx2.example.com, mx3.example.com, mx4.example.com and 2 more): ") ||
		!strings.HasPrefix(second, "  certificate-expired (mx.example.com): ") {
		t.Errorf("problems:\n%s", problems)
	}
}

// Each registered result has its own advice (RPT-64).
func TestAdvice(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{report.Advice("weather"): true}
	for _, result := range tlsrpt.AllResultTypes() {
		advice := report.Advice(result)
		if advice == "" || seen[advice] {
			t.Errorf("%s: %q", result, advice)
		}
		seen[advice] = true
	}
}
