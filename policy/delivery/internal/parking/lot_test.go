package parking

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/seed"
)

// recorder notes the sessions that a Lot ends.
type recorder struct {
	mu          sync.Mutex
	left, hurry []string
}

func (r *recorder) lot(most, perHost, perDomain int) *Lot[string, string] {
	return New[string](Config[string]{
		Most: most, PerHost: perHost, PerDomain: perDomain, IdleTime: time.Minute, Patience: 5 * time.Second,
		Leave: func(s string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.left = append(r.left, s)
		},
		Hurry: func(s string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.hurry = append(r.hurry, s)
		},
	})
}

func every(string) bool { return true }

// park enters and parks a session.
func park(t *testing.T, l *Lot[string, string], key, session string, p Place) {
	t.Helper()
	if !l.Enter(t.Context(), p) || !l.Park(key, p, session) {
		t.Fatalf("no place for %s", session)
	}
}

// Take returns the session that was used last among those of the key that fit.
func TestTakeReturnsLatestThatFits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		l := r.lot(10, 10, 10)
		p := Place{"h", "d"}
		for _, session := range []string{"1", "2", "3"} {
			park(t, l, "k", session, p)
		}
		park(t, l, "other", "4", p)
		var got []string
		for _, fits := range []func(string) bool{every, func(s string) bool { return s == "1" }, func(s string) bool { return s == "4" }, every, every} {
			session, ok := l.Take("k", p, fits)
			if !ok {
				session = "none"
			}
			got = append(got, session)
		}
		if want := []string{"3", "1", "none", "2", "none"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		l.Close()
		if l.Park("k", p, "2") {
			t.Error("parked in a closed Lot")
		}
	})
}

// A session that is idle for too long is left, and not one that was taken meanwhile.
func TestIdleSessionExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		l := r.lot(10, 10, 10)
		p := Place{"h", "d"}
		park(t, l, "k", "1", p)
		time.Sleep(30 * time.Second)
		park(t, l, "k", "2", p)
		if s, _ := l.Take("k", p, every); s != "2" {
			t.Errorf("took %q", s)
		}
		time.Sleep(45 * time.Second)
		synctest.Wait()
		if !slices.Equal(r.left, []string{"1"}) || l.open != 1 {
			t.Errorf("left %q, %d are open", r.left, l.open)
		}
		if !l.Park("k", p, "2") {
			t.Error("not parked")
		}
		time.Sleep(59 * time.Second)
		if s, ok := l.Take("k", p, every); !ok || s != "2" {
			t.Error("the time of an earlier stay counts")
		}
		time.Sleep(time.Hour)
		if len(r.left) != 1 {
			t.Errorf("left %q", r.left)
		}
	})
}

// Callers that wait get places in turn, and a place that comes too late for one goes to
// the next.
func TestWaitingCallersGetPlacesInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r recorder
		l := r.lot(1, 10, 10)
		p := Place{"h", "d"}
		if !l.Enter(t.Context(), p) {
			t.Fatal("no place")
		}
		canceled, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var got []string
		for i, ctx := range []context.Context{canceled, t.Context(), t.Context()} {
			go func() {
				ok := l.Enter(ctx, p)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprint(i, ok))
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		if l.Park("k", p, "1") {
			t.Error("parked while others wait")
		}
		l.Exit(p)
		synctest.Wait()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"0 false", "1 true", "2 false"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if l.open != 1 || len(l.waiting) != 0 {
			t.Errorf("%d are open, %d wait", l.open, len(l.waiting))
		}
	})
}

// Random calls by many goroutines: no bound is ever exceeded, no session is handed out
// twice or ended twice, and in the end every place is free.
func TestRandomCallsKeepBounds(t *testing.T) {
	t.Parallel()
	base := seed.New(t)
	synctest.Test(t, func(t *testing.T) {
		const most, perHost, perDomain = 12, 4, 6
		var mu sync.Mutex
		open := map[string]Place{} // sessions, until they have ended
		inUse := map[string]bool{}
		hosts, domains := map[string]int{}, map[string]int{}
		change := func(s string, p Place, n int) { // with mu
			hosts[p.Host] += n
			domains[p.Domain] += n
			if len(open) > most || hosts[p.Host] > perHost || domains[p.Domain] > perDomain {
				t.Errorf("%d sessions, %d with %s, %d for %s", len(open), hosts[p.Host], p.Host, domains[p.Domain], p.Domain)
			}
		}
		ended := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			p, ok := open[s]
			if !ok || inUse[s] {
				t.Errorf("%s was ended, open %v, in use %v", s, ok, inUse[s])
			}
			delete(open, s)
			change(s, p, -1)
		}
		l := New[string](Config[string]{Most: most, PerHost: perHost, PerDomain: perDomain, IdleTime: 20 * time.Millisecond, Patience: 50 * time.Millisecond, Leave: ended, Hurry: ended})
		var working sync.WaitGroup
		// As many workers for a domain and for a host as the bounds permit in use.
		for w := range 4 {
			working.Go(func() {
				random := rand.New(rand.NewPCG(base, uint64(w)))
				for i := range 300 {
					p := Place{fmt.Sprint("h", random.IntN(3)), fmt.Sprint("d", random.IntN(3))}
					s, ok := l.Take(p.Host, p, every)
					mu.Lock()
					if ok {
						if inUse[s] {
							t.Errorf("%s was taken twice", s)
						}
						old := open[s]
						open[s], inUse[s] = p, true
						domains[old.Domain]--
						domains[p.Domain]++
						hosts[old.Host]--
						hosts[p.Host]++
					}
					mu.Unlock()
					if !ok {
						if !l.Enter(t.Context(), p) {
							continue
						}
						s = fmt.Sprintf("%d-%d", w, i)
						mu.Lock()
						open[s], inUse[s] = p, true
						change(s, p, 1)
						mu.Unlock()
					}
					time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
					mu.Lock()
					delete(inUse, s)
					mu.Unlock()
					if random.IntN(4) == 0 || !l.Park(p.Host, p, s) {
						ended(s)
						l.Exit(p)
					}
				}
			})
		}
		working.Wait()
		l.Close()
		if l.open != 0 || len(l.hosts) != 0 || len(l.domains) != 0 || len(l.keys) != 0 || l.idle.Len() != 0 || len(open) != 0 {
			t.Errorf("left: %d open, %v, %v, %v", l.open, l.hosts, l.domains, open)
		}
	})
}
