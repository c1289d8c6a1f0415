package mtasts_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// STS-77, STS-79: a Recheck waits for the end of the fetch, however long that takes: its
// caller would bounce the message under the old policy.
func TestRecheckWaitsForNewPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		wantMode(t, lookup(t, c), mtasts.Enforce)
		w.publish("2", testingDay)
		slow := w.host
		w.setHost(func(conn net.Conn) { time.Sleep(50 * time.Second); slow(conn) })
		r, changed, err := c.Recheck(t.Context(), domain)
		if err != nil || !changed {
			t.Errorf("changed %t, %v", changed, err)
		}
		wantMode(t, r, mtasts.Testing)
	})
}

// M3: a Result that another lookup has made old before it is returned has no Mark that says
// that nothing has changed.
func TestM3OldResultHasNoMark(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var c *mtasts.Client
		var late atomic.Int64 // counts down to the moment at which the policy changes
		c = w.client(t, func(config *mtasts.Config) {
			config.Now = func() time.Time {
				if late.Add(-1) == 0 {
					if _, changed, err := c.Recheck(context.Background(), domain); err != nil || !changed {
						t.Errorf("changed %t, %v", changed, err)
					}
				}
				return time.Now()
			}
		})
		if r := lookup(t, c); !r.Mark.Unchanged() {
			t.Error("a new Result has no Mark")
		}
		w.publish("2", testingDay)
		late.Store(1)
		r := lookup(t, c)
		wantMode(t, r, mtasts.Enforce)
		if r.Mark.Unchanged() {
			t.Error("the Mark says that nothing has changed since a policy that is no longer in force")
		}
	})
}

// STS-94: after a refresh, a lookup from memory, too, makes the policy one that is in use. So
// a domain whose record is asked for once a day keeps its policy.
func TestRareLookupKeepsPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		w.setTXT(txtAnswer{txts: []string{"v=STSv1; id=1;"}, ttl: day})
		c := w.client(t)
		defer run(t, c)()
		first := lookup(t, c)
		for range 3 * 7 {
			fetched := first.Fetched
			for wait := 0; fetched.Equal(first.Fetched); wait++ {
				if wait == 200 {
					t.Fatalf("not fetched again since %v", first.Fetched)
				}
				time.Sleep(10 * time.Minute)
				for k := range c.Policies() {
					fetched = k.Fetched
				}
			}
			// The record of this refresh is fresh, so the lookup asks nothing.
			before, _ := w.counts()
			first = lookup(t, c)
			if after, _ := w.counts(); after != before {
				t.Fatal("the lookup is not from memory")
			}
			wantMode(t, first, mtasts.Enforce)
		}
	})
}

// M3: what was made from a policy is not current for a domain that has none.
func TestM3PolicyIsNotCurrentWithoutOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		old := lookup(t, c).Policy
		w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
		time.Sleep(day + time.Second)
		wantMode(t, lookup(t, c), "")
		if c.IsCurrent(domain, old) || !c.IsCurrent(domain, nil) {
			t.Error("the policy that has expired is current")
		}
	})
}

// STS-94: the first lookup of a policy that nobody used since it was fetched makes it one
// that is in use, also for the other Clients that share the store.
func TestFirstLookupAfterRestartUsesPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		err := store.Put(t.Context(), mtasts.Entry{Domain: domain, ID: "1", Text: enforceWeek, Fetched: time.Now(), NextCheck: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		wantMode(t, lookup(t, w.client(t, withStore(store))), mtasts.Enforce)
		if e, err := store.Get(t.Context(), domain); err != nil || !e.Used {
			t.Errorf("%+v, %v", e, err)
		}
		wantCounts(t, w, 0, 0)
	})
}

// slowStore takes longer than it may.
type slowStore struct {
	*memStore
	takes atomic.Int64 // a time.Duration
}

func (s *slowStore) Get(ctx context.Context, domain string) (mtasts.Entry, error) {
	time.Sleep(time.Duration(s.takes.Load()))
	return s.memStore.Get(ctx, domain)
}

// A store that does not keep to its time makes lookups wait, and harms nothing else.
func TestSlowStoreIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setTXT(txtAnswer{err: notFound("x")})
		store := &slowStore{memStore: newMemStore()}
		c := w.client(t, withStore(store))
		wantMode(t, lookup(t, c), "")
		w.publish("1", enforce)
		time.Sleep(time.Hour)
		store.takes.Store(int64(time.Minute))
		start := time.Now()
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("waited %v", took)
		}
	})
}

// M2: an older entry, which another Client puts into a shared store, is replaced there: after
// a restart, it would be in force.
func TestM2OlderEntryIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := watched{newMemStore()}
		c := w.client(t, withStore(store))
		defer run(t, c)()
		lookup(t, c)
		older, err := store.Get(t.Context(), domain)
		if err != nil {
			t.Fatal(err)
		}
		w.publish("2", enforceWeek+"mx: mx2.example.com\n")
		time.Sleep(time.Hour)
		if r := lookup(t, c); r.ID != "2" {
			t.Fatalf("%+v", r)
		}
		store.Put(t.Context(), older)
		before, _ := w.counts()
		store.changed <- domain
		store.changed <- "unknown.example" // taken after the change was dealt with
		if e, err := store.Get(t.Context(), domain); err != nil || e.ID != "2" {
			t.Errorf("the store has %+v, %v", e, err)
		}
		if after, _ := w.counts(); after != before {
			t.Errorf("%d questions because of an older entry", after-before)
		}
		if r := lookup(t, c); r.ID != "2" {
			t.Errorf("%+v", r)
		}
	})
}

// M7: what a clock that was ahead has dated does not replace the entry of another Client
// whose clock is right.
func TestM7FutureStateDoesNotReplaceEntry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := watched{newMemStore()}
		var offset atomic.Int64 // a time.Duration
		offset.Store(int64(day))
		c := w.client(t, withStore(store), func(config *mtasts.Config) {
			config.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		})
		defer run(t, c)()
		wantMode(t, lookup(t, c), mtasts.Enforce)
		offset.Store(0)
		store.Put(t.Context(), mtasts.Entry{Domain: domain, ID: "2", Text: enforceWeek, Fetched: time.Now(), NextCheck: time.Now().Add(time.Hour), Used: true})
		store.changed <- domain
		store.changed <- "unknown.example" // taken after the change was dealt with
		if e, err := store.Get(t.Context(), domain); err != nil || e.ID != "2" {
			t.Errorf("the store has %+v, %v", e, err)
		}
	})
}

// M3: a refreshed policy that the store did not accept is kept in memory, even if there it
// takes the place of another one.
func TestM3UnsavedRefreshIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newMemStore()
		err := store.Put(t.Context(), mtasts.Entry{Domain: domain, ID: "1", Text: enforceWeek, Fetched: time.Now().Add(-30 * time.Hour), Expires: time.Now().Add(week - 30*time.Hour), Used: true})
		if err != nil {
			t.Fatal(err)
		}
		c := w.client(t, withStore(store), func(config *mtasts.Config) { config.MaxPolicies = 1 })
		host := w.host
		w.publishAt("other.example", "11.0.1.1")
		if r, err := c.Lookup(t.Context(), "other.example"); err != nil || r.Policy == nil {
			t.Fatal(r, err)
		}
		w.setHost(host)
		store.setErr(nil, errDisk)
		defer run(t, c)()
		time.Sleep(2 * time.Hour) // what was due before the start is fetched within an hour
		fetched := 0
		for k := range c.Policies() {
			if k.Domain == domain && time.Since(k.Fetched) < 2*time.Hour {
				fetched++
			}
		}
		if fetched != 1 {
			t.Error("the policy is neither in memory nor in the store")
		}
	})
}

// STS-51, STS-87: a failed fetch is remembered where memory has no room for another policy:
// for a domain without a policy, and for the policy that has the room.
func TestFailureIsRememberedInFullMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t, func(config *mtasts.Config) { config.MaxPolicies = 1 })
		defer run(t, c)()
		w.publishAt("other.example", "11.0.1.1")
		if r, err := c.Lookup(t.Context(), "other.example"); err != nil || r.Policy == nil {
			t.Fatal(r, err)
		}
		w.setSite(w.good(), respond(404, "text/plain", "no"))
		_, before := w.counts()
		for range 3 {
			wantError(t, lookup(t, c), mtasts.KindFetch, "http-status-404")
		}
		if _, after := w.counts(); after != before+1 {
			t.Errorf("%d fetches, want one", after-before)
		}
		time.Sleep(23 * time.Hour) // in which the other policy is fetched again
		failing := 0
		for k := range c.Policies() {
			if k.Domain == "other.example" && !k.FailingSince.IsZero() {
				failing++
			}
		}
		if failing != 1 {
			t.Error("the failed refresh is not remembered")
		}
	})
}

// Watch is that of a store that Clients share.
func (s *slowStore) Watch(ctx context.Context, changed func(string)) error {
	return watched{s.memStore}.Watch(ctx, changed)
}

// STS-77: a Recheck asks DNS, even if it waits for a flight that did not.
func TestRecheckAsksAfterFlightThatDidNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := &slowStore{memStore: newMemStore()}
		c := w.client(t, withStore(store))
		defer run(t, c)()
		wantMode(t, lookup(t, c), mtasts.Enforce)
		w.publish("2", testingDay)
		store.takes.Store(int64(time.Minute))
		store.changed <- domain
		synctest.Wait() // the flight reads the store
		start := time.Now()
		r, changed, err := c.Recheck(t.Context(), domain)
		if err != nil || !changed || time.Since(start) < time.Minute {
			t.Errorf("changed %t after %v, %v", changed, time.Since(start), err)
		}
		wantMode(t, r, mtasts.Testing)
	})
}

// M7: a policy that only a wrong clock has ended counts, when the clock is right, before a
// weaker one in the store, also if nothing was in force meanwhile.
func TestM7ReturningPolicyCountsBeforeStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newMemStore()
		var offset atomic.Int64 // a time.Duration
		c := w.client(t, withStore(store), func(config *mtasts.Config) {
			config.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		})
		wantMode(t, lookup(t, c), mtasts.Enforce)
		w.setTXT(txtAnswer{err: notFound("x")})
		w.setHost(nil)
		offset.Store(int64(8 * day))
		wantMode(t, lookup(t, c), "")
		offset.Store(0)
		time.Sleep(time.Hour)
		err := store.Put(t.Context(), mtasts.Entry{Domain: domain, ID: "2", Text: testingDay, Fetched: time.Now(), NextCheck: time.Now().Add(time.Hour), Used: true})
		if err != nil {
			t.Fatal(err)
		}
		wantMode(t, lookup(t, c), mtasts.Enforce)
	})
}

// M1: a domain without a policy is looked up again a few seconds after the store failed, even
// if the store has answered before: another Client may have put a policy since.
func TestM1DomainWithoutPolicyIsReadAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
		store := newMemStore()
		c := w.client(t, withStore(store))
		if r := lookup(t, c); time.Until(r.NextCheck) != time.Hour {
			t.Errorf("next check %v", r.NextCheck)
		}
		time.Sleep(time.Hour)
		store.setErr(errDisk, nil)
		if r := lookup(t, c); time.Until(r.NextCheck) > 5*time.Second {
			t.Errorf("next check %v while the store fails", r.NextCheck)
		}
		time.Sleep(5 * time.Second)
		store.setErr(nil, nil)
		if r := lookup(t, c); time.Until(r.NextCheck) != time.Hour {
			t.Errorf("next check %v when the store can be read again", r.NextCheck)
		}

		// A Client that has no answer of the store waits until it has one, and no longer.
		store.setErr(errDisk, nil)
		c = w.client(t, withStore(store))
		wantUnread(t, c)
		time.Sleep(5 * time.Second)
		store.setErr(nil, nil)
		wantMode(t, lookup(t, c), "")
	})
}

// slowResolver takes a while for TXT records.
type slowResolver struct {
	*world
	takes atomic.Int64 // a time.Duration
}

func (s *slowResolver) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	time.Sleep(time.Duration(s.takes.Load()))
	return s.world.LookupTXTUntil(ctx, name)
}

// STS-80: a policy that expires while DNS is asked is not in force when DNS has answered.
func TestPolicyExpiresWhileDNSIsAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		resolver := &slowResolver{world: w}
		c := w.client(t, func(config *mtasts.Config) { config.Resolver = resolver })
		first := lookup(t, c)
		w.setTXT(txtAnswer{err: notFound("x")})
		sleepTo(first.Expires, -4*time.Second)
		resolver.takes.Store(int64(8 * time.Second))
		r, changed, err := c.Recheck(t.Context(), domain)
		if err != nil || !changed {
			t.Errorf("changed %t, %v", changed, err)
		}
		wantMode(t, r, "")
	})
}
