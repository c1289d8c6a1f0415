package mtasts_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// A policy whose refresh has failed still fails after a restart, for the same reason.
func TestFailureOutlivesARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newMemStore()
		c := w.client(t, withStore(store))
		lookup(t, c)
		w.setID("2")
		w.setSite(w.good(), respond(404, "text/plain", ""))
		if _, _, err := c.Recheck(t.Context(), domain); err != nil {
			t.Fatal(err)
		}
		r := lookup(t, w.client(t, withStore(store)))
		wantMode(t, r, mtasts.Enforce)
		wantError(t, r, mtasts.KindFetch, "http-status-404")
		if r.State != mtasts.Failing {
			t.Errorf("the state is %v", r.State)
		}
	})
}

// An invalid entry is reported and deleted from the store. A deletion that fails is
// counted.
func TestInvalidEntryDeletionFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		lookup(t, w.client(t, withStore(store)))
		e, err := store.Get(t.Context(), domain)
		if err != nil {
			t.Fatal(err)
		}
		e.Text = "version: STSv2\n"
		if err := store.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		store.setErr(nil, errDisk)
		w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
		var log eventLog
		c := w.client(t, withStore(store), log.configure)
		wantMode(t, lookup(t, c), "")
		log.want(t, mtasts.StoreFailed)
		if stats := c.Stats(); stats.Store.Delete.Failed != 1 {
			t.Errorf("%+v", stats.Store)
		}
	})
}

// The part of an invalid policy text that is kept is bounded, to the octet.
func TestFailedTextIsBoundedToTheOctet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		for _, octets := range []int{4 << 10, 4<<10 + 1, 60 << 10} {
			w.publish("1", strings.Repeat("x", octets))
			r := lookup(t, w.client(t))
			if len(r.FailedText) != 4<<10 {
				t.Errorf("%d octets are kept of %d", len(r.FailedText), octets)
			}
		}
	})
}

// M1: in a second outage of the store, too, it is read every few seconds and not at each
// lookup.
func TestM1SecondOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		c := w.client(t, withStore(store), func(config *mtasts.Config) { config.ProceedUnread = true })
		for _, outage := range []string{"first.example", "second.example"} {
			store.setErr(errDisk, nil)
			look := func() {
				if _, err := c.Lookup(t.Context(), outage); err != nil {
					t.Fatal(err)
				}
			}
			look()
			before := c.Stats().Store.Get.Failed
			for range 100 {
				look()
			}
			if n := c.Stats().Store.Get.Failed - before; n != 0 {
				t.Errorf("%s: the store was read %d times at once", outage, n)
			}
			time.Sleep(5 * time.Second)
			look()
			if n := c.Stats().Store.Get.Failed - before; n != 1 {
				t.Errorf("%s: the store was read %d times after five seconds", outage, n)
			}
			store.setErr(nil, nil)
			if _, err := c.Lookup(t.Context(), "other-"+outage); err != nil { // which shows that it works
				t.Fatal(err)
			}
		}
	})
}

// The error about a text names the line and quotes it.
func TestPolicyErrorNamesTheLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"version: STSv2\n":                           `line 1: unknown version "STSv2"`,
		"version: STSv1\r\nmode: enforced\r\n":       `line 2: unknown mode "enforced"`,
		"version: STSv1\nmode: none\nmax_age: 1.5\n": `line 3: malformed max_age "1.5"`,
	} {
		if _, err := mtasts.ParsePolicy(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
