package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
)

// A report may have so many policies with so many sessions that their sum is the greatest
// number. The bars of the chart stay as long as others.
func TestChartOfTheGreatestNumbers(t *testing.T) {
	t.Parallel()
	const policy = `{"policy":{"policy-type":"sts","policy-domain":"example.com"},
		"summary":{"total-successful-session-count":%[1]d,"total-failure-session-count":%[1]d}}`
	write := func(file string, day, policies int, sessions int64) {
		all := strings.Repeat(","+fmt.Sprintf(policy, sessions), policies)[1:]
		text := fmt.Sprintf(`{"organization-name":"S","date-range":{"start-datetime":"2026-03-%02[1]dT00:00:00Z","end-datetime":"2026-03-%02[1]dT23:59:59Z"},
			"contact-info":"tls@sender.example","report-id":"%[1]d","policies":[%[2]s]}`, day, all)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, policies := range []int{512, 2000} { // half of the greatest number, and all of it
		dir := t.TempDir()
		write(filepath.Join(dir, "1"), 1, policies, 1<<53-1)
		write(filepath.Join(dir, "2"), 2, 1, 500)
		var out strings.Builder
		if code := run(t.Context(), &cli.Env{Stdout: &out, Stderr: &out}, []string{dir}); code != 0 {
			t.Errorf("exit status %d", code)
		}
		want := "2026-03-01 " + strings.Repeat("=", barWidth/2) + strings.Repeat("#", barWidth/2) + " 9"
		if policies == 2000 {
			want = "2026-03-01 " + strings.Repeat("=", barWidth/2) + strings.Repeat("#", barWidth/2) + " 18446744073709551614, 9223372036854775807 failed"
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
