package protection

import (
	"slices"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
)

// M12: the DANE of a domain is that of its weakest known host.
func TestM12WeakestHostCounts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		hosts  []dane.State
		secure bool
		want   DANE
	}{
		{nil, true, Unknown},
		{[]dane.State{dane.Unknown}, true, Unknown},
		{[]dane.State{dane.Usable}, true, Route},
		{[]dane.State{dane.Usable}, false, Hosts},
		{[]dane.State{dane.Usable, dane.Unknown}, true, Route},
		{[]dane.State{dane.Unusable, dane.Usable}, true, Encrypted},
		{[]dane.State{dane.Usable, dane.NoRecords}, true, None},
		{[]dane.State{dane.NotApplicable, dane.Unusable}, true, None},
	} {
		got := Unknown
		for _, host := range test.hosts {
			got = got.With(host, test.secure)
		}
		if got != test.want {
			t.Errorf("%v, route secure %v: %v, want %v", test.hosts, test.secure, got, test.want)
		}
	}
}

// M8, M12: each change is returned once, and only refusals that last count.
func TestM12EachChangeOnce(t *testing.T) {
	t.Parallel()
	at := time.Unix(1800000000, 0)
	var s State
	for i, step := range []struct {
		after   time.Duration
		dane    DANE
		refused bool
		want    []Change
	}{
		{0, None, false, nil}, // the first plan is no change
		{time.Minute, Route, false, []Change{Appeared}},
		{time.Minute, Unknown, true, nil},
		{RefusedLong - time.Second, Unknown, true, nil},
		{time.Second, Unknown, true, []Change{Refused}},
		{time.Hour, Unknown, true, nil},
		{time.Minute, Hosts, false, []Change{Weakened, Permitted}},
		{time.Minute, Hosts, true, nil},
		{time.Minute, Hosts, false, nil},
		{2 * time.Hour, None, true, []Change{Disappeared}},
		{2 * time.Hour, None, true, []Change{Refused}},
		{-24 * time.Hour, None, true, nil}, // the clock is set back
		{2 * time.Hour, None, true, nil},
		{time.Minute, None, false, []Change{Permitted}},
		{time.Minute, None, false, nil},
	} {
		at = at.Add(step.after)
		var changes []Change
		s, changes = s.Now(step.dane, step.refused, at)
		if !slices.Equal(changes, step.want) {
			t.Errorf("step %d: %v, want %v", i, changes, step.want)
		}
	}
}
