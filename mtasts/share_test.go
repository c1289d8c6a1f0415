package mtasts_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// leased is a store with leases.
type leased struct {
	*memStore
	leases   map[string]time.Time
	leaseErr error
}

func newLeased() *leased { return &leased{memStore: newMemStore(), leases: map[string]time.Time{}} }

func (l *leased) Lease(_ context.Context, domain string, d time.Duration) (func(), bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaseErr != nil {
		return nil, false, l.leaseErr
	}
	if time.Now().Before(l.leases[domain]) {
		return nil, false, nil
	}
	end := time.Now().Add(d)
	l.leases[domain] = end
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.leases[domain].Equal(end) {
			delete(l.leases, domain)
		}
	}, true, nil
}

// fleet returns clients that share a store.
func fleet(t *testing.T, w *world, store mtasts.Store) []*mtasts.Client {
	var clients []*mtasts.Client
	for range 5 {
		clients = append(clients, w.client(t, withStore(store)))
	}
	return clients
}

// together makes all clients look up the domain at the same time.
func together(t *testing.T, clients []*mtasts.Client, check func(mtasts.Result)) {
	t.Helper()
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() { check(lookup(t, c)) })
	}
	wg.Wait()
}

// One client fetches for all that share a store: a first policy, a changed one that
// takes nothing away, one whose fetch fails, and one that is due. M2: a weaker one each
// of them fetches itself.
func TestOneFetchForAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newLeased()
		clients := fleet(t, w, store)
		slow := func() {
			site := w.host
			w.setHost(func(conn net.Conn) { time.Sleep(2 * time.Second); site(conn) })
		}
		w.publish("1", enforceWeek)
		slow()
		together(t, clients, func(r mtasts.Result) { wantMode(t, r, mtasts.Enforce) })
		if _, dials := w.counts(); dials != 1 {
			t.Errorf("%d fetches of a first policy", dials)
		}
		longer := strings.Replace(enforceWeek, "604800", "1209600", 1)
		w.publish("2", longer)
		slow()
		time.Sleep(5 * time.Minute)
		together(t, clients, func(r mtasts.Result) {
			if wantMode(t, r, mtasts.Enforce); r.Policy.Text != longer {
				t.Error("the old policy applies")
			}
		})
		if _, dials := w.counts(); dials != 2 {
			t.Errorf("%d fetches with a changed one", dials)
		}
		w.setID("3")
		w.setHost(nil)
		time.Sleep(5 * time.Minute)
		together(t, clients, func(r mtasts.Result) {
			wantMode(t, r, mtasts.Enforce)
			wantError(t, r, mtasts.KindFetch, "http-no-connection")
		})
		if _, dials := w.counts(); dials != 3 {
			t.Errorf("%d fetches with one that failed", dials)
		}
		w.publish("2", longer)
		time.Sleep(40 * time.Hour) // without Run
		together(t, clients, func(r mtasts.Result) { wantMode(t, r, mtasts.Enforce) })
		if _, dials := w.counts(); dials != 4 {
			t.Errorf("%d fetches with one that was due", dials)
		}
		w.publish("4", strings.Replace(enforceWeek, "enforce", "testing", 1))
		slow()
		time.Sleep(5 * time.Minute)
		together(t, clients, func(r mtasts.Result) { wantMode(t, r, mtasts.Testing) })
		if _, dials := w.counts(); dials != 4+len(clients) {
			t.Errorf("%d fetches with a weaker one", dials)
		}
	})
}

// A client whose policy has expired first looks in the store, where another client
// may have put it after a new fetch.
func TestAnotherHasFetched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newLeased()
		a, b := w.client(t, withStore(store)), w.client(t, withStore(store))
		lookup(t, a)
		lookup(t, b)
		time.Sleep(20 * time.Hour)
		lookup(t, b) // fetches again
		w.setTXT(txtAnswer{err: notFound("x")})
		w.setHost(nil)
		time.Sleep(20 * time.Hour)
		wantMode(t, lookup(t, a), mtasts.Enforce)
		if !store.has(domain) {
			t.Error("the policy was removed from the store")
		}
	})
}

// A lost lease delays the other clients and does not cost them the policy. A store
// whose leases fail causes no delay.
func TestLeaseIsLost(t *testing.T) {
	t.Run("lost", func(t *testing.T) { bubble(t, testLeaseLost) })
	t.Run("failed", func(t *testing.T) { bubble(t, testLeaseFailed) })
}

func testLeaseLost(t *testing.T) {
	w := newWorld(t)
	store := newLeased()
	store.Lease(t.Context(), domain, year)
	start := time.Now()
	c := w.client(t, withStore(store))
	wantMode(t, lookup(t, c), "") // M11: first contact proceeds
	if d := time.Since(start); d != 15*time.Second {
		t.Errorf("waited %v", d)
	}
	sleepTo(start, 61*time.Second)
	wantMode(t, lookup(t, c), mtasts.Enforce)
}

func testLeaseFailed(t *testing.T) {
	w := newWorld(t)
	store := newLeased()
	store.leaseErr = errors.New("no leases")
	start := time.Now()
	var log eventLog
	wantMode(t, lookup(t, w.client(t, withStore(store), log.configure)), mtasts.Enforce)
	if d := time.Since(start); d != 0 {
		t.Errorf("waited %v", d)
	}
	log.want(t, mtasts.StoreFailed, mtasts.PolicyFound)
}

// A store that has lost everything gets the policies again from clients that
// remember them.
func TestStoreIsFilledAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := watched{newMemStore()}
		c := w.client(t, withStore(store))
		defer run(t, c)()
		first := lookup(t, c)
		store.Delete(t.Context(), domain)
		store.changed <- ""
		store.changed <- "" // when this is taken, the one before has been dealt with
		e, err := store.Get(t.Context(), domain)
		if err != nil || e.Text != first.Policy.Text || !e.Fetched.Equal(first.Fetched) {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

// ordered notes what a client does with the store.
type ordered struct {
	*leased
	done []string
}

func (o *ordered) Put(ctx context.Context, e mtasts.Entry) error {
	o.done = append(o.done, "put")
	return o.leased.Put(ctx, e)
}

func (o *ordered) Lease(ctx context.Context, domain string, d time.Duration) (func(), bool, error) {
	release, ok, err := o.leased.Lease(ctx, domain, d)
	return func() {
		o.done = append(o.done, "release")
		release()
	}, ok, err
}

// The store has a policy before the lease ends: another client would fetch it again.
func TestStoredBeforeTheLeaseEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := &ordered{leased: newLeased()}
		lookup(t, newWorld(t).client(t, withStore(store)))
		if len(store.done) < 2 || store.done[0] != "put" || store.done[1] != "release" {
			t.Errorf("%q", store.done)
		}
	})
}

// A client that is closed during a fetch does not tell others that the fetch has failed.
func TestClosedClientSharesNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newLeased()
		c := w.client(t, withStore(store))
		lookup(t, c)
		w.setID("2")
		w.setHost(func(conn net.Conn) { time.Sleep(time.Minute) })
		time.Sleep(5 * time.Minute)
		go c.Lookup(context.Background(), domain)
		synctest.Wait()
		before := store.puts
		if _, dials := w.counts(); dials != 2 {
			t.Fatalf("%d fetches", dials)
		}
		c.Close()
		time.Sleep(time.Hour)
		if e, err := store.Get(t.Context(), domain); err != nil || len(e.Failures) > 0 || store.puts != before {
			t.Errorf("%+v, %v, put %d times", e, err, store.puts-before)
		}
	})
}

// slowLeased is a store whose Put takes nearly as long as a Client waits. It calls asked
// first.
type slowLeased struct {
	*leased
	asked func()
}

func (s slowLeased) Put(ctx context.Context, e mtasts.Entry) error {
	s.asked()
	select {
	case <-time.After(1900 * time.Millisecond):
	case <-ctx.Done():
	}
	return s.leased.Put(ctx, e)
}

// A fetched policy applies before the store has it. What lookups read then is not changed any
// more, even if the policy is close to its end when the store has it: the race detector would
// notice.
func TestPublishedStateIsNotChanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", strings.Replace(enforce, "86400", "2", 1))
		expiring := false
		var c *mtasts.Client
		reads := make(chan mtasts.Result, 1)
		store := slowLeased{newLeased(), sync.OnceFunc(func() {
			go func() {
				r, _ := c.Lookup(t.Context(), domain)
				reads <- r
			}()
		})}
		c = w.client(t, withStore(store), func(config *mtasts.Config) {
			config.OnEvent = func(e mtasts.Event) { expiring = expiring || e.Kind == mtasts.ExpiringSoon }
		})
		if r := lookup(t, c); r.Policy == nil || !expiring {
			t.Errorf("%+v, expiring %v", r, expiring)
		}
		if r := <-reads; r.Policy == nil || r.Err != nil {
			t.Errorf("while the store was writing: %+v", r)
		}
	})
}

// A lookup at first contact returns a policy that was fetched in time, even if the store has
// not taken it yet. Others that come meanwhile do not wait.
func TestPolicyAppliesBeforeItIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var c *mtasts.Client
		took := make(chan time.Duration, 2)
		find := func() {
			start := time.Now()
			if r := lookup(t, c); r.Policy == nil {
				t.Errorf("%+v", r)
			}
			took <- time.Since(start)
		}
		c = w.client(t, withStore(slowLeased{newLeased(), sync.OnceFunc(func() { go find() })}), func(config *mtasts.Config) { config.FirstWait = time.Second })
		find()
		if meanwhile, first := <-took, <-took; meanwhile > 0 || first > time.Second {
			t.Errorf("the lookups took %v and %v", first, meanwhile)
		}
	})
}
