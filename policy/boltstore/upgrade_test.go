package boltstore

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// version1 returns the path of a copy of a file that was written by a release with
// version 1 of the format.
func version1(t *testing.T) string {
	t.Helper()
	packed, err := os.Open("testdata/version1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := tempFile(t)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// former has the sums in the file of version 1: of two policies, on two days.
var former = struct {
	day       report.Day
	sts, none report.PolicyResult
}{
	day: report.DayOf(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)),
	sts: report.PolicyResult{
		Policy: tlsrpt.Policy{
			Type: tlsrpt.STS, Domain: "example.com", MXHosts: []string{"*.example.com"},
			Strings: []string{"version: STSv1", "mode: enforce", "mx: *.example.com", "max_age: 604800"},
		},
		Summary: report.Summary{Successes: 2, Failures: 3},
		Details: []report.Detail{{Type: tlsrpt.CertificateNotTrusted, ReasonCode: "self-signed", MXHost: "mx.example.com", Sessions: 3}},
	},
	none: report.PolicyResult{Policy: tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}, Summary: report.Summary{Successes: 5}},
}

func wantPart(t *testing.T, r *Reports, day report.Day, domain string, number int, sums ...report.PolicyResult) {
	t.Helper()
	part, err := r.Sums(t.Context(), day, domain)
	if err != nil {
		t.Fatal(err)
	}
	if want := (reporter.Part{Number: number, Sums: sums}); !reflect.DeepEqual(part, want) {
		t.Errorf("%s: got\n%+v\nwant\n%+v", domain, part, want)
	}
}

// wantVersion1 checks that a store has what is in the file of version 1.
func wantVersion1(t *testing.T, s *Store) {
	t.Helper()
	for i := range 40 {
		wantEntry(t, s, i)
	}
	want := entry(40)
	want.Tag, want.Noticed = "\x00\xff tag", time.UnixMilli(1767225600123)
	if got, err := s.Get(t.Context(), want.Domain); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	r := s.Reports()
	wantPart(t, r, former.day, "example.com", 1, former.sts)
	wantPart(t, r, former.day, "example.net", 1, former.none, former.sts)
	wantPart(t, r, former.day+1, "example.com", 1, former.none)
	wantPart(t, r, former.day, "reported.example", 0)
}

// A file of version 1 is read and upgraded: its policies, its open and sealed parts with
// their numbers, and its writers.
func TestOldFileIsUpgraded(t *testing.T) {
	t.Parallel()
	path := version1(t)
	for range 2 { // as it was, and as it was upgraded
		s := open(t, path, Config{})
		wantVersion1(t, s)
		err := s.db.view(func(tx *bolt.Tx) error {
			if version, err := schemaOf(tx); err != nil || version != schema || tx.Bucket(formerDays) != nil {
				t.Errorf("version %d, %v; the old sums are there: %v", version, err, tx.Bucket(formerDays) != nil)
			}
			return nil
		})
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, path, Config{}).Reports()
	again := &reporter.Batch{Writer: "version1", Number: 5, Sums: []reporter.DomainSums{
		{Day: former.day, Domain: "example.com", Results: []report.PolicyResult{former.none}},
	}}
	if err := r.Add(t.Context(), again); err != nil { // which it has
		t.Error(err)
	}
	wantSealed := func(number int, sums ...report.PolicyResult) {
		t.Helper()
		if got, err := r.Seal(t.Context(), former.day, "example.com"); err != nil || got != number {
			t.Errorf("sealed %d, %v", got, err)
		}
		wantPart(t, r, former.day, "example.com", number, sums...)
		if err := r.Delete(t.Context(), former.day, "example.com", number); err != nil {
			t.Error(err)
		}
	}
	wantSealed(1, former.sts)
	wantSealed(2, former.none)
	if err := r.Add(t.Context(), &reporter.Batch{Writer: "new", Number: 1, Sums: []reporter.DomainSums{
		{Day: former.day, Domain: "reported.example", Results: []report.PolicyResult{former.none}},
	}}); err != nil {
		t.Error(err)
	}
	wantPart(t, r, former.day, "reported.example", 2, former.none)
}

// An upgrade that is interrupted at any step continues the next time, and a large file is
// upgraded in several steps. A damaged record is logged, and its part numbers are not used
// again.
func TestInterruptedUpgradeContinues(t *testing.T) {
	t.Parallel()
	path := version1(t)
	db, err := openDatabase(path, Config{openFile: os.OpenFile}, false)
	if err != nil {
		t.Fatal(err)
	}
	err = db.update(func(tx *bolt.Tx) error {
		day := tx.Bucket(formerDays).Bucket(dayKey(former.day))
		return errors.Join(day.Put([]byte("damaged.example"), []byte("nonsense")), writeSchema(tx.Bucket(meta)))
	})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for more := true; more; {
		err := db.update(func(tx *bolt.Tx) (err error) {
			more, err = upgradeSome(tx, path, logger)
			return err
		})
		if err := errors.Join(err, db.close()); err != nil {
			t.Fatal(err)
		}
		interrupted := path + ".interrupted"
		copyFile(t, path, interrupted)
		s := open(t, interrupted, Config{})
		wantVersion1(t, s)
		wantPart(t, s.Reports(), former.day, "damaged.example", 0)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if db, err = openDatabase(path, Config{openFile: os.OpenFile}, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "damaged.example") {
		t.Errorf("the log says %q", log.String())
	}
	r := open(t, path, Config{}).Reports()
	add(t, r, &reporter.Batch{Writer: "new", Number: 1, Sums: []reporter.DomainSums{
		{Day: former.day, Domain: "damaged.example", Results: []report.PolicyResult{former.none}},
	}})
	wantPart(t, r, former.day, "damaged.example", endedUnknown+1, former.none)
}

// On a read-only disk, the policies of an older file protect, and its sums are unknown.
func TestReadOnlyOldFileProtects(t *testing.T) {
	t.Parallel()
	s := open(t, version1(t), Config{openFile: readOnlyDisk})
	wantEntry(t, s, 0)
	if part, err := s.Reports().Sums(t.Context(), former.day, "example.com"); !errors.Is(err, errNotUpgraded) {
		t.Errorf("%+v, %v", part, err)
	}
	for domain, err := range s.Reports().Domains(t.Context(), former.day) {
		if !errors.Is(err, errNotUpgraded) {
			t.Errorf("%q, %v", domain, err)
		}
	}
}
