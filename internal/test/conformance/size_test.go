package conformance

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A reader can survey a package with few files and lines, and a type with few methods.
const (
	maxFiles   = 16
	maxLines   = 3500
	maxMethods = 20
)

func TestPackagesStaySmall(t *testing.T) {
	files, lines := map[string]int{}, map[string]int{}
	methods := map[string]int{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), filepath.Clean(root)+string(filepath.Separator)))
		if strings.HasPrefix(dir, "internal/test") || dir == "policy/policytest" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files[dir]++
		lines[dir] += bytes.Count(text, []byte("\n"))
		parsed, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range parsed.Decls {
			if function, ok := decl.(*ast.FuncDecl); ok && function.Recv != nil {
				methods[dir+"."+receiver(function.Recv.List[0].Type)]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range files {
		if files[dir] > maxFiles || lines[dir] > maxLines {
			t.Errorf("%s has %d files and %d lines, more than %d or %d", dir, files[dir], lines[dir], maxFiles, maxLines)
		}
	}
	for name, count := range methods {
		if count > maxMethods {
			t.Errorf("%s has %d methods, more than %d", name, count, maxMethods)
		}
	}
	if len(files) < 15 {
		t.Errorf("only %d packages were read", len(files))
	}
}

// receiver returns the name of a receiver's type.
func receiver(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		return receiver(expr.X)
	case *ast.IndexExpr:
		return receiver(expr.X)
	case *ast.IndexListExpr:
		return receiver(expr.X)
	case *ast.Ident:
		return expr.Name
	}
	return "?"
}
