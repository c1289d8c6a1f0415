package conformance

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mxseal/mxseal"

// mayImport has what each package may import of ours, besides internal/ at the
// root and the packages in its own internal/. The diagram is in ARCHITECTURE.md.
var mayImport = map[string][]string{
	"policy":                                {"dane", "dane/dnssec", "mtasts", "tlsrpt"},
	"policy/delivery":                       {"policy", "tlsrpt"},
	"policy/postfix":                        {"policy", "mtasts", "dane", "dane/dnssec"},
	"policy/metrics":                        {"policy", "policy/delivery", "policy/postfix", "mtasts", "dane/dnssec", "tlsrpt", "tlsrpt/reporter"},
	"policy/boltstore":                      {"mtasts", "tlsrpt", "tlsrpt/report", "tlsrpt/reporter"},
	"policy/valkeystore":                    {"mtasts", "tlsrpt", "tlsrpt/report", "tlsrpt/reporter"},
	"policy/storetest":                      {"mtasts", "tlsrpt", "tlsrpt/report", "tlsrpt/reporter"},
	"dane":                                  {"dane/dnssec"},
	"dane/dnssec":                           {},
	"dane/dnssec/internal/upstream":         {"dane/dnssec/internal/resolvconf"},
	"dane/dnssec/internal/anchor":           {"dane/dnssec/internal/proof"},
	"dane/dnssec/internal/private":          {"dane/dnssec/internal/anchor", "dane/dnssec/internal/proof", "dane/dnssec/internal/upstream"},
	"dane/dnssec/internal/guess":            {"dane/dnssec/internal/memory", "dane/dnssec/internal/proof"},
	"dane/dnssec/internal/hosts":            {"dane/dnssec/internal/proof"},
	"dane/dnssec/internal/memory":           {},
	"dane/dnssec/internal/nat64":            {"dane/dnssec/internal/upstream"},
	"dane/dnssec/internal/probe":            {"dane/dnssec/internal/advice", "dane/dnssec/internal/upstream"},
	"dane/dnssec/internal/zonetext":         {"dane/dnssec/internal/proof", "dane/dnssec/internal/upstream"},
	"dane/dnssec/internal/resolvconf":       {},
	"dane/dnssec/internal/proof":            {},
	"mtasts":                                {},
	"tlsrpt":                                {},
	"tlsrpt/report":                         {"tlsrpt", "tlsrpt/internal/syntax"},
	"tlsrpt/reporter":                       {"tlsrpt", "tlsrpt/report", "tlsrpt/internal/syntax"},
	"tlsrpt/reporter/internal/sums":         {"tlsrpt", "tlsrpt/report", "tlsrpt/internal/syntax"},
	"policy/delivery/internal/conversation": {"policy", "policy/delivery/internal/wire", "tlsrpt"},
	"policy/delivery/internal/wire":         {},
	"policy/delivery/internal/login":        {"policy/delivery/internal/wire"},
	"policy/delivery/internal/handover":     {"policy/delivery/internal/conversation", "policy/delivery/internal/wire"},
	"policy/delivery/internal/dsn":          {"policy/delivery/internal/message"},
	"policy/delivery/internal/message":      {},
	"policy/delivery/internal/pipelining":   {"policy/delivery/internal/conversation", "policy/delivery/internal/wire"},
	"policy/internal/decision":              {"dane/dnssec"},
	"policy/internal/hop":                   {"dane/dnssec"},
	"policy/internal/policydns":             {"dane/dnssec"},
	"policy/internal/protection":            {"dane"},
	"policy/internal/wording":               {"policy/internal/decision", "tlsrpt"},
	"policy/internal/source":                {"dane/dnssec", "mtasts", "policy/internal/policydns", "policy/internal/survey"},
	"policy/internal/survey":                {"dane", "dane/dnssec", "policy/internal/decision", "policy/internal/hop"},
}

// Imports go one way only.
func TestImportsGoOneWay(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		dir = filepath.ToSlash(dir)
		first, _, _ := strings.Cut(dir, "/")
		if first == "examples" || strings.HasPrefix(dir, "internal/test") || dir == "policy/policytest" {
			return nil
		}
		allowed, known := mayImport[dir]
		if !known && first != "internal" && !strings.Contains(dir, "/internal/") {
			t.Errorf("%s is a package that this test does not know", dir)
			return nil
		}
		seen++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			ours, found := strings.CutPrefix(imported, module+"/")
			if !found || strings.HasPrefix(ours, "internal/") && !strings.HasPrefix(ours, "internal/test") || strings.HasPrefix(ours, dir+"/internal/") {
				continue
			}
			if !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", path, ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 100 {
		t.Errorf("only %d files were read", seen)
	}
}
