package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

const testingDay = "version: STSv1\nmode: testing\nmx: mail.example.com\nmax_age: 86400\n"

// bubble runs a test with its own clock. At the end, servers whose client has left
// get the time to notice.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(time.Hour)
	})
}

// wantMode checks which policy is in force, "" for none.
func wantMode(t testing.TB, r mtasts.Result, mode mtasts.Mode) {
	t.Helper()
	var got mtasts.Mode
	if r.Policy != nil {
		got = r.Policy.Mode
	}
	if got != mode {
		t.Errorf("mode %q in force, want %q (%v)", got, mode, r.Err)
	}
}

func wantCounts(t testing.TB, w *world, queries, dials int) {
	t.Helper()
	if q, d := w.counts(); q != queries || d != dials {
		t.Errorf("%d queries and %d fetches, want %d and %d", q, d, queries, dials)
	}
}

// STS-4, STS-25, STS-41: the queries of a first lookup, and its result.
func TestFirstLookupAsksAndFetches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		now := time.Now()
		r := lookup(t, c)
		wantMode(t, r, mtasts.Enforce)
		if w.queries[0] != "_mta-sts.example.com." || w.dials[0] != "tcp 11.0.0.1:443" {
			t.Errorf("asked %q, dialed %q", w.queries, w.dials)
		}
		if r.Domain != domain || r.ID != "1" || r.Err != nil || r.Policy.Text != enforce {
			t.Errorf("result %+v", r)
		}
		if !r.Fetched.Equal(now) || !r.Expires.Equal(now.Add(24*time.Hour)) || !r.NextCheck.Equal(now.Add(5*time.Minute)) {
			t.Errorf("fetched %v, expires %v, next check %v", r.Fetched, r.Expires, r.NextCheck)
		}
	})
}

// STS-85: memory answers within the TTL of the record. After it, one query is made.
func TestLookupFollowsTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		first := lookup(t, c)
		time.Sleep(5*time.Minute - 1)
		lookup(t, c)
		wantCounts(t, w, 1, 1)
		time.Sleep(time.Nanosecond)
		again := lookup(t, c)
		wantCounts(t, w, 2, 1)
		if again.Policy != first.Policy || !again.Expires.Equal(first.Expires) {
			t.Error("an unchanged id changed the policy")
		}
	})
}

// The TTL is limited: zero does not cause a query for each message, and a week
// does not prevent queries for a week.
func TestLookupBoundsTTL(t *testing.T) {
	for _, test := range []struct {
		name      string
		answer    txtAnswer
		nextCheck time.Duration
	}{
		{"zero", txtAnswer{txts: []string{"v=STSv1; id=1"}}, time.Minute},
		{"long", txtAnswer{txts: []string{"v=STSv1; id=1"}, ttl: 7 * 24 * time.Hour}, 24 * time.Hour},
		{"no record", txtAnswer{err: notFound("x"), ttl: 10 * time.Minute}, 10 * time.Minute},
		{"no record, zero", txtAnswer{err: notFound("x")}, time.Minute},
		{"no record, long", txtAnswer{err: notFound("x"), ttl: 7 * 24 * time.Hour}, time.Hour},
		{"malformed", txtAnswer{txts: []string{"v=STSv1; id=?"}, ttl: 7 * 24 * time.Hour}, time.Hour},
		{"failure", txtAnswer{err: servfail("x"), ttl: time.Hour}, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setTXT(test.answer)
				if r := lookup(t, w.client(t)); time.Until(r.NextCheck) != test.nextCheck {
					t.Errorf("next check in %v, want %v", time.Until(r.NextCheck), test.nextCheck)
				} else if r.Policy == nil && !r.Expires.Equal(r.NextCheck) {
					t.Errorf("without a policy, expires %v is not the next check %v", r.Expires, r.NextCheck)
				}
			})
		})
	}
}

// STS-8, STS-9, STS-10, STS-54: without a usable record there is no policy. Nothing
// is fetched, and the result is remembered.
func TestLookupWithoutRecord(t *testing.T) {
	for name, test := range map[string]struct {
		answer txtAnswer
		kind   mtasts.Kind
		reason string
	}{
		"STS-8 not found":       {txtAnswer{err: notFound("x")}, "", ""},
		"STS-8 foreign records": {txtAnswer{txts: []string{"v=spf1 -all", "v=STSv2; id=1"}}, "", ""},
		"STS-9 several":         {txtAnswer{txts: []string{"v=STSv1; id=1", "v=STSv1; id=1"}}, mtasts.KindRecord, "record-multiple"},
		"STS-10 malformed":      {txtAnswer{txts: []string{"v=STSv1; id=a-b"}}, mtasts.KindRecord, "record-id"},
		"DNS failure":           {txtAnswer{err: servfail("x")}, mtasts.KindDNS, "dns-failure"},
		"DNS timeout":           {txtAnswer{err: context.DeadlineExceeded}, mtasts.KindDNS, "dns-timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.setTXT(test.answer)
				c := w.client(t)
				r := lookup(t, c)
				lookup(t, c)
				wantCounts(t, w, 1, 0)
				wantMode(t, r, "")
				if test.kind != "" {
					wantError(t, r, test.kind, test.reason)
				} else if r.Err != nil {
					t.Errorf("error %v, want none", r.Err)
				}
				if r.Reportable() {
					t.Error("reportable though no valid record was found")
				}
			})
		})
	}
}

// STS-23, STS-94, STS-97, field note 44: a changed id, even a "smaller" one, is
// noticed long before max_age is over, and the new policy applies at once.
func TestChangedID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("5", strings.Replace(enforce, "86400", "31557600", 1))
		c := w.client(t)
		wantMode(t, lookup(t, c), mtasts.Enforce)
		w.publish("4", testingDay)
		time.Sleep(5 * time.Minute)
		r := lookup(t, c)
		wantMode(t, r, mtasts.Testing)
		if r.ID != "4" || !r.Fetched.Equal(time.Now()) {
			t.Errorf("id %q, fetched %v", r.ID, r.Fetched)
		}
	})
}

// STS-84, STS-76, field note 47: mode none replaces an enforced policy, even if its
// max_age is zero.
func TestModeNoneReplaces(t *testing.T) {
	for _, maxAge := range []string{"0", "1", "86400"} {
		t.Run("max_age "+maxAge, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.client(t)
				wantMode(t, lookup(t, c), mtasts.Enforce)
				w.publish("2", "version: STSv1\nmode: none\nmax_age: "+maxAge+"\n")
				time.Sleep(5 * time.Minute)
				wantMode(t, lookup(t, c), mtasts.None)
				w.setTXT(txtAnswer{err: notFound("x")})
				time.Sleep(5 * time.Minute)
				r := lookup(t, c)
				if r.Policy != nil && r.Policy.Mode != mtasts.None {
					t.Error("the enforced policy came back")
				}
				if (r.Policy != nil) != (maxAge == "86400") {
					t.Errorf("policy %v with max_age %s", r.Policy, maxAge)
				}
			})
		})
	}
}

// faults are the ways in which the search for a newer policy can fail.
var faults = map[string]struct {
	fault  func(*world)
	kind   mtasts.Kind
	reason string
}{
	"STS-24 TXT is gone":                     {func(w *world) { w.setTXT(txtAnswer{err: notFound("x")}) }, mtasts.KindRecord, "record-missing"},
	"STS-24 TXT is malformed":                {func(w *world) { w.setTXT(txtAnswer{txts: []string{"v=STSv1; id="}}) }, mtasts.KindRecord, "record-id"},
	"STS-24 DNS fails":                       {func(w *world) { w.setTXT(txtAnswer{err: servfail("x")}) }, mtasts.KindDNS, "dns-failure"},
	"field note 45 forged id, fetch blocked": {func(w *world) { w.setID("2"); w.setHost(nil) }, mtasts.KindFetch, "http-no-connection"},
	"STS-55 policy host is gone": {func(w *world) {
		w.setID("2")
		w.addrs = nil
	}, mtasts.KindFetch, "dns-not-found"},
	"STS-43 invalid policy": {func(w *world) { w.publish("2", "mode: none\n") }, mtasts.KindPolicy, "policy-version"},
	"STS-43 empty policy":   {func(w *world) { w.publish("2", "") }, mtasts.KindPolicy, "policy-version"},
	"STS-55 status 404":     {func(w *world) { w.setID("2"); w.setSite(w.good(), respond(404, "text/plain", "")) }, mtasts.KindFetch, "http-status-404"},
}

// A policy stays in force, whatever fails, until max_age after its fetch and no
// longer. The failure can be reported.
func TestPolicyInForceStays(t *testing.T) {
	for name, test := range faults {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.client(t)
				first := lookup(t, c)
				test.fault(w)
				for _, age := range []time.Duration{5 * time.Minute, time.Hour, 24 * time.Hour} {
					time.Sleep(time.Until(first.Fetched.Add(age)))
					r := lookup(t, c)
					if r.Policy != first.Policy || r.ID != "1" || !r.Expires.Equal(first.Expires) {
						t.Errorf("after %v: %+v", age, r)
					}
					wantError(t, r, test.kind, test.reason)
					if !r.Reportable() { // STS-87
						t.Errorf("after %v: not reportable", age)
					}
				}
				time.Sleep(time.Nanosecond) // STS-80
				wantMode(t, lookup(t, c), "")
			})
		})
	}
}

// STS-89: in mode none, nothing is reported.
func TestModeNoneIsNotReported(t *testing.T) {
	for name, test := range faults {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", "version: STSv1\nmode: none\nmax_age: 86400\n")
				c := w.client(t)
				lookup(t, c)
				test.fault(w)
				time.Sleep(5 * time.Minute)
				r := lookup(t, c)
				wantMode(t, r, mtasts.None)
				if r.Err == nil || r.Reportable() {
					t.Errorf("error %v, reportable %v", r.Err, r.Reportable())
				}
			})
		})
	}
}

// STS-54, STS-86, field note 60: without a policy in force, a failed fetch is
// reported with its type and the lines of the invalid policy.
func TestFailureWithoutPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", "version: STSv1\r\nmode: enforced\r\nmx: mail.example.com\r\n")
		r := lookup(t, w.client(t))
		wantMode(t, r, "")
		wantError(t, r, mtasts.KindPolicy, "policy-mode")
		if !r.Reportable() {
			t.Error("not reportable")
		}
		want := []string{"version: STSv1", "mode: enforced", "mx: mail.example.com"}
		if got := mtasts.Lines(r.FailedText); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("lines %q, want %q", got, want)
		}
		resultType, reason := r.Err.(*mtasts.Error).TLSReport()
		if resultType != "sts-policy-invalid" || reason != "policy-mode" {
			t.Errorf("reported as %q, %q", resultType, reason)
		}
	})
}

// Only the beginning of an invalid policy is kept.
func TestFailedTextIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", strings.Repeat("x", mtasts.MaxPolicySize))
		if r := lookup(t, w.client(t)); len(r.FailedText) != 4<<10 {
			t.Errorf("%d octets are kept", len(r.FailedText))
		}
	})
}

// Field note 46: an unchanged id does not extend a policy. STS-42: a fetch does, and
// starts its time again.
func TestExpiredPolicyIsFetchedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		lookup(t, c)
		time.Sleep(24*time.Hour + time.Millisecond)
		r := lookup(t, c)
		wantMode(t, r, mtasts.Enforce)
		wantCounts(t, w, 2, 2)
		if !r.Fetched.Equal(time.Now()) || !r.Expires.Equal(time.Now().Add(24*time.Hour)) {
			t.Errorf("fetched %v, expires %v", r.Fetched, r.Expires)
		}
		w.setHost(nil)
		time.Sleep(24*time.Hour + 1)
		wantMode(t, lookup(t, c), "")
	})
}

// STS-51, field note 51: a policy that cannot be fetched causes one fetch in five
// minutes for each id.
func TestOneFetchInFiveMinutes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setSite(w.good(), respond(500, "text/plain", ""))
		c := w.client(t)
		for range 299 {
			wantError(t, lookup(t, c), mtasts.KindFetch, "http-status-500")
			time.Sleep(time.Second)
		}
		if _, dials := w.counts(); dials != 1 {
			t.Errorf("%d fetches in five minutes, want 1", dials)
		}
		time.Sleep(time.Second)
		lookup(t, c)
		if _, dials := w.counts(); dials != 2 {
			t.Errorf("%d fetches after five minutes, want 2", dials)
		}
	})
}

// STS-51: a new id may be tried at once, but an attacker who forges one for each
// query does not cause a fetch for each query.
func TestBackOffForNewIDs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		lookup(t, c)
		w.setHost(nil)
		for i := range 60 {
			w.setID(fmt.Sprint("forged", i))
			time.Sleep(5 * time.Second)
			r, changed, err := c.Recheck(context.Background(), domain)
			if err != nil || changed {
				t.Fatal(changed, err)
			}
			wantMode(t, r, mtasts.Enforce)
			wantError(t, r, mtasts.KindFetch, "http-no-connection")
			if _, dials := w.counts(); i == 0 && dials != 2 {
				t.Error("a new id was not tried at once")
			}
		}
		if _, dials := w.counts(); dials > 1+3+1 {
			t.Errorf("%d fetches in five minutes", dials-1)
		}
		w.publish("real", testingDay)
		time.Sleep(5 * time.Minute)
		wantMode(t, lookup(t, c), mtasts.Testing)
	})
}

// Field note 51: concurrent lookups of one domain cause one fetch.
func TestConcurrentLookupsFetchOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { wantMode(t, lookup(t, c), mtasts.Enforce) })
		}
		wg.Wait()
		wantCounts(t, w, 1, 1)
	})
}

// A caller who cancels its lookup ends neither the lookups of others nor the next
// one. Memory answers even if ctx is done.
func TestCancelledLookup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		slow := w.host
		w.setHost(func(c net.Conn) { time.Sleep(10 * time.Second); slow(c) })
		c := w.client(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Lookup(ctx, domain); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { wantMode(t, lookup(t, c), mtasts.Enforce) })
		wg.Wait()
		wantCounts(t, w, 1, 1)
		if r, err := c.Lookup(ctx, domain); err != nil || r.Policy == nil {
			t.Errorf("memory does not answer: %v", err)
		}
		if _, err := c.Lookup(ctx, "other.example"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// STS-36, field note 43: the longest max_age lasts a year and does not overflow.
// STS-35: zero is valid, and causes a fetch for each message.
func TestExtremesOfMaxAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", strings.Replace(enforce, "86400", strings.Repeat("9", 100), 1))
		r := lookup(t, w.client(t))
		if want := time.Now().Add(31557600 * time.Second); !r.Expires.Equal(want) {
			t.Errorf("expires %v, want %v", r.Expires, want)
		}

		w.publish("1", strings.Replace(enforce, "86400", "0", 1))
		c := w.client(t)
		for range 3 {
			wantMode(t, lookup(t, c), mtasts.Enforce)
			time.Sleep(time.Nanosecond)
		}
		wantCounts(t, w, 4, 4)
	})
}

// STS-77, STS-79: before a bounce, the id is looked up, whatever is remembered.
func TestRecheckAsksAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		before := lookup(t, c)
		r, changed, err := c.Recheck(context.Background(), domain)
		if err != nil || changed || r.Policy != before.Policy {
			t.Errorf("unchanged: %v, %v", changed, err)
		}
		wantCounts(t, w, 2, 1)

		w.publish("2", testingDay)
		r, changed, err = c.Recheck(context.Background(), "EXAMPLE.com.")
		if err != nil || !changed {
			t.Errorf("changed: %v, %v", changed, err)
		}
		wantMode(t, r, mtasts.Testing)
		wantMode(t, lookup(t, c), mtasts.Testing)

		w.setID("3") // of the same policy
		r, changed, err = c.Recheck(context.Background(), domain)
		if err != nil || changed || r.ID != "3" {
			t.Errorf("same text: %v, %v, id %q", changed, err, r.ID)
		}
		if _, _, err := c.Recheck(context.Background(), "[192.0.2.1]"); !errors.Is(err, mtasts.ErrDomain) {
			t.Errorf("error %v", err)
		}
	})
}

// A Recheck that finds a Lookup in progress does not use its result, and neither
// undoes the work of the other.
func TestRecheckDuringLookup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		site := w.host
		w.setHost(func(c net.Conn) { time.Sleep(time.Second); site(c) })
		c := w.client(t)
		var wg sync.WaitGroup
		wg.Go(func() { lookup(t, c) })
		synctest.Wait()
		wg.Go(func() {
			if r, _, err := c.Recheck(context.Background(), domain); err != nil || r.Policy == nil {
				t.Errorf("%+v, %v", r, err)
			}
		})
		wg.Wait()
		wantCounts(t, w, 2, 1)
	})
}

// The number of domains is limited, and domains without a policy do not remove those
// with one.
func TestBoundOfDomains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t, func(config *mtasts.Config) { config.MaxPolicies = 10 })
		lookup(t, c)
		for i := range 100 {
			if _, err := c.Lookup(context.Background(), fmt.Sprintf("d%d.example", i)); err != nil {
				t.Fatal(err)
			}
		}
		wantCounts(t, w, 101, 1)
		lookup(t, c)
		c.Lookup(context.Background(), "d99.example")
		wantCounts(t, w, 101, 1)
		c.Lookup(context.Background(), "d0.example")
		wantCounts(t, w, 102, 1)
	})
}

// A Resolver need not know TTLs.
func TestResolverWithoutTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t, func(config *mtasts.Config) { config.Resolver = plainResolver{w} })
		r := lookup(t, c)
		wantMode(t, r, mtasts.Enforce)
		if !r.NextCheck.Equal(time.Now().Add(5 * time.Minute)) {
			t.Errorf("next check %v", r.NextCheck)
		}
	})
}

func TestNewRefusesNegativeNumbers(t *testing.T) {
	t.Parallel()
	for _, config := range []mtasts.Config{{MaxPolicies: -1}, {FetchTimeout: -1}} {
		if _, err := mtasts.New(config); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
	if _, err := mtasts.New(mtasts.Config{}); err != nil {
		t.Error(err)
	}
}

// Close ends the lookups in progress, which do not count as failures, and Run.
// What memory can answer is still answered.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		var log eventLog
		c := w.client(t, withStore(store), log.configure)
		ended := make(chan struct{})
		go func() {
			c.Run(context.Background())
			close(ended)
		}()
		lookup(t, c)
		log.want(t, mtasts.PolicyFound)

		w.setID("2")
		w.setHost(func(c net.Conn) { time.Sleep(10 * time.Second) })
		var wg sync.WaitGroup
		wg.Go(func() {
			if r, _, err := c.Recheck(context.Background(), domain); !errors.Is(err, mtasts.ErrClosed) {
				t.Errorf("%+v, %v, want ErrClosed", r, err)
			}
		})
		synctest.Wait()
		start := time.Now()
		if err := c.Close(); err != nil || time.Since(start) != 0 {
			t.Errorf("Close returned %v after %v", err, time.Since(start))
		}
		<-ended
		wg.Wait()
		log.want(t)
		if f := c.Stats().Fetches; f.Changed.Count != 1 || f.Timeout.Count+f.Connect.Count+f.TLS.Count+f.HTTP.Count != 0 {
			t.Errorf("a fetch that Close ended is counted: %+v", f)
		}
		if e, err := store.Get(t.Context(), domain); err != nil || e.ID != "1" || len(e.Failures) != 0 {
			t.Errorf("stored %+v, %v", e, err)
		}

		if r := lookup(t, c); r.State != mtasts.InForce {
			t.Errorf("%+v", r)
		}
		if _, err := c.Lookup(context.Background(), "other.example"); !errors.Is(err, mtasts.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		c.Run(context.Background())
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Callers can distinguish "no policy" from "not known".
func TestRememberedOrNotKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		c := w.client(t, withStore(store))
		want := func(ctx context.Context, domain string, want error) {
			t.Helper()
			if p, err := c.Remembered(ctx, domain); p != nil || !errors.Is(err, want) {
				t.Errorf("policy %v, error %v, want %v", p, err, want)
			}
		}
		want(t.Context(), domain, mtasts.ErrNoPolicy)
		want(t.Context(), "[192.0.2.1]", mtasts.ErrDomain)
		store.setErr(errDisk, nil)
		want(t.Context(), domain, mtasts.ErrStoreUnread)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		want(cancelled, domain, context.Canceled)
		store.setErr(nil, nil)
		r := lookup(t, c)
		store.setErr(errDisk, nil)
		if p := remembered(t, c, "Example.com."); p != r.Policy {
			t.Errorf("policy %v", p)
		}
		wantCounts(t, w, 1, 1)
	})
}

// A policy that has expired in memory may be in force in a store that another Client
// writes to, and that store may be unreadable.
func TestRememberedByAnotherClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newMemStore()
		idle, busy := w.client(t, withStore(store)), w.client(t, withStore(store))
		first := lookup(t, idle)
		sleepTo(first.Fetched, week-time.Hour)
		if again := lookup(t, busy); !again.Fetched.After(first.Fetched) {
			t.Fatal("the policy was not fetched again")
		}
		sleepTo(first.Fetched, week+time.Hour)
		store.setErr(errDisk, nil)
		if p, err := idle.Remembered(t.Context(), domain); p != nil || !errors.Is(err, mtasts.ErrStoreUnread) {
			t.Errorf("policy %v, error %v", p, err)
		}
		store.setErr(nil, nil)
		if p := remembered(t, idle, domain); p == nil || p.Mode != mtasts.Enforce {
			t.Errorf("policy %v", p)
		}
	})
}

// A Mark ends when another policy comes into force.
func TestMarkEndsWithThePolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		defer c.Close()
		before := lookup(t, c)
		time.Sleep(time.Minute)
		if again := lookup(t, c); !before.Mark.Unchanged() || !again.Mark.Unchanged() {
			t.Error("the Mark ends while nothing changes")
		}
		w.publish("2", strings.Replace(enforce, "86400", "172800", 1))
		time.Sleep(5 * time.Minute)
		after := lookup(t, c)
		if after.Policy.Text == before.Policy.Text || before.Mark.Unchanged() || !after.Mark.Unchanged() {
			t.Errorf("the Mark of the old policy is unchanged: %v, that of the new one: %v", before.Mark.Unchanged(), after.Mark.Unchanged())
		}
	})
}
