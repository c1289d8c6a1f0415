package mtasts_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// The table of the package comment: each step from one state to another, and when it
// happens.
func TestStepsBetweenStates(t *testing.T) {
	type step struct {
		change func(*world)
		after  time.Duration
		state  mtasts.State
	}
	var (
		same    = func(*world) {}
		gone    = func(w *world) { w.setTXT(txtAnswer{err: notFound("x"), ttl: 10 * time.Minute}) }
		broken  = func(w *world) { w.setTXT(txtAnswer{err: servfail("x")}) }
		invalid = func(w *world) { w.setTXT(txtAnswer{txts: []string{"v=STSv1; id=?"}, ttl: time.Minute}) }
		blocked = func(w *world) { w.setHost(nil) }
		spoofed = func(w *world) { w.setID("2"); w.setHost(nil) }
		back    = func(w *world) { w.publish("1", enforceWeek) }
		none    = func(w *world) { w.publish("2", noneWeek) }
		hidden  = func(w *world) { gone(w); w.setHost(nil) }
	)
	for name, steps := range map[string][]step{
		"STS-8 no record":                       {{gone, 0, mtasts.NoPolicy}, {back, 10*time.Minute - 1, mtasts.NoPolicy}, {same, 1, mtasts.InForce}},
		"STS-10 malformed record":               {{invalid, 0, mtasts.NoPolicy}, {back, time.Minute, mtasts.InForce}},
		"DNS fails":                             {{broken, 0, mtasts.Unknown}, {back, time.Minute - 1, mtasts.Unknown}, {same, 1, mtasts.InForce}},
		"STS-51, STS-54 fetch fails":            {{blocked, 0, mtasts.BackingOff}, {back, 5*time.Minute - 1, mtasts.BackingOff}, {same, 1, mtasts.InForce}},
		"backing off, record goes":              {{blocked, 0, mtasts.BackingOff}, {gone, 5 * time.Minute, mtasts.NoPolicy}},
		"backing off, DNS fails":                {{blocked, 0, mtasts.BackingOff}, {broken, 5 * time.Minute, mtasts.Unknown}},
		"STS-24 record goes":                    {{back, 0, mtasts.InForce}, {gone, 5 * time.Minute, mtasts.InForce}},
		"STS-24 DNS begins to fail":             {{back, 0, mtasts.InForce}, {broken, 5 * time.Minute, mtasts.InForce}},
		"STS-55 new id, fetch fails":            {{back, 0, mtasts.InForce}, {spoofed, 5 * time.Minute, mtasts.Failing}, {back, 10 * time.Minute, mtasts.InForce}},
		"STS-84 mode none":                      {{back, 0, mtasts.InForce}, {none, 5 * time.Minute, mtasts.InForce}},
		"STS-80 runs out, record gone":          {{back, 0, mtasts.InForce}, {hidden, week, mtasts.InForce}, {same, 1, mtasts.NoPolicy}},
		"STS-80 runs out, DNS fails":            {{back, 0, mtasts.InForce}, {broken, week + 1, mtasts.Unknown}},
		"STS-80 runs out, fetch fails":          {{back, 0, mtasts.InForce}, {blocked, week + 1, mtasts.BackingOff}},
		"failing, runs out":                     {{back, 0, mtasts.InForce}, {spoofed, 5 * time.Minute, mtasts.Failing}, {hidden, week, mtasts.NoPolicy}},
		"field note 46 runs out, fetched again": {{back, 0, mtasts.InForce}, {same, week + 1, mtasts.InForce}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				c := w.client(t)
				for i, s := range steps {
					s.change(w)
					time.Sleep(s.after)
					if r := lookup(t, c); r.State != s.state {
						t.Errorf("step %d: %v, want %v (%v)", i, r.State, s.state, r.Err)
					} else if inForce := r.State == mtasts.InForce || r.State == mtasts.Failing; inForce != (r.Policy != nil) {
						t.Errorf("step %d: %v with policy %v", i, r.State, r.Policy)
					}
				}
			})
		})
	}
}

func TestStateString(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for s := range mtasts.Failing + 1 {
		seen[s.String()] = true
	}
	if len(seen) != 5 || fmt.Sprint(mtasts.State(0)) != "unknown" {
		t.Errorf("states %v", seen)
	}
}

// A lookup waits a short time for the policy of a changed id. The old policy applies
// until the new one is fetched, and later lookups do not wait at all.
func TestUpdateWaitIsShort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		lookup(t, c)
		w.publish("2", testingDay)
		slow := w.host
		w.setHost(func(conn net.Conn) { time.Sleep(30 * time.Second); slow(conn) })
		time.Sleep(5 * time.Minute)
		start := time.Now()
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("waited %v", d)
		}
		time.Sleep(time.Second)
		start = time.Now()
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if d := time.Since(start); d != 0 {
			t.Errorf("another one waited %v", d)
		}
		time.Sleep(25 * time.Second)
		wantMode(t, lookup(t, c), mtasts.Testing)
		wantCounts(t, w, 2, 2)
	})
}

// Without a policy in force, a lookup waits until the fetch ends, but not for long (C7):
// then mail may go without a policy, and the policy applies as soon as it is fetched.
func TestFirstContactWaits(t *testing.T) {
	for delay, want := range map[time.Duration]mtasts.Mode{10 * time.Second: mtasts.Enforce, 30 * time.Second: ""} {
		t.Run(delay.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				slow := w.host
				w.setHost(func(conn net.Conn) { time.Sleep(delay); slow(conn) })
				c := w.client(t)
				start := time.Now()
				r := lookup(t, c)
				wantMode(t, r, want)
				if took := time.Since(start); took != min(delay, 15*time.Second) {
					t.Errorf("waited %v", took)
				}
				if want == "" {
					wantError(t, r, mtasts.KindFetch, "http-pending")
					if r.Reportable() || time.Until(r.NextCheck) > 5*time.Second || !c.IsCurrent(domain, nil) {
						t.Errorf("%+v", r)
					}
				}
				sleepTo(start, delay)
				synctest.Wait()
				if want == "" && c.IsCurrent(domain, nil) {
					t.Error("what was made without the policy still holds")
				}
				wantMode(t, lookup(t, c), mtasts.Enforce)
				wantCounts(t, w, 1, 1)
			})
		})
	}
}

// Field note 45: a forged id with a blocked fetch changes nothing, and causes one
// fetch in five minutes, even if the id is different each time.
func TestSpoofedIDCostsLittle(t *testing.T) {
	for name, id := range map[string]func(i int) string{
		"one": func(int) string { return "spoofed" }, "many": func(i int) string { return fmt.Sprint("spoofed", i) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", enforceWeek)
				c := w.client(t)
				first := lookup(t, c)
				w.setHost(nil)
				for i := range 600 { // ten minutes
					w.setTXT(txtAnswer{txts: []string{"v=STSv1; id=" + id(i)}})
					time.Sleep(time.Second)
					r, changed, err := c.Recheck(t.Context(), domain)
					if err != nil || changed || r.Policy != first.Policy || !r.Expires.Equal(first.Expires) {
						t.Fatalf("%+v, %v, %v", r, changed, err)
					}
				}
				if _, dials := w.counts(); dials != 1+2 {
					t.Errorf("%d fetches in ten minutes, want 2", dials-1)
				}
			})
		})
	}
}

// Without Run, a domain in use keeps its policy too: a lookup late in the life of
// the policy fetches it again.
func TestRefreshOnUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		var log eventLog
		c := w.client(t, log.configure)
		for range 20 {
			r := lookup(t, c)
			wantMode(t, r, mtasts.Enforce)
			if age := time.Since(r.Fetched); age > 36*time.Hour {
				t.Errorf("the policy is %v old", age)
			}
			time.Sleep(6 * time.Hour)
		}
		if _, dials := w.counts(); dials != 1+3 {
			t.Errorf("%d fetches in five days", dials)
		}
		log.want(t, mtasts.PolicyFound)
	})
}

// There is one event that a policy expires soon, even if the id keeps changing.
func TestExpiringIsReportedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		var log eventLog
		c := w.client(t, log.configure)
		lookup(t, c)
		w.setHost(nil)
		for range 7 * 24 {
			time.Sleep(time.Hour - time.Second)
			w.setID("2")
			c.Recheck(t.Context(), domain)
			w.setID("1")
			c.Recheck(t.Context(), domain)
		}
		log.want(t, mtasts.PolicyFound, mtasts.ExpiringSoon)
	})
}

// The events of a changed policy have both texts.
func TestEventsOfChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var log eventLog
		c := w.client(t, log.configure)
		publish := func(id, text string, kind ...mtasts.EventKind) {
			t.Helper()
			var before string
			if p := remembered(t, c, domain); p != nil {
				before = p.Text
			}
			w.publish(id, text)
			time.Sleep(5 * time.Minute)
			lookup(t, c)
			for _, e := range log.want(t, kind...) {
				if e.Domain != domain || e.ID != id || e.New == nil || e.New.Text != text || !e.Expires.Equal(time.Now().Add(e.New.MaxAge)) {
					t.Errorf("%+v", e)
				}
				if (e.Old == nil) != (before == "") || e.Old != nil && e.Old.Text != before {
					t.Errorf("old %+v, want %q", e.Old, before)
				}
			}
		}
		publish("1", enforce, mtasts.PolicyFound)
		publish("2", enforce)
		publish("3", enforceWeek, mtasts.PolicyChanged)
		publish("4", testingDay, mtasts.PolicyWeakened)
		publish("5", noneWeek, mtasts.PolicyChanged)
		publish("6", enforce, mtasts.PolicyChanged)
		publish("7", noneWeek, mtasts.PolicyWeakened)
		w.setTXT(txtAnswer{err: notFound("x")})
		time.Sleep(week + 1)
		lookup(t, c)
		if e := log.want(t, mtasts.PolicyRemoved)[0]; e.New != nil || e.Old == nil || e.Old.Text != noneWeek {
			t.Errorf("%+v", e)
		}
	})
}

// No text of a policy host can break a line of the log.
func TestEventsAreLoggedOnOneLine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var out strings.Builder
		c := w.client(t, withLog(&out))
		w.publish("1", "version: STSv1\r\nmode: enforce\r\nx: \u2028level=ERROR\r\nmx: mail.example.com\r\nmax_age: 86400\r\n")
		lookup(t, c)
		w.publish("2", noneWeek)
		time.Sleep(5 * time.Minute)
		lookup(t, c)
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n != 2 || strings.Contains(out.String(), "\u2028") {
			t.Errorf("%d lines: %s", n, out.String())
		}
		if !strings.Contains(out.String(), `level=WARN msg="MTA-STS policy is no longer enforced"`) {
			t.Errorf("log %q", out.String())
		}
	})
}
