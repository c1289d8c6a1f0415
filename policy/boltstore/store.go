package boltstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"

	"github.com/mxseal/mxseal/mtasts"
	bolt "go.etcd.io/bbolt"
)

// ErrClosed is returned by the methods of a closed Store.
var ErrClosed = errors.New("boltstore: the store is closed")

// maxPending and maxPendingBytes limit the changes that are kept in memory while the
// file cannot be written, in number and in octets.
const (
	maxPending      = 1 << 16
	maxPendingBytes = 64 << 20
)

// Store is an [mtasts.Store] in a file. It is safe for concurrent use. Open
// creates it; Close must be called when it is no longer used.
type Store struct {
	path string
	room int // maximum number of pending changes
	// roomBytes is their maximum size, and maxSize that of the file.
	roomBytes int
	maxSize   int64
	db        *database
	wake      chan struct{} // signals pending changes
	hurry     chan struct{} // asks to write them without delay
	clock     *clock
	logger    *slog.Logger
	reports   *Reports
	quit      chan struct{}
	done      chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	pending changes       // not yet written
	size    int           // of pending, in octets
	full    bool          // the file has reached maxSize
	writing changes       // in the current transaction
	written chan struct{} // closed at the end of the current transaction
	err     error         // of the last transaction
	closed  bool
}

// changes maps domains to entries to put, or to nil for entries to delete.
type changes map[string]*mtasts.Entry

var _ mtasts.Store = (*Store)(nil)

// Get returns the entry of domain, or [mtasts.ErrNotStored]. If the record is
// damaged, Get returns an error and deletes the record.
func (s *Store) Get(_ context.Context, domain string) (mtasts.Entry, error) {
	if e, ok, err := s.unwritten(domain); ok || err != nil {
		e.Failures = slices.Clone(e.Failures)
		return e, err
	}
	var e mtasts.Entry
	err := s.db.view(func(tx *bolt.Tx) error {
		data := tx.Bucket(policies).Get([]byte(domain))
		if data == nil {
			return mtasts.ErrNotStored
		}
		return decode(&e, domain, data)
	})
	var damaged *recordError
	if errors.As(err, &damaged) {
		s.change(domain, nil)
	}
	return e, s.withPath(err)
}

// unwritten returns the entry of domain if it has changed since the last
// transaction. ok is false if it has not.
func (s *Store) unwritten(domain string) (e mtasts.Entry, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return e, false, ErrClosed
	}
	change, ok := s.pending[domain]
	if !ok {
		change, ok = s.writing[domain]
	}
	switch {
	case !ok:
		return e, false, nil
	case change == nil:
		return e, true, mtasts.ErrNotStored
	default:
		return *change, true, nil
	}
}

// Put replaces the entry of e.Domain. The change is visible at once and on disk
// within one second. If the last write failed, for any entry, Put returns its
// error. Put still keeps e in memory and retries the write, unless too many
// changes are waiting already, or the file is full; the error is then [ErrFull].
func (s *Store) Put(ctx context.Context, e mtasts.Entry) error {
	if e.Domain == "" || len(e.Domain) > bolt.MaxKeySize {
		return fmt.Errorf("boltstore: %q is not a domain name", e.Domain)
	}
	s.mu.Lock()
	full := s.full
	s.mu.Unlock()
	if full && !s.isKnown(e.Domain) {
		return s.withPath(ErrFull)
	}
	e.Failures = slices.Clone(e.Failures) // the caller may modify its slice later
	return s.waitForRoom(ctx, e.Domain, &e)
}

// Delete removes the entry of domain. It writes the change in the same way as
// Put.
func (s *Store) Delete(ctx context.Context, domain string) error {
	return s.waitForRoom(ctx, domain, nil)
}

// waitForRoom makes a change as soon as there is room for it.
func (s *Store) waitForRoom(ctx context.Context, domain string, e *mtasts.Entry) error {
	for {
		wait, err := s.change(domain, e)
		if wait == nil {
			return s.withPath(err)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return s.withPath(ctx.Err())
		}
	}
}

// change makes a change if there is room for it. Otherwise it returns an error,
// or a channel that is closed when there may be room.
func (s *Store) change(domain string, e *mtasts.Entry) (wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	old, known := s.pending[domain]
	size := s.size + sizeOf(domain, e)
	if known {
		size -= sizeOf(domain, old)
	}
	switch {
	case (known || len(s.pending) < s.room) && (size <= s.roomBytes || size <= s.size):
		s.pending[domain], s.size = e, size
		notify(s.wake)
		return nil, s.err
	case s.err != nil:
		return nil, fmt.Errorf("%w: %d changes of %d octets are already waiting to be written: %w", ErrFull, len(s.pending), s.size, s.err)
	default:
		notify(s.hurry)
		return s.written, nil
	}
}

// sizeOf returns the memory of a pending change in octets.
func sizeOf(domain string, e *mtasts.Entry) int {
	size := 100 + len(domain)
	if e != nil {
		size += 300 + len(e.ID) + len(e.Text) + len(e.Tag)
		for _, f := range e.Failures {
			size += 100 + len(f.ID) + len(f.Kind) + len(f.ReasonCode) + len(f.Detail)
		}
	}
	return size
}

// isKnown reports whether the file or the pending changes have an entry of domain.
func (s *Store) isKnown(domain string) bool {
	if _, ok, err := s.unwritten(domain); ok || err != nil {
		return err == nil
	}
	known := false
	err := s.db.view(func(tx *bolt.Tx) error {
		known = tx.Bucket(policies).Get([]byte(domain)) != nil
		return nil
	})
	return err == nil && known
}

// notify sends to c unless c is full.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pageSize is the number of entries that All reads in one transaction. bbolt
// cannot reuse pages during a long read transaction, so the file would grow.
const pageSize = 256

// All yields all entries. It yields each damaged record with an error, which
// has only Domain set, and deletes it. It also deletes, and does not yield, entries
// that have expired a day ago, once the clock has been right for a day: otherwise a
// clock that jumps would delete what protects.
func (s *Store) All(ctx context.Context) iter.Seq2[mtasts.Entry, error] {
	return func(yield func(mtasts.Entry, error) bool) {
		now, sure := s.clock.read()
		recent := s.recent()
		for _, e := range recent {
			if e != nil && !yield(*e, nil) {
				return
			}
		}
		var page []record
		var err error
		for after := ""; ; after = page[len(page)-1].entry.Domain {
			page, err = s.page(ctx, after, page[:0])
			if err != nil {
				yield(mtasts.Entry{}, s.withPath(err))
				return
			}
			if len(page) == 0 {
				return
			}
			for _, r := range page {
				if _, ok := recent[r.entry.Domain]; ok {
					continue
				}
				isOver := r.err == nil && sure && now.After(end(&r.entry, now).Add(keepExpired))
				if r.err != nil || isOver {
					s.change(r.entry.Domain, nil)
				}
				if isOver {
					continue
				}
				if !yield(r.entry, s.withPath(r.err)) {
					return
				}
			}
		}
	}
}

// recent returns a copy of the changes since the last completed transaction.
func (s *Store) recent() changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(changes, len(s.pending)+len(s.writing))
	for _, some := range []changes{s.writing, s.pending} {
		for domain, e := range some {
			all[domain] = e
		}
	}
	return all
}

// record is an entry that was read, or its error.
type record struct {
	entry mtasts.Entry
	err   error
}

// page appends the entries that follow the domain after.
func (s *Store) page(ctx context.Context, after string, page []record) ([]record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err := s.db.view(func(tx *bolt.Tx) error {
		return ascend(tx.Bucket(policies).Cursor(), []byte(after), func(k, v []byte) bool {
			var r record
			r.err = decode(&r.entry, string(k), v)
			if r.err != nil {
				r.entry = mtasts.Entry{Domain: string(k)}
			}
			page = append(page, r)
			return len(page) < pageSize
		})
	})
	return page, err
}

// withPath adds the path of the file to an error.
func (s *Store) withPath(err error) error {
	if err == nil || err == mtasts.ErrNotStored || err == ErrClosed {
		return err
	}
	return fmt.Errorf("boltstore: %s: %w", s.path, err)
}

// recordError is the error of a damaged record.
type recordError struct {
	domain string
	err    error
}

func (e *recordError) Error() string { return fmt.Sprintf("record of %q: %v", e.domain, e.err) }
func (e *recordError) Unwrap() error { return e.err }

// decode decodes the record of domain into e.
func decode(e *mtasts.Entry, domain string, data []byte) error {
	if err := e.UnmarshalBinary(data); err != nil {
		return &recordError{domain, err}
	}
	if e.Domain != domain {
		return &recordError{domain, fmt.Errorf("it belongs to %q", e.Domain)}
	}
	return nil
}
