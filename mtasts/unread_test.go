package mtasts_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// wantUnread checks that mail for example.com has to wait for the store.
func wantUnread(t testing.TB, c *mtasts.Client) {
	t.Helper()
	if r, err := c.Lookup(t.Context(), domain); !errors.Is(err, mtasts.ErrStoreUnread) || r.Policy != nil {
		t.Errorf("%+v, %v; want ErrStoreUnread", r, err)
	}
}

// M1: while the store cannot be read, the mail of a domain waits if nothing at all is
// known of it. What the store has answered before still counts.
func TestM1StoreUnread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
		store := newMemStore()
		answered := w.client(t, withStore(store), func(config *mtasts.Config) { config.MaxPolicies = 1 })
		lookup(t, answered)
		for i := range 3 { // removes example.com from memory
			if _, err := answered.Lookup(t.Context(), fmt.Sprintf("other%d.example", i)); err != nil {
				t.Fatal(err)
			}
		}
		store.setErr(errDisk, errDisk)
		c := w.client(t, withStore(store))
		for range 100 {
			wantUnread(t, c)
			if _, _, err := c.Recheck(t.Context(), domain); !errors.Is(err, mtasts.ErrStoreUnread) {
				t.Errorf("Recheck: %v", err)
			}
			wantMode(t, lookup(t, answered), "")
			proceeds := w.client(t, withStore(store), func(config *mtasts.Config) { config.ProceedUnread = true })
			wantMode(t, lookup(t, proceeds), "")
			time.Sleep(time.Minute)
		}
		w.publish("1", enforce)
		time.Sleep(time.Minute)
		wantMode(t, lookup(t, c), mtasts.Enforce) // found without the store
		time.Sleep(25 * time.Hour)
		w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
		w.setHost(nil)
		wantUnread(t, c) // what is known has expired, and the store has never answered
	})
}

// M1: the store is read again a few seconds later, and at once if it could be read for
// another domain.
func TestM1RecoveredStoreIsNoticed(t *testing.T) {
	for _, another := range []bool{false, true} {
		t.Run(fmt.Sprint(another), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				store := newMemStore()
				lookup(t, w.client(t, withStore(store)))
				w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
				store.setErr(errDisk, nil)
				c := w.client(t, withStore(store), func(config *mtasts.Config) { config.ProceedUnread = true })
				r := lookup(t, c)
				wantMode(t, r, "")
				if wait := time.Until(r.NextCheck); wait > 5*time.Second || !c.IsCurrent(domain, nil) {
					t.Errorf("the next check is in %v", wait)
				}
				if !r.Mark.Unchanged() {
					t.Error("the Mark has changed before anything else")
				}
				store.setErr(nil, nil)
				if another {
					if _, err := c.Lookup(t.Context(), "other.example"); err != nil {
						t.Fatal(err)
					}
					if c.IsCurrent(domain, nil) || r.Mark.Unchanged() {
						t.Error("what was made without the store is still current")
					}
				} else {
					time.Sleep(5 * time.Second)
				}
				wantMode(t, lookup(t, c), mtasts.Enforce)
			})
		})
	}
}

// M3: IsCurrent says whether what was made from a Result still holds.
func TestM3IsCurrent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
		c := w.client(t)
		if !c.IsCurrent(domain, nil) {
			t.Error("nothing is known, and it is not current")
		}
		none := lookup(t, c)
		w.publish("1", enforceWeek)
		found, changed, err := c.Recheck(t.Context(), domain)
		if err != nil || !changed || c.IsCurrent(domain, none.Policy) || !c.IsCurrent(domain, found.Policy) {
			t.Errorf("after Recheck: %v, %v", changed, err)
		}
		same, err := mtasts.ParsePolicy(enforceWeek)
		if err != nil || !c.IsCurrent(domain, same) {
			t.Error("an equal policy is not current")
		}
		w.publish("2", testingDay)
		c.Recheck(t.Context(), domain)
		if c.IsCurrent(domain, found.Policy) {
			t.Error("a replaced policy is current")
		}
	})
}
