package mtasts

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts/internal/memory"
)

// noon is when the tests of states begin.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// aState returns a state whose policy was fetched at that time and lasts an hour.
func aState(t *testing.T, mode Mode, mx string, fetched time.Time) *state {
	t.Helper()
	p, err := ParsePolicy(fmt.Sprintf("version: STSv1\nmode: %s\nmx: %s.example.com\nmax_age: 3600\n", mode, mx))
	if err != nil {
		t.Fatal(err)
	}
	return &state{domain: "example.com", policy: p, id: mx, fetched: fetched, made: fetched}
}

// M7: a policy that a wrong clock has ended returns when the clock is right, unless what is
// known since then is as good or better.
func TestM7LapsedPolicyReturnsOnlyIfNothingIsBetter(t *testing.T) {
	t.Parallel()
	later := noon.Add(time.Minute)
	for name, test := range map[string]struct {
		lapsed    *state
		displaced bool // the lapsed one, by another one that returned
		now       *state
		at        time.Time
		want      string // the pattern of the policy in force
	}{
		"nothing since":                    {aState(t, Enforce, "old", noon), false, &state{}, later, "old"},
		"nothing since, and it has lapsed": {aState(t, Enforce, "old", noon), false, &state{}, noon.Add(2 * time.Hour), ""},
		"weaker, of the same hosts":        {aState(t, Enforce, "old", noon), false, aState(t, Testing, "old", later), later, "old"},
		"weaker, of other hosts":           {aState(t, Enforce, "old", noon), false, aState(t, None, "new", later), later, "old"},
		"as strong, of other hosts":        {aState(t, Enforce, "old", noon), false, aState(t, Enforce, "new", later), later, "old"},
		"as strong, and it was displaced":  {aState(t, Enforce, "old", noon), true, aState(t, Enforce, "new", later), later, "new"},
		"weaker, and it was displaced":     {aState(t, Enforce, "old", noon), true, aState(t, Testing, "new", later), later, "old"},
		"stronger, of other hosts":         {aState(t, Testing, "old", noon), false, aState(t, Enforce, "new", later), later, "new"},
		"lapsed too":                       {aState(t, Enforce, "old", noon), false, aState(t, Enforce, "new", noon.Add(-2*time.Hour)), later, "old"},
	} {
		s := *test.now
		s.lapsed = &lapsed{test.lapsed, time.Now(), test.displaced}
		got := ""
		if next := s.at(test.at); next.policy != nil {
			got, _, _ = strings.Cut(next.policy.MX[0], ".")
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}

	// The same policy, fetched again by another Client: the time of that fetch stays.
	again := aState(t, Enforce, "old", later)
	again.lapsed = &lapsed{aState(t, Enforce, "old", noon), time.Now(), false}
	if s := again.at(later); !s.fetched.Equal(later) {
		t.Errorf("the policy is that of %v, want %v", s.fetched, later)
	}
}

// A policy that expires takes with it what is known about its refresh, and leaves what
// limits the next fetch.
func TestExpiryEndsWhatIsAboutPolicy(t *testing.T) {
	t.Parallel()
	s := aState(t, Enforce, "mx", noon)
	s.used, s.own = true, true
	s.fetchFailed(failure{id: "2", when: noon.Add(59 * time.Minute), err: &Error{Kind: KindFetch}})
	s.problems.notified.failing, s.problems.notified.expiring = true, true
	s = s.at(noon.Add(time.Hour + 1))
	if s.policy != nil || s.id != "" || !s.fetched.IsZero() || s.used || s.own || s.behind != 0 {
		t.Errorf("left of the policy: %+v", s)
	}
	if p := s.problems; p == nil || p.failing() || p.err != nil || p.failed != 0 || p.notified.failing || p.notified.expiring || len(p.failures) != 1 {
		t.Errorf("left of its problems: %+v", p)
	}
	if s.lapsed == nil || s.lapsed.displaced || s.lapsed.id != "mx" || !s.lapsed.used {
		t.Errorf("kept is %+v", s.lapsed)
	}
}

// M7: while a policy that has expired is kept, what is known since then stays, and the
// policy is dropped after a day.
func TestM7LapsedPolicyKeepsNothingElse(t *testing.T) {
	t.Parallel()
	s := aState(t, Enforce, "old", noon).at(noon.Add(2 * time.Hour))
	s.setError(errors.New("no record"), "")
	s.checkAt(noon.Add(5 * time.Hour))
	s = s.at(noon.Add(3 * time.Hour))
	if s.problems == nil || !s.next.Equal(noon.Add(5*time.Hour)) || s.lapsed.depth() != 1 {
		t.Errorf("problems %v, next %v, %d policies are kept", s.problems, s.next, s.lapsed.depth())
	}
	s.lapsed.since = time.Now().Add(-expiredKept + time.Minute)
	if s = s.at(noon.Add(4 * time.Hour)); s.lapsed == nil {
		t.Error("the policy is not kept for a day")
	}
	s.lapsed.since = time.Now().Add(-expiredKept - time.Minute)
	if s = s.at(noon.Add(4 * time.Hour)); s.lapsed != nil {
		t.Error("the policy is kept for longer than a day")
	}
}

// M7: a policy that returns leaves the other kept ones as they are, keeps the one that it
// displaces, and is in use if either was.
func TestM7ReturnKeepsOtherPolicies(t *testing.T) {
	t.Parallel()
	for _, used := range []struct{ then, now bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		long := aState(t, Enforce, "long", noon)
		long.policy.MaxAge = 24 * time.Hour
		long.used = used.then
		long.lapsed = &lapsed{aState(t, Enforce, "first", noon.Add(-2*time.Hour)), time.Now(), false}
		last := aState(t, Enforce, "last", noon.Add(-90*time.Minute))
		last.lapsed = &lapsed{long, time.Now(), false}
		s := &state{domain: "example.com", used: used.now, lapsed: &lapsed{last, time.Now(), false}}
		s = s.at(noon.Add(2 * time.Hour))
		var kept []string
		for l := s.lapsed; l != nil; l = l.lapsed {
			kept = append(kept, l.id)
		}
		if s.id != "long" || s.used != (used.then || used.now) || fmt.Sprint(kept) != "[last first]" {
			t.Errorf("%+v: %q is in force, used %t; kept are %q", used, s.id, s.used, kept)
		}
		displacing := aState(t, Testing, "weak", noon.Add(90*time.Minute))
		displacing.lapsed = &lapsed{aState(t, Enforce, "strong", noon.Add(90*time.Minute)), time.Now(), false}
		if s := displacing.at(noon.Add(2 * time.Hour)); s.id != "strong" || s.lapsed.depth() != 1 || s.lapsed.id != "weak" || !s.lapsed.displaced {
			t.Errorf("%q is in force; kept is %+v", s.id, s.lapsed)
		}
	}
}

// M7: a policy lasts max_age from the time of its fetch. If that is in the future, it lasts
// max_age from now, or from the earliest time at which that was noticed.
func TestM7PolicyNeverLastsLongerThanMaxAge(t *testing.T) {
	t.Parallel()
	for now, want := range map[time.Time]time.Time{
		noon:                       noon.Add(time.Hour),
		noon.Add(30 * time.Minute): noon.Add(time.Hour),
		noon.Add(-time.Minute):     noon.Add(59 * time.Minute),
	} {
		if got := aState(t, Enforce, "mx", noon).expiresAt(now); !got.Equal(want) {
			t.Errorf("at %v: expires %v, want %v", now, got, want)
		}
	}
	s := aState(t, Enforce, "mx", noon.Add(time.Hour)) // from the future
	s = s.at(noon)
	if s.behind != noon.UnixMilli() || !s.expires().Equal(noon.Add(time.Hour)) {
		t.Errorf("noticed at %d, expires %v", s.behind, s.expires())
	}
	s = s.at(noon.Add(10 * time.Minute))
	if s.behind != noon.UnixMilli() || !s.expires().Equal(noon.Add(time.Hour)) {
		t.Errorf("noticed at %d, expires %v after ten minutes", s.behind, s.expires())
	}
	if s = s.at(noon.Add(-10 * time.Minute)); s.behind != noon.Add(-10*time.Minute).UnixMilli() {
		t.Errorf("noticed at %d, want the earliest time", s.behind)
	}
	if s = s.at(noon.Add(time.Hour)); s.behind != 0 {
		t.Errorf("noticed at %d, although the clock is right", s.behind)
	}
	if s = aState(t, Enforce, "mx", noon).at(noon.Add(time.Minute)); s.behind != 0 {
		t.Errorf("noticed at %d, although the clock was never wrong", s.behind)
	}
}

// C5: what a state has decides which other states it can displace from memory.
func TestC5ClassOfEachState(t *testing.T) {
	t.Parallel()
	failing := &problems{failures: []failure{{id: "1"}}}
	large := &Policy{Text: strings.Repeat("x", memory.LargeText-100)}
	larger := &Policy{Text: large.Text + "x"}
	for name, test := range map[string]struct {
		s    state
		want memory.Class
	}{
		"nothing":                       {state{}, memory.Without},
		"an error, and no fetch":        {state{problems: &problems{err: ErrNoRecord}}, memory.Without},
		"a failed fetch":                {state{problems: failing}, memory.BackingOff},
		"a policy":                      {state{policy: large}, memory.Protected},
		"a policy and a failed fetch":   {state{policy: large, problems: failing}, memory.Protected},
		"a large policy":                {state{policy: larger}, memory.Large},
		"an expired policy":             {state{lapsed: &lapsed{state: &state{policy: &Policy{}}}}, memory.Protected},
		"a large one that has expired":  {state{lapsed: &lapsed{state: &state{policy: larger}}}, memory.Large},
		"two that are large both times": {state{policy: large, lapsed: &lapsed{state: &state{policy: large}}}, memory.Large},
	} {
		class, size := test.s.weigh()
		if class != test.want || size < stateSize {
			t.Errorf("%s: class %d, want %d; it weighs %d", name, class, test.want, size)
		}
	}
}

// A state about which DNS was never asked is not that of a domain without a policy.
func TestZeroStateIsUnknown(t *testing.T) {
	t.Parallel()
	if got := new(state).public(); got != Unknown {
		t.Errorf("%v", got)
	}
}
