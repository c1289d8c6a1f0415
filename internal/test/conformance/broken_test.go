package conformance

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"os"
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
	number int    // 1 for the first
	file   string // its path in the module
	edits  []edit
	rules  []failing
}

// An edit replaces lines by others. The file has the old lines once.
type edit struct{ old, new string }

// failing is a rule that a change breaks, and a test that fails then.
type failing struct {
	id string
	shown
}

func (c change) String() string {
	var news []string
	for _, e := range c.edits {
		news = append(news, strings.TrimSpace(e.new))
	}
	return fmt.Sprintf("%s: %s", c.file, strings.Join(news, " ... "))
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
				if n := len(c.edits); n == 0 || c.edits[n-1].new != "" {
					c.edits = append(c.edits, edit{})
				}
				c.edits[len(c.edits)-1].old += line[1:] + "\n"
			case line[0] == '+' && len(c.edits) > 0:
				c.edits[len(c.edits)-1].new += line[1:] + "\n"
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
		if len(c.edits) == 0 || len(c.rules) == 0 {
			t.Errorf("broken.txt: %s is incomplete", c)
		}
		c.number = len(list) + 1
		list = append(list, c)
	}
	return list
}

// find returns where the old lines begin in the file.
func (e edit) find(source string) (int, error) {
	if n := strings.Count(source, "\n"+e.old); n != 1 {
		return 0, fmt.Errorf("the code has these lines %d times, not once; break the rules in another way:\n%s", n, e.old)
	}
	return strings.Index(source, "\n"+e.old) + 1, nil
}

// The changes in broken.txt can still be made, and the tests in it show the rules.
func TestChangesFitTheCode(t *testing.T) {
	t.Parallel()
	tests := map[string][]shown{}
	for _, r := range readRules(t) {
		tests[r.id] = r.shown
	}
	for _, c := range readChanges(t) {
		source, err := os.ReadFile(filepath.Join(root, c.file))
		if err != nil {
			t.Errorf("broken.txt: %v", err)
		}
		for _, e := range c.edits {
			if _, err := e.find(string(source)); err != nil {
				t.Errorf("broken.txt: %s: %v", c, err)
			}
		}
		for _, f := range c.rules {
			if !slices.Contains(tests[f.id], f.shown) {
				t.Errorf("broken.txt: %s: CONFORMANCE.md does not list %s.%s for %s", c, f.dir, f.test, f.id)
			}
		}
	}
}

// The tests of a rule fail if the code breaks it. This makes 10 of the changes in broken.txt
// with CI set, chosen by the logged seed, and all with MXSEAL_LONG=1. MXSEAL_BROKEN=STS-,DANE-6
// makes those that break DANE-6 or a rule whose name begins with STS-, and MXSEAL_BROKEN=mtasts/ those
// in files whose paths begin with mtasts/. MXSEAL_BROKEN_IN=dane runs only the tests in that directory.
func TestBrokenRules(t *testing.T) {
	changes := readChanges(t)
	switch {
	case os.Getenv("MXSEAL_BROKEN") != "":
		changes = slices.DeleteFunc(changes, func(c change) bool {
			return !slices.ContainsFunc(strings.Split(os.Getenv("MXSEAL_BROKEN"), ","), c.isAsked)
		})
	case os.Getenv("MXSEAL_LONG") != "", os.Getenv("MXSEAL_BROKEN_IN") != "":
	case os.Getenv("CI") != "":
		s := seed.Random(t)
		rand.New(rand.NewPCG(s, 0)).Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
		changes = changes[:min(10, len(changes))]
	default:
		return // TestChangesFitTheCode has checked that all can be made
	}
	byDir := map[string][]change{}
	for _, c := range changes {
		for _, f := range c.rules {
			if !slices.ContainsFunc(byDir[f.dir], func(other change) bool { return other.number == c.number }) {
				byDir[f.dir] = append(byDir[f.dir], c)
			}
		}
	}
	seen := map[string]bool{}
	for dir, changes := range byDir {
		if only := os.Getenv("MXSEAL_BROKEN_IN"); only != "" && only != dir {
			continue
		}
		p := buildBroken(t, dir, changes)
		for _, c := range changes {
			for _, id := range p.try(t, c) {
				seen[id] = true
			}
		}
	}
	t.Logf("%d changes broke %d rules, and their tests failed", len(changes), len(seen))
}

// isAsked reports whether a rule, a group of rules such as "STS-", or a path is about the
// change.
func (c change) isAsked(what string) bool {
	return strings.HasPrefix(c.file, what) || slices.ContainsFunc(c.rules, func(f failing) bool {
		return f.id == what || strings.HasSuffix(what, "-") && strings.HasPrefix(f.id, what)
	})
}

// try makes a change, runs the tests of the rules that it breaks, and returns those whose
// tests failed.
func (p *brokenProgram) try(t *testing.T, c change) (failed []string) {
	t.Helper()
	rules := slices.DeleteFunc(slices.Clone(c.rules), func(f failing) bool { return f.dir != p.dir })
	output := p.run(t, c, rules...)
	for _, f := range rules {
		if !f.failsIn(output) { // perhaps another test ended the program, or this one has random input
			output += p.run(t, c, f)
		}
		if !f.failsIn(output) {
			t.Errorf("%s: %s is broken, and this passes: %s.%s\n%.2000s", c, f.id, f.dir, f.test, output)
			continue
		}
		failed = append(failed, f.id)
	}
	return failed
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\w+)(?:/(\S+))? `)

// failsIn reports whether the output of tests says that the test failed, and if only rows
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

// id is the name of the change in the program that is built with all changes.
func (c change) id() string { return strconv.Itoa(c.number) }
