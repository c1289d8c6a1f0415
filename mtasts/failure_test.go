package mtasts_test

import (
	"context"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// sharing is a store that also shares failures of fetches.
type sharing struct {
	*leased
	failures map[string]mtasts.Entry
	ends     map[string]time.Time
}

func newSharing() *sharing {
	return &sharing{newLeased(), make(map[string]mtasts.Entry), make(map[string]time.Time)}
}

func (s *sharing) PutFailed(_ context.Context, e mtasts.Entry, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[e.Domain], s.ends[e.Domain] = e, time.Now().Add(d)
	return nil
}

func (s *sharing) Failed(_ context.Context, domain string) (mtasts.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.failures[domain]
	if !ok || !time.Now().Before(s.ends[domain]) {
		return mtasts.Entry{}, mtasts.ErrNotStored
	}
	return e, nil
}

func withKey(c *mtasts.Config) { c.StoreKey = []byte("0123456789abcdef") }

// C10: clients that share a store and a key ask a policy host that answers with an error
// as seldom as one client does, whether they need the policy at the same time or in turn.
func TestC10FailureIsShared(t *testing.T) {
	for name, publish := range map[string]func(w *world){
		"404":          func(w *world) { w.setID("1"); w.setSite(w.good(), respond(404, "text/plain", "no")) },
		"500":          func(w *world) { w.setID("1"); w.setSite(w.good(), respond(500, "text/plain", "no")) },
		"not a policy": func(w *world) { w.publish("1", "version: STSv1\nmode: strange\n") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				publish(w)
				store := newSharing()
				var clients []*mtasts.Client
				for range 4 {
					clients = append(clients, w.client(t, withStore(store), withKey))
				}
				for round := range 5 {
					_, before := w.counts()
					var reasons []string
					for _, c := range clients {
						r := lookup(t, c)
						if r.State != mtasts.BackingOff || r.Err == nil {
							t.Fatalf("%+v", r)
						}
						reasons = append(reasons, r.Err.Error())
					}
					if reasons[0] != reasons[3] {
						t.Errorf("%q", reasons)
					}
					if _, dials := w.counts(); dials != before+1 {
						t.Errorf("round %d: %d fetches, want 1", round, dials-before)
					}
					time.Sleep(6 * time.Minute)
				}
				_, before := w.counts()
				together(t, clients, func(mtasts.Result) {})
				if _, dials := w.counts(); dials != before+1 {
					t.Errorf("%d fetches at the same time, want 1", dials-before)
				}
				w.publish("2", enforceWeek) // another id is fetched at once
				time.Sleep(6 * time.Minute)
				for _, c := range clients {
					wantMode(t, lookup(t, c), mtasts.Enforce)
				}
			})
		})
	}
}

// C10: a failure whose cause may be near one client is not shared.
func TestC10OwnTroubleIsNotShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setID("1")
		w.setHost(nil)
		store := newSharing()
		lookup(t, w.client(t, withStore(store), withKey))
		if len(store.failures) > 0 {
			t.Errorf("%+v", store.failures)
		}
		w.publish("1", enforceWeek)
		wantMode(t, lookup(t, w.client(t, withStore(store), withKey)), mtasts.Enforce)
	})
}

// C10: a writer to the store cannot take a policy away by failures that it plants. At
// first contact, without a key, one delays the fetch once, for five minutes at most; all
// others have no effect.
func TestC10PlantedFailure(t *testing.T) {
	const fiveMinutes = 5 * time.Minute
	planted := func(id string, ago time.Duration) mtasts.Entry {
		return mtasts.Entry{Domain: domain, Failures: []mtasts.Failure{{
			ID: id, When: time.Now().Add(-ago), Kind: mtasts.KindFetch, ReasonCode: "http-status-404", Detail: "x",
		}}}
	}
	for name, tt := range map[string]struct {
		plant   func() mtasts.Entry
		key     bool
		inForce bool
		delay   time.Duration
	}{
		"at first contact":           {plant: func() mtasts.Entry { return planted("1", 0) }, delay: fiveMinutes},
		"at first contact, half old": {plant: func() mtasts.Entry { return planted("1", fiveMinutes/2) }, delay: fiveMinutes},
		"a little in the future":     {plant: func() mtasts.Entry { return planted("1", -30*time.Second) }, delay: fiveMinutes},
		"with a key":                 {plant: func() mtasts.Entry { return planted("1", 0) }, key: true},
		"a policy in force":          {plant: func() mtasts.Entry { return planted("2", 0) }, inForce: true},
		"of another id":              {plant: func() mtasts.Entry { return planted("2", 0) }},
		"in the future":              {plant: func() mtasts.Entry { return planted("1", -2*time.Minute) }},
		"at the end of time":         {plant: func() mtasts.Entry { return planted("1", -1<<62) }},
		"over":                       {plant: func() mtasts.Entry { return planted("1", fiveMinutes) }},
		"of another domain":          {plant: func() mtasts.Entry { e := planted("1", 0); e.Domain = "other.example"; return e }},
		"none":                       {plant: func() mtasts.Entry { e := planted("1", 0); e.Failures = nil; return e }},
		"many":                       {plant: func() mtasts.Entry { e := planted("1", 0); e.Failures = append(e.Failures, e.Failures...); return e }},
		"with a text":                {plant: func() mtasts.Entry { e := planted("1", 0); e.Text = enforceWeek; return e }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.publish("1", enforceWeek)
				store := newSharing()
				plant := func() {
					store.mu.Lock()
					defer store.mu.Unlock()
					store.failures[domain], store.ends[domain] = tt.plant(), time.Now().Add(year)
				}
				options := []func(*mtasts.Config){withStore(store)}
				if tt.key {
					options = append(options, withKey)
				}
				c := w.client(t, options...)
				wanted := "1"
				if tt.inForce {
					wantMode(t, lookup(t, c), mtasts.Enforce)
					w.publish("2", enforceWeek)
					wanted = "2"
					time.Sleep(fiveMinutes)
				}
				began := time.Now()
				for {
					plant()
					if r := lookup(t, c); r.ID == wanted {
						wantMode(t, r, mtasts.Enforce)
						break
					} else if tt.inForce {
						wantMode(t, r, mtasts.Enforce)
					}
					if time.Since(began) > 4*fiveMinutes {
						t.Fatal("the policy is not fetched for 20 minutes")
					}
					time.Sleep(10 * time.Second)
				}
				if took := time.Since(began); took > tt.delay+15*time.Second {
					t.Errorf("the policy is fetched after %v, want %v at most", took, tt.delay)
				}
			})
		})
	}
}

// C10: a tag is about one failure of one domain: it is no policy, and no policy of a client
// with the key is a failure. It is not valid for longer than the failure.
func TestC10ReplayedFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setID("1")
		w.setSite(w.good(), respond(404, "text/plain", "no"))
		store := newSharing()
		lookup(t, w.client(t, withStore(store), withKey))
		old := store.failures[domain]
		if len(old.Tag) == 0 || old.Text != "" || !strings.Contains(old.Failures[0].ReasonCode, "404") {
			t.Fatalf("%+v", old)
		}
		w.publish("1", enforceWeek)
		time.Sleep(5 * time.Minute)
		store.ends[domain] = time.Now().Add(year)
		c := w.client(t, withStore(store), withKey)
		wantMode(t, lookup(t, c), mtasts.Enforce)

		policy, err := store.Get(t.Context(), domain)
		if err != nil {
			t.Fatal(err)
		}
		store.failures["other.example"] = old
		store.failures[domain] = policy
		if err := store.Put(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		wantMode(t, lookup(t, w.client(t, withStore(store), withKey)), mtasts.Enforce)
	})
}

// The clients of a shared store take turns in going through it, so that one that cannot
// fetch does not keep the others from it.
func TestC10SweepsInTurns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publish("1", enforceWeek)
		store := newSharing()
		var counted []*countedSweeps
		for range 4 {
			s := &countedSweeps{sharing: store}
			counted = append(counted, s)
			c := w.client(t, withStore(s))
			defer run(t, c)()
			time.Sleep(2 * time.Minute)
		}
		time.Sleep(day)
		total := 0
		for i, s := range counted {
			if s.sweeps.Load() == 0 {
				t.Errorf("client %d has never gone through the store", i)
			}
			total += int(s.sweeps.Load())
		}
		if total < 60 || total > 150 {
			t.Errorf("%d times in a day", total)
		}
	})
}

// countedSweeps counts the calls of All.
type countedSweeps struct {
	*sharing
	sweeps atomic.Int64
}

func (s *countedSweeps) All(ctx context.Context) iter.Seq2[mtasts.Entry, error] {
	s.sweeps.Add(1)
	return s.sharing.All(ctx)
}
