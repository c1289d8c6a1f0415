// Package vocabulary checks that all packages use the reason codes that package tlsrpt
// lists.
package vocabulary

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/tlsrpt"
)

const root = "../../.."

// returning has the functions that return a reason code, and which result it is.
var returning = map[string]int{
	"TLSReport": 1,                                 // of any error
	"describe":  1,                                 // of the reasons of package dane
	"Of":        0, "ofInvalid": 0, "ofUnknown": 0, // internal/certcode
	"DNSReason": 0, // mtasts
}

// without has packages without reason codes of their own. Those of package dnssec are its
// Reasons. Package report reads those of others, and stores keep them.
var without = []string{"dane/dnssec", "tlsrpt/report", "policy/boltstore", "policy/storetest", "policy/policytest"}

// R14: every reason code that a package emits is in the list, and every code of the list is
// emitted.
func TestR14CodesAreListed(t *testing.T) {
	t.Parallel()
	emitted := codesInSource(t)
	for r := dnssec.Timeout; r.String() != "unknown"; r++ {
		_, code := (&dnssec.Error{Reason: r}).TLSReport()
		emitted[code] = "dane/dnssec"
	}
	if len(emitted) < 80 {
		t.Errorf("only %d codes were found", len(emitted))
	}
	listed := make(map[string]bool)
	for _, r := range tlsrpt.Reasons() {
		if listed[r.Code] {
			t.Errorf("%s is listed twice", r.Code)
		}
		listed[r.Code] = true
	}
	for code, where := range emitted {
		if !listed[code] {
			t.Errorf("%s: the code %q is not listed", where, code)
		}
	}
	for code := range listed {
		if emitted[code] == "" && !(strings.HasPrefix(code, "tls-alert-") && emitted["tls-alert-*"] != "") {
			t.Errorf("no package emits the code %q", code)
		}
	}
}

// R14: no code repeats a result type, and each explains itself: what happened, and what
// to do.
func TestR14CodesSayMoreThanTheType(t *testing.T) {
	t.Parallel()
	explained := make(map[string]string)
	for _, r := range tlsrpt.Reasons() {
		code := strings.TrimSuffix(r.Code, "*")
		if len(r.Code) > tlsrpt.MaxReasonCode || strings.ContainsFunc(code, func(c rune) bool {
			return c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9')
		}) {
			t.Errorf("%q is not a code", r.Code)
		}
		for _, resultType := range tlsrpt.AllResultTypes() {
			if strings.Contains(code, string(resultType)) || strings.Contains(string(resultType), code) {
				t.Errorf("the code %q repeats %s", r.Code, resultType)
			}
		}
		for _, text := range []string{r.Meaning, r.Advice} {
			if text == "" || strings.HasSuffix(text, ".") || strings.ToLower(text[:1]) != text[:1] && !strings.HasPrefix(text, "DNS") && !strings.HasPrefix(text, "TLS") {
				t.Errorf("%s: %q is not a clause", r.Code, text)
			}
		}
		if other := explained[r.Meaning]; other != "" && !strings.HasPrefix(r.Code, "tls-") {
			t.Errorf("%s and %s are two codes for one cause", other, r.Code)
		}
		explained[r.Meaning] = r.Code
		for _, resultType := range r.Types {
			meaning, advice := tlsrpt.Explain(tlsrpt.Failure{Type: resultType, ReasonCode: r.Code})
			if meaning != r.Meaning || advice != r.Advice {
				t.Errorf("%s/%s is explained by %q, %q", resultType, r.Code, meaning, advice)
			}
		}
	}
}

// codesInSource returns the codes in the source text of all packages, with the place of
// each. A code that ends in "*" is the beginning of an expression such as
// "http-status-" + x.
func codesInSource(t *testing.T) map[string]string {
	emitted := make(map[string]string)
	for _, dir := range []string{"dane", "mtasts", "policy", "tlsrpt", "internal/certcode"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				name, err := filepath.Rel(root, path)
				if err != nil {
					return err
				}
				if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || slices.Contains(without, filepath.ToSlash(name)) {
					return fs.SkipDir
				}
				readPackage(t, path, emitted)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return emitted
}

// readPackage adds the codes in the files of a directory.
func readPackage(t *testing.T, dir string, emitted map[string]string) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	reader := codeReader{constants: make(map[string]string)}
	fileSet := token.NewFileSet()
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fileSet, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		reader.addConstants(file)
		files = append(files, file)
	}
	for _, file := range files {
		reader.found = nil
		reader.read(file)
		for _, expr := range reader.found {
			codes, ok := reader.codes(expr)
			position := fileSet.Position(expr.Pos())
			if !ok {
				t.Errorf("%s: this test cannot tell which code this is", position)
			}
			for _, code := range codes {
				if code != "" {
					emitted[code] = position.String()
				}
			}
		}
	}
}

// codeReader finds the expressions that are reason codes in the files of a package.
type codeReader struct {
	constants map[string]string // by name
	found     []ast.Expr
}

func (r *codeReader) addConstants(file *ast.File) {
	ast.Inspect(file, func(node ast.Node) bool {
		if spec, ok := node.(*ast.ValueSpec); ok {
			for i, name := range spec.Names {
				if i < len(spec.Values) {
					if text, ok := literal(spec.Values[i]); ok {
						r.constants[name.Name] = text
					}
				}
			}
		}
		return true
	})
}

func (r *codeReader) read(file *ast.File) {
	if name := r.constants["DetailsOmitted"]; file.Name.Name == "reporter" && name != "" {
		r.found = append(r.found, &ast.Ident{Name: "DetailsOmitted"})
	}
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || function.Body == nil {
			continue
		}
		result, returns := returning[function.Name.Name]
		returns = returns && (function.Name.Name != "Of" || file.Name.Name == "certcode") &&
			(function.Name.Name != "describe" || returnsThree(function))
		ast.Inspect(function.Body, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.ReturnStmt:
				if returns && len(node.Results) > result {
					r.found = append(r.found, node.Results[result])
				}
			case *ast.CallExpr:
				if name, ok := node.Fun.(*ast.Ident); ok && name.Name == "failf" {
					code := 1 // after the kind, which package policytext leaves out
					if file.Name.Name == "policytext" {
						code = 0
					}
					r.found = append(r.found, node.Args[code])
				}
			case *ast.KeyValueExpr:
				if key, ok := node.Key.(*ast.Ident); ok && strings.EqualFold(key.Name, "ReasonCode") {
					r.found = append(r.found, node.Value)
				}
			case *ast.CompositeLit:
				if name, ok := node.Type.(*ast.Ident); ok && name.Name == "Failure" && len(node.Elts) == 2 {
					if _, keyed := node.Elts[1].(*ast.KeyValueExpr); !keyed {
						r.found = append(r.found, node.Elts[1])
					}
				}
			case *ast.AssignStmt:
				for i, left := range node.Lhs {
					name, ok := left.(*ast.Ident)
					if ok && (name.Name == "reasonCode" || name.Name == "reason" && file.Name.Name == "mtasts") && len(node.Rhs) == len(node.Lhs) {
						r.found = append(r.found, node.Rhs[i])
					}
				}
			}
			return true
		})
	}
}

// returnsThree reports whether a function returns three strings, as reason.describe does.
func returnsThree(function *ast.FuncDecl) bool {
	return function.Type.Results != nil && function.Type.Results.NumFields() == 3
}

// codes returns the codes that an expression may be, none if it passes on a code from
// elsewhere. ok is false if the expression is of another form.
func (r *codeReader) codes(expr ast.Expr) (codes []string, ok bool) {
	if text, ok := literal(expr); ok {
		return []string{text}, true
	}
	switch expr := expr.(type) {
	case *ast.BinaryExpr:
		beginning, ok := literal(expr.X)
		return []string{beginning + "*"}, ok
	case *ast.Ident:
		text, isConstant := r.constants[expr.Name]
		if isConstant {
			return []string{text}, true
		}
		return nil, expr.Name == "reason" || expr.Name == "reasonCode" || expr.Name == "code"
	case *ast.SelectorExpr:
		return nil, strings.EqualFold(expr.Sel.Name, "ReasonCode")
	case *ast.CallExpr:
		var all []string
		for _, argument := range expr.Args {
			if text, ok := literal(argument); ok {
				all = append(all, text)
			}
		}
		switch name := calledName(expr); name {
		case "Or":
			return all, len(all) > 0
		case "DNSReason", "ofInvalid", "ofUnknown", "printable", "Mask", "Clone", "String", "string":
			return nil, true // read where it is made, or from elsewhere
		}
	}
	return nil, false
}

func calledName(call *ast.CallExpr) string {
	switch function := call.Fun.(type) {
	case *ast.Ident:
		return function.Name
	case *ast.SelectorExpr:
		return function.Sel.Name
	default:
		return ""
	}
}

func literal(expr ast.Expr) (string, bool) {
	basic, ok := expr.(*ast.BasicLit)
	if !ok || basic.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(basic.Value)
	return text, err == nil
}
