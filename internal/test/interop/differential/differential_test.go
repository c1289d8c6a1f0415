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

// perTree is how many questions are asked about each tree, one after the other.
const perTree = 10

// TestValidatorsAgree asks our validator, unbound and delv about trees that it
// makes up. The log has the seed; the same seed asks the same questions.
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
	newPanel(t) // skips where a program is missing
	// More workers than processors: delv 9.18 at times waits for itself, for 12
	// seconds, when a zone has no good signature.
	var workers sync.WaitGroup
	for n := range 8 * runtime.GOMAXPROCS(0) {
		workers.Go(func() { t.Run(fmt.Sprint("worker ", n), r.work) })
	}
	workers.Wait()
	t.Log(r.summary())
	r.notCompared(t)
}

// defaultSeed has each run ask the same, so that it says something about the
// change that is tested. Other seeds are for who looks for differences.
const defaultSeed = 304

// questions is how many are asked by default: 2000 where the environment asks
// for the whole comparison, few where "go test ./..." is to be quick.
func questions() uint64 {
	if interop.Complete() {
		return 2000
	}
	return 80
}

// A run is one comparison, done by several workers.
type run struct {
	seed, questions uint64
	reduce          uint64        // how many differences to reduce
	next            atomic.Uint64 // tree

	mu       sync.Mutex
	counts   map[string]int
	first    map[string]string // where each kind of difference was met first
	reported map[string]bool   // kinds of differences
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

// outOfTime fails the test a minute before it would be ended together with its
// clean-up.
func outOfTime(t *testing.T) bool {
	deadline, ok := t.Deadline()
	if !ok || time.Until(deadline) > time.Minute {
		return false
	}
	t.Error("stopped early, for lack of time (-timeout)")
	return true
}

// An outcome is what the three made of a scenario.
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

// differ reports whether there is something to explain: another status, or
// other records that ours and unbound both call secure. Whether what is refused
// is called bogus or a failure makes no difference to who asks.
func (o *outcome) differ() bool {
	return o.kinds() != [3]status{o.ours.kind(), o.ours.kind(), o.ours.kind()} ||
		o.ours.status == secure && o.ours.answer != o.unbound.answer
}

// statuses are those of ours, unbound and delv.
func (o *outcome) statuses() [3]status {
	return [3]status{o.ours.status, o.unbound.status, o.delv.status}
}

// kinds are the statuses, all that is refused being called failed.
func (o *outcome) kinds() [3]status {
	return [3]status{o.ours.kind(), o.unbound.kind(), o.delv.kind()}
}

func (o *outcome) unasked() bool {
	return slices.Contains([]status{o.ours.status, o.unbound.status, o.delv.status}, unasked)
}

// record counts an outcome. One that cannot be explained is a failure; the
// first of each kind is reported in full, and the first few of these reduced.
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

// notCompared says how many questions show no agreement.
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
