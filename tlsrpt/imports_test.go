package tlsrpt_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
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
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				own, isOwn := strings.CutPrefix(path, module)
				if isOwn && !slices.Contains(allowed, own) && !strings.Contains("/"+own, "/internal/") {
					t.Errorf("%s imports %s", file, path)
				}
			}
		}
	}
}
