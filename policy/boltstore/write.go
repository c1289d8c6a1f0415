package boltstore

import (
	"errors"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// writeDelay is how long changes are collected before they are written.
	// Together with the write it takes less than one second.
	writeDelay = 500 * time.Millisecond
	// retryDelay is the delay before a failed write is retried.
	retryDelay = 5 * time.Second
	// maxBatch is the maximum number of changes in one transaction.
	maxBatch = 1 << 12
)

// write writes changes until the store is closed.
func (s *Store) write() {
	defer close(s.done)
	for {
		select {
		case <-s.wake:
			s.linger(writeDelay)
		case <-s.hurry:
		case <-s.quit:
			return
		}
		for more := true; more; {
			var err error
			if more, err = s.batch(); err != nil {
				notify(s.wake)
				s.linger(retryDelay)
				break
			}
		}
	}
}

// linger waits for d, or until a write without delay is requested.
func (s *Store) linger(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.hurry:
	case <-s.quit:
	}
}

// batch writes up to maxBatch changes and reports whether there are more. If
// the write fails, the changes become pending again, except for domains that
// have changed in the meantime.
func (s *Store) batch() (more bool, err error) {
	s.mu.Lock()
	s.writing = make(changes, min(len(s.pending), maxBatch))
	for domain, e := range s.pending {
		if len(s.writing) == maxBatch {
			break
		}
		s.writing[domain] = e
		delete(s.pending, domain)
		s.size -= sizeOf(domain, e)
	}
	s.mu.Unlock()

	used, err := s.commit(s.writing)

	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.writing) > 0 {
		s.full = used >= s.maxSize
	}
	if err != nil {
		for domain, e := range s.writing {
			if _, ok := s.pending[domain]; !ok {
				s.pending[domain] = e
				s.size += sizeOf(domain, e)
			}
		}
	}
	s.err, s.writing = err, nil
	close(s.written)
	s.written = make(chan struct{})
	return len(s.pending) > 0, err
}

// commit writes changes in one transaction. Sorted keys touch the fewest pages. It
// returns how much of the file is in use then, in octets.
func (s *Store) commit(some changes) (used int64, err error) {
	if len(some) == 0 {
		return 0, nil
	}
	err = s.db.update(func(tx *bolt.Tx) error {
		used = s.used(tx)
		b := tx.Bucket(policies)
		for _, domain := range slices.Sorted(maps.Keys(some)) {
			if err := apply(b, domain, some); err != nil {
				return err
			}
		}
		return nil
	})
	return used, err
}

// used returns how much of the file is in use, in octets.
func (s *Store) used(tx *bolt.Tx) int64 {
	return tx.Size() - int64(s.db.Stats().FreePageN)*int64(s.db.Info().PageSize)
}

func apply(b *bolt.Bucket, domain string, some changes) error {
	e := some[domain]
	if e == nil {
		return b.Delete([]byte(domain))
	}
	data, err := e.MarshalBinary()
	if err != nil {
		return err
	}
	return b.Put([]byte(domain), data)
}

// Sync writes all changes made before the call without delay. It returns the
// error of the write.
func (s *Store) Sync() error {
	for {
		s.mu.Lock()
		written, err, idle := s.written, s.err, len(s.pending) == 0 && s.writing == nil
		closed := s.closed
		s.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case idle:
			return s.withPath(err)
		}
		notify(s.hurry)
		<-written
		if err := s.lastErr(); err != nil {
			return s.withPath(err)
		}
	}
}

func (s *Store) lastErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close writes all changes and closes the file. It returns the error of the
// write, but always closes the file. Calling Close again has no effect.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.quit)
	<-s.done
	var err error
	for more := true; more && err == nil; {
		more, err = s.batch()
	}
	return s.withPath(errors.Join(err, s.db.close()))
}
