package api

import (
	"flag"
	"fmt"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var write = flag.Bool("write", false, "write the listings of the exported API")

// The exported API is as listed in testdata, in a file for each package. An intended change comes with a change
// of the listing: go test ./internal/test/api -run Listing -write
func TestListing(t *testing.T) {
	t.Parallel()
	listings := map[string]bool{}
	for _, dir := range modules(t) {
		exports, packages := load(t, dir)
		files := importFrom(exports)
		for _, path := range packages {
			pkg, err := files.Import(path)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			name := filepath.Join("testdata", strings.ReplaceAll(strings.TrimPrefix(path, module+"/"), "/", "-")+".txt")
			listings[name] = true
			got := strings.Join(listing(pkg), "\n") + "\n"
			if *write {
				for _, err := range []error{os.MkdirAll("testdata", 0o755), os.WriteFile(name, []byte(got), 0o644)} {
					if err != nil {
						t.Fatal(err)
					}
				}
				continue
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Errorf("%v: run go test ./internal/test/api -run Listing -write", err)
				continue
			}
			for _, line := range difference(strings.Split(string(want), "\n"), strings.Split(got, "\n")) {
				t.Errorf("%s: %s", path, line)
			}
		}
	}
	found, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		if !listings[name] {
			t.Errorf("%s belongs to no package: remove it", name)
		}
	}
	if len(listings) < 8 {
		t.Errorf("only %d packages were listed", len(listings))
	}
}

// difference returns the lines that only one of two lists has.
func difference(old, new []string) (all []string) {
	for _, line := range old {
		if !slices.Contains(new, line) {
			all = append(all, "gone: "+line)
		}
	}
	for _, line := range new {
		if !slices.Contains(old, line) {
			all = append(all, "new: "+line)
		}
	}
	return all
}

// Each kind of change shows in the listing.
func TestListingShowsChanges(t *testing.T) {
	t.Parallel()
	const source = `package sample
import "io"
const C = 1
const D uint8 = 2
var V int
type S struct { F int; f int; io.Reader }
func (s *S) M(a int, b ...string) (n int, err error) { return 0, nil }
func (s *S) m() {}
type I interface { A() }
type E int
type A = E
func G[T any](t T) T { return t }
func hidden() {}
`
	exports, _ := load(t, root)
	imports := importFrom(exports)
	list := func(text string) []string { return listing(check(t, text, imports)) }
	before := list(source)
	for _, change := range []struct{ old, new string }{
		{"C = 1", "C = 2"}, {"D uint8", "D uint16"}, {"V int", "V uint"}, {"F int", "F uint"}, {"F int;", ""}, {" io.Reader }", " io.Writer }"},
		{"a int,", "a uint,"}, {"...string", "[]string"}, {"(s *S) M", "(s *S) N"}, {"(s *S) M", "(s S) M"}, {"{ A() }", "{ A(); B() }"},
		{"type E int", "type E uint"}, {"type A = E", "type A E"}, {"[T any]", "[T ~int]"}, {"func hidden", "func Hidden"},
	} {
		if after := list(strings.Replace(source, change.old, change.new, 1)); slices.Equal(before, after) {
			t.Errorf("%s to %s does not show in\n%s", change.old, change.new, strings.Join(before, "\n"))
		}
	}
	for _, change := range []struct{ old, new string }{{"f int", "g uint"}, {"m()", "n()"}, {"hidden", "other"}} {
		if after := list(strings.Replace(source, change.old, change.new, 1)); !slices.Equal(before, after) {
			t.Errorf("%s to %s shows: %q", change.old, change.new, difference(before, after))
		}
	}
}

// listing returns what a package exports, a line for each identifier, field and method.
func listing(pkg *types.Package) (lines []string) {
	in := func(other *types.Package) string {
		if other == pkg {
			return ""
		}
		return other.Path()
	}
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.Const:
			lines = append(lines, fmt.Sprintf("const %s %s = %s", name, types.TypeString(object.Type(), in), object.Val().ExactString()))
		case *types.TypeName:
			lines = append(lines, typeLines(object, in)...)
		default:
			lines = append(lines, types.ObjectString(object, in))
		}
	}
	return lines
}

func typeLines(object *types.TypeName, in types.Qualifier) (lines []string) {
	name := object.Name()
	if object.IsAlias() {
		return []string{types.ObjectString(object, in)}
	}
	named := object.Type().(*types.Named)
	head := "type " + name + parameterText(named, in)
	structure, isStruct := named.Underlying().(*types.Struct)
	if !isStruct {
		lines = append(lines, head+" "+types.TypeString(named.Underlying(), in))
	} else {
		lines = append(lines, head+" struct")
		for i := range structure.NumFields() {
			if field := structure.Field(i); field.Exported() {
				embedded := ""
				if field.Embedded() {
					embedded = "embedded "
				}
				lines = append(lines, fmt.Sprintf("field %s.%s %s%s", name, field.Name(), embedded, types.TypeString(field.Type(), in)))
			}
		}
	}
	for method := range named.Methods() {
		if method.Exported() {
			lines = append(lines, "method "+types.ObjectString(method, in))
		}
	}
	return lines
}

func parameterText(named *types.Named, in types.Qualifier) string {
	var all []string
	for p := range named.TypeParams().TypeParams() {
		all = append(all, p.Obj().Name()+" "+types.TypeString(p.Constraint(), in))
	}
	if all == nil {
		return ""
	}
	return "[" + strings.Join(all, ", ") + "]"
}
