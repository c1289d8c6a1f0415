package tlsrpt_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/imports"
)

// Imports go one way: reporter imports report, report imports tlsrpt, and none of them
// imports another package of the module that is not internal.
func TestImports(t *testing.T) {
	t.Parallel()
	const module = "github.com/mxseal/mxseal/"
	for dir, allowed := range map[string][]string{
		".":        nil,
		"report":   {"tlsrpt"},
		"reporter": {"tlsrpt", "tlsrpt/report"},
	} {
		files := imports.Of(t, dir, func(file, path string) {
			own, isOwn := strings.CutPrefix(path, module)
			if isOwn && !slices.Contains(allowed, own) && !strings.Contains("/"+own, "/internal/") {
				t.Errorf("%s imports %s", file, path)
			}
		})
		if files == 0 {
			t.Errorf("no file in %s", dir)
		}
	}
}
