package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/storetest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

func TestFileIsAStore(t *testing.T) {
	t.Parallel()
	openNamed := func(t *testing.T, name string) *Store { return open(t, filepath.Join(t.TempDir(), name), Config{}) }
	storetest.Reports(t, func(t *testing.T, name string) reporter.Store { return openNamed(t, name).Reports() })
	storetest.Policies(t, func(t *testing.T, name string) mtasts.Store { return openNamed(t, name) })
}

const reported = "example.com"

// batch returns a batch of sessions without a policy, for one domain.
func batch(number, sessions int64, domain string) *reporter.Batch {
	return &reporter.Batch{Writer: "test", Number: number, Sums: []reporter.DomainSums{{
		Day: storetest.Day(), Domain: domain, Results: []report.PolicyResult{{
			Policy:  tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: domain},
			Summary: report.Summary{Successes: sessions},
		}},
	}}}
}

func add(t *testing.T, r *Reports, b *reporter.Batch) {
	t.Helper()
	if err := r.Add(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// wantSessions checks the part to be reported next.
func wantSessions(t *testing.T, r *Reports, domain string, number int, sessions int64) {
	t.Helper()
	part, err := r.Sums(t.Context(), storetest.Day(), domain)
	if err != nil || part.Number != number || len(part.Sums) != 1 || part.Sums[0].Summary.Successes != sessions {
		t.Fatalf("%s: %+v, %v; want part %d with %d sessions", domain, part, err, number, sessions)
	}
}

// A restart preserves the sums, a report that has begun, the part numbers, and
// the list of added batches.
func TestReportsOutliveRestart(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	s := open(t, path, Config{})
	r := s.Reports()
	add(t, r, batch(1, 5, reported))
	if _, err := r.Seal(t.Context(), storetest.Day(), reported); err != nil {
		t.Fatal(err)
	}
	add(t, r, batch(2, 7, reported))
	put(t, s, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(t.Context(), batch(3, 1, reported)); !errors.Is(err, ErrClosed) {
		t.Errorf("Add to a closed store: %v", err)
	}
	if _, err := r.Sums(t.Context(), storetest.Day(), reported); !errors.Is(err, ErrClosed) {
		t.Errorf("Sums of a closed store: %v", err)
	}
	s = open(t, path, Config{})
	wantEntry(t, s, 0)
	r = s.Reports()
	add(t, r, batch(2, 7, reported)) // again
	wantSessions(t, r, reported, 1, 5)
	if err := r.Delete(t.Context(), storetest.Day(), reported, 1); err != nil {
		t.Fatal(err)
	}
	wantSessions(t, r, reported, 2, 7)
}

// A file written by an earlier version has no buckets for reports.
func TestOldFileHasNoReports(t *testing.T) {
	t.Parallel()
	s := open(t, filled(t, 3), Config{})
	r := s.Reports()
	if number, err := r.Seal(t.Context(), storetest.Day(), reported); err != nil || number != 0 {
		t.Errorf("%d, %v", number, err)
	}
	if err := r.DeleteBefore(t.Context(), storetest.Day()); err != nil {
		t.Error(err)
	}
	add(t, r, batch(1, 1, reported))
	wantSessions(t, r, reported, 1, 1)
	wantEntry(t, s, 2)
}

// A damaged record is an error for its domain and not "no sums". Other domains
// are counted and reported. Later sessions of the domain are reported under new
// part numbers.
func TestDamagedSumsAreNotNone(t *testing.T) {
	t.Parallel()
	alter := func(v []byte) []byte { v[len(v)-1] ^= 1; return v }
	for name, tt := range map[string]struct {
		record int // of the domain: its header, a detail, a policy
		damage func(v []byte) []byte
		number int // of the next part
	}{
		"header altered": {0, alter, endedUnknown + 1},
		"header cut off": {0, func(v []byte) []byte { return v[:len(v)-1] }, endedUnknown + 1},
		"header short":   {0, func(v []byte) []byte { return v[:3] }, endedUnknown + 1},
		"detail altered": {1, alter, 2},
		"policy altered": {2, alter, 2},
		"policy gone":    {2, func([]byte) []byte { return nil }, 1},
		"detail gone":    {1, func([]byte) []byte { return nil }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, tempFile(t), Config{})
			r := s.Reports()
			failed := batch(1, 1, reported)
			failed.Sums[0].Results[0].Summary.Failures = 1
			failed.Sums[0].Results[0].Details = []report.Detail{{Type: tlsrpt.STARTTLSNotSupported, Sessions: 1}}
			add(t, r, failed)
			add(t, r, batch(2, 1, "other.example"))
			mergeJournal(t, r)
			damageRecord(t, s, reported, tt.record, tt.damage)

			if _, err := r.Sums(t.Context(), storetest.Day(), reported); !errors.Is(err, errDamagedSums) || !strings.Contains(err.Error(), reported) {
				t.Errorf("Sums: %v", err)
			}
			if _, err := r.Seal(t.Context(), storetest.Day(), reported); !errors.Is(err, errDamagedSums) {
				t.Errorf("Seal: %v", err)
			}
			if err := r.Delete(t.Context(), storetest.Day(), reported, 1); tt.record == 0 && !errors.Is(err, errDamagedSums) {
				t.Errorf("Delete: %v", err)
			}
			found := false
			for domain, err := range r.Domains(t.Context(), storetest.Day()) {
				found = found || err == nil && domain == reported
			}
			if !found {
				t.Error("Domains leaves it out")
			}
			wantSessions(t, r, "other.example", 1, 1)
			again := *failed
			again.Number = 3
			again.Sums = append(again.Sums, batch(0, 1, "other.example").Sums...)
			add(t, r, &again)
			mergeJournal(t, r)
			wantSessions(t, r, "other.example", 1, 2)
			if strings.HasSuffix(name, "gone") {
				return // that only the number of records shows
			}
			wantSessions(t, r, reported, tt.number, 1)
		})
	}
}

// mergeJournal adds what the journal has to the records.
func mergeJournal(t testing.TB, r *Reports) {
	t.Helper()
	if err := r.settle(t.Context(), func(*journal) bool { return true }); err != nil {
		t.Fatal(err)
	}
}

// damageRecord changes one of the records of a domain, in the order of their keys. nil
// deletes it.
func damageRecord(t *testing.T, s *Store, domain string, record int, damage func([]byte) []byte) {
	t.Helper()
	err := s.db.update(func(tx *bolt.Tx) error {
		b := dayBucket(tx, storetest.Day())
		c := b.Cursor()
		k, v := c.Seek([]byte(domain))
		for range record {
			k, v = c.Next()
		}
		if !strings.HasPrefix(string(k), domain) {
			t.Errorf("no record %d", record)
		}
		if v = damage(bytes.Clone(v)); v == nil {
			return b.Delete(k)
		}
		return b.Put(bytes.Clone(k), v)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// If a write fails, Add returns an error and counts nothing of the batch. The
// batch can be added again when the disk works.
func TestFailedWriteCountsNothing(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	s := open(t, path, Config{})
	add(t, s.Reports(), batch(1, 1, reported))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	failing := open(t, path, Config{openFile: func(name string, _ int, perm fs.FileMode) (*os.File, error) {
		return os.OpenFile(name, os.O_RDONLY, perm) // writes fail
	}})
	r := failing.Reports()
	if err := r.Add(t.Context(), batch(2, 1, reported)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Add: %v", err)
	}
	if _, err := r.Seal(t.Context(), storetest.Day(), reported); err == nil {
		t.Error("a part was sealed that is not on disk")
	}
	wantSessions(t, r, reported, 1, 1)
	failing.Close()
	s = open(t, path, Config{})
	add(t, s.Reports(), batch(2, 1, reported))
	add(t, s.Reports(), batch(2, 1, reported))
	wantSessions(t, s.Reports(), reported, 1, 2)
}

// Writers are deleted with their days, so restarts do not accumulate them.
func TestWritersAreDeletedWithTheirDays(t *testing.T) {
	t.Parallel()
	s := open(t, tempFile(t), Config{})
	r := s.Reports()
	for i := range 10 {
		b := batch(1, 1, reported)
		b.Writer, b.Sums[0].Day = fmt.Sprint("process ", i), storetest.Day()-report.Day(i%5)
		add(t, r, b)
	}
	for range 2 { // the first call could be a mistake
		if err := r.DeleteBefore(context.Background(), storetest.Day()-1); err != nil {
			t.Fatal(err)
		}
	}
	s.db.View(func(tx *bolt.Tx) error {
		if n := tx.Bucket(writers).Stats().KeyN; n != 4 {
			t.Errorf("%d writers, want 4", n)
		}
		if n := tx.Bucket(days).Stats().BucketN - 1; n != 2 {
			t.Errorf("%d days, want 2", n)
		}
		return nil
	})
}

// R10: the ID of a file is the same after it was opened again.
func TestR10IDSurvives(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	id := func() string {
		t.Helper()
		s, err := Open(path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		id, err := s.Reports().ID(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if first, second := id(), id(); first == "" || first != second {
		t.Errorf("the ID is %q, and then %q", first, second)
	}
}

// What Sums returns from memory is what the file has.
func TestUnreadPartIsInFile(t *testing.T) {
	t.Parallel()
	r := open(t, tempFile(t), Config{}).Reports()
	small, large := batch(1, 3, reported), batch(2, 3, "large.example")
	small.Sums[0].Results = []report.PolicyResult{reporttest.Failing(0), small.Sums[0].Results[0]}
	large.Sums[0].Results[0].Policy = tlsrpt.Policy{Type: tlsrpt.STS, Domain: "large.example", Strings: []string{strings.Repeat("x", maxUnreadOctets)}}
	add(t, r, small)
	add(t, r, large)
	for domain, kept := range map[string]int{reported: 1, "large.example": 0} {
		if number := sealPart(t, r, domain); number != 1 || len(r.unread.parts) != kept {
			t.Errorf("part %d of %s is sealed, and %d are kept, want %d", number, domain, len(r.unread.parts), kept)
		}
		var parts [2]reporter.Part
		for i := range parts {
			var err error
			if parts[i], err = r.Sums(t.Context(), storetest.Day(), domain); err != nil || parts[i].Number != 1 {
				t.Fatalf("%s: %+v, %v", domain, parts[i], err)
			}
		}
		if !reflect.DeepEqual(parts[0], parts[1]) {
			t.Errorf("%s: %+v, and then %+v", domain, parts[0], parts[1])
		}
	}
	for i := range 2 * maxUnread {
		r.unread.put(dayDomain{storetest.Day(), fmt.Sprint(i)}, reporter.Part{Number: 1})
		if len(r.unread.parts) > maxUnread {
			t.Fatalf("%d parts are kept", len(r.unread.parts))
		}
	}
}

func sealPart(t *testing.T, r *Reports, domain string) int {
	t.Helper()
	number, err := r.Seal(t.Context(), storetest.Day(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// A part that was sealed and not read is not returned when the file no longer has it.
func TestUnreadPartIsForgotten(t *testing.T) {
	t.Parallel()
	sealed := func(t *testing.T) (*Store, *Reports) {
		s := open(t, tempFile(t), Config{})
		add(t, s.Reports(), batch(1, 1, reported))
		if number := sealPart(t, s.Reports(), reported); number != 1 {
			t.Fatalf("part %d", number)
		}
		return s, s.Reports()
	}
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		_, r := sealed(t)
		if err := r.Delete(t.Context(), storetest.Day(), reported, 2); err != nil {
			t.Fatal(err)
		}
		if len(r.unread.parts) != 1 {
			t.Error("the deletion of another part lets this one be forgotten")
		}
		if err := r.Delete(t.Context(), storetest.Day(), reported, 1); err != nil {
			t.Fatal(err)
		}
		add(t, r, batch(2, 7, reported))
		wantSessions(t, r, reported, 2, 7)
	})
	t.Run("too old", func(t *testing.T) {
		t.Parallel()
		_, r := sealed(t)
		for range 2 {
			if err := r.DeleteBefore(t.Context(), storetest.Day()+1); err != nil {
				t.Fatal(err)
			}
		}
		if part, err := r.Sums(t.Context(), storetest.Day(), reported); err != nil || part.Number != 0 {
			t.Errorf("%+v, %v", part, err)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		t.Parallel()
		s, r := sealed(t)
		damageRecord(t, s, reported, 0, func(v []byte) []byte { v[len(v)-1] ^= 1; return v })
		add(t, r, batch(2, 7, reported))
		mergeJournal(t, r)
		wantSessions(t, r, reported, endedUnknown+1, 7)
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		s, r := sealed(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Sums(t.Context(), storetest.Day(), reported); !errors.Is(err, ErrClosed) {
			t.Errorf("Sums of a closed store: %v", err)
		}
	})
	t.Run("not written", func(t *testing.T) {
		t.Parallel()
		path := tempFile(t)
		s := open(t, path, Config{})
		add(t, s.Reports(), batch(1, 1, reported))
		mergeJournal(t, s.Reports())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		r := open(t, path, Config{openFile: func(name string, _ int, perm fs.FileMode) (*os.File, error) {
			return os.OpenFile(name, os.O_RDONLY, perm) // writes fail
		}}).Reports()
		if number, err := r.Seal(t.Context(), storetest.Day(), reported); err == nil || number != 0 || len(r.unread.parts) != 0 {
			t.Errorf("part %d, %v, %d parts are kept", number, err, len(r.unread.parts))
		}
	})
}
