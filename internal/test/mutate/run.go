package mutate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Target is files of one package, and the tests that have to notice changes in them.
type Target struct {
	Files []string // their paths in the module, all in one directory
	Tests []string // directories of packages; that of the files is the first
}

// Program is the test programs of a target, with all its mutants.
type Program struct {
	Mutants []Mutant

	logf     func(format string, args ...any)
	scratch  string
	tests    []*test
	recorded bool
}

// test is one test function.
type test struct {
	program string
	dir     string
	name    string
	cpu     time.Duration
	reaches map[int]bool // the mutants that can make a difference to it
}

// Build compiles the tests of a target into scratch, an empty directory. root is that of
// the module. Changes that do not compile, and tests that fail without a change, are left
// out and logged.
func Build(root, scratch string, t Target, logf func(format string, args ...any)) (*Program, error) {
	root, err := filepath.Abs(root) // the overlay needs it
	if err != nil {
		return nil, err
	}
	s, err := load(filepath.Join(root, filepath.Dir(t.Files[0])))
	if err != nil {
		return nil, err
	}
	omit := make(map[string]bool)
	for {
		mutants, contents, err := s.rewrite(root, t.Files, omit)
		if err != nil {
			return nil, err
		}
		p := &Program{Mutants: mutants, logf: logf, scratch: scratch}
		output, err := p.compile(root, t.Tests, contents)
		if err == nil {
			return p, nil
		}
		known := len(omit)
		for _, m := range mutants {
			at := regexp.MustCompile(`(^|[/\s])` + regexp.QuoteMeta(filepath.Base(m.File)+":"+strconv.Itoa(m.Line)) + `\b`)
			if at.MatchString(output) {
				omit[m.Key()] = true
				logf("left out, because the code would not compile: %s", m)
			}
		}
		if len(omit) == known {
			return nil, fmt.Errorf("mutate: %s: %w\n%s", t.Files[0], err, output)
		}
	}
}

// compile builds one program for each directory of tests. If it fails, it returns what the
// compiler says.
func (p *Program) compile(root string, dirs []string, contents map[string][]byte) (output string, err error) {
	replace := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		replace[name] = filepath.Join(p.scratch, strconv.Itoa(len(replace))+"-"+filepath.Base(name))
		if err := os.WriteFile(replace[name], contents[name], 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlayFile := filepath.Join(p.scratch, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return "", err
	}
	for i, dir := range dirs {
		program := filepath.Join(p.scratch, fmt.Sprintf("tests%d", i))
		build := exec.Command("go", "test", "-vet=off", "-gcflags=-e", "-overlay", overlayFile, "-c", "-o", program, ".")
		build.Dir = filepath.Join(root, dir)
		if out, err := build.CombinedOutput(); err != nil {
			return string(out), err
		}
		list := exec.Command(program, "-test.list", ".")
		list.Dir = build.Dir
		out, err := list.Output()
		if err != nil {
			return string(out), err
		}
		for name := range strings.FieldsSeq(string(out)) {
			if !strings.HasPrefix(name, "Benchmark") {
				p.tests = append(p.tests, &test{program: program, dir: build.Dir, name: name})
			}
		}
	}
	return "", nil
}

// record runs every test once without a mutant, to learn which mutants it reaches. A test
// that fails, for example because the machine is too busy, shows nothing: it is left out.
func (p *Program) record(ctx context.Context) error {
	record := filepath.Join(p.scratch, "record")
	any := false
	for _, t := range p.tests {
		if err := os.WriteFile(record, nil, 0o600); err != nil {
			return err
		}
		output, cpu, err := run(ctx, []*test{t}, 10*time.Minute, "MXSEAL_MUTANT_RECORD="+record)
		if err != nil { // once more
			output, cpu, err = run(ctx, []*test{t}, 10*time.Minute, "MXSEAL_MUTANT_RECORD="+record)
		}
		if err != nil {
			p.logf("left out, because it fails without a mutant: %s: %v\n%s", t.name, err, output)
			continue
		}
		t.cpu, t.reaches = cpu, make(map[int]bool)
		reached, err := os.ReadFile(record)
		if err != nil {
			return err
		}
		for line := range strings.FieldsSeq(string(reached)) {
			id, err := strconv.Atoi(line)
			if err != nil {
				return fmt.Errorf("mutate: the record of %s has the line %q", t.name, line)
			}
			t.reaches[id], any = true, true
		}
	}
	if !any {
		return errors.New("mutate: no test reaches a mutant")
	}
	p.recorded = true
	return nil
}

// Killed reports whether a test notices the mutant. How says which test, or why none does.
func (p *Program) Killed(ctx context.Context, m Mutant) (killed bool, how string, err error) {
	if !p.recorded {
		if err := p.record(ctx); err != nil {
			return false, "", err
		}
	}
	var reaching []*test
	for _, t := range p.tests {
		if t.reaches[m.ID] {
			reaching = append(reaching, t)
		}
	}
	if len(reaching) == 0 {
		return false, "no test reaches it in a state in which it makes a difference", nil
	}
	slices.SortStableFunc(reaching, func(a, b *test) int { return cmp.Compare(a.cpu, b.cpu) })
	for _, group := range groups(reaching) {
		output, _, err := run(ctx, group, limit(group), "MXSEAL_MUTANT="+strconv.Itoa(m.ID))
		if err != nil {
			return true, firstFailure(output, err), nil
		}
	}
	return false, fmt.Sprintf("%d tests reach it and pass", len(reaching)), nil
}

// groups divides tests, sorted by their cost, so that a cheap one that fails saves the
// expensive ones. Each group is of one program.
func groups(tests []*test) [][]*test {
	var list [][]*test
	sum, most := time.Duration(0), time.Second
	for _, t := range tests {
		last := len(list) - 1
		sum += t.cpu
		if last >= 0 && sum > most {
			sum, most, last = t.cpu, 4*most, -1
		}
		i := slices.IndexFunc(list[max(last, 0):], func(group []*test) bool { return group[0].program == t.program })
		if last < 0 || i < 0 {
			list = append(list, []*test{t})
		} else {
			list[last+i] = append(list[last+i], t)
		}
	}
	return list
}

// limit is the processor time after which tests count as failed: many times what they took
// without a mutant.
func limit(tests []*test) time.Duration {
	sum := 5 * time.Second
	for _, t := range tests {
		sum += 5 * t.cpu
	}
	return sum
}

// run runs tests of one program. The limit is processor time, so that a busy machine makes
// no difference; one that waits forever ends after a longer time.
func run(ctx context.Context, tests []*test, limit time.Duration, env string) (output string, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute+10*limit)
	defer cancel()
	names := make([]string, len(tests))
	for i, t := range tests {
		names[i] = t.name
	}
	const script = `ulimit -t "$1"; ulimit -v 8000000; shift; exec "$@"`
	cmd := exec.CommandContext(ctx, "sh", "-c", script, "sh", strconv.Itoa(int(limit/time.Second)+1),
		tests[0].program, "-test.short", "-test.failfast", "-test.run", "^("+strings.Join(names, "|")+")$")
	cmd.Dir, cmd.Env = tests[0].dir, append(os.Environ(), "MXSEAL_SEED=1", env) // the same input for each mutant
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if cmd.ProcessState != nil {
		cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return out.String(), cpu, err
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .*)|^(fatal error: .*)`)

func firstFailure(output string, err error) string {
	if found := failure.FindStringSubmatch(output); found != nil {
		return strings.Join(found[1:], "")
	}
	return err.Error()
}

// Sample returns n of the mutants, chosen by a seed; all if n is negative.
func Sample(mutants []Mutant, n int, seed uint64) []Mutant {
	if n < 0 || n >= len(mutants) {
		return mutants
	}
	r := rand.New(rand.NewPCG(seed, 0))
	chosen := make([]Mutant, n)
	for i, at := range r.Perm(len(mutants))[:n] {
		chosen[i] = mutants[at]
	}
	return chosen
}
