package mtasts_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// The decision on the clock: a clock that is set back never extends a policy beyond
// max_age from now.
func TestClockSetBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var offset time.Duration
		c := w.client(t, func(config *mtasts.Config) {
			config.Now = func() time.Time { return time.Now().Add(offset) }
		})
		lookup(t, c)
		w.setTXT(txtAnswer{err: servfail("x")})
		offset = -2 * 365 * 24 * time.Hour
		r := lookup(t, c)
		wantMode(t, r, mtasts.Enforce)
		if limit := time.Now().Add(offset + 24*time.Hour); r.Expires.After(limit) {
			t.Errorf("expires %v, limit %v", r.Expires, limit)
		}
		time.Sleep(24*time.Hour + 1)
		wantMode(t, lookup(t, c), "")
	})
}

// A clock that was set back does not extend the back-off.
func TestClockSetBackDuringBackOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var offset time.Duration
		c := w.client(t, func(config *mtasts.Config) {
			config.Now = func() time.Time { return time.Now().Add(offset) }
		})
		w.setHost(nil)
		wantError(t, lookup(t, c), mtasts.KindFetch, "connect")
		w.publish("1", enforce)
		offset = -365 * 24 * time.Hour
		wantMode(t, lookup(t, c), "")
		time.Sleep(5 * time.Minute)
		wantMode(t, lookup(t, c), mtasts.Enforce)
	})
}

// Times are those of the wall clock: the monotonic clock stops while a machine
// sleeps.
func TestTimesAreOfTheWallClock(t *testing.T) {
	t.Parallel()
	r := lookup(t, newWorld(t).client(t))
	wantMode(t, r, mtasts.Enforce)
	for _, at := range []time.Time{r.Fetched, r.Expires, r.NextCheck} {
		if strings.Contains(at.String(), "m=") {
			t.Errorf("%v has a monotonic reading", at)
		}
	}
}

// A Lookup that finds a stale state just before another one refreshes it does not
// refresh it again.
func TestLookupComesLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var c *mtasts.Client
		late := 0 // counts down to the moment at which another Lookup comes first
		c = w.client(t, func(config *mtasts.Config) {
			config.Now = func() time.Time {
				if late--; late == 0 {
					lookup(t, c)
				}
				return time.Now()
			}
		})
		lookup(t, c)
		time.Sleep(5 * time.Minute)
		late = 2
		wantMode(t, lookup(t, c), mtasts.Enforce)
		wantCounts(t, w, 2, 1)
	})
}
