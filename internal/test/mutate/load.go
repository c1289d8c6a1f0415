package mutate

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	_ "embed"
)

// source is a package whose types are known.
type source struct {
	dir   string // of the package
	path  string // of the package
	fset  *token.FileSet
	files map[string]*ast.File // by name
	pkg   *types.Package
	info  *types.Info
}

// listed is what go list says about a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// load reads the package in a directory.
func load(dir string) (*source, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", ".")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("mutate: go list in %s: %w", dir, err)
	}
	var last listed
	exports := make(map[string]string)
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var l listed
		err := decoder.Decode(&l)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("mutate: go list in %s: %w", dir, err)
		}
		exports[l.ImportPath], last = l.Export, l // the package itself comes last
	}
	s := &source{dir: dir, path: last.ImportPath, fset: token.NewFileSet(), files: make(map[string]*ast.File)}
	var files []*ast.File
	for _, name := range last.GoFiles {
		file, err := parser.ParseFile(s.fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("mutate: %w", err)
		}
		s.files[name] = file
		files = append(files, file)
	}
	s.info = &types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue),
		Defs:  make(map[*ast.Ident]types.Object),
		Uses:  make(map[*ast.Ident]types.Object),
	}
	config := types.Config{Importer: importer.ForCompiler(s.fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	if s.pkg, err = config.Check(s.path, s.fset, files, s.info); err != nil {
		return nil, fmt.Errorf("mutate: %w", err)
	}
	return s, nil
}

//go:embed switch.go.txt
var switches string

// rewrite returns the mutants of the files, and the contents of the files with switches. The
// names are those of the files in the module. Mutants whose keys are in omit are left out.
func (s *source) rewrite(root string, names []string, omit map[string]bool) ([]Mutant, map[string][]byte, error) {
	count := 0
	var mutants []Mutant
	contents := make(map[string][]byte)
	for _, name := range names {
		file := s.files[path.Base(name)]
		if file == nil {
			return nil, nil, fmt.Errorf("mutate: there is no file %s", name)
		}
		src, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, nil, fmt.Errorf("mutate: %w", err)
		}
		r := &rewriter{fset: s.fset, info: s.info, pkg: s.pkg, path: name, src: src, imports: s.imports(file), omit: omit, count: &count}
		ast.Walk(&function{r: r}, file)
		contents[filepath.Join(root, name)] = r.rewritten()
		mutants = append(mutants, r.mutants...)
	}
	contents[filepath.Join(s.dir, "mutate_switch.go")] = []byte(strings.Replace(switches, "PACKAGE", s.pkg.Name(), 1))
	mutants = slices.DeleteFunc(mutants, func(m Mutant) bool { return omit[m.Key()] })
	return mutants, contents, nil
}

// imports returns the names of the packages that a file imports.
func (s *source) imports(file *ast.File) map[string]string {
	names := make(map[string]string)
	for _, spec := range file.Imports {
		of, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		for _, p := range s.pkg.Imports() {
			if p.Path() == of {
				names[of] = p.Name()
			}
		}
		if spec.Name != nil {
			names[of] = spec.Name.Name
		}
	}
	return names
}
