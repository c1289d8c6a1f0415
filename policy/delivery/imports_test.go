package delivery_test

import (
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The package uses only what package policy exports, like any program with an SMTP
// client of its own. It must not reach behind it, to DNS or to policies.
func TestImports(t *testing.T) {
	t.Parallel()
	allowed := []string{
		"github.com/mxseal/mxseal/policy", "github.com/mxseal/mxseal/tlsrpt", "github.com/mxseal/mxseal/internal/names",
		"github.com/mxseal/mxseal/internal/tlsalert",
		"github.com/mxseal/mxseal/policy/delivery/internal/message", "github.com/mxseal/mxseal/policy/delivery/internal/wire",
		"github.com/mxseal/mxseal/policy/delivery/internal/dsn", "github.com/mxseal/mxseal/policy/delivery/internal/conversation",
		"github.com/mxseal/mxseal/policy/delivery/internal/handover", "github.com/mxseal/mxseal/policy/delivery/internal/login",
		"github.com/mxseal/mxseal/policy/delivery/internal/parking",
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		seen++
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(path, "/")
			if standard := !strings.Contains(first, "."); !standard && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", file.Name(), path)
			}
		}
	}
	if seen == 0 {
		t.Error("no file was read")
	}
}
