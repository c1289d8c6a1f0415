package mtasts_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

var errDisk = errors.New("disk \x1b[31m failed")

// STS-98: a policy survives a restart, whatever DNS says, until it expires and no
// longer.
func TestStoreOutlivesClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newMemStore()
		before := lookup(t, w.client(t, withStore(store)))
		w.setTXT(txtAnswer{err: notFound("x")})
		w.setHost(nil)
		for _, after := range []time.Duration{0, 5 * time.Minute, week} {
			sleepTo(before.Fetched, after)
			var log eventLog
			c := w.client(t, withStore(store), log.configure)
			if p := remembered(t, c, domain); p == nil || p.Text != enforceWeek {
				t.Errorf("after %v, not remembered", after)
			}
			r := lookup(t, c)
			wantMode(t, r, mtasts.Enforce)
			if r.ID != "1" || !r.Fetched.Equal(before.Fetched) || !r.Expires.Equal(before.Expires) {
				t.Errorf("after %v: %+v", after, r)
			}
			if after < week {
				log.want(t)
			}
		}
		time.Sleep(time.Millisecond)
		c := w.client(t, withStore(store))
		wantMode(t, lookup(t, c), "")
		if remembered(t, c, domain) != nil {
			t.Error("an expired policy is still known")
		}
		if !store.has(domain) {
			t.Error("M7: removed because this clock says that it has expired")
		}
	})
}

// Within the TTL of the record that was found before, a restart causes no query.
func TestStoreSparesQueries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		lookup(t, w.client(t, withStore(store)))
		time.Sleep(5*time.Minute - 1)
		wantMode(t, lookup(t, w.client(t, withStore(store))), mtasts.Enforce)
		wantCounts(t, w, 1, 1)
		time.Sleep(time.Nanosecond)
		wantMode(t, lookup(t, w.client(t, withStore(store))), mtasts.Enforce)
		wantCounts(t, w, 2, 1)
	})
}

// The store may have more policies than fit in memory.
func TestStoreBehindMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		for _, name := range []string{"a.example", "b.example", "c.example"} {
			store.Put(t.Context(), mtasts.Entry{
				Domain: name, ID: "1", Text: enforce, Fetched: time.Now(), NextCheck: time.Now().Add(time.Hour), Used: true,
			})
		}
		c := w.client(t, withStore(store), func(config *mtasts.Config) { config.MaxPolicies = 1 })
		for range 3 {
			for _, name := range []string{"a.example", "b.example", "c.example"} {
				r, err := c.Lookup(t.Context(), name)
				if err != nil || r.Domain != name {
					t.Error(r, err)
				}
				wantMode(t, r, mtasts.Enforce)
			}
		}
		wantCounts(t, w, 0, 0)
	})
}

// The back-off and the state Failing survive a restart.
func TestStoreKeepsFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		lookup(t, w.client(t, withStore(store)))
		w.setID("2")
		w.setHost(nil)
		time.Sleep(5 * time.Minute)
		failing := lookup(t, w.client(t, withStore(store)))
		time.Sleep(5*time.Minute - time.Second)
		r, _, err := w.client(t, withStore(store)).Recheck(t.Context(), domain)
		if err != nil || r.State != mtasts.Failing || failing.State != mtasts.Failing {
			t.Errorf("%+v, %v", r, err)
		}
		wantError(t, r, mtasts.KindFetch, "http-no-connection")
		wantCounts(t, w, 3, 2)
	})
}

// The store is written when something changed, not for each lookup or DNS query.
func TestStoreIsSeldomWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newMemStore()
		c := w.client(t, withStore(store))
		defer run(t, c)()
		for range 10 * 24 {
			lookup(t, c)
			time.Sleep(time.Hour)
		}
		store.mu.Lock()
		defer store.mu.Unlock()
		if store.puts < 10 || store.puts > 2*15 {
			t.Errorf("%d writes in ten days", store.puts)
		}
	})
}

// Field note 55: a failing store does not mean "no policy". Policies in memory stay
// in force, others are fetched, and there is one event in a minute.
func TestFailingStoreEndsNoPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		store.setErr(errDisk, errDisk)
		var log eventLog
		var out strings.Builder
		c := w.client(t, withStore(store), log.configure, withLog(&out))
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if e := log.want(t, mtasts.StoreFailed, mtasts.PolicyFound)[0]; !errors.Is(e.Err, errDisk) || e.Domain != domain {
			t.Errorf("%+v", e)
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("log %q", out.String())
		}
		time.Sleep(5 * time.Minute)
		w.publish("2", testingDay)
		wantMode(t, lookup(t, c), mtasts.Testing)
		log.want(t, mtasts.StoreFailed, mtasts.PolicyWeakened)
		if remembered(t, c, "other.example") != nil {
			t.Error("a policy of a domain that has none")
		}
	})
}

// A policy that was refreshed while the store could not be written is in memory.
func TestRefreshWhileStoreFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newMemStore()
		lookup(t, w.client(t, withStore(store)))
		c := w.client(t, withStore(store))
		defer run(t, c)()
		store.setErr(nil, errDisk)
		start := time.Now()
		time.Sleep(31 * time.Hour)
		w.setTXT(txtAnswer{err: notFound("x")})
		w.setHost(nil)
		sleepTo(start, week+time.Hour)
		wantMode(t, lookup(t, c), mtasts.Enforce)
	})
}

// M1: a policy in a store that could not be read applies as soon as it can be read,
// even if DNS hid it before. Until then, mail waits.
func TestStoreIsAskedAgain(t *testing.T) {
	for _, kind := range []string{"no record", "fetch fails"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", enforceWeek)
				store := newMemStore()
				first := lookup(t, w.client(t, withStore(store)))
				w.setHost(nil)
				if kind == "no record" {
					w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Minute})
				}
				store.setErr(errDisk, nil)
				c := w.client(t, withStore(store))
				wantUnread(t, c)
				wantUnread(t, c)
				store.setErr(nil, nil)
				if p := remembered(t, c, domain); p == nil {
					t.Error("not remembered")
				}
				r := lookup(t, c)
				wantMode(t, r, mtasts.Enforce)
				if !r.Fetched.Equal(first.Fetched) {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// An entry of a store is trusted as little as possible.
func TestStoreIsNotTrusted(t *testing.T) {
	good := func() mtasts.Entry {
		return mtasts.Entry{Domain: domain, ID: "1", Text: enforceWeek, Fetched: time.Now(), Expires: time.Now().Add(week), NextCheck: time.Now().Add(time.Hour), Used: true}
	}
	for name, test := range map[string]struct {
		change  func(*mtasts.Entry)
		inForce bool
		expires time.Duration
		next    time.Duration
	}{
		"good":           {func(*mtasts.Entry) {}, true, week, time.Hour},
		"another domain": {func(e *mtasts.Entry) { e.Domain = "other.example" }, false, 0, 0},
		"no id":          {func(e *mtasts.Entry) { e.ID = "" }, false, 0, 0},
		"malformed id":   {func(e *mtasts.Entry) { e.ID = "a;b" }, false, 0, 0},
		"no text":        {func(e *mtasts.Entry) { e.Text = "" }, false, 0, 0},
		"invalid text":   {func(e *mtasts.Entry) { e.Text = "mode: none\n" }, false, 0, 0},
		"huge text": {func(e *mtasts.Entry) {
			e.Text += strings.Repeat("a: b\n", mtasts.MaxPolicySize/5)
		}, false, 0, 0},
		"never fetched":            {func(e *mtasts.Entry) { e.Fetched = time.Time{} }, false, 0, 0},
		"fetched in the future":    {func(e *mtasts.Entry) { e.Fetched = time.Now().Add(100 * year) }, true, week, time.Hour},
		"at the end of time":       {func(e *mtasts.Entry) { e.Fetched = time.UnixMilli(1<<63 - 1) }, true, week, time.Hour},
		"at the beginning of time": {func(e *mtasts.Entry) { e.Fetched = time.UnixMilli(-1 << 63) }, false, 0, 0},
		"Expires in a century":     {func(e *mtasts.Entry) { e.Expires = time.Now().Add(100 * year) }, true, week, time.Hour},
		"Expires in the past":      {func(e *mtasts.Entry) { e.Expires = time.Now().Add(-year) }, true, week, time.Hour},
		"next check in years":      {func(e *mtasts.Entry) { e.NextCheck = time.Now().Add(year) }, true, week, 5 * time.Minute},
		"next check after the end": {func(e *mtasts.Entry) { e.Fetched = time.Now().Add(-week + time.Minute) }, true, time.Minute, time.Minute},
		"expired":                  {func(e *mtasts.Entry) { e.Fetched = time.Now().Add(-week - 1) }, false, 0, 0},
		"failures without number": {func(e *mtasts.Entry) {
			e.Failed, e.FailingSince = -1, time.Now().Add(year)
			for range 100 {
				e.Failures = append(e.Failures, mtasts.Failure{ID: "\x00", Kind: "\x00", ReasonCode: "\x1b", Detail: strings.Repeat("\x1b", 1<<20)})
			}
		}, true, week, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setHost(nil)
				e := good()
				test.change(&e)
				store := newMemStore()
				store.Put(t.Context(), e)
				store.entries[domain] = marshal(t, e)
				c := w.client(t, withStore(store))
				now := time.Now()
				r := lookup(t, c)
				if (r.Policy != nil) != test.inForce {
					t.Fatalf("in force: %v, want %v", r.Policy != nil, test.inForce)
				}
				if !test.inForce {
					if expired := e.Fetched.Before(now) && !e.Fetched.IsZero(); store.has(domain) != expired {
						t.Errorf("it is in the store: %v, want %v", !expired, expired)
					}
					return
				}
				if r.Expires.Sub(now) > test.expires || r.Expires.Sub(now) < test.expires-time.Second || r.NextCheck.Sub(now) > test.next {
					t.Errorf("expires in %v, want %v; next check in %v, want %v", r.Expires.Sub(now), test.expires, r.NextCheck.Sub(now), test.next)
				}
				if strings.Contains(errText(r.Err), "\x1b") || len(errText(r.Err)) > 2000 {
					t.Errorf("error %q", errText(r.Err))
				}
				// M7: the time of the fetch is stored unchanged.
				if kept, err := store.Get(t.Context(), domain); err != nil || kept.Fetched.UnixMilli() != e.Fetched.UnixMilli() || e.Fetched.After(now) && kept.Noticed.IsZero() {
					t.Errorf("stored again: %+v, %v", kept, err)
				}
			})
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// watched is a store that several clients share.
type watched struct{ *memStore }

func (w watched) Watch(ctx context.Context, changed func(string)) error {
	w.mu.Lock()
	w.watchErrs--
	fails := w.watchErrs >= 0
	w.mu.Unlock()
	if fails {
		return errDisk
	}
	for {
		select {
		case domain := <-w.changed:
			changed(domain)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// What one client has found, others know of at once. M2: they fetch it themselves if it
// is weaker. An older policy does not replace a newer one.
func TestSharedStoreSpreadsPolicies(t *testing.T) {
	for _, changed := range []string{domain, ""} {
		t.Run(changed, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", enforceWeek)
				store := watched{newMemStore()}
				store.watchErrs = 1
				var log eventLog
				c := w.client(t, withStore(store), log.configure)
				defer run(t, c)()
				synctest.Wait() // until Run has reported that Watch failed
				lookup(t, c)
				old, _ := store.Get(t.Context(), domain)
				time.Sleep(2 * time.Minute)
				log.want(t, mtasts.StoreFailed, mtasts.PolicyFound)

				w.publish("2", testingDay)
				other := w.client(t, withStore(store))
				if _, isNew, err := other.Recheck(t.Context(), domain); err != nil || !isNew {
					t.Fatal(isNew, err)
				}
				queries, dials := w.counts()
				store.changed <- "unknown.example"
				store.changed <- changed
				synctest.Wait()
				wantMode(t, lookup(t, c), mtasts.Testing)
				wantCounts(t, w, queries+1, dials+1)
				log.want(t, mtasts.PolicyWeakened)

				store.Put(t.Context(), old)
				store.changed <- changed
				synctest.Wait()
				wantMode(t, lookup(t, c), mtasts.Testing)
			})
		})
	}
}

// counted counts how often a store is read.
type counted struct {
	*memStore
	gets int
}

func (c *counted) Get(ctx context.Context, domain string) (mtasts.Entry, error) {
	c.gets++
	return c.memStore.Get(ctx, domain)
}

// A domain without a policy is answered from memory in every spelling of its name. The
// store is asked again no sooner than DNS.
func TestNothingIsAskedAgainSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setTXT(txtAnswer{err: notFound("x")})
		store := &counted{memStore: newMemStore()}
		c := w.client(t, withStore(store))
		defer c.Close()
		first := lookup(t, c)
		wait := time.Until(first.NextCheck)
		gets := store.gets
		for _, spelling := range []string{domain, "EXAMPLE.com", "example.com."} {
			if _, err := c.Lookup(t.Context(), spelling); err != nil {
				t.Fatal(err)
			}
		}
		if store.gets != gets {
			t.Errorf("the store was read %d times more", store.gets-gets)
		}
		time.Sleep(wait)
		if again := lookup(t, c); time.Until(again.NextCheck) != wait || wait < time.Minute {
			t.Errorf("next check in %v, and then in %v", wait, time.Until(again.NextCheck))
		}
	})
}
