package mtasts

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// M7: a wrong clock brings back a policy that has expired. That does not end the one that
// was in force before, nor any other one that was kept: when the clock is right, the
// policies that have not expired count again.
func TestM7NothingIsLostByAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	enforced := func(mx string, maxAge time.Duration) *Policy {
		p, err := ParsePolicy(fmt.Sprintf("version: STSv1\nmode: enforce\nmx: %s.example.com\nmax_age: %d\n", mx, int(maxAge.Seconds())))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// The policies of an hour expire one after the other. The last one, of a day, is that of
	// a store, which another relay has fetched before.
	s := &state{domain: "example.com"}
	for i, mx := range []string{"a", "b"} {
		s.policy, s.fetched, s.made = enforced(mx, time.Hour), start.Add(time.Duration(2*i)*time.Hour), start.Add(time.Duration(2*i)*time.Hour)
		s = s.at(start.Add(time.Duration(2*i+2) * time.Hour))
		if s.policy != nil {
			t.Fatalf("%s has not expired", mx)
		}
	}
	s.policy, s.fetched = enforced("day", 24*time.Hour), start.Add(-time.Hour)
	now := start.Add(5 * time.Hour)
	s = s.at(now)
	for _, offset := range []time.Duration{-30 * 24 * time.Hour, 0, -time.Hour, -3 * time.Hour, 365 * 24 * time.Hour, 0, -30 * 24 * time.Hour, time.Hour, 0} {
		now = now.Add(time.Minute)
		for range 5 {
			s = s.at(now.Add(offset))
		}
		if n := s.lapsed.depth(); n > maxLapsed {
			t.Errorf("offset %v: %d policies are kept", offset, n)
		}
		if offset == 0 && (s.policy == nil || s.policy.MX[0] != "day.example.com") {
			t.Errorf("after a wrong clock: %+v", s.policy)
		}
	}
	if s = s.at(start.Add(25 * time.Hour)); s.policy != nil {
		t.Errorf("a policy is in force after it has expired: %+v", s.policy)
	}
}

// M7: of many policies that expire one after the other, the number that is kept is bounded,
// and depth is that number.
func TestM7LapsedPoliciesAreBounded(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s := &state{domain: "example.com"}
	for i := range 3 * maxLapsed {
		now := start.Add(time.Duration(2*i) * time.Hour)
		s.policy, s.fetched, s.made = &Policy{Mode: Enforce, MaxAge: time.Hour, MX: []string{fmt.Sprint("mx", i)}}, now, now
		s = s.at(now.Add(90 * time.Minute))
		n := 0
		for l := s.lapsed; l != nil; l = l.lapsed {
			n++
		}
		if n != min(i+1, maxLapsed) || s.lapsed.depth() != n {
			t.Errorf("%d policies are kept of %d, and depth is %d", n, i+1, s.lapsed.depth())
		}
	}
}

// The estimate of what a state takes in memory grows with all that a domain chooses.
func TestWeighGrowsWithContents(t *testing.T) {
	t.Parallel()
	weight := func(s *state) int {
		_, size := s.weigh()
		return size
	}
	policy := &Policy{Mode: Enforce, MX: make([]string, 10), Text: strings.Repeat("x", 1000)}
	base := weight(&state{})
	for what, s := range map[string]*state{
		"domain":       {domain: strings.Repeat("d", 1000)},
		"id":           {id: strings.Repeat("x", 1000)},
		"policy":       {policy: policy},
		"old policies": {lapsed: &lapsed{state: &state{policy: policy}}},
		"failed text":  {problems: &problems{failures: []failure{{text: strings.Repeat("x", 1000)}}}},
		"failed id":    {problems: &problems{failures: []failure{{id: strings.Repeat("x", 1000)}}}},
	} {
		if got := weight(s) - base; got < 1000 {
			t.Errorf("%s: 1000 octets weigh %d", what, got)
		}
	}
	if got := weight(&state{policy: policy}) - base; got < 1000+10*16 {
		t.Errorf("a policy with ten patterns weighs %d", got)
	}
	if got := weight(&state{problems: new(problems)}) - base; got < problemsSize {
		t.Errorf("problems weigh %d", got)
	}
}
