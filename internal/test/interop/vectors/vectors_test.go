// Package vectors runs the second readers of the test vectors: programs in Python, and unbound
// for DNSSEC. They share no code with this library.
package vectors

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
)

const root = "../../../.."

// A second implementation of the rules gets the results in the vectors, and reads as many of
// them as docs/vectors.md says.
func TestVectorsInPython(t *testing.T) {
	t.Parallel()
	python := interop.Need(t, "python3")
	for dir, cases := range documented(t) {
		reader := filepath.Join(root, dir, "check.py")
		if dir == "dane/dnssec/testdata" {
			continue // Python has no DNSSEC of its own
		}
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			out, err := exec.Command(python, reader).CombinedOutput()
			if says := regexp.MustCompile(fmt.Sprintf(`(?m)^%d \w+, 0 differ$`, cases)); err != nil || !says.Match(out) {
				t.Errorf("%d are documented: %v\n%.2000s", cases, err, out)
			}
		})
	}
}

// documented returns how many vectors docs/vectors.md says that each directory has.
func documented(t *testing.T) map[string]int {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs/vectors.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int)
	for _, row := range regexp.MustCompile(`(?m)^\| \[(\S+\.json)\]\(\S+\) \| (\d+) \|`).FindAllStringSubmatch(string(page), -1) {
		cases, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(root, row[1])); err != nil {
			t.Error(err)
		}
		found[path.Dir(row[1])] += cases
	}
	if len(found) < 8 {
		t.Errorf("docs/vectors.md has vectors in %d directories", len(found))
	}
	return found
}

// Every file of vectors is documented.
func TestVectorsAreDocumented(t *testing.T) {
	t.Parallel()
	found := documented(t)
	err := fs.WalkDir(os.DirFS(root), ".", func(file string, _ fs.DirEntry, err error) error {
		if path.Base(file) == "check.py" && found[path.Dir(file)] == 0 {
			t.Errorf("docs/vectors.md does not have the vectors beside %s", file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
