// Package api checks the exported API of the modules.
package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The DNS library can be replaced only while no program sees its types.
const hidden = "github.com/miekg/dns"

const module = "github.com/mxseal/mxseal"

const root = "../../.."

// No exported identifier of a package that other programs can import mentions a
// type of the DNS library.
func TestDNSLibraryIsHidden(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, dir := range modules(t) {
		exports, packages := load(t, dir)
		files := importFrom(exports)
		for _, path := range packages {
			pkg, err := files.Import(path)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			checked++
			for _, use := range mentions(pkg) {
				t.Errorf("%s mentions a type of %s", use, hidden)
			}
		}
	}
	if checked < 8 {
		t.Errorf("only %d packages were checked", checked)
	}
}

// The check finds every place in which an exported identifier can mention a type.
func TestMentionsAreFound(t *testing.T) {
	t.Parallel()
	exports, _ := load(t, root)
	pkg := check(t, sample, importFrom(exports))
	want := []string{
		"sample.Alias", "sample.Argument", "sample.Bound", "sample.Constant", "sample.Container", "sample.Defined.Hdr",
		"sample.Embedding.Promoted", "sample.Field.Message", "sample.Instance", "sample.Interface.Send", "sample.List",
		"sample.Method.Send", "sample.Nested.Inner.Message", "sample.Result", "sample.Returned.Message", "sample.Variable",
	}
	if got := mentions(pkg); !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// check checks the source of a package named sample.
func check(t *testing.T, source string, imports types.Importer) *types.Package {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "sample.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	config := types.Config{Importer: imports}
	pkg, err := config.Check("sample", files, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

const sample = `package sample

import "github.com/miekg/dns"

type Alias = dns.RR
type Defined dns.MX
type List []dns.RR
type Container map[string]chan *dns.Msg
type Embedding struct{ inner }
type inner struct{ Promoted dns.RR }
type Field struct{ Message *dns.Msg; hidden dns.RR }
type Nested struct{ Inner struct{ Message *dns.Msg } }
type Interface interface{ Send(dns.RR); hide(dns.RR) }
type Method struct{}
func (*Method) Send() *dns.Msg { return nil }
func (Method) hide(dns.RR) {}
type Bound[R dns.RR] struct{ r R }
type Set[E any] struct{ list []E }
type Fine struct{ Name string; rr dns.RR }

var Variable dns.RR
var Instance Set[dns.RR]
var hidden dns.RR
const Constant dns.Type = 1
func Argument(func(dns.RR)) {}
func Result() (Fine, dns.RR) { return Fine{}, nil }
func Returned() *unexported { return nil }
type unexported struct{ Message *dns.Msg }
func FineFunction(Fine) error { var m dns.Msg; return m.Unpack(nil) }
`

// modules returns the folders of the modules that other programs import.
func modules(t *testing.T) []string {
	t.Helper()
	var work struct{ Use []struct{ DiskPath string } }
	if err := json.Unmarshal(output(t, root, "work", "edit", "-json", "go.work"), &work); err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, use := range work.Use {
		if path := filepath.ToSlash(filepath.Clean(use.DiskPath)); !strings.HasPrefix(path, "examples/") && !isInternal(path) {
			dirs = append(dirs, filepath.Join(root, use.DiskPath))
		}
	}
	return dirs
}

// load returns the export data of all packages of a module and of all that they
// import, by path, and the paths of the packages that other programs can import.
func load(t *testing.T, dir string) (exports map[string]string, packages []string) {
	t.Helper()
	exports = map[string]string{}
	list := json.NewDecoder(bytes.NewReader(output(t, dir, "list", "-export", "-deps", "-json=ImportPath,Dir,Name,Export", "./...")))
	for {
		var pkg struct{ ImportPath, Dir, Name, Export string }
		err := list.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			return exports, packages
		}
		if err != nil {
			t.Fatal(err)
		}
		exports[pkg.ImportPath] = pkg.Export
		if !strings.HasPrefix(pkg.ImportPath, module) {
			continue
		}
		// The cache of go test knows only the files that the test itself reads.
		if _, err := os.ReadDir(pkg.Dir); err != nil {
			t.Fatal(err)
		}
		if pkg.Name != "main" && !isInternal(pkg.ImportPath) {
			packages = append(packages, pkg.ImportPath)
		}
	}
}

func isInternal(path string) bool {
	return slices.Contains(strings.Split(path, "/"), "internal")
}

func output(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	var failure bytes.Buffer
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir, command.Stderr = dir, &failure
	text, err := command.Output()
	if err != nil {
		t.Fatalf("go %s in %s: %v\n%s", strings.Join(args, " "), dir, err, failure.Bytes())
	}
	return text
}

func importFrom(exports map[string]string) types.Importer {
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
}

// mentions returns the exported identifiers of a package that mention a hidden
// type, sorted.
func mentions(pkg *types.Package) []string {
	w := &walk{pkg: pkg.Path(), seen: map[types.Type]bool{}}
	for _, name := range pkg.Scope().Names() {
		if object := pkg.Scope().Lookup(name); object.Exported() {
			w.visit(pkg.Path()+"."+name, object.Type())
		}
	}
	slices.Sort(w.found)
	return slices.Compact(w.found)
}

// walk visits the types that an exported identifier mentions.
type walk struct {
	pkg   string // the path of the package
	seen  map[types.Type]bool
	found []string
}

func (w *walk) visit(where string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		w.arguments(where, t.TypeArgs())
		w.visit(where, types.Unalias(t))
	case *types.Named:
		w.named(where, t)
	case *types.TypeParam:
		if !w.seen[t] {
			w.seen[t] = true
			w.visit(where, t.Constraint())
		}
	case *types.Pointer:
		w.visit(where, t.Elem())
	case *types.Slice:
		w.visit(where, t.Elem())
	case *types.Array:
		w.visit(where, t.Elem())
	case *types.Chan:
		w.visit(where, t.Elem())
	case *types.Map:
		w.visit(where, t.Key())
		w.visit(where, t.Elem())
	case *types.Tuple:
		for v := range t.Variables() {
			w.visit(where, v.Type())
		}
	case *types.Signature:
		w.parameters(where, t.TypeParams())
		w.visit(where, t.Params())
		w.visit(where, t.Results())
	case *types.Union:
		for term := range t.Terms() {
			w.visit(where, term.Type())
		}
	case *types.Struct:
		for field := range t.Fields() {
			switch {
			case field.Exported():
				w.visit(where+"."+field.Name(), field.Type())
			case field.Embedded(): // promotes its exported fields and methods
				w.visit(where, field.Type())
			}
		}
	case *types.Interface:
		for embedded := range t.EmbeddedTypes() {
			w.visit(where, embedded)
		}
		for method := range t.ExplicitMethods() {
			if method.Exported() {
				w.visit(where+"."+method.Name(), method.Type())
			}
		}
	}
}

// named visits a type with a name. Types of other modules end the walk: they do
// not belong to this API.
func (w *walk) named(where string, t *types.Named) {
	w.arguments(where, t.TypeArgs())
	pkg := t.Obj().Pkg()
	switch {
	case pkg == nil:
		return // error or comparable
	case pkg.Path() == hidden || strings.HasPrefix(pkg.Path(), hidden+"/"):
		w.found = append(w.found, where)
		return
	case !strings.HasPrefix(pkg.Path(), module) && pkg.Path() != w.pkg:
		return
	case w.seen[t.Origin()]:
		return
	}
	w.seen[t.Origin()] = true
	w.parameters(where, t.TypeParams())
	w.visit(where, t.Underlying())
	for method := range t.Methods() {
		if method.Exported() {
			w.visit(where+"."+method.Name(), method.Type())
		}
	}
}

func (w *walk) arguments(where string, list *types.TypeList) {
	for t := range list.Types() {
		w.visit(where, t)
	}
}

func (w *walk) parameters(where string, list *types.TypeParamList) {
	for p := range list.TypeParams() {
		w.visit(where, p)
	}
}
