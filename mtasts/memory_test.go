package mtasts_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
	year = 365 * day

	enforceWeek = "version: STSv1\nmode: enforce\nmx: mail.example.com\nmax_age: 604800\n"
	noneWeek    = "version: STSv1\nmode: none\nmax_age: 604800\n"
)

// memStore is a store in memory that keeps the binary form, as real stores do.
type memStore struct {
	mu        sync.Mutex
	entries   map[string][]byte
	puts      int
	getErr    error
	putErr    error
	changed   chan string // what Watch reports
	watchErrs int         // how often Watch fails at first
}

func newMemStore() *memStore {
	return &memStore{entries: map[string][]byte{}, changed: make(chan string)}
}

func (m *memStore) Get(_ context.Context, domain string) (e mtasts.Entry, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.getErr != nil {
		return e, m.getErr
	}
	data, ok := m.entries[domain]
	if !ok {
		return e, mtasts.ErrNotStored
	}
	return e, e.UnmarshalBinary(data)
}

func (m *memStore) Put(_ context.Context, e mtasts.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.putErr != nil {
		return m.putErr
	}
	m.puts++
	data, err := e.MarshalBinary()
	m.entries[e.Domain] = data
	return err
}

func (m *memStore) Delete(_ context.Context, domain string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, domain)
	return m.putErr
}

func (m *memStore) All(ctx context.Context) iter.Seq2[mtasts.Entry, error] {
	m.mu.Lock()
	domains := slices.Sorted(maps.Keys(m.entries))
	m.mu.Unlock()
	return func(yield func(mtasts.Entry, error) bool) {
		for _, domain := range domains {
			e, err := m.Get(ctx, domain)
			if errors.Is(err, mtasts.ErrNotStored) {
				continue
			}
			e.Domain = domain
			if !yield(e, err) {
				return
			}
		}
	}
}

func (m *memStore) has(domain string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[domain] != nil
}

func (m *memStore) setErr(get, put error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.getErr, m.putErr = get, put
}

func withStore(s mtasts.Store) func(*mtasts.Config) {
	return func(config *mtasts.Config) { config.Store = s }
}

// eventLog keeps the events of a client.
type eventLog struct {
	mu     sync.Mutex
	events []mtasts.Event
}

func (l *eventLog) configure(config *mtasts.Config) {
	config.OnEvent = func(e mtasts.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, e)
	}
}

// take returns the events since the last call.
func (l *eventLog) take() []mtasts.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

// want checks the kinds of the events since the last call, and returns them.
func (l *eventLog) want(t testing.TB, kinds ...mtasts.EventKind) []mtasts.Event {
	t.Helper()
	events := l.take()
	var got []mtasts.EventKind
	for _, e := range events {
		got = append(got, e.Kind)
	}
	if !slices.Equal(got, kinds) {
		t.Errorf("events %q, want %q", got, kinds)
		return make([]mtasts.Event, len(kinds))
	}
	return events
}

// run calls Run of the client; stop ends it.
func run(t testing.TB, c *mtasts.Client) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		c.Run(ctx)
		close(done)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(cancel)
	return stop
}

// remembered returns the policy that c remembers, nil for none.
func remembered(t testing.TB, c *mtasts.Client, domain string) *mtasts.Policy {
	t.Helper()
	p, err := c.Remembered(context.Background(), domain)
	if (p == nil) != (err != nil) {
		t.Errorf("policy %v, error %v", p, err)
	}
	return p
}

// sleepTo sleeps until the time that long after start.
func sleepTo(start time.Time, after time.Duration) { time.Sleep(time.Until(start.Add(after))) }

func withLog(out io.Writer) func(*mtasts.Config) {
	return func(config *mtasts.Config) { config.Logger = slog.New(slog.NewTextHandler(out, nil)) }
}

// The refresh of a domain that is only in the store takes no room in memory from domains
// that are looked up.
func TestRefreshTakesNoRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemStore()
		w.publish("1", enforceWeek)
		p := lookup(t, w.client(t, withStore(store))).Policy
		c := w.client(t, withStore(store), func(config *mtasts.Config) { config.MaxPolicies = 1 })
		const busy = "busy.example"
		w.publishAt(busy, "11.0.0.2") // which is for a day
		use := func() {
			if r, err := c.Lookup(t.Context(), busy); err != nil || r.Policy == nil || c.IsCurrent(busy, p) {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		use()
		defer run(t, c)()
		_, before := w.counts()
		for minute := range 40 * 60 {
			time.Sleep(time.Minute)
			if !c.IsCurrent(domain, nil) {
				t.Fatal("the domain that was refreshed is in memory")
			}
			if minute%60 == 59 {
				use()
			}
		}
		if _, dials := w.counts(); dials < before+3 {
			t.Errorf("%d fetches: two of the policy of a day, and one of that of a week", dials-before)
		}
	})
}

// C8: Recall says what Lookup says without a question, and otherwise that nothing is known:
// not before the first lookup, nor when the record has expired, nor for a name in another form.
func TestC8Recall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.client(t)
		unknown := func(domain, when string) {
			t.Helper()
			if r, ok, err := c.Recall(domain); ok || err != nil || r.Policy != nil || r.Domain != "" {
				t.Errorf("%s: %+v, %v, %v", when, r, ok, err)
			}
		}
		unknown("example.com", "before the lookup")
		want := lookup(t, c)
		r, ok, err := c.Recall("example.com")
		if !ok || err != nil || r != want || r.Policy == nil {
			t.Errorf("%+v, %v, %v; want %+v", r, ok, err, want)
		}
		unknown("Example.COM.", "another form")
		time.Sleep(time.Until(want.NextCheck))
		unknown("example.com", "after NextCheck")
		queries, dials := w.counts()
		unknown("example.net", "another domain")
		if q, d := w.counts(); q != queries || d != dials {
			t.Errorf("%d queries, %d connections", q-queries, d-dials)
		}
	})
}

// C8: Recall fails like Lookup while the store cannot be read.
func TestC8RecallUnread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, store := newWorld(t), newMemStore()
		w.setTXT(txtAnswer{err: errors.New("no answer")})
		store.setErr(errors.New("broken"), nil)
		c := w.client(t, withStore(store))
		_, failed := c.Lookup(t.Context(), "example.com")
		if _, ok, err := c.Recall("example.com"); !errors.Is(failed, mtasts.ErrStoreUnread) || !ok || !errors.Is(err, mtasts.ErrStoreUnread) {
			t.Errorf("%v, then %v, %v", failed, ok, err)
		}
	})
}
