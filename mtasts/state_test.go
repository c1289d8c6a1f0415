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
		"from the future":                  {aState(t, Enforce, "old", noon), true, aState(t, Enforce, "new", later.Add(time.Hour)), later, "old"},
		"nothing since, and it says none":  {aState(t, None, "old", noon), true, &state{}, later, "old"},
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

// aFailure returns a failed fetch of the policy with that id.
func aFailure(id string, when time.Time) failure {
	return failure{id: id, when: when, err: &Error{Kind: KindFetch, ReasonCode: "http-" + id}, text: "text " + id}
}

// STS-51, STS-54: what failed is remembered for five minutes, and for as long as the refresh
// of the policy fails.
func TestProblemsAreForgottenWhenTheyNoLongerCount(t *testing.T) {
	t.Parallel()
	failures := func(ids ...string) (list []failure) {
		for i, id := range ids {
			list = append(list, aFailure(id, noon.Add(time.Duration(i)*time.Minute)))
		}
		return list
	}
	for name, test := range map[string]struct {
		problems problems
		after    time.Duration
		want     string // error, time of the first failure, ids of failures, whether the operator was notified
	}{
		"an error":             {problems{err: ErrNoRecord}, time.Hour, "error, since 0s, []"},
		"failing":              {problems{since: noon}, time.Hour, "since 1h0m0s, []"},
		"failures":             {problems{failures: failures("1", "2")}, 5*time.Minute - 1, "since 0s, [1 2]"},
		"one that is old":      {problems{failures: failures("1", "2")}, 5 * time.Minute, "since 0s, [2]"},
		"failures that are":    {problems{failures: failures("1", "2")}, 6 * time.Minute, "nothing"},
		"failing with them":    {problems{since: noon, failures: failures("1", "2")}, time.Hour, "since 1h0m0s, [2]"},
		"failing and just now": {problems{since: noon, failures: failures("1", "2")}, time.Minute, "since 1m0s, [1 2]"},
		"notified": {problems{notified: struct{ failing, expiring bool }{false, true}}, time.Hour,
			"since 0s, [], notified"},
		"nothing": {problems{}, time.Hour, "nothing"},
		"a clock that was set back": {problems{since: noon, failures: failures("1", "2")}, -time.Hour,
			"since 0s, [1 2]"},
	} {
		now := noon.Add(test.after)
		got := "nothing"
		if p := test.problems.at(now); p != nil {
			got = ""
			if p.err != nil {
				got = "error, "
			}
			since := time.Duration(0)
			if !p.since.IsZero() {
				since = now.Sub(p.since)
			}
			ids := []string{}
			for _, f := range p.failures {
				ids = append(ids, f.id)
				if f.when.After(now) {
					t.Errorf("%s: a failure is in the future", name)
				}
			}
			got += fmt.Sprintf("since %v, %v", since, ids)
			if p.notified.expiring {
				got += ", notified"
			}
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	if new(problems).at(noon) != nil || (*problems)(nil).at(noon) != nil {
		t.Error("problems without a problem are left")
	}
}

// STS-51: three failures within five minutes prevent all fetches, and one prevents that of
// its own id. While a policy is in force, one prevents all. The failure becomes the result.
func TestBackOffCountsFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		inForce  bool
		failures []failure
		id       string
		until    time.Duration // when DNS has to be asked again; from noon
		want     string        // the reason code of the failure that prevents the fetch
		next     time.Duration
	}{
		"no failure":                      {false, nil, "1", time.Hour, "", 0},
		"its own":                         {false, []failure{aFailure("1", noon.Add(-time.Minute))}, "1", time.Hour, "http-1", 4 * time.Minute},
		"its own, and DNS is asked first": {false, []failure{aFailure("1", noon.Add(-time.Minute))}, "1", time.Minute, "http-1", time.Minute},
		"its own, long ago":               {false, []failure{aFailure("1", noon.Add(-5*time.Minute))}, "1", time.Hour, "", 0},
		"another id":                      {false, []failure{aFailure("1", noon)}, "2", time.Hour, "", 0},
		"two others":                      {false, []failure{aFailure("1", noon), aFailure("2", noon)}, "3", time.Hour, "", 0},
		"three others":                    {false, []failure{aFailure("1", noon), aFailure("2", noon), aFailure("3", noon)}, "4", time.Hour, "http-1", 5 * time.Minute},
		"three, of which one is old":      {false, []failure{aFailure("1", noon.Add(-5*time.Minute)), aFailure("2", noon), aFailure("3", noon)}, "4", time.Hour, "", 0},
		"another id while in force":       {true, []failure{aFailure("1", noon)}, "2", time.Hour, "http-1", 5 * time.Minute},
	} {
		s := &state{domain: "example.com", made: noon}
		if test.inForce {
			s = aState(t, Enforce, "mx", noon)
		}
		if test.failures != nil {
			s.problems = &problems{failures: test.failures}
		}
		wait := s.backOff(test.id, noon.Add(test.until))
		if wait != (test.want != "") {
			t.Errorf("%s: waits %t", name, wait)
			continue
		}
		if !wait {
			continue
		}
		var err *Error
		if !errors.As(s.problems.err, &err) || err.ReasonCode != test.want || s.problems.text != "text "+test.failures[0].id {
			t.Errorf("%s: %v, %q", name, s.problems.err, s.problems.text)
		}
		if !s.next.Equal(noon.Add(test.next)) {
			t.Errorf("%s: next %v, want %v", name, s.next, noon.Add(test.next))
		}
	}
}

// C10: what another Client has put into the store replaces a fetch only if it is the outcome
// of a later fetch of the policy with that id.
func TestC10OnlyLaterOutcomeReplacesFetch(t *testing.T) {
	t.Parallel()
	fetched := func(id string, at time.Time, failures ...failure) *state {
		s := aState(t, Enforce, "mx", at)
		s.id = id
		if failures != nil {
			s.problems = &problems{failures: failures}
		}
		return s
	}
	later := noon.Add(time.Minute)
	for name, test := range map[string]struct {
		theirs, mine *state
		want         bool
	}{
		"nothing":                          {&state{}, fetched("1", noon), false},
		"a failure without a policy":       {&state{problems: &problems{failures: []failure{aFailure("2", later)}}}, &state{}, false},
		"fetched later":                    {fetched("2", later), fetched("1", noon), true},
		"fetched first":                    {fetched("2", later), &state{}, true},
		"fetched at the same time":         {fetched("2", noon), fetched("1", noon), false},
		"fetched before":                   {fetched("2", noon), fetched("1", later), false},
		"another id":                       {fetched("3", later), fetched("1", noon), false},
		"failed later":                     {fetched("1", noon, aFailure("2", later)), fetched("1", noon), true},
		"failed later than mine":           {fetched("1", noon, aFailure("2", later)), fetched("1", noon, aFailure("2", noon)), true},
		"failed when mine did":             {fetched("1", noon, aFailure("2", noon)), fetched("1", noon, aFailure("2", noon)), false},
		"failed with another id":           {fetched("1", noon, aFailure("3", later)), fetched("1", noon), false},
		"failed since an earlier fetch":    {fetched("1", noon, aFailure("2", later)), fetched("1", later), false},
		"the last failure is of that id":   {fetched("1", noon, aFailure("3", noon), aFailure("2", later)), fetched("1", noon), true},
		"an earlier failure is of that id": {fetched("1", noon, aFailure("2", noon), aFailure("3", later)), fetched("1", noon), false},
	} {
		if got := test.theirs.supersedes(test.mine, "2"); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Of the failures of a domain, the last three are kept, and the time of the first. A failure
// of this Client is not one that another has shared.
func TestFailuresOfDomainAreBounded(t *testing.T) {
	t.Parallel()
	s := &state{problems: &problems{borrowed: true}}
	for i := range 5 {
		s.fetchFailed(aFailure(fmt.Sprint(i), noon.Add(time.Duration(i)*time.Second)))
		p := s.problems
		if first := max(i-2, 0); len(p.failures) != min(i+1, 3) || p.failures[0].id != fmt.Sprint(first) || p.last().id != fmt.Sprint(i) {
			t.Errorf("after %d: %+v", i+1, p.failures)
		}
		if p.borrowed || p.failed != i+1 || !p.since.Equal(noon) || p.err != error(p.last().err) || p.text != fmt.Sprint("text ", i) {
			t.Errorf("after %d: %+v", i+1, p)
		}
	}
}

// RPT-29: while the policy with the id that DNS has cannot be fetched again, a lookup reports
// that. A failure for an id that DNS no longer has is forgotten, except that it limits fetches.
func TestConfirmedIDKeepsItsOwnFailure(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"mx", "forged"} {
		s := aState(t, Enforce, "mx", noon)
		s.fetchFailed(aFailure(id, noon))
		s.setError(nil, "") // as after a lookup that found the record
		s.problems.notified.expiring = true
		s.confirmID()
		p := s.problems
		if own := id == "mx"; (p.err != nil) != own || p.failing() != own || (p.text != "") != own || p.failed > 0 != own || len(p.failures) != 1 || !p.notified.expiring {
			t.Errorf("a failure for the id %q: %+v", id, p)
		}
	}
}
