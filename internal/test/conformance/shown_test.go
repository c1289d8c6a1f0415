package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tests that CONFORMANCE.md lists for a rule exist, and mention that rule, in
// themselves or in what they use; rows have it in their names.
func TestRulesAreShown(t *testing.T) {
	t.Parallel()
	packages := map[string]declarations{}
	count := 0
	for _, r := range readRules(t) {
		for _, s := range r.shown {
			if packages[s.dir] == nil {
				packages[s.dir] = parseTests(t, s.dir)
			}
			switch found := packages[s.dir].mentions(s.test); {
			case packages[s.dir][s.test] == nil:
				t.Errorf("CONFORMANCE.md: %s: %s has no test %s", r.id, s.dir, s.test)
			case s.row && !found.names[r.id]:
				t.Errorf("CONFORMANCE.md: %s: no row of %s.%s names it", r.id, s.dir, s.test)
			case !found.texts[r.id]:
				t.Errorf("CONFORMANCE.md: %s: %s.%s does not name it", r.id, s.dir, s.test)
			}
			count++
		}
	}
	if count < 800 {
		t.Errorf("only %d tests show rules", count)
	}
}

// What CONFORMANCE.md lists is what runs: go test knows each test, and the rows are
// subtests.
func TestShownTestsRun(t *testing.T) {
	t.Parallel()
	if os.Getenv("CI") == "" && os.Getenv("MXSEAL_LONG") == "" {
		return // It builds the tests of all packages. TestRulesAreShown reads their source.
	}
	tests := map[string][]string{} // by package
	rows := map[string][]string{}
	rules := readRules(t)
	for _, r := range rules {
		for _, s := range r.shown {
			tests[s.dir] = append(tests[s.dir], s.test)
			if s.row && !slices.Contains(rows[s.dir], s.test) {
				rows[s.dir] = append(rows[s.dir], s.test)
			}
		}
	}
	listed := map[string][]string{}
	subtests := map[string]map[string]bool{} // the rules that the subtests of "dir.TestX" name
	for dir := range tests {
		listed[dir] = strings.Fields(goTest(t, dir, "-list", "."))
		if len(rows[dir]) == 0 {
			continue
		}
		output := goTest(t, dir, "-short", "-v", "-run", "^("+strings.Join(rows[dir], "|")+")$")
		for _, match := range subtest.FindAllStringSubmatch(output, -1) {
			key := dir + "." + match[1]
			if subtests[key] == nil {
				subtests[key] = map[string]bool{}
			}
			mentioned(subtests[key], strings.ReplaceAll(match[2], "_", " "))
		}
	}
	for _, r := range rules {
		for _, s := range r.shown {
			if !slices.Contains(listed[s.dir], s.test) {
				t.Errorf("CONFORMANCE.md: %s: go test -list has no %s in %s", r.id, s.test, s.dir)
			}
			if s.row && !subtests[s.dir+"."+s.test][r.id] {
				t.Errorf("CONFORMANCE.md: %s: no subtest of %s.%s has it in its name", r.id, s.dir, s.test)
			}
		}
	}
}

var subtest = regexp.MustCompile(`(?m)^=== RUN +(\w+)/(.*)$`)

// goTest runs go test in the directory of a package.
func goTest(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"test"}, flags...), ".")...)
	cmd.Dir = filepath.Join(root, dir)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %s: %v\n%s", dir, cmd, err, output)
	}
	return string(output)
}

// declarations are what the tests of a package declare, by name.
type declarations map[string]*declared

// declared is a function, a variable or a type. Methods belong to the type.
type declared struct {
	found rulesFound
	uses  []string
}

// rulesFound is the rules that code mentions.
type rulesFound struct {
	texts map[string]bool // in comments or code
	names map[string]bool // in string literals
}

// mentions returns the rules that a test mentions, or what it uses does.
func (d declarations) mentions(test string) rulesFound {
	found := rulesFound{texts: map[string]bool{}, names: map[string]bool{}}
	todo, seen := []string{test}, map[string]bool{test: true}
	for len(todo) > 0 {
		decl := d[todo[0]]
		todo = todo[1:]
		if decl == nil {
			continue
		}
		for id := range decl.found.texts {
			found.texts[id] = true
		}
		for id := range decl.found.names {
			found.names[id] = true
		}
		for _, name := range decl.uses {
			if !seen[name] {
				seen[name] = true
				todo = append(todo, name)
			}
		}
	}
	return found
}

// parseTests reads the test files of a package.
func parseTests(t *testing.T, dir string) declarations {
	t.Helper()
	all := declarations{}
	names, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil || len(names) == 0 {
		t.Errorf("CONFORMANCE.md names tests of %s, which has none: %v", dir, err)
	}
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		text := func(doc *ast.CommentGroup, n ast.Node) string {
			from := n.Pos()
			if doc != nil {
				from = doc.Pos()
			}
			// A comment on the last line belongs to it.
			rest, _, _ := strings.Cut(string(source[fset.Position(n.End()).Offset:]), "\n")
			return string(source[fset.Position(from).Offset:fset.Position(n.End()).Offset]) + rest
		}
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				name := decl.Name.Name
				if decl.Recv != nil {
					name = receiver(decl.Recv.List[0].Type)
				}
				all.add(name, text(decl.Doc, decl), decl)
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						all.add(spec.Name.Name, text(docOf(spec.Doc, decl), spec), spec)
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							all.add(name.Name, text(docOf(spec.Doc, decl), spec), spec)
						}
					}
				}
			}
		}
	}
	return all
}

// docOf returns the comment of one of several declarations, or that of the only one.
func docOf(own *ast.CommentGroup, decl *ast.GenDecl) *ast.CommentGroup {
	if own == nil && !decl.Lparen.IsValid() {
		return decl.Doc
	}
	return own
}

// add adds a declaration.
func (d declarations) add(name, text string, n ast.Node) {
	if d[name] == nil {
		d[name] = &declared{found: rulesFound{texts: map[string]bool{}, names: map[string]bool{}}}
	}
	decl := d[name]
	mentioned(decl.found.texts, text)
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			decl.uses = append(decl.uses, n.Name)
		case *ast.BasicLit:
			if literal, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				mentioned(decl.found.names, literal)
			}
		}
		return true
	})
}
