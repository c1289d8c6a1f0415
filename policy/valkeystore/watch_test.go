package valkeystore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// listener records the calls of a Store's Watch.
type listener struct {
	mu    sync.Mutex
	heard []string
}

// listen watches a Store until the test ends.
func listen(t testing.TB, s *Store) *listener {
	t.Helper()
	l := &listener{}
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		_ = s.Watch(ctx, func(domain string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.heard = append(l.heard, domain)
		})
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
	})
	eventually(t, "Watch asks to check every entry at the start", func() bool { return l.has("") })
	s.settle(t)
	l.clear()
	return l
}

// settle waits until the first connection is made and announced.
func (s *Store) settle(t testing.TB) {
	t.Helper()
	eventually(t, "connected", func() bool {
		s.link.mu.Lock()
		defer s.link.mu.Unlock()
		return s.link.client != nil && !s.link.missed
	})
	eventually(t, "the watchers have seen all changes", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for w := range s.watchers {
			if w.missed || len(w.changed) > 0 {
				return false
			}
		}
		return true
	})
}

func (l *listener) has(domain string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.heard, domain)
}

func (l *listener) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = nil
}

func TestWatchReportsChangesOfOthers(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	onA, onB := listen(t, a), listen(t, b)

	put(t, a, entry(domain, time.Minute))
	eventually(t, "the other relay reports what was put", func() bool { return onB.has(domain) })
	wantEntry(t, b, mustGet(t, a, domain))

	onB.clear()
	if err := a.Delete(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other relay reports what was deleted", func() bool { return onB.has(domain) })

	onB.clear()
	short := entry("short.example", 0)
	put(t, a, short)
	eventually(t, "it reports a new entry", func() bool { return onB.has(short.Domain) })
	onB.clear()
	srv.admin(t, "PEXPIRE", a.keys.policy(short.Domain), "100")
	eventually(t, "it reports that the entry has expired", func() bool { return onB.has(short.Domain) })

	put(t, b, entry("other.example", time.Minute))
	eventually(t, "the first relay reports a change of the second", func() bool { return onA.has("other.example") })
	put(t, a, entry("last.example", time.Minute))
	eventually(t, "the last change is reported", func() bool { return onB.has("last.example") })
}

// A Store does not announce changes that its own Client has made.
func TestWatchLeavesOutOwn(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	onA := listen(t, a)
	for i := range 50 {
		put(t, a, entry(fmt.Sprintf("own%d.example", i), time.Minute))
	}
	put(t, b, entry("others.example", time.Minute))
	eventually(t, "it reports a change of another relay", func() bool { return onA.has("others.example") })
	a.settle(t)
	onA.mu.Lock()
	defer onA.mu.Unlock()
	if len(onA.heard) != 1 {
		t.Errorf("changes %q are reported", onA.heard)
	}
	if n := srv.calls(t, "set"); n != 51 {
		t.Errorf("%d writes, want 51", n)
	}
}

// A watcher with too many queued changes is called with "".
func TestWatcherIsBounded(t *testing.T) {
	t.Parallel()
	w := &watcher{wake: make(chan struct{}, 1)}
	s := &Store{}
	for i := range maxChanged {
		w.add(fmt.Sprintf("d%d.example", i))
	}
	if w.missed || len(w.changed) != maxChanged {
		t.Fatalf("missed %v, %d changes", w.missed, len(w.changed))
	}
	for i := range 3 {
		w.add(fmt.Sprintf("more%d.example", i))
	}
	if !w.missed || len(w.changed) != 0 {
		t.Fatalf("missed %v, %d changes", w.missed, len(w.changed))
	}
	if got := s.take(w); len(got) != 1 {
		t.Fatalf("changes %v", got)
	}
	w.add(domain)
	if got := s.take(w); len(got) != 1 {
		t.Fatalf("changes %v", got)
	}
}
