package boltstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// The buckets of reports. A bucket in days has the day as its name, and a record for
// each domain. They are created on demand. Versions of this package that do not know
// them leave them unchanged.
var (
	days    = []byte("tlsrpt-days")
	writers = []byte("tlsrpt-writers")
)

// Reports is a [reporter.Store] in the file of a [Store]. It is safe for
// concurrent use, until the Store is closed.
//
// A change is on disk when the method returns. If it cannot be written, the method
// returns an error, and a [reporter.Aggregator] keeps the sums and tries again.
type Reports struct {
	store *Store
	group group
}

var _ reporter.Store = (*Reports)(nil)

// Reports returns the store of TLS report sums in the file.
func (s *Store) Reports() *Reports { return &Reports{store: s, group: group{db: s.db}} }

// Add implements [reporter.Store].
func (r *Reports) Add(ctx context.Context, b *reporter.Batch) error {
	if err := ctx.Err(); err != nil {
		return r.failed(err)
	}
	// Writing in order changes the fewest pages.
	sums := slices.SortedFunc(slices.Values(b.Sums), func(a, b reporter.DomainSums) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Domain, b.Domain))
	})
	return r.failed(r.store.db.update(func(tx *bolt.Tx) error {
		isNew, err := noteBatch(tx, b)
		if err != nil || !isNew {
			return err
		}
		for i := range sums {
			if err := addSums(tx, &sums[i]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// addSums adds to the record of a domain. It replaces a damaged record, which must not
// prevent the other domains from being counted.
func addSums(tx *bolt.Tx, added *reporter.DomainSums) error {
	root, err := tx.CreateBucketIfNotExists(days)
	if err != nil {
		return err
	}
	day, err := root.CreateBucketIfNotExists(dayKey(added.Day))
	if err != nil {
		return err
	}
	var s sums
	if err := s.decode(added.Domain, day.Get([]byte(added.Domain))); err != nil {
		s = sums{ended: endedUnknown}
	}
	open, err := s.openResults()
	if err != nil {
		return err
	}
	if err := s.setOpen(reporter.MergeResults(added.Domain, open, added.Results)); err != nil {
		return err
	}
	return day.Put([]byte(added.Domain), s.encode(added.Domain))
}

// Domains implements [reporter.Store].
func (r *Reports) Domains(ctx context.Context, day report.Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for after, more := "", true; more; {
			var page []string
			var err error
			if page, after, more, err = r.page(ctx, day, after); err != nil {
				yield("", err)
				return
			}
			for _, domain := range page {
				if !yield(domain, nil) {
					return
				}
			}
		}
	}
}

// page returns up to pageSize domains after a given one that have sums, and the
// last domain that it read.
func (r *Reports) page(ctx context.Context, day report.Day, after string) (page []string, last string, more bool, err error) {
	last = after
	err = r.view(ctx, func(tx *bolt.Tx) error {
		b := dayBucket(tx, day)
		if b == nil {
			return nil
		}
		n := 0
		return ascend(b, after, func(k, v []byte) bool {
			if more = n == pageSize; more {
				return false
			}
			last = string(k)
			n++
			// A damaged record may have sums, so Sums must report its error.
			if s := new(sums); s.decode(last, v) != nil || !s.isEmpty() {
				page = append(page, last)
			}
			return true
		})
	})
	return page, last, more, err
}

// Sums implements [reporter.Store]. A record that is damaged is an error.
func (r *Reports) Sums(ctx context.Context, day report.Day, domain string) (part reporter.Part, err error) {
	err = r.view(ctx, func(tx *bolt.Tx) error {
		s, err := readSums(tx, day, domain)
		if err == nil {
			part, err = s.next()
		}
		return err
	})
	return part, err
}

// Seal implements [reporter.Store]. A record that is damaged is an error.
func (r *Reports) Seal(ctx context.Context, day report.Day, domain string) (part reporter.Part, err error) {
	err = r.update(ctx, func(tx *bolt.Tx) error {
		s, err := readSums(tx, day, domain)
		if err != nil {
			return err
		}
		if part, err = s.next(); err != nil || !s.seal() {
			return err
		}
		return dayBucket(tx, day).Put([]byte(domain), s.encode(domain))
	})
	return part, err
}

// Delete implements [reporter.Store].
func (r *Reports) Delete(ctx context.Context, day report.Day, domain string, number int) error {
	return r.update(ctx, func(tx *bolt.Tx) error {
		s, err := readSums(tx, day, domain)
		if err != nil || !s.remove(number) {
			return err
		}
		return dayBucket(tx, day).Put([]byte(domain), s.encode(domain))
	})
}

// DeleteBefore implements [reporter.Store].
func (r *Reports) DeleteBefore(ctx context.Context, day report.Day) error {
	if old, err := r.anyBefore(ctx, day); err != nil || !old {
		return err
	}
	return r.update(ctx, func(tx *bolt.Tx) error {
		if err := forgetWriters(tx, day); err != nil {
			return err
		}
		b := tx.Bucket(days)
		if b == nil {
			return nil
		}
		var old [][]byte
		err := ascend(b, "", func(k, _ []byte) bool {
			if string(k) >= string(dayKey(day)) {
				return false
			}
			old = append(old, slices.Clone(k))
			return true
		})
		if err != nil {
			return err
		}
		for _, k := range old {
			if err := b.DeleteBucket(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// anyBefore reports whether there is something to delete. It costs no write.
func (r *Reports) anyBefore(ctx context.Context, day report.Day) (old bool, err error) {
	err = r.view(ctx, func(tx *bolt.Tx) error {
		if b := tx.Bucket(days); b != nil {
			k, _ := b.Cursor().First()
			old = k != nil && string(k) < string(dayKey(day))
		}
		return nil
	})
	return old, err
}

func (r *Reports) view(ctx context.Context, f func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return r.failed(err)
	}
	return r.failed(r.store.db.view(f))
}

// update runs f in a transaction that may be shared with other calls. f must
// change at most one record, as its last step, because the changes of a failed
// f are not rolled back.
func (r *Reports) update(ctx context.Context, f func(*bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return r.failed(err)
	}
	return r.failed(r.group.do(f))
}

func (r *Reports) failed(err error) error { return r.store.withPath(closedError(err)) }

func readSums(tx *bolt.Tx, day report.Day, domain string) (*sums, error) {
	s := new(sums)
	b := dayBucket(tx, day)
	if b == nil {
		return s, nil
	}
	return s, s.decode(domain, b.Get([]byte(domain)))
}

func dayBucket(tx *bolt.Tx, day report.Day) *bolt.Bucket {
	root := tx.Bucket(days)
	if root == nil {
		return nil
	}
	return root.Bucket(dayKey(day))
}

// dayKey returns a key that sorts in the order of days.
func dayKey(day report.Day) []byte {
	const sign = 1 << 63
	return binary.BigEndian.AppendUint64(nil, uint64(day)^sign)
}

// noteBatch records that a batch has been added, and reports whether it is new.
func noteBatch(tx *bolt.Tx, b *reporter.Batch) (isNew bool, err error) {
	bucket, err := tx.CreateBucketIfNotExists(writers)
	if err != nil {
		return false, err
	}
	if last := bucket.Get([]byte(b.Writer)); len(last) == writerSize && b.Number <= numberOf(last) {
		return false, nil
	}
	note := binary.BigEndian.AppendUint64(dayKey(latest(b)), uint64(b.Number))
	return true, bucket.Put([]byte(b.Writer), note)
}

// writerSize is the size of the record of a writer: the last day that it added
// to, and the number of its last batch.
const writerSize = 16

func numberOf(note []byte) int64 { return int64(binary.BigEndian.Uint64(note[8:])) }

func latest(b *reporter.Batch) report.Day {
	var day report.Day
	for i := range b.Sums {
		day = max(day, b.Sums[i].Day)
	}
	return day
}

// forgetWriters deletes the records of writers that have added nothing for day
// or later.
func forgetWriters(tx *bolt.Tx, day report.Day) error {
	b := tx.Bucket(writers)
	if b == nil {
		return nil
	}
	var old [][]byte
	err := ascend(b, "", func(k, v []byte) bool {
		if len(v) != writerSize || string(v[:8]) < string(dayKey(day)) {
			old = append(old, slices.Clone(k))
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

var errDamagedSums = errors.New("the sums are damaged")
