package conformance

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/seed"
)

//go:embed broken.txt
var broken string

// A change of the code that breaks rules.
type change struct {
	file     string // its path in the module
	old, new string // lines; old is in the file once
	rules    []failing
}

// failing is a rule that a change breaks, and a test that fails then.
type failing struct {
	id string
	shown
}

func (c change) String() string {
	return fmt.Sprintf("%s: %s", c.file, strings.TrimSpace(c.new))
}

// readChanges returns the changes in broken.txt.
func readChanges(t *testing.T) []change {
	t.Helper()
	var list []change
	for block := range strings.SplitSeq(broken, "\n\n") {
		var c change
		for line := range strings.Lines(block) {
			line = strings.TrimSuffix(line, "\n")
			switch first, rest, _ := strings.Cut(line, " "); {
			case strings.HasPrefix(line, "#"), line == "":
			case c.file == "":
				c.file = line
			case line[0] == '-':
				c.old += line[1:] + "\n"
			case line[0] == '+':
				c.new += line[1:] + "\n"
			default:
				for cell := range strings.FieldsSeq(rest) {
					name := named.FindStringSubmatch(cell)
					if name == nil || name[3] != "" && name[3] != first {
						t.Errorf("broken.txt: %s: %q is no test of the rule", c.file, line)
						continue
					}
					c.rules = append(c.rules, failing{first, shown{dir: name[1], test: name[2], row: name[3] != ""}})
				}
			}
		}
		if c.file == "" {
			continue
		}
		if c.old == "" || len(c.rules) == 0 {
			t.Errorf("broken.txt: %s is incomplete", c)
		}
		list = append(list, c)
	}
	return list
}

// apply returns the changed file.
func (c change) apply() (string, error) {
	source, err := os.ReadFile(filepath.Join(root, c.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), "\n"+c.old); n != 1 {
		return "", fmt.Errorf("the code has these lines %d times, not once: break the rules in another way\n%s", n, c.old)
	}
	return strings.Replace(string(source), "\n"+c.old, "\n"+c.new, 1), nil
}

// The changes in broken.txt can still be made, and the tests in it show the rules.
func TestChangesFitTheCode(t *testing.T) {
	t.Parallel()
	tests := map[string][]shown{}
	for _, r := range readRules(t) {
		tests[r.id] = r.shown
	}
	for _, c := range readChanges(t) {
		if _, err := c.apply(); err != nil {
			t.Errorf("broken.txt: %s: %v", c, err)
		}
		for _, f := range c.rules {
			if !slices.Contains(tests[f.id], f.shown) {
				t.Errorf("broken.txt: %s: CONFORMANCE.md does not list %s.%s for %s", c, f.dir, f.test, f.id)
			}
		}
	}
}

// The tests of a rule fail if the code breaks it. This makes 8 of the changes in broken.txt
// with CI set, chosen by the logged seed, and all with MXSEAL_LONG=1. MXSEAL_BROKEN=STS- makes
// those that break rules whose names begin so, and MXSEAL_BROKEN=mtasts/ those of such files.
func TestBrokenRules(t *testing.T) {
	changes := readChanges(t)
	switch {
	case os.Getenv("MXSEAL_BROKEN") != "":
		changes = slices.DeleteFunc(changes, func(c change) bool {
			prefix := os.Getenv("MXSEAL_BROKEN")
			return !strings.HasPrefix(c.file, prefix) &&
				!slices.ContainsFunc(c.rules, func(f failing) bool { return strings.HasPrefix(f.id, prefix) })
		})
	case os.Getenv("MXSEAL_LONG") != "":
	case os.Getenv("CI") != "":
		s := seed.New(t)
		rand.New(rand.NewPCG(s, 0)).Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
		changes = changes[:min(8, len(changes))]
	default:
		return // TestChangesFitTheCode has looked at all.
	}
	seen := map[string]bool{}
	for _, c := range changes {
		t.Run(c.String(), func(t *testing.T) { // so that a failure shows the change
			for _, id := range c.try(t) {
				seen[id] = true
			}
		})
	}
	t.Logf("%d changes broke %d rules, and their tests failed", len(changes), len(seen))
}

// try makes a change, runs the tests of the rules that it breaks, and returns those whose
// tests failed.
func (c change) try(t *testing.T) (failed []string) {
	content, err := c.apply()
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), filepath.Base(c.file))
	if err := os.WriteFile(changed, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	original, err := filepath.Abs(filepath.Join(root, c.file))
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	byDir := map[string][]failing{}
	for _, f := range c.rules {
		byDir[f.dir] = append(byDir[f.dir], f)
	}
	for dir, rules := range byDir {
		names := make([]string, len(rules))
		for i, f := range rules {
			names[i] = f.test
		}
		cmd := exec.CommandContext(t.Context(), "go", "test", "-short", "-vet=off", "-timeout=5m", "-overlay", overlayFile,
			"-run", "^("+strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), "|")+")$", ".")
		cmd.Dir = filepath.Join(root, dir)
		output, err := cmd.CombinedOutput()
		if err != nil && strings.Contains(string(output), "[build failed]") {
			t.Fatalf("%s does not compile:\n%s", c, output)
		}
		for _, f := range rules {
			if !f.failsIn(string(output)) {
				t.Errorf("%s: %s is broken, and %s.%s passes:\n%s", c, f.id, f.dir, f.test, output)
				continue
			}
			failed = append(failed, f.id)
		}
	}
	return failed
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\w+)(?:/(\S+))? `)

// failsIn reports whether the output of go test says that the test failed, and if only rows
// show the rule, one of them.
func (f failing) failsIn(output string) bool {
	for _, match := range failedTest.FindAllStringSubmatch(output, -1) {
		if match[1] != f.test {
			continue
		}
		if !f.row {
			return true
		}
		rules := map[string]bool{}
		mentioned(rules, strings.ReplaceAll(match[2], "_", " "))
		if rules[f.id] {
			return true
		}
	}
	return false
}

// compareIDs orders STS-9 before STS-10.
func compareIDs(a, b string) int {
	split := func(id string) (string, int) {
		prefix, number, _ := strings.Cut(id, "-")
		n, _ := strconv.Atoi(number)
		return prefix, n
	}
	prefixA, a1 := split(a)
	prefixB, b1 := split(b)
	return cmp.Or(cmp.Compare(prefixA, prefixB), cmp.Compare(a1, b1))
}
