package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// brokenProgram is the tests of a package with changes of the code, each of which an
// environment variable switches on, so that many changes need only one build. A change inside a
// function becomes another function, which the first one calls if it is switched on. Other
// changes have a program of their own.
type brokenProgram struct {
	dir  string            // of the package
	path string            // of the program with the changes inside functions
	own  map[string]string // the paths of the others, by change
}

const brokenVariable = "MXSEAL_BROKEN_CHANGE"

func buildBroken(t *testing.T, dir string, changes []change) *brokenProgram {
	t.Helper()
	p := &brokenProgram{dir: dir, own: map[string]string{}}
	files := map[string][]change{}
	for _, c := range changes {
		if _, err := c.rewriting(); err != nil {
			p.own[c.id()] = p.build(t, map[string]string{c.file: c.applied(t)})
			continue
		}
		files[c.file] = append(files[c.file], c)
	}
	contents := map[string]string{}
	for file, changes := range files {
		contents[file] = withSwitches(t, file, changes)
	}
	if len(contents) > 0 {
		p.path = p.build(t, contents)
	}
	return p
}

// applied returns the changed file.
func (c change) applied(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(root, c.file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	for _, e := range c.edits {
		at, err := e.find(text)
		if err != nil {
			t.Fatalf("broken.txt: %s: %v", c, err)
		}
		text = text[:at] + e.new + text[at+len(e.old):]
	}
	return text
}

// build builds the tests with other contents of files, and returns the path of the program.
func (p *brokenProgram) build(t *testing.T, contents map[string]string) string {
	t.Helper()
	scratch := t.TempDir()
	replace := map[string]string{}
	for file, content := range contents {
		original, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		replace[original] = filepath.Join(scratch, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(replace[original], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile, program := filepath.Join(scratch, "overlay.json"), filepath.Join(scratch, "tests")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-gcflags=-e", "-overlay", overlayFile, "-o", program, ".")
	cmd.Dir = filepath.Join(root, p.dir)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the tests of %s with the changes: %v\n%s", p.dir, err, output)
	}
	return program
}

// run runs the tests with a change, and returns their output.
func (p *brokenProgram) run(t *testing.T, c change, rules ...failing) string {
	t.Helper()
	names := make([]string, len(rules))
	for i, f := range rules {
		names[i] = f.test
	}
	slices.Sort(names)
	path, own := p.own[c.id()]
	if !own {
		path = p.path
	}
	cmd := exec.CommandContext(t.Context(), path, "-test.short", "-test.timeout=5m", "-test.run", "^("+strings.Join(slices.Compact(names), "|")+")$")
	cmd.Dir = filepath.Join(root, p.dir)
	cmd.Env = append(os.Environ(), brokenVariable+"="+c.id())
	output, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(output)
}

// withSwitches returns a file with changes that can be switched on.
func withSwitches(t *testing.T, file string, changes []change) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var rewritings []rewriting
	for _, c := range changes {
		r, err := c.rewriting()
		if err != nil {
			t.Fatal(err)
		}
		rewritings = append(rewritings, r)
	}
	slices.SortStableFunc(rewritings, func(a, b rewriting) int { return a.body - b.body })
	var b strings.Builder
	done := 0
	for _, r := range rewritings {
		b.WriteString(string(source[done:r.body]) + r.call)
		done = r.body
	}
	b.WriteString(string(source[done:]))
	for _, r := range rewritings {
		b.WriteString("\n" + r.variant + "\n")
	}
	// The name is that of the file, so that several files of a package do not collide.
	name := "brokenIn" + strings.NewReplacer(".", "_", "-", "_").Replace(filepath.Base(file))
	fmt.Fprintf(&b, "\nvar %s, _ = syscallBroken.Getenv(%q)\n", name, brokenVariable)
	text := strings.ReplaceAll(b.String(), switchName, name)
	clause := strings.Index(text, "\npackage ") + 1
	end := clause + strings.Index(text[clause:], "\n") + 1
	return text[:end] + "\nimport syscallBroken \"syscall\"\n" + text[end:]
}

const switchName = "brokenChangeOfThisFile"

// A rewriting of a function so that a change of it can be switched on.
type rewriting struct {
	body    int    // where the body begins in the file
	call    string // is inserted there
	variant string // the function with the change
}

var errNotInFunction = errors.New("the change is not inside one function with named parameters")

func (c change) rewriting() (rewriting, error) {
	source, err := os.ReadFile(filepath.Join(root, c.file))
	if err != nil {
		return rewriting{}, err
	}
	if len(c.edits) != 1 {
		return rewriting{}, errNotInFunction
	}
	e := c.edits[0]
	at, err := e.find(string(source))
	if err != nil {
		return rewriting{}, err
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, c.file, source, parser.SkipObjectResolution)
	if err != nil {
		return rewriting{}, err
	}
	offset := func(pos token.Pos) int { return fset.Position(pos).Offset }
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil || offset(f.Body.Lbrace) >= at+len(e.old) || at >= offset(f.End()) {
			continue
		}
		begin, end := offset(f.Pos()), offset(f.End())
		if at < begin || at+len(e.old) > end+1 || f.Type.TypeParams != nil || f.Name.Name == "init" {
			return rewriting{}, errNotInFunction
		}
		call, err := callOf(f, "Broken"+c.id())
		if err != nil {
			return rewriting{}, err
		}
		// The name in the changed lines, if they have it, is the first one as well.
		changed := string(source[begin:at]) + e.new + string(source[min(at+len(e.old), end):end])
		name := offset(f.Name.Pos()) - begin
		if !strings.HasPrefix(changed[name:], f.Name.Name) {
			return rewriting{}, errNotInFunction
		}
		variant := changed[:name] + f.Name.Name + "Broken" + c.id() + changed[name+len(f.Name.Name):]
		if f.Type.Results != nil {
			call = "return " + call
		} else {
			call += "; return"
		}
		return rewriting{
			body:    offset(f.Body.Lbrace) + 1,
			call:    fmt.Sprintf(" if %s == %q { %s }; ", switchName, c.id(), call),
			variant: variant,
		}, nil
	}
	return rewriting{}, errNotInFunction
}

// callOf returns a call of a function that has another suffix, from inside it.
func callOf(f *ast.FuncDecl, suffix string) (string, error) {
	var args []string
	for _, field := range f.Type.Params.List {
		if len(field.Names) == 0 {
			return "", errNotInFunction
		}
		for _, name := range field.Names {
			arg := name.Name
			if arg == "_" {
				return "", errNotInFunction
			}
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				arg += "..."
			}
			args = append(args, arg)
		}
	}
	call := f.Name.Name + suffix + "(" + strings.Join(args, ", ") + ")"
	if f.Recv == nil {
		return call, nil
	}
	if len(f.Recv.List[0].Names) != 1 || f.Recv.List[0].Names[0].Name == "_" {
		return "", errNotInFunction
	}
	return f.Recv.List[0].Names[0].Name + "." + call, nil
}
