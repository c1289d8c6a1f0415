package mtasts_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// collect lets a Client append the events of one kind.
func collect(events *[]mtasts.Event, kind mtasts.EventKind) func(*mtasts.Config) {
	return func(config *mtasts.Config) {
		config.OnEvent = func(e mtasts.Event) {
			if e.Kind == kind {
				*events = append(*events, e)
			}
		}
	}
}

// C5: domains without a policy, however many, do not push out what is known of a broken
// policy host, nor policies.
func TestC5BackOffHasItsOwnRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.publishAt("good.example", "11.0.0.2")
		var forgotten []mtasts.Event
		c := w.client(t, collect(&forgotten, mtasts.PolicyForgotten), func(config *mtasts.Config) { config.Memory = 1 << 20 })
		if r, err := c.Lookup(t.Context(), "good.example"); err != nil || r.Policy == nil {
			t.Fatal(r, err)
		}
		w.setSite(w.good(), respond(404, "text/plain", "no"))
		wantError(t, lookup(t, c), mtasts.KindFetch, "http-status-404")
		for i := range 20_000 {
			if _, err := c.Lookup(context.Background(), fmt.Sprintf("d%d.example", i)); err != nil {
				t.Fatal(err)
			}
		}
		_, before := w.counts()
		for range 10 {
			wantError(t, lookup(t, c), mtasts.KindFetch, "http-status-404")
			r, err := c.Lookup(t.Context(), "good.example")
			if err != nil || r.Policy == nil {
				t.Fatal(r, err)
			}
			time.Sleep(20 * time.Second)
		}
		if _, after := w.counts(); after != before {
			t.Errorf("%d fetches more, of a policy host that answers 404", after-before)
		}
		if len(forgotten) > 0 {
			t.Errorf("%+v", forgotten)
		}
	})
}

// C5: a policy in force that no store has is forgotten with an event, which is rare.
func TestC5ForgottenWithEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		const n = 10
		for i := range 3 * n {
			w.publishAt(fmt.Sprintf("p%d.example", i), fmt.Sprintf("11.0.1.%d", i))
		}
		for name, test := range map[string]struct {
			store mtasts.Store
			want  int
		}{
			"no store":                {nil, 2},
			"store":                   {newMemStore(), 0},
			"store that fails to put": {&memStore{entries: map[string][]byte{}, putErr: errDisk}, 2},
		} {
			var forgotten []mtasts.Event
			c := w.client(t, withStore(test.store), collect(&forgotten, mtasts.PolicyForgotten), func(config *mtasts.Config) { config.MaxPolicies = n })
			for i := range 3 * n {
				w.publishAt(fmt.Sprintf("p%d.example", i), fmt.Sprintf("11.0.1.%d", i))
				if r, err := c.Lookup(t.Context(), fmt.Sprintf("p%d.example", i)); err != nil || r.Policy == nil {
					t.Fatal(r, err)
				}
				if i == 2*n {
					time.Sleep(time.Minute)
				}
			}
			if len(forgotten) != test.want {
				t.Errorf("%s: %d events, want %d", name, len(forgotten), test.want)
			}
			for _, e := range forgotten {
				if e.Old == nil || e.Old.Mode != mtasts.Enforce || e.New != nil || e.Domain == "" {
					t.Errorf("%s: %+v", name, e)
				}
				if p, err := c.Remembered(t.Context(), e.Domain); test.store == nil && (p != nil || !errors.Is(err, mtasts.ErrNoPolicy)) {
					t.Errorf("%s: %s is still remembered", name, e.Domain)
				}
			}
		}
	})
}

// M8: if no policy host at all is reached, there is one event, and another one only after
// a policy host was reached.
func TestM8NothingFetched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		var domains []string
		for i := range 6 {
			domains = append(domains, fmt.Sprintf("owner%d.example", i))
			w.publishAt(domains[i], fmt.Sprintf("11.0.1.%d", i))
		}
		var blocked atomic.Bool
		blocked.Store(true)
		var events []mtasts.Event
		c := w.client(t, collect(&events, mtasts.NothingFetched), func(config *mtasts.Config) {
			config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if blocked.Load() {
					return nil, errors.New("blocked")
				}
				return w.Dial(ctx, network, addr)
			}
		})
		attempts := func(of []string) {
			for _, d := range of {
				c.Lookup(t.Context(), d)
			}
			time.Sleep(6 * time.Minute)
		}
		var names []string
		for i := range 6 {
			names = append(names, fmt.Sprintf("n%d.%s", i, domains[0]))
			w.publishAt(names[i], fmt.Sprintf("11.0.3.%d", i))
		}
		for range 10 {
			attempts(names)
		}
		if len(events) != 0 {
			t.Errorf("one owner: %+v", events)
		}
		start := time.Now()
		for range 10 {
			attempts(domains)
		}
		if len(events) != 1 || events[0].Since.After(start) || events[0].Err == nil || events[0].Domain != "" {
			t.Errorf("events %+v, want one", events)
		}
		blocked.Store(false)
		w.setSite(w.good(), respond(404, "text/plain", "no"))
		lookup(t, c) // reaches a policy host, which has no policy
		blocked.Store(true)
		for range 3 {
			attempts(domains)
		}
		if len(events) != 2 || !slices.IsSortedFunc(events, func(a, b mtasts.Event) int { return a.Since.Compare(b.Since) }) {
			t.Errorf("events %+v, want two", events)
		}
	})
}
