package tlsrpt_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
)

func ExampleReport_WriteTable() {
	file, err := os.Open("testdata/appendix-b.json")
	if err != nil {
		panic(err)
	}
	defer file.Close()
	report, err := tlsrpt.ParseReport(file)
	if err != nil {
		panic(err)
	}
	if err := report.WriteTable(os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// Company-X <sts-reporting@company-x.example>, report 5065427c-23d3-47ca-b6e0-946ea0e8c4be
	// 2016-04-01T00:00:00Z to 2016-04-01T23:59:59Z
	//
	// sts company-y.example: 5326 sessions met the policy, 303 did not (5.4 %)
	//   SESSIONS  RESULT                  REASON                                 MX HOST                           ADDRESS       FROM
	//   200       starttls-not-supported  -                                      mx2.mail.company-y.example        203.0.113.56  2001:db8:abcd:13::1
	//   100       certificate-expired     -                                      mx1.mail.company-y.example        -             2001:db8:abcd:12::1
	//   3         validation-failure      X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED  mx-backup.mail.company-y.example  203.0.113.58  198.51.100.62
}

// RPT-82: a report cannot do anything to the terminal that shows it.
func TestReportTableIsPrintable(t *testing.T) {
	t.Parallel()
	report := newReport()
	const bad = "\x1b[2J\t\n\u202e"
	report.Organization, report.Contact, report.ID = bad, bad, bad
	p := &report.Policies[0]
	p.Policy.Type, p.Policy.Domain = bad, bad
	d := &p.Details[0]
	d.Type, d.ReasonCode, d.MXHost = bad, bad, bad
	var b strings.Builder
	if err := report.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 2+2*len(report.Policies)+1+len(p.Details) {
		t.Errorf("%d lines:\n%s", len(lines), b.String())
	}
	if strings.ContainsFunc(strings.Join(lines, ""), func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("not printable: %q", b.String())
	}
}

func TestReportTableError(t *testing.T) {
	t.Parallel()
	if err := newReport().WriteTable(failingWriter{}); !errors.Is(err, errTemporary) {
		t.Errorf("the error is %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errTemporary }
