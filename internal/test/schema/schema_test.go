package schema_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/schema"
)

func newChecker(t *testing.T) *schema.Checker {
	t.Helper()
	checker, err := schema.NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	return checker
}

// The schema accepts what RFC 8460 section 4.4 requires, and nothing else.
func TestCheckAcceptsOnlyWhatRFCRequires(t *testing.T) {
	t.Parallel()
	checker := newChecker(t)
	const good = `{"organization-name":"Sender","date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-01T23:59:59Z"},` +
		`"contact-info":"tls@sender.example","report-id":"1","policies":[{"policy":{"policy-type":"sts","policy-domain":"example.com",` +
		`"mx-host":["mx.example.com"]},"summary":{"total-successful-session-count":1,"total-failure-session-count":1},` +
		`"failure-details":[{"result-type":"certificate-expired","failed-session-count":1}]}]}`
	if err := checker.Check([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"null for what is absent":      {`"report-id":"1"`, `"report-id":null`},
		"an empty string":              {`"report-id":"1"`, `"report-id":""`},
		"a string for an array":        {`["mx.example.com"]`, `"mx.example.com"`},
		"a string for a number":        {`-session-count":1,`, `-session-count":"1",`},
		"a fraction":                   {`-session-count":1,`, `-session-count":1.5,`},
		"a negative number":            {`-session-count":1,`, `-session-count":-1,`},
		"a time without zone":          {`00:00:00Z`, `00:00:00`},
		"a U-label":                    {`"policy-domain":"example.com"`, `"policy-domain":"grün.example"`},
		"an unknown result type":       {`certificate-expired`, `certificate-old`},
		"an unknown policy type":       {`"sts"`, `"mta-sts"`},
		"no summary":                   {`"summary"`, `"sum"`},
		"an empty array of policies":   {good[strings.Index(good, `"policies":`):], `"policies":[]}`},
		"no JSON":                      {`{`, `[`},
		"nothing but the organization": {good, `{"organization-name":"Sender"}`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: no change", name)
		}
		if err := checker.Check([]byte(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// modules maps the directory of each module whose tests produce reports to the
// minimum number of different reports.
var modules = map[string]int{
	"../../..":                    200,
	"../../../policy/valkeystore": 20,
	"../../../examples/mxseal":    2,
}

// simulations are tests that produce very many reports, all in the form of those of others.
// They run only with MXSEAL_LONG=1.
const simulations = "^Test(SimulatedWeek|SimulatedWeekWithoutCrashes|HostileWeek|R3.*)$"

// Each report that a test of the library produces has the form of the schema. The tests
// run again with the environment variable that makes package reporttest save them.
func TestReportsOfAllTests(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the tests of other packages")
	}
	t.Parallel()
	flags := []string{"test", "-count=1"}
	if os.Getenv("MXSEAL_LONG") == "" {
		flags = append(flags, "-skip", simulations)
	}
	checker := newChecker(t)
	for module, least := range modules {
		t.Run(filepath.Base(module), func(t *testing.T) {
			t.Parallel() // most of these tests wait for servers
			dir := t.TempDir()
			packages := reportPackages(t, module)
			command(t, module, []string{"MXSEAL_REPORTS=" + dir}, append(slices.Clone(flags), packages...)...)
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil {
				t.Fatal(err)
			}
			if len(files) < least {
				t.Errorf("the tests of %q produced %d reports, want at least %d", packages, len(files), least)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err == nil {
					err = checker.Check(text)
				}
				if err != nil {
					t.Error(err)
				}
			}
			t.Logf("%d reports of %q", len(files), packages)
		})
	}
}

// reportPackages returns the packages of a module whose tests use package reporttest.
func reportPackages(t *testing.T, module string) []string {
	t.Helper()
	const format = "{{.ImportPath}} {{join .TestImports \",\"}},{{join .XTestImports \",\"}},"
	var packages []string
	for line := range strings.Lines(command(t, module, nil, "list", "-f", format, "./...")) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.Contains(imports, "/internal/test/reporttest,") {
			packages = append(packages, name)
		}
	}
	if len(packages) == 0 {
		t.Fatalf("no package of %s uses package reporttest", module)
	}
	return packages
}

// command runs the go command in the directory of a module and returns its output.
func command(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var problems strings.Builder
	cmd.Stderr = &problems
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, output, problems.String()))
	}
	return string(output)
}
