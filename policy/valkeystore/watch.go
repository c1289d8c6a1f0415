package valkeystore

import (
	"context"

	"github.com/valkey-io/valkey-go"
)

// maxChanged bounds the changes that a watcher is behind. With more of them it
// is told that it has missed some.
const maxChanged = 4096

// watcher collects what is to be told.
type watcher struct {
	wake    chan struct{} // has room for one
	changed map[string]struct{}
	missed  bool
}

// Watch calls changed for each domain of which another relay, an operator, or
// the course of time has changed the entry; and with "" when it begins, when
// contact with the server was regained, and when the server has lost everything.
// The entry is in memory by then. Watch goes on while the server is away. The
// error is that of ctx, or ErrClosed.
func (s *Store) Watch(ctx context.Context, changed func(domain string)) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	s.watchers[w] = struct{}{}
	w.add("")
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, w)
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return ErrClosed
		case <-w.wake:
		}
		for domain := range s.take(w) {
			if ctx.Err() == nil && !s.isEcho(ctx, domain) {
				changed(domain)
			}
		}
	}
}

// isEcho reports whether a change is one that this Store has made. The server
// does not say whose it is, so it has to be asked what it has now.
func (s *Store) isEcho(ctx context.Context, domain string) bool {
	if domain == "" {
		return false
	}
	_, err := s.Get(ctx, domain)
	return err == nil && s.cache.own(domain)
}

// take returns what w has collected.
func (s *Store) take(w *watcher) map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := w.changed
	if w.missed {
		changed = map[string]struct{}{"": {}}
	}
	w.changed, w.missed = nil, false
	return changed
}

// add notes that domain has changed, or that some may have if it is empty.
func (w *watcher) add(domain string) {
	if domain == "" || len(w.changed) >= maxChanged {
		w.missed = true
	}
	if w.missed {
		w.changed = nil
	} else {
		if w.changed == nil {
			w.changed = make(map[string]struct{})
		}
		w.changed[domain] = struct{}{}
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// tell passes a change on to all who watch.
func (s *Store) tell(domain string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		w.add(domain)
	}
}

// invalidated is called by the client library with the keys that have changed,
// or with nil when the server was flushed or the connection is lost. What the
// server sends next waits for it.
func (s *Store) invalidated(names []valkey.ValkeyMessage) {
	if names == nil {
		s.link.miss()
		return
	}
	for _, name := range names {
		key, err := name.ToString()
		if err != nil {
			continue
		}
		if domain, ok := s.keys.domain(key); ok {
			s.cache.changed(domain)
			s.tell(domain)
		}
	}
}
