package boltstore

import (
	"context"
	"encoding/binary"
	"iter"
	"log/slog"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// The buckets of reports. A bucket in days has the day as its name. They are created on
// demand.
var (
	days    = []byte("tlsrpt-sums")
	writers = []byte("tlsrpt-writers")
)

// Reports is a [reporter.Store] in the file of a [Store]. It is safe for
// concurrent use, until the Store is closed.
//
// A change is on disk when the method returns. If it cannot be written, the method
// returns an error, and a [reporter.Aggregator] keeps the sums and tries again.
//
// The open sums of a domain and day have at most 1000 different failures, 256 policies
// and 256 KiB of text; further ones are added up by type. When the file has reached half
// of Config.MaxSize, no more texts are added, only sessions by type; at three quarters,
// no domains are.
type Reports struct {
	store *Store
	group group
	// unread has parts that were sealed and not read since.
	unread unread

	mu sync.Mutex
	// journal is what the journal in the file has; isRead is false if that is not known.
	journal journal
	isRead  bool
	// before is the day of the last call of DeleteBefore.
	before report.Day
}

var _ reporter.Store = (*Reports)(nil)

// Reports returns the store of TLS report sums in the file. It returns the same one each
// time.
func (s *Store) Reports() *Reports { return s.reports }

// Add implements [reporter.Store].
func (r *Reports) Add(ctx context.Context, b *reporter.Batch) error {
	if err := ctx.Err(); err != nil {
		return r.failed(err)
	}
	all := additions(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.readJournal(ctx); err != nil {
		return err
	}
	isNew, hasRoom := false, r.journal.hasRoom(all)
	err := r.store.db.update(func(tx *bolt.Tx) (err error) {
		if isNew, err = noteBatch(tx, b); err != nil || !isNew {
			return err
		}
		if r.isFull(tx) && !r.knowsAll(tx, all) {
			return reporter.ErrStoreFull
		}
		if hasRoom {
			return writeJournal(tx, all)
		}
		return r.merge(tx, all)
	})
	switch {
	case err != nil:
		r.isRead = false // it may have been written
	case isNew && hasRoom:
		r.journal.add(all)
	case isNew:
		r.journal = journal{}
	}
	return r.failed(err)
}

// readJournal reads the journal, if that is necessary. It is called with mu held.
func (r *Reports) readJournal(ctx context.Context) error {
	if r.isRead {
		return nil
	}
	damaged := 0
	err := r.view(ctx, func(tx *bolt.Tx) (err error) {
		r.journal, damaged, err = readJournal(tx)
		return err
	})
	if damaged > 0 {
		r.store.logger.LogAttrs(ctx, slog.LevelError, "boltstore: sums of TLS reports are damaged and not counted",
			slog.String("file", r.store.path), slog.Int("number", damaged))
	}
	r.isRead = err == nil
	return err
}

// isFull reports whether the file has no room for more domains, and hasRoom whether it
// has room for texts. The rest of it is for policies.
func (r *Reports) isFull(tx *bolt.Tx) bool  { return r.store.used(tx) >= r.store.maxSize/4*3 }
func (r *Reports) hasRoom(tx *bolt.Tx) bool { return r.store.used(tx) < r.store.maxSize/2 }

// knowsAll reports whether there are sums of all domains already.
func (r *Reports) knowsAll(tx *bolt.Tx, all []addition) bool {
	for _, a := range all {
		b := dayBucket(tx, a.day)
		if r.journal.forms[a.dayDomain] == nil && (b == nil || b.Get([]byte(a.domain)) == nil) {
			return false
		}
	}
	return true
}

// merge adds what the journal has, and more, to the records, and clears the journal. It
// replaces damaged records, which must not prevent other domains from being counted.
func (r *Reports) merge(tx *bolt.Tx, more []addition) error {
	j, _, err := readJournal(tx)
	if err != nil {
		return err
	}
	j.add(more)
	room := r.hasRoom(tx)
	days := dayCursors{tx: tx}
	for _, key := range j.sorted() {
		if err := days.create(key.day); err != nil {
			return err
		}
		s, err := readSums(days.cursor(key.day), key.domain)
		if err == nil {
			err = s.add(j.forms[key], room)
		}
		if isDamagedSums(err) {
			r.unread.forget(key)
			if err = s.replace(); err == nil {
				err = s.add(j.forms[key], room)
			}
		}
		if err != nil {
			return err
		}
	}
	return clearJournal(tx)
}

// settle merges the journal if it has something that matters.
func (r *Reports) settle(ctx context.Context, matters func(*journal) bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.readJournal(ctx); err != nil || !matters(&r.journal) {
		return err
	}
	err := r.store.db.update(func(tx *bolt.Tx) error { return r.merge(tx, nil) })
	if err == nil {
		r.journal = journal{}
	}
	r.isRead = err == nil
	return r.failed(err)
}

// Domains implements [reporter.Store].
func (r *Reports) Domains(ctx context.Context, day report.Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		waiting, err := r.waitingDomains(ctx, day)
		if err != nil {
			yield("", err)
			return
		}
		for domain := range waiting {
			if !yield(domain, nil) {
				return
			}
		}
		for after, more := "", true; more; {
			var page []string
			if page, after, more, err = r.page(ctx, day, after); err != nil {
				yield("", err)
				return
			}
			for _, domain := range page {
				if !waiting[domain] && !yield(domain, nil) {
					return
				}
			}
		}
	}
}

// waitingDomains returns the domains of a day in the journal.
func (r *Reports) waitingDomains(ctx context.Context, day report.Day) (map[string]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.readJournal(ctx); err != nil {
		return nil, err
	}
	domains := make(map[string]bool)
	for key := range r.journal.forms {
		if key.day == day {
			domains[key.domain] = true
		}
	}
	return domains, nil
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
		for c, n := b.Cursor(), 0; ; n++ {
			// The records of a domain follow it, with an octet of 0 after its name.
			k, v := c.Seek([]byte(last + "\x01"))
			switch domain := string(k); {
			case k == nil:
				return nil
			case domain <= last:
				return errNotInOrder
			case n == pageSize:
				more = true
				return nil
			default:
				last = domain
			}
			// A damaged header may have sums, so Sums must report its error.
			s := &domainSums{domain: last}
			if !s.decode(v) || !s.isEmpty() {
				page = append(page, last)
			}
		}
	})
	return page, last, more, err
}

// Sums implements [reporter.Store]. A record that is damaged is an error.
func (r *Reports) Sums(ctx context.Context, day report.Day, domain string) (part reporter.Part, err error) {
	if err := ctx.Err(); err != nil {
		return part, r.failed(err)
	}
	if part, ok := r.unread.take(dayDomain{day, domain}); ok && !r.isClosed() {
		return part, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.readJournal(ctx); err != nil {
		return part, err
	}
	err = r.view(ctx, func(tx *bolt.Tx) error {
		days := dayCursors{tx: tx}
		s, err := readSums(days.cursor(day), domain)
		if err == nil {
			part, err = s.next(r.journal.forms[dayDomain{day, domain}])
		}
		return err
	})
	return part, err
}

func (r *Reports) isClosed() bool {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return r.store.closed
}

// Seal implements [reporter.Store]. A record that is damaged is an error.
func (r *Reports) Seal(ctx context.Context, day report.Day, domain string) (number int, err error) {
	err = r.settle(ctx, func(j *journal) bool { return j.forms[dayDomain{day, domain}] != nil })
	if err != nil {
		return 0, err
	}
	err = r.update(ctx, func(days *dayCursors) error {
		s, err := readSums(days.cursor(day), domain)
		if err != nil {
			return err
		}
		isSmall := s.octets <= maxUnreadOctets
		isNew := s.seal()
		if number = int(s.number); number == 0 {
			return nil
		}
		part, err := s.next(nil)
		if err != nil || !isNew {
			return err
		}
		if isSmall {
			r.unread.put(dayDomain{day, domain}, part)
		}
		return s.write()
	})
	if err != nil {
		r.unread.forget(dayDomain{day, domain}) // it may not be sealed
		return 0, err
	}
	return number, nil
}

const (
	// maxUnread is the number of parts that are kept until they are read, and
	// maxUnreadOctets limits their size in the file.
	maxUnread       = 1 << 10
	maxUnreadOctets = 2 << 10
)

// unread has parts that Seal has checked and therefore read, for the next call of Sums. The
// zero value is empty. Entries change within transactions, so in the order of these.
type unread struct {
	mu    sync.Mutex
	parts map[dayDomain]reporter.Part
}

func (u *unread) put(key dayDomain, part reporter.Part) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.parts == nil || len(u.parts) >= maxUnread {
		u.parts = make(map[dayDomain]reporter.Part)
	}
	u.parts[key] = part
}

// take returns the part of a key, which is removed, because it belongs to the caller then.
func (u *unread) take(key dayDomain) (part reporter.Part, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	part, ok = u.parts[key]
	delete(u.parts, key)
	return part, ok
}

func (u *unread) forget(key dayDomain) { u.take(key) }

// clear removes all parts.
func (u *unread) clear() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = nil
}

// Delete implements [reporter.Store].
func (r *Reports) Delete(ctx context.Context, day report.Day, domain string, number int) error {
	return r.update(ctx, func(days *dayCursors) error {
		s, err := readSums(days.cursor(day), domain)
		if err != nil {
			return err
		}
		if s.number == uint64(number) {
			r.unread.forget(dayDomain{day, domain})
		}
		return s.remove(number)
	})
}

// DeleteBefore implements [reporter.Store]. It deletes only what the call before has
// asked for too, because a clock that jumps for a moment must not delete sums.
func (r *Reports) DeleteBefore(ctx context.Context, day report.Day) error {
	r.mu.Lock()
	day, r.before = min(day, r.before), day
	r.mu.Unlock()
	if err := r.settle(ctx, func(j *journal) bool { return j.hasDayBefore(day) }); err != nil {
		return err
	}
	if old, err := r.anyBefore(ctx, day); err != nil || !old {
		return err
	}
	return r.failed(r.store.db.update(func(tx *bolt.Tx) error {
		r.unread.clear()
		if err := forgetWriters(tx, day); err != nil {
			return err
		}
		b := tx.Bucket(days)
		if b == nil {
			return nil
		}
		var old [][]byte
		err := ascend(b.Cursor(), nil, func(k, _ []byte) bool {
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
	}))
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
	return r.failed(r.store.db.view(func(tx *bolt.Tx) error {
		if tx.Bucket(formerDays) != nil {
			return errNotUpgraded
		}
		return f(tx)
	}))
}

// update runs f in a transaction that may be shared with other calls. f must
// change at most one record, as its last step, because the changes of a failed
// f are not rolled back.
func (r *Reports) update(ctx context.Context, f func(*dayCursors) error) error {
	if err := ctx.Err(); err != nil {
		return r.failed(err)
	}
	return r.failed(r.group.do(f))
}

func (r *Reports) failed(err error) error { return r.store.withPath(closedError(err)) }

// dayCursors has a cursor for the bucket of one day, and replaces it when another day is
// asked for. Buckets must not be deleted meanwhile. Only tx has to be set.
type dayCursors struct {
	tx   *bolt.Tx
	last *bolt.Cursor // nil if there is none
	day  report.Day   // of last
}

// cursor returns a cursor for the bucket of a day, or nil if there is none.
func (c *dayCursors) cursor(day report.Day) *bolt.Cursor {
	if c.last == nil || c.day != day {
		c.last, c.day = nil, day
		if b := dayBucket(c.tx, day); b != nil {
			c.last = b.Cursor()
		}
	}
	return c.last
}

// create makes sure that there is a bucket of a day.
func (c *dayCursors) create(day report.Day) error {
	if c.cursor(day) != nil {
		return nil
	}
	_, err := createDay(c.tx, day)
	return err
}

func dayBucket(tx *bolt.Tx, day report.Day) *bolt.Bucket {
	root := tx.Bucket(days)
	if root == nil {
		return nil
	}
	return root.Bucket(dayKey(day))
}

// createDay returns the bucket of a day, which it creates if there is none.
func createDay(tx *bolt.Tx, day report.Day) (*bolt.Bucket, error) {
	root, err := tx.CreateBucketIfNotExists(days)
	if err != nil {
		return nil, err
	}
	return root.CreateBucketIfNotExists(dayKey(day))
}

// dayKey returns a key that sorts in the order of days.
func dayKey(day report.Day) []byte {
	const sign = 1 << 63
	return binary.BigEndian.AppendUint64(nil, uint64(day)^sign)
}

const dayKeySize = 8

// dayOf returns the day of a key, and 0 if the key does not have the right size.
func dayOf(key string) report.Day {
	if len(key) != dayKeySize {
		return 0
	}
	return report.Day(binary.BigEndian.Uint64([]byte(key)) ^ 1<<63)
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
	err := ascend(b.Cursor(), nil, func(k, v []byte) bool {
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
