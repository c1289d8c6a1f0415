package differential

import (
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// reduce logs a smaller scenario with the same disagreement. It removes one
// thing at a time as long as the disagreement remains.
func (p *panel) reduce(t *testing.T, o *outcome) {
	t.Helper()
	defer p.turnTo(t, p.world)
	budget := 150 // the number of trees to try
	want, smallest := o.statuses(), o
	retry := func(s *scenario) bool {
		budget--
		found := p.try(t, s)
		if found == nil || found.statuses() != want || !found.differ() {
			return false
		}
		smallest = found
		return true
	}
	again := &scenario{tree: o.tree, question: o.question, mutation: o.mutation}
	if !retry(again) {
		t.Errorf("the difference is not there when the tree is made again")
		return
	}
	for found := true; found && budget > 0; {
		found = false
		for _, s := range simpler(smallest.scenario) {
			if budget > 0 && retry(s) {
				found = true
				break
			}
		}
	}
	t.Errorf("reduced:\n%s", smallest.report())
	w := build(smallest.tree)
	if intact := w.ask(smallest.question); smallest.mutation.Kind == "" {
		t.Logf("reply:\n%s", intact)
	} else if smallest.prepare(w) {
		t.Logf("reply to %s:\n%s\naltered:\n%s", smallest.mutation.At, smallest.intact, smallest.altered)
	}
}

// try builds the tree of a scenario and asks all validators. It returns nil if
// the mutation does not apply.
func (p *panel) try(t testing.TB, s *scenario) *outcome {
	t.Helper()
	w := build(s.tree)
	if !s.prepare(w) {
		return nil
	}
	p.turnTo(t, w)
	return p.judge(t, s)
}

// simpler returns scenarios with one thing removed.
func simpler(s *scenario) []*scenario {
	var all []*scenario
	add := func(change func(*scenario)) {
		c := &scenario{tree: slices.Clone(s.tree), question: s.question, mutation: s.mutation}
		change(c)
		all = append(all, c)
	}
	for i := len(s.tree) - 1; i > 0; i-- {
		add(func(c *scenario) { c.tree = slices.Delete(c.tree, i, i+1) })
	}
	for i := range s.tree {
		z := s.tree[i]
		if len(z.Records) > 1 {
			add(func(c *scenario) { c.tree[i].Records = nil })
		}
		for n := range z.Records {
			add(func(c *scenario) { c.tree[i].Records = slices.Delete(slices.Clone(z.Records), n, n+1) })
		}
		for _, plain := range plainer(z) {
			add(func(c *scenario) { c.tree[i] = plain })
		}
	}
	return all
}

// plainer returns zones in which one thing is simpler than in z.
func plainer(z zoneSpec) []zoneSpec {
	var all []zoneSpec
	add := func(applies bool, change func(*zoneSpec)) {
		if applies {
			c := z
			change(&c)
			all = append(all, c)
		}
	}
	usual := []uint8{dns.ECDSAP256SHA256}
	digest := []uint8{dns.SHA256}
	add(z.OneDS, func(c *zoneSpec) { c.OneDS = false })
	add(z.SpareDS, func(c *zoneSpec) { c.SpareDS = false })
	add(z.SpareKey != 0, func(c *zoneSpec) { c.SpareKey = 0 })
	add(z.Shift != 0, func(c *zoneSpec) { c.Shift = 0 })
	add(z.Algorithms != nil && !slices.Equal(z.Algorithms, usual), func(c *zoneSpec) { c.Algorithms = usual })
	add(z.Digests != nil && !slices.Equal(z.Digests, digest), func(c *zoneSpec) { c.Digests = digest })
	add(z.OptOut, func(c *zoneSpec) { c.OptOut = false })
	add(z.Iterations != 0, func(c *zoneSpec) { c.Iterations = 0 })
	add(z.Salt != "", func(c *zoneSpec) { c.Salt = "" })
	add(z.NSEC3, func(c *zoneSpec) { c.NSEC3, c.OptOut, c.Iterations, c.Salt = false, false, 0, "" })
	return all
}
