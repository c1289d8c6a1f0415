package boltstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/mxseal/mxseal/mtasts"
	bolt "go.etcd.io/bbolt"
)

// ErrClosed is what a closed Store returns.
var ErrClosed = errors.New("boltstore: the store is closed")

// maxPending bounds the changes that are kept in memory while they cannot be
// written.
const maxPending = 1 << 16

// Store is a [mtasts.Store] in a file. It is safe for concurrent use.
type Store struct {
	path  string
	room  int // for changes that wait
	db    *bolt.DB
	wake  chan struct{} // there is something to write
	hurry chan struct{} // and it is not to wait
	quit  chan struct{}
	done  chan struct{} // the writer has ended

	mu      sync.Mutex
	pending changes       // not yet written
	writing changes       // in the transaction under way
	written chan struct{} // is closed at the end of that
	err     error         // why the last transaction failed
	closed  bool
}

// changes are entries to put, by domain, or nil to delete.
type changes map[string]*mtasts.Entry

var _ mtasts.Store = (*Store)(nil)

// Get returns the entry of domain. An entry that is damaged is an error, and is
// deleted.
func (s *Store) Get(_ context.Context, domain string) (mtasts.Entry, error) {
	if e, ok, err := s.unwritten(domain); ok || err != nil {
		e.Failures = slices.Clone(e.Failures)
		return e, err
	}
	var e mtasts.Entry
	err := s.view(func(tx *bolt.Tx) error {
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
	return e, s.name(err)
}

// unwritten returns the entry of domain if it has changed since the last
// transaction.
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

// Put replaces the entry of e.Domain, in memory at once and on disk within a
// second. An error is that of the last write, of whatever entry; e is kept in
// memory and written when that is possible, unless too many wait already.
func (s *Store) Put(ctx context.Context, e mtasts.Entry) error {
	if e.Domain == "" || len(e.Domain) > bolt.MaxKeySize {
		return fmt.Errorf("boltstore: %q cannot be a domain", e.Domain)
	}
	e.Failures = slices.Clone(e.Failures) // the caller may change them
	return s.waitForRoom(ctx, e.Domain, &e)
}

// Delete removes the entry of domain as Put replaces it.
func (s *Store) Delete(ctx context.Context, domain string) error {
	return s.waitForRoom(ctx, domain, nil)
}

// waitForRoom makes a change, when there is room for it.
func (s *Store) waitForRoom(ctx context.Context, domain string, e *mtasts.Entry) error {
	for {
		wait, err := s.change(domain, e)
		if wait == nil {
			return s.name(err)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return s.name(ctx.Err())
		}
	}
}

// change makes a change, or returns what to wait for until there is room.
func (s *Store) change(domain string, e *mtasts.Entry) (wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	_, known := s.pending[domain]
	switch {
	case known || len(s.pending) < s.room:
		s.pending[domain] = e
		note(s.wake)
		return nil, s.err
	case s.err != nil:
		return nil, fmt.Errorf("%d changes wait already: %w", len(s.pending), s.err)
	default:
		note(s.hurry)
		return s.written, nil
	}
}

// note leaves a note in c, unless there is one.
func note(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pageSize is how many entries All reads in one transaction. A transaction that
// lasts keeps the file from being used again, so it grows.
const pageSize = 256

// All yields the entries. A damaged one comes with an error and is deleted.
func (s *Store) All(ctx context.Context) iter.Seq2[mtasts.Entry, error] {
	return func(yield func(mtasts.Entry, error) bool) {
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
				yield(mtasts.Entry{}, s.name(err))
				return
			}
			if len(page) == 0 {
				return
			}
			for _, r := range page {
				if _, ok := recent[r.entry.Domain]; ok {
					continue
				}
				if r.err != nil {
					s.change(r.entry.Domain, nil)
				}
				if !yield(r.entry, s.name(r.err)) {
					return
				}
			}
		}
	}
}

// recent returns a copy of the changes since the last transaction.
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

// record is an entry as it was read.
type record struct {
	entry mtasts.Entry
	err   error
}

// page appends the entries that come after that domain.
func (s *Store) page(ctx context.Context, after string, page []record) ([]record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err := s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(policies).Cursor()
		k, v := c.Seek([]byte(after))
		if string(k) == after {
			k, v = c.Next()
		}
		for ; k != nil && len(page) < pageSize; k, v = c.Next() {
			var r record
			r.err = decode(&r.entry, string(k), v)
			if r.err != nil {
				r.entry = mtasts.Entry{Domain: string(k)}
			}
			page = append(page, r)
		}
		return nil
	})
	return page, err
}

// name puts the file into the text of an error.
func (s *Store) name(err error) error {
	if err == nil || err == mtasts.ErrNotStored || err == ErrClosed {
		return err
	}
	return fmt.Errorf("boltstore: %s: %w", s.path, err)
}

// recordError is a record that cannot be used.
type recordError struct {
	domain string
	err    error
}

func (e *recordError) Error() string { return fmt.Sprintf("record of %q: %v", e.domain, e.err) }
func (e *recordError) Unwrap() error { return e.err }

// decode sets e to the record of domain.
func decode(e *mtasts.Entry, domain string, data []byte) error {
	if err := e.UnmarshalBinary(data); err != nil {
		return &recordError{domain, err}
	}
	if e.Domain != domain {
		return &recordError{domain, fmt.Errorf("it is of %q", e.Domain)}
	}
	return nil
}
