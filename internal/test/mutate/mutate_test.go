package mutate

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/seed"
)

const root = "../../.."

// TestMutants changes the code, and prints the changes that no test notices. It runs 25
// mutants of one package with CI set, 60 of all packages with MXSEAL_LONG=1, and otherwise a
// few of the decision table. MXSEAL_MUTANTS=n runs n of all packages, and "all" runs all;
// MXSEAL_MUTANTS_OF=dane/ runs only those of files whose path begins with dane/. What
// survives has to be explained in survivors.txt or killed. The test fails if two in five
// survive without an explanation, because then the tests of a package do not work.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles and runs the tests of a package many times")
	}
	s := seed.New(t)
	known, err := Survivors()
	if err != nil {
		t.Fatal(err)
	}
	targets := Targets()
	n := 5
	switch {
	case os.Getenv("MXSEAL_MUTANTS") == "all":
		n = -1
	case os.Getenv("MXSEAL_MUTANTS") != "":
		if n, err = strconv.Atoi(os.Getenv("MXSEAL_MUTANTS")); err != nil {
			t.Fatalf("MXSEAL_MUTANTS is %q, want a number or all", os.Getenv("MXSEAL_MUTANTS"))
		}
	case os.Getenv("MXSEAL_LONG") != "":
		n = 60
	case os.Getenv("CI") != "":
		n, targets = 25, targets[s%uint64(len(targets)):][:1]
	default:
		targets = targets[:1]
	}
	targets = slices.DeleteFunc(targets, func(target Target) bool {
		return !strings.HasPrefix(target.Files[0], os.Getenv("MXSEAL_MUTANTS_OF"))
	})

	programs := make(map[string]*Program) // by file
	var mutants []Mutant
	for _, target := range targets {
		p, err := Build(root, t.TempDir(), target, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range target.Files {
			programs[file] = p
		}
		mutants = append(mutants, p.Mutants...)
	}
	mutants = Sample(mutants, n, s)
	killed, explained, survivors := 0, 0, 0
	for _, m := range mutants {
		isKilled, how, err := programs[m.File].Killed(t.Context(), m)
		switch {
		case err != nil:
			t.Fatal(err)
		case isKilled:
			killed++
		case known[m.Key()] != "":
			explained++
		default:
			survivors++
			t.Logf("survives: %s (%s)", m, how)
		}
	}
	t.Logf("%d mutants: %d killed, %d change nothing that matters, %d survive", len(mutants), killed, explained, survivors)
	if 5*survivors > 2*len(mutants) {
		t.Errorf("%d of %d mutants survive", survivors, len(mutants))
	}
}

// The tool finds each kind of mutant, and tells which are noticed.
func TestTool(t *testing.T) {
	const dir = "internal/test/mutate/testdata/sample"
	p, err := Build(root, t.TempDir(), Target{Files: []string{dir + "/sample.go"}, Tests: []string{dir}}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]bool)
	for _, m := range p.Mutants {
		isKilled, how, err := p.Killed(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if m.Line == 0 || how == "" {
			t.Errorf("%s: %q", m, how)
		}
		got[m.Func+": "+m.Change] = isKilled
	}
	want := map[string]bool{
		"Check: octets > limit && strict is true":                true,
		"Check: octets > limit && strict is false":               true,
		"Check: octets > limit is true":                          true,
		"Check: strict is true":                                  true,
		"Check: octets > limit has >=":                           true,
		"Check: 0 is one more":                                   true,
		"Check: min(octets, limit) is max":                       true,
		"Check: the result errLong is the zero value":            true,
		"Check: the result min(octets, limit) is the zero value": true,
		"Sum: 0 is one more":                                     true,
		"Sum: n < 0 is true":                                     true,
		"Sum: n < 0 is false":                                    false,
		"Sum: n < 0 has <=":                                      false,
		"Sum: 0 is one more #2":                                  false,
		"Sum: without continue":                                  false,
		"Sum: without sum += n":                                  true,
		"Sum: double || len(list) == 0 is true":                  true,
		"Sum: double || len(list) == 0 is false":                 false,
		"Sum: double is false":                                   false,
		"Sum: len(list) == 0 is false":                           false,
		"Sum: 0 is one more #3":                                  false,
		"Sum: sum + sum has -":                                   false,
		"Sum: the result sum + sum is the zero value":            false,
		"Sum: the result sum is the zero value":                  true,
	}
	for change := range maps.Keys(want) {
		if killed, found := got[change]; !found || killed != want[change] {
			t.Errorf("%s: found %v, killed %v, want killed %v", change, found, killed, want[change])
		}
	}
	for change := range maps.Keys(got) {
		if _, found := want[change]; !found {
			t.Errorf("unexpected: %s", change)
		}
	}
}

// What the tool cannot do is an error.
func TestToolErrors(t *testing.T) {
	const dir = "internal/test/mutate/testdata/sample"
	if _, err := Build(root, t.TempDir(), Target{Files: []string{dir + "/none.go"}, Tests: []string{dir}}, t.Logf); err == nil {
		t.Error("a file that is not there")
	}
	if _, err := Build(root, t.TempDir(), Target{Files: []string{"internal/none/none.go"}, Tests: []string{dir}}, t.Logf); err == nil {
		t.Error("a directory that is not there")
	}
	// The tests of another package reach no mutant.
	p, err := Build(root, t.TempDir(), Target{Files: []string{dir + "/sample.go"}, Tests: []string{"internal/names"}}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Killed(t.Context(), p.Mutants[0]); err == nil {
		t.Error("tests that reach nothing")
	}
}

// The files of all targets exist, and have tests.
func TestTargets(t *testing.T) {
	for _, target := range Targets() {
		for _, file := range target.Files {
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Error(err)
			}
		}
		if len(target.Tests) == 0 {
			t.Errorf("%v has no tests", target.Files)
		}
		for _, dir := range target.Tests {
			if found, err := filepath.Glob(filepath.Join(root, dir, "*_test.go")); len(found) == 0 {
				t.Errorf("%s has no tests: %v", dir, err)
			}
		}
	}
}

// A sample depends on the seed only.
func TestSample(t *testing.T) {
	mutants := make([]Mutant, 100)
	for i := range mutants {
		mutants[i].ID = i + 1
	}
	if a, b := Sample(mutants, 20, 1), Sample(mutants, 20, 1); !slices.Equal(a, b) || len(a) != 20 {
		t.Errorf("%v and %v", a, b)
	}
	if slices.Equal(Sample(mutants, 20, 1), Sample(mutants, 20, 2)) {
		t.Error("two seeds have one sample")
	}
	if got := Sample(mutants, -1, 1); !slices.Equal(got, mutants) {
		t.Errorf("all: %v", got)
	}
}
