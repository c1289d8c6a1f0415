package mutate

import (
	"fmt"
	"maps"
	"math"
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
// MXSEAL_MUTANTS_OF=dane/verify,dane/path runs only those of files whose paths begin so, and
// MXSEAL_MUTANTS_IN=file only those that the file names, one per line, as survivors.txt does.
//
// What survives has to be explained in survivors.txt or killed. But the mutants are chosen by
// chance, and one that nobody has looked at says nothing about the commit that is tested. So
// the test fails only if so many survive as hardly would even if the tests killed no more
// than 80 %, as they did in the worst files before their survivors were looked at.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles and runs the tests of a package many times")
	}
	s := seed.Random(t)
	known, err := Survivors()
	if err != nil {
		t.Fatal(err)
	}
	targets := Targets()
	n := 5
	switch {
	case os.Getenv("MXSEAL_MUTANTS") == "all", os.Getenv("MXSEAL_MUTANTS_IN") != "":
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
	wanted := wantedMutants(t)

	programs := make(map[string]*Program) // by file
	var mutants []Mutant
	for _, target := range targets {
		if !slices.ContainsFunc(target.Files, wanted.file) {
			continue
		}
		p, err := Build(root, t.TempDir(), target, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range target.Files {
			programs[file] = p
		}
		mutants = append(mutants, p.Mutants...)
	}
	mutants = slices.DeleteFunc(mutants, func(m Mutant) bool { return !wanted.file(m.File) || !wanted.key(m.Key()) })
	mutants = Sample(mutants, n, s)
	byFile := make(map[string]*counts)
	var all counts
	for _, m := range mutants {
		if byFile[m.File] == nil {
			byFile[m.File] = new(counts)
		}
		c := byFile[m.File]
		isKilled, how, err := programs[m.File].Killed(t.Context(), m)
		switch {
		case err != nil:
			t.Fatal(err)
		case isKilled:
			c.killed++
			all.killed++
			t.Logf("killed: %s (%s)", m, how)
		case known[m.Key()] != "":
			c.explained++
			all.explained++
		default:
			c.survived++
			all.survived++
			t.Logf("survives: %s (%s)", m, how)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		t.Logf("%s: %s", file, byFile[file])
	}
	t.Logf("all: %s", all)
	if all.unlikely() {
		t.Errorf("%d of %d mutants survive; the tests do not notice changes", all.survived, all.killed+all.survived)
	}
}

// A wanted says which mutants to run.
type wanted struct {
	prefixes []string        // of files; none means all
	keys     map[string]bool // nil means all
}

func wantedMutants(t *testing.T) wanted {
	t.Helper()
	var w wanted
	if of := os.Getenv("MXSEAL_MUTANTS_OF"); of != "" {
		w.prefixes = strings.Split(of, ",")
	}
	in := os.Getenv("MXSEAL_MUTANTS_IN")
	if in == "" {
		return w
	}
	text, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	w.keys = make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		w.keys[strings.TrimSpace(line)] = true
		file, _, _ := strings.Cut(line, " ")
		w.prefixes = append(w.prefixes, file)
	}
	return w
}

func (w wanted) file(name string) bool {
	return len(w.prefixes) == 0 || slices.ContainsFunc(w.prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func (w wanted) key(key string) bool { return w.keys == nil || w.keys[key] }

// counts is what became of mutants.
type counts struct{ killed, explained, survived int }

func (c counts) String() string {
	return fmt.Sprintf("%d mutants: %d killed, %d change nothing that matters, %d survive", c.killed+c.explained+c.survived, c.killed, c.explained, c.survived)
}

// unlikely reports whether so many survivors come less than once in 1,000 samples if the
// tests kill 80 % of all mutants.
func (c counts) unlikely() bool {
	n := c.killed + c.survived
	logFactorial := func(k int) float64 {
		log, _ := math.Lgamma(float64(k) + 1)
		return log
	}
	probability := 0.0 // of as many or more, by the binomial distribution
	for k := c.survived; k <= n; k++ {
		log := logFactorial(n) - logFactorial(k) - logFactorial(n-k)
		probability += math.Exp(log + float64(k)*math.Log(0.2) + float64(n-k)*math.Log(0.8))
	}
	return probability < 1e-3
}

// A sample fails if it has many survivors, and not if it has some.
func TestUnlikelyNumberOfSurvivors(t *testing.T) {
	for _, c := range []struct {
		n, survived int
		want        bool
	}{
		{0, 0, false}, {5, 0, false}, {5, 4, false}, {5, 5, true}, {25, 1, false}, {25, 12, false}, {25, 13, true},
		{60, 20, false}, {60, 30, true}, {1000, 50, false}, {1000, 200, false}, {1000, 300, true}, {20_000, 4_000, false}, {20_000, 5_000, true},
	} {
		if got := (counts{killed: c.n - c.survived, survived: c.survived}).unlikely(); got != c.want {
			t.Errorf("%d of %d survive: unlikely is %v", c.survived, c.n, got)
		}
	}
}

// The tool finds each kind of mutant, and tells which are noticed.
func TestToolFindsEachKindOfMutant(t *testing.T) {
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
func TestTargetsExist(t *testing.T) {
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
func TestSampleDependsOnSeedOnly(t *testing.T) {
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
