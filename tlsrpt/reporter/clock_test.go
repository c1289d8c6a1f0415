package reporter_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// R7: whatever single readings of the clock say, nothing is deleted, given up or reported
// early because of them, and no delivery waits for a wrong time.
func TestR7WrongReadingsDeleteNothing(t *testing.T) {
	for _, lie := range []time.Duration{time.Hour, 30 * time.Hour, 40 * 24 * time.Hour, 100 * 365 * 24 * time.Hour, -30 * time.Hour, -40 * 24 * time.Hour} {
		t.Run(fmt.Sprint(lie), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.count("example.com", today, met(noPolicy))
				w.count("example.com", today+1, met(noPolicy)) // which is not over
				w.status = 500
				config := w.config()
				config.Now = w.misread
				time.Sleep(4 * time.Hour)
				w.start(config)
				for range 40 { // in 13 hours; the clock is read every ten minutes, and at deliveries
					wait(20 * time.Minute)
					w.set(func() { w.lie = lie })
				}
				refused := len(w.posts())
				if refused < 6 || refused > 9 {
					t.Errorf("%d attempts", refused)
				}
				if w.left("example.com", today) == nil || w.left("example.com", today+1) == nil {
					t.Fatalf("sums are lost; log:\n%s", w.log.String())
				}
				w.set(func() { w.status, w.lie = 201, 0 })
				wait(5 * time.Hour)
				if n := len(w.posts()) - refused; n != 1 || w.posts()[refused].report.ID != w.id("20260301.example.com") {
					t.Errorf("%d reports are accepted; log:\n%s", n, w.log.String())
				}
				if left := w.left("example.com", today+1); len(left) != 1 || left[0].Summary.Successes != 1 {
					t.Errorf("of the day that is not over, %v is left", left)
				}
			})
		})
	}
}

// R7: a clock that is wrong when the Reporter starts deletes nothing.
func TestR7WrongStartDeletesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txtErr = errTemporary
		w.count("example.com", today, met(noPolicy))
		config := w.config()
		config.Now = w.misread
		w.lie = 40 * 24 * time.Hour
		w.start(config)
		wait(time.Hour)
		if w.left("example.com", today) == nil {
			t.Error("the sums are gone")
		}
	})
}

// R10: Reporters with Stores of their own send reports with different IDs, and Reporters
// that share a Store, now or after a restart, the same.
func TestR10EachStoreHasItsReportIDs(t *testing.T) {
	t.Parallel()
	id := func(store reporter.Store, instance string) string {
		t.Helper()
		a := newAggregator(t, reporter.AggregatorConfig{Store: store})
		a.Record(session(met(noPolicy)))
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := reporter.New(reporter.Config{Store: store, Organization: "Sender", Contact: "tls@sender.example", Instance: instance})
		if err != nil {
			t.Fatal(err)
		}
		rep, err := r.Preview(t.Context(), "example.com", today)
		if err != nil {
			t.Fatal(err)
		}
		return rep.ID
	}
	first, second := new(reporter.MemoryStore), new(reporter.MemoryStore)
	if id(first, "") == id(second, "") {
		t.Error("two relays send the same report ID")
	}
	if again := id(first, ""); id(first, "") != again {
		t.Error("Reporters that share a Store send different IDs")
	}
	if got := id(first, "mta1"); got != "20260301.example.com.mta1@sender.example" {
		t.Errorf("with an Instance, the ID is %s", got)
	}
	if got := id(struct{ reporter.Store }{first}, ""); got != "20260301.example.com@sender.example" {
		t.Errorf("with a Store that has no ID, the ID is %s", got)
	}
}

// A Store ID that cannot be part of a report ID is an error, and so is one that cannot be
// read: the sums wait.
func TestR10BadIDMakesSumsWait(t *testing.T) {
	for name, store := range map[string]identified{
		"empty": {}, "long": {id: "123456789012345678901234567890123"}, "other characters": {id: "a@b"}, "broken": {id: "a", err: errTemporary},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.count("example.com", today, met(noPolicy))
				config := w.config()
				store.MemoryStore = &w.store
				config.Store = store
				w.start(config)
				wait(5 * time.Hour)
				if len(w.posts()) > 0 || w.left("example.com", today) == nil {
					t.Errorf("%d reports are sent", len(w.posts()))
				}
			})
		})
	}
}

type identified struct {
	*reporter.MemoryStore
	id  string
	err error
}

func (i identified) ID(context.Context) (string, error) { return i.id, i.err }
