package mtasts_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// STS-56, STS-94, STS-95: a policy in use is fetched again about once a day, at
// varying times, for a year, even if its TXT record was found only once.
func TestRunRefreshesForAYear(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		var log eventLog
		c := w.client(t, log.configure)
		stop := run(t, c)
		first := lookup(t, c)
		w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
		var gaps []time.Duration
		last := first.Fetched
		for range year / (6 * time.Hour) {
			time.Sleep(6 * time.Hour)
			r := lookup(t, c)
			if r.Policy != first.Policy {
				t.Fatalf("lost the policy after %v: %v", time.Since(first.Fetched), r.Err)
			}
			if !r.Fetched.Equal(last) {
				gaps = append(gaps, r.Fetched.Sub(last))
				last = r.Fetched
			}
		}
		stop()
		different := map[time.Duration]bool{}
		for _, gap := range gaps {
			different[gap.Round(time.Minute)] = true
			if gap < 18*time.Hour || gap > 30*time.Hour {
				t.Errorf("fetched again after %v", gap)
			}
		}
		if len(gaps) < 300 || len(gaps) > 450 || len(different) < len(gaps)/2 {
			t.Errorf("%d fetches, %d different times between", len(gaps), len(different))
		}
		log.want(t, mtasts.PolicyFound)
	})
}

// A policy with a short max_age is not lost: it is fetched again while part of the
// time is left. If max_age is less than an hour, only lookups fetch it.
func TestRunRefreshesInTime(t *testing.T) {
	for _, maxAge := range []time.Duration{time.Hour, 90 * time.Minute, 5 * time.Hour, day, 2 * day} {
		t.Run(maxAge.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", strings.Replace(enforce, "86400", fmt.Sprint(int(maxAge.Seconds())), 1))
				var log eventLog
				c := w.client(t, log.configure)
				defer run(t, c)()
				for range 100 {
					before := lookup(t, c)
					time.Sleep(time.Until(before.Expires) - 1)
					if r := lookup(t, c); r.Fetched.Equal(before.Fetched) {
						t.Fatalf("not fetched again in %v", maxAge)
					}
				}
				log.want(t, mtasts.PolicyFound)
			})
		})
	}
	t.Run("too short", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.publish("1", strings.Replace(enforce, "86400", "3599", 1))
			c := w.client(t)
			defer run(t, c)()
			lookup(t, c)
			time.Sleep(day)
			wantCounts(t, w, 1, 1)
		})
	})
}

// Field note 52: the policy of a domain that is not looked up expires. It stays in the
// store and a day in memory in case the clock is wrong (M7). The lookup that fetched it counts as a use.
func TestRunLeavesIdleDomains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		var log eventLog
		store := newMemStore()
		c := w.client(t, log.configure, withStore(store))
		defer run(t, c)()
		start := time.Now()
		lookup(t, c)
		sleepTo(start, 30*time.Hour)
		synctest.Wait()
		wantCounts(t, w, 2, 2)
		sleepTo(start, week+18*time.Hour-time.Second)
		wantCounts(t, w, 2, 2)
		if !store.has(domain) || remembered(t, c, domain) == nil {
			t.Error("forgotten too soon")
		}
		log.want(t, mtasts.PolicyFound)
		sleepTo(start, week+31*time.Hour)
		wantCounts(t, w, 2, 2)
		if !store.has(domain) || remembered(t, c, domain) != nil {
			t.Error("not in the store, or still in force")
		}
		log.want(t, mtasts.PolicyRemoved)
		sleepTo(start, 5*week)
		log.want(t)
		wantCounts(t, w, 2, 2)
	})
}

// A refresh applies a changed policy at once, even one of mode none.
func TestRunTakesNewPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		c := w.client(t)
		defer run(t, c)()
		lookup(t, c)
		w.publish("2", noneWeek)
		w.setTXT(txtAnswer{err: notFound("x"), ttl: time.Hour})
		time.Sleep(31 * time.Hour)
		if p := remembered(t, c, domain); p == nil || p.Mode != mtasts.None {
			t.Errorf("policy %v", p)
		}
	})
}

// STS-57, STS-96: if refreshes keep failing, there is an event after a day and one
// more before the policy expires; in mode none there are none. The refresh is
// retried at growing intervals until the policy expires.
func TestRunReportsFailures(t *testing.T) {
	for name, test := range map[string]struct {
		policy string
		want   []mtasts.EventKind
	}{
		"enforce": {enforceWeek, []mtasts.EventKind{mtasts.RefreshFailing, mtasts.ExpiringSoon, mtasts.PolicyRemoved}},
		"testing": {strings.Replace(testingDay, "86400", "604800", 1), []mtasts.EventKind{mtasts.RefreshFailing, mtasts.ExpiringSoon, mtasts.PolicyRemoved}},
		"none":    {noneWeek, []mtasts.EventKind{mtasts.PolicyRemoved}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", test.policy)
				var log eventLog
				c := w.client(t, log.configure)
				defer run(t, c)()
				start := time.Now()
				lookup(t, c)
				log.take()
				w.setHost(nil)
				sleepTo(start, week+20*time.Minute)
				if _, dials := w.counts(); dials < 1+20 || dials > 1+60 {
					t.Errorf("%d tries in a week", dials-1)
				}
				events := log.want(t, test.want...)
				for _, e := range events[:len(events)-1] {
					if e.Err == nil || e.Old != e.New || e.New == nil || e.Since.Sub(start) < 18*time.Hour || e.Since.Sub(start) > 30*time.Hour {
						t.Errorf("%+v", e)
					}
				}
			})
		})
	}
}

// STS-87: while refreshes fail, lookups report it, and no longer after one succeeds.
func TestRunReportsFailureUntilRefreshed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		c := w.client(t)
		defer run(t, c)()
		lookup(t, c)
		w.setHost(nil)
		time.Sleep(31 * time.Hour)
		r := lookup(t, c)
		if r.State != mtasts.Failing || !r.Reportable() {
			t.Errorf("%+v", r)
		}
		wantError(t, r, mtasts.KindFetch, "http-no-connection")
		w.publish("1", enforceWeek)
		time.Sleep(5 * time.Hour)
		if r := lookup(t, c); r.State != mtasts.InForce || r.Err != nil || time.Since(r.Fetched) > 5*time.Hour {
			t.Errorf("%+v", r)
		}
	})
}

// Run ends at once when ctx is done, even if a policy host does not answer. The
// fetch that it ended is not a failure. A Lookup that waited for it does its own.
func TestRunStopsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		c := w.client(t)
		lookup(t, c)
		stop := run(t, c)
		hung := make(chan bool, 100)
		site := w.host
		w.setHost(func(conn net.Conn) {
			hung <- true
			time.Sleep(10 * time.Second)
			site(conn)
		})
		<-hung
		var wg sync.WaitGroup
		wg.Go(func() {
			r, _, err := c.Recheck(context.Background(), domain)
			if err != nil || r.State != mtasts.InForce {
				t.Errorf("%+v, %v", r, err)
			}
		})
		synctest.Wait()
		start := time.Now()
		stop()
		if d := time.Since(start); d != 0 {
			t.Errorf("Run took %v to end", d)
		}
		wg.Wait()
		if r := lookup(t, c); r.State != mtasts.InForce || r.Err != nil {
			t.Errorf("%+v", r)
		}
	})
}

// crowd is a world of many domains whose policy hosts all fail.
type crowd struct {
	mu        sync.Mutex
	dials     []time.Time
	now, most int
	failAfter time.Duration
}

func (w *crowd) LookupTXT(context.Context, string) ([]string, error) {
	return []string{"v=STSv1; id=1"}, nil
}

func (w *crowd) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("11.0.0.1")}, nil
}

func (w *crowd) dial(context.Context, string, string) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, time.Now())
	w.now++
	w.most = max(w.most, w.now)
	w.mu.Unlock()
	time.Sleep(w.failAfter)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now--
	return nil, fmt.Errorf("no such host")
}

// counts returns the number of dials, and the maximum of concurrent ones.
func (w *crowd) counts() (dials, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.dials), w.most
}

// After a long outage, a sender has much to do when it starts. The work is spread
// over an hour, the number of concurrent fetches is limited, and policies that are
// not in use are not fetched. Memory stays within its limit.
func TestRunDoesNotStampede(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const domains = 3000
		store := newMemStore()
		for i := range domains {
			e := mtasts.Entry{Domain: fmt.Sprintf("d%d.example", i), ID: "1", Text: enforceWeek, Fetched: time.Now().Add(-3 * day), Used: i%2 == 0}
			e.Expires = e.Fetched.Add(week)
			store.Put(t.Context(), e)
		}
		w := &crowd{failAfter: 5 * time.Second}
		c, err := mtasts.New(mtasts.Config{Resolver: w, Dial: w.dial, Store: store, MaxRefreshes: 10, MaxPolicies: 1000})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, c)
		start := time.Now()
		sleepTo(start, 9*time.Minute)
		if n, _ := w.counts(); n < domains/2/12 || n > domains/2/4 {
			t.Errorf("%d of %d domains in nine minutes", n, domains/2)
		}
		sleepTo(start, 70*time.Minute)
		stop()
		dials, most := w.counts()
		if most > 10 {
			t.Errorf("%d at a time", most)
		}
		if dials < domains/2 {
			t.Errorf("%d of %d domains in an hour", dials, domains/2)
		}
	})
}

// A clock that was ahead when policies were stored neither extends them nor causes
// all of them to be fetched at once when it is right again.
func TestRunAfterClockSetBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setHost(nil)
		store := newMemStore()
		ahead := time.Now().Add(10 * year)
		for domain, used := range map[string]bool{domain: true, "idle.example": false} {
			store.Put(t.Context(), mtasts.Entry{Domain: domain, ID: "1", Text: enforceWeek, Fetched: ahead, Expires: ahead.Add(week), Used: used})
		}
		c := w.client(t, withStore(store))
		defer run(t, c)()
		time.Sleep(2 * time.Hour)
		for _, domain := range []string{domain, "idle.example"} {
			if e, err := store.Get(t.Context(), domain); err != nil || !e.Fetched.Equal(ahead) || e.Noticed.IsZero() {
				t.Errorf("%s: %+v, %v", domain, e, err)
			}
		}
		if _, dials := w.counts(); dials == 0 || dials > 6 {
			t.Errorf("%d fetches", dials)
		}
		time.Sleep(week)
		for _, c := range []*mtasts.Client{c, w.client(t, withStore(store))} {
			if remembered(t, c, domain) != nil || remembered(t, c, "idle.example") != nil {
				t.Error("the policies are still in force")
			}
		}
	})
}
