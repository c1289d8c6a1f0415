package differential

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/interop"
)

// perTree is the number of questions for each tree.
const perTree = 10

// TestValidatorsAgree asks our validator, unbound and delv about generated
// trees. The seed is in the log. The same seed generates the same questions.
func TestValidatorsAgree(t *testing.T) {
	r := &run{
		seed:      number("MXSEAL_DIFFERENTIAL_SEED", defaultSeed),
		questions: number("MXSEAL_DIFFERENTIAL_QUESTIONS", questions()),
		reduce:    number("MXSEAL_DIFFERENTIAL_REDUCE", 5),
		counts:    make(map[string]int),
		first:     make(map[string]string),
		reported:  make(map[string]bool),
	}
	t.Logf("MXSEAL_DIFFERENTIAL_SEED=%d MXSEAL_DIFFERENTIAL_QUESTIONS=%d", r.seed, r.questions)
	if only := number("MXSEAL_DIFFERENTIAL_TREE", math.MaxUint64); only != math.MaxUint64 {
		r.next.Store(only)
		r.questions = (only + 1) * perTree
	}
	newPanel(t) // skips the test if a program is missing
	// There are more workers than processors, because delv 9.18 sometimes hangs
	// for 12 seconds when a zone has no valid signature.
	var workers sync.WaitGroup
	for n := range 8 * runtime.GOMAXPROCS(0) {
		workers.Go(func() { t.Run(fmt.Sprint("worker ", n), r.work) })
	}
	workers.Wait()
	t.Log(r.summary())
	r.notCompared(t)
}

// defaultSeed makes all runs ask the same questions, so that a new difference
// is caused by the change under test. Use other seeds to find new differences.
const defaultSeed = 304

// questions returns the default number of questions: 2000 if the environment
// asks for the complete comparison, and few otherwise.
func questions() uint64 {
	if interop.Complete() {
		return 2000
	}
	return 80
}

// A run is one comparison, done by several workers.
type run struct {
	seed, questions uint64
	reduce          uint64        // the number of differences to reduce
	next            atomic.Uint64 // index of the next tree

	mu       sync.Mutex
	counts   map[string]int
	first    map[string]string // the first occurrence of each kind of difference
	reported map[string]bool   // the kinds of differences that were reported
	differs  int
}

// work asks about one tree after the other.
func (r *run) work(t *testing.T) {
	p := newPanel(t)
	for tree := r.next.Add(1) - 1; tree*perTree < r.questions; tree = r.next.Add(1) - 1 {
		g := newGenerator(r.seed, tree)
		w := build(g.tree())
		scenarios := make([]*scenario, min(perTree, r.questions-tree*perTree))
		for i := range scenarios {
			scenarios[i] = g.scenario(w)
		}
		p.turnTo(t, w)
		for i, s := range scenarios {
			if outOfTime(t) {
				return
			}
			o := p.judge(t, s)
			r.record(t, p, o, fmt.Sprintf("tree %d, question %d", tree, i))
		}
	}
}

// outOfTime makes the test fail one minute before its deadline, so that cleanup
// functions still run.
func outOfTime(t *testing.T) bool {
	deadline, ok := t.Deadline()
	if !ok || time.Until(deadline) > time.Minute {
		return false
	}
	t.Error("stopped early: there is too little time until -timeout; set a longer one")
	return true
}

// An outcome contains the verdicts of all three validators on a scenario.
type outcome struct {
	*scenario
	ours, unbound, delv verdict
	truth               truth
}

func (p *panel) judge(t testing.TB, s *scenario) *outcome {
	t.Helper()
	o := &outcome{scenario: s}
	o.ours, o.unbound, o.delv = p.ask(t, s)
	o.truth = p.world.truth(s.question)
	return o
}

// differ reports whether there is a difference to explain: the statuses differ,
// or ours and unbound return different secure records. Bogus and failed count
// as the same status, because the caller gets no answer in both cases.
func (o *outcome) differ() bool {
	return o.kinds() != [3]status{o.ours.kind(), o.ours.kind(), o.ours.kind()} ||
		o.ours.status == secure && o.ours.answer != o.unbound.answer
}

// statuses returns the statuses of ours, unbound and delv.
func (o *outcome) statuses() [3]status {
	return [3]status{o.ours.status, o.unbound.status, o.delv.status}
}

// kinds returns the statuses, with bogus replaced by failed.
func (o *outcome) kinds() [3]status {
	return [3]status{o.ours.kind(), o.unbound.kind(), o.delv.kind()}
}

func (o *outcome) unasked() bool {
	return slices.Contains([]status{o.ours.status, o.unbound.status, o.delv.status}, unasked)
}

// record counts an outcome. An outcome that cannot be explained is a test
// failure. The first one of each kind is logged in full, and the first few of
// these are reduced.
func (r *run) record(t *testing.T, p *panel, o *outcome, where string) {
	t.Helper()
	if o.unasked() {
		r.mu.Lock()
		r.counts[tookTooLong]++
		r.mu.Unlock()
		return
	}
	kind := cmp.Or(o.mutation.Kind, "(intact)")
	why, differs := "", o.differ()
	if wrong := o.wrong(); wrong != "" {
		t.Errorf("%s: %s", where, wrong)
		why, differs = unexplained, true
	} else if differs {
		why = cmp.Or(explain(o), unexplained)
	}
	r.mu.Lock()
	r.counts["status "+string(o.ours.status)]++
	r.counts["mutation "+kind+": "+string(o.ours.status)]++
	if differs {
		kind := fmt.Sprintf("difference %v: %s", o.statuses(), why)
		r.counts[kind]++
		r.differs++
		r.first[kind] = cmp.Or(r.first[kind], where)
	}
	class := fmt.Sprint(o.statuses(), kind)
	report := why == unexplained && !r.reported[class]
	if report {
		r.reported[class] = true
	}
	reduce := report && len(r.reported) <= int(r.reduce)
	r.mu.Unlock()
	if why == unexplained {
		t.Errorf("%s: %v, %s: %s", where, o.statuses(), kind, o.question)
	}
	if report {
		t.Logf("%s\n%s", where, o.report())
	}
	if reduce {
		p.reduce(t, o)
	}
}

const (
	unexplained = "UNEXPLAINED"
	tookTooLong = "not asked, because a program took too long"
)

// notCompared reports how many questions could not be compared.
func (r *run) notCompared(t *testing.T) {
	if !interop.Complete() {
		interop.NotCompared(t, "%d questions were asked; MXSEAL_INTEROP=1 asks 2000", r.questions)
	}
	if n := r.counts[tookTooLong]; n > 0 {
		interop.NotCompared(t, "%d of %d questions, because a program took too long", n, r.questions)
	}
	if r.differs > 0 {
		interop.NotCompared(t, "%d of %d questions, on which the validators differ for reasons in explain_test.go; -v lists them", r.differs, r.questions)
	}
}

func (o *outcome) report() string {
	indent := func(text string) string { return strings.ReplaceAll(text, "\n", "\n\t\t") }
	return fmt.Sprintf("%s\nours    %s %s\n\t\t%s\nunbound %s %s\n\t\t%s\ndelv    %s\n\t\t%s\n%s", o.question,
		o.ours.status, o.ours.answer, indent(o.ours.detail),
		o.unbound.status, o.unbound.answer, indent(o.unbound.detail),
		o.delv.status, indent(o.delv.detail), o.scenario)
}

func (r *run) summary() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d, %d questions\n", r.seed, r.questions)
	for _, key := range slices.Sorted(maps.Keys(r.counts)) {
		fmt.Fprintf(&text, "%7d %s", r.counts[key], key)
		if where := r.first[key]; where != "" {
			fmt.Fprintf(&text, " (first: %s)", where)
		}
		text.WriteByte('\n')
	}
	return text.String()
}
