package valkeystore

import (
	"context"

	"github.com/valkey-io/valkey-go"
)

// maxChanged limits the changes that are queued for a watcher. If there are
// more, the watcher is called with "".
const maxChanged = 4096

// watcher queues changes for a call of Watch.
type watcher struct {
	wake    chan struct{} // has capacity one
	changed map[string]struct{}
	missed  bool
}

// Watch implements [mtasts.Watcher]. It calls changed for each domain whose
// entry has been changed by another relay or an operator, or has expired. It
// calls changed with "" at the start, when contact with the server is restored,
// and when the server has lost all data. Get then returns the new entry from
// memory. Watch continues while the server is unreachable. It returns the error
// of ctx, or [ErrClosed].
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

// isEcho reports whether this Store made the change. The server does not say
// who did, so its current entry is compared.
func (s *Store) isEcho(ctx context.Context, domain string) bool {
	if domain == "" {
		return false
	}
	_, err := s.Get(ctx, domain)
	return err == nil && s.cache.own(domain)
}

// take returns and clears the queued changes of w.
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

// add queues a change of domain, or of unknown domains if it is empty.
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

// tell queues a change for all watchers.
func (s *Store) tell(domain string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		w.add(domain)
	}
}

// invalidated is called by the client library with the keys that have changed,
// or with nil when the server was flushed or the connection was lost. It blocks
// the processing of later messages.
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
