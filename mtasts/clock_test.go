package mtasts_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// The decision on the clock: a clock that is set back never extends a policy beyond
// max_age from now.
func TestClockSetBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var offset atomic.Int64 // a time.Duration
		c := w.client(t, func(config *mtasts.Config) {
			config.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		})
		lookup(t, c)
		w.setTXT(txtAnswer{err: servfail("x")})
		offset.Store(int64(-2 * 365 * 24 * time.Hour))
		r := lookup(t, c)
		wantMode(t, r, mtasts.Enforce)
		if limit := time.Now().Add(time.Duration(offset.Load()) + 24*time.Hour); r.Expires.After(limit) {
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
		var offset atomic.Int64 // a time.Duration
		c := w.client(t, func(config *mtasts.Config) {
			config.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		})
		w.setHost(nil)
		wantError(t, lookup(t, c), mtasts.KindFetch, "http-no-connection")
		w.publish("1", enforce)
		offset.Store(int64(-365 * 24 * time.Hour))
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

// M7: relays whose clocks are wrong delete nothing from the store that they share, and
// change no time of a fetch.
func TestM7WrongClocks(t *testing.T) {
	for name, offsets := range map[string][]time.Duration{
		"ahead":                   {30 * day},
		"behind":                  {-30 * day},
		"ahead and behind":        {30 * day, -30 * day, 0},
		"a jump forward and back": {0, year, 0},
		"a jump back and forward": {0, -year, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", enforceWeek)
				store := watched{newMemStore()}
				var offset atomic.Int64 // a time.Duration
				wrong := func(config *mtasts.Config) {
					config.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
				}
				good := w.client(t, withStore(store))
				first := lookup(t, good)
				w.setTXT(txtAnswer{err: notFound("x")})
				w.setHost(nil)
				c := w.client(t, withStore(store), wrong)
				defer run(t, c)()
				alone := w.client(t, withStore(newMemStore()), wrong) // with what it fetched itself
				for _, o := range offsets {
					offset.Store(int64(o))
					for range 3 {
						c.Lookup(t.Context(), domain)
						c.Remembered(t.Context(), domain)
						alone.Lookup(t.Context(), domain)
						time.Sleep(20 * time.Minute)
					}
				}
				e, err := store.Get(t.Context(), domain)
				if err != nil || !e.Fetched.Equal(first.Fetched) || e.Text != enforceWeek {
					t.Errorf("the store has %+v, %v", e, err)
				}
				offset.Store(0)
				for name, c := range map[string]*mtasts.Client{"the wrong one": c, "the good one": good, "a new one": w.client(t, withStore(store))} {
					if r := lookup(t, c); r.Policy == nil || !r.Expires.Equal(first.Expires) {
						t.Errorf("%s: %+v", name, r)
					}
				}
			})
		})
	}
}

// M7: a clock that jumps and comes back ends no policy in memory, without a store, and
// does not age it.
func TestM7MemoryKeepsExpired(t *testing.T) {
	for _, jump := range []time.Duration{year, -year, 8 * day, -8 * day} {
		t.Run(jump.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", enforceWeek)
				var offset atomic.Int64 // a time.Duration
				var log eventLog
				c := w.client(t, log.configure, func(config *mtasts.Config) {
					config.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
				})
				defer run(t, c)()
				first := lookup(t, c)
				w.setTXT(txtAnswer{err: notFound("x")})
				w.setHost(nil)
				for range 10 {
					offset.Store(int64(jump))
					time.Sleep(11 * time.Minute)
					if r := lookup(t, c); (r.Policy == nil) != (jump > 0) {
						t.Errorf("%v: %+v", jump, r)
					}
					time.Sleep(11 * time.Minute)
					offset.Store(0)
					if r := lookup(t, c); r.Policy != first.Policy || !r.Expires.Equal(first.Expires) {
						t.Errorf("%v and back: %+v", jump, r)
					}
				}
				sleepTo(first.Fetched, week+1)
				wantMode(t, lookup(t, c), "")
			})
		})
	}
}

// M7: what another relay with a wrong clock has put into the store does not end a policy that
// has expired only by the wrong clock, also not after it was refreshed there.
func TestM7StoreDoesNotEndExpired(t *testing.T) {
	for _, refreshed := range []bool{false, true} {
		t.Run(fmt.Sprintf("refreshed %t", refreshed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", enforceWeek)
				store := watched{newMemStore()}
				var offset atomic.Int64 // a time.Duration
				now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
				c := w.client(t, withStore(store), func(config *mtasts.Config) { config.Now = now })
				defer run(t, c)()
				wantMode(t, lookup(t, c), mtasts.Enforce)
				w.setTXT(txtAnswer{err: notFound("x")})
				w.setHost(nil)
				put := func() {
					e := mtasts.Entry{Domain: domain, ID: "2", Text: strings.Replace(enforceWeek, "enforce", "testing", 1), Fetched: now()}
					if err := store.Put(t.Context(), e); err != nil {
						t.Fatal(err)
					}
				}
				offset.Store(int64(8 * day))
				put()
				wantMode(t, lookup(t, c), mtasts.Testing)
				if refreshed {
					time.Sleep(time.Minute)
					put()
					store.changed <- domain
					store.changed <- "" // when this is taken, the one before has been dealt with
				}
				time.Sleep(time.Minute)
				offset.Store(0)
				wantMode(t, lookup(t, c), mtasts.Enforce)
			})
		})
	}
}
