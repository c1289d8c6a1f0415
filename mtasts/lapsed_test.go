package mtasts

import (
	"fmt"
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
		t.Errorf("what has expired lives on: %+v", s.policy)
	}
}
