package boltstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
	bolt "go.etcd.io/bbolt"
)

const text = "version: STSv1\r\nmode: enforce\r\nmx: mx1.mail.example.com\r\nmx: mx2.mail.example.com\r\nmax_age: 604800\r\n"

// entry returns an entry whose fields all depend on i.
func entry(i int) mtasts.Entry {
	at := time.UnixMilli(1767225600000 + int64(i))
	return mtasts.Entry{
		Domain: fmt.Sprintf("d%07d.example", i), ID: fmt.Sprint(i), Text: text + fmt.Sprintf("x: %d\r\n", i),
		Fetched: at, Expires: at.Add(7 * 24 * time.Hour), NextCheck: at.Add(time.Hour), Used: i%2 == 0,
		FailingSince: at, Failed: 1, Failures: []mtasts.Failure{{ID: "1", When: at, Kind: mtasts.KindFetch, ReasonCode: "connect", Detail: "no"}},
	}
}

// entryOf returns the entry that was put for the domain of e.
func entryOf(e mtasts.Entry) mtasts.Entry {
	i, err := strconv.Atoi(e.ID)
	if err != nil {
		return mtasts.Entry{}
	}
	return entry(i)
}

func tempFile(t testing.TB) string { return filepath.Join(t.TempDir(), "policies.db") }

func open(t testing.TB, path string, config Config) *Store {
	t.Helper()
	s, err := Open(path, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *Store, i ...int) {
	t.Helper()
	for _, i := range i {
		if err := s.Put(context.Background(), entry(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func wantEntry(t testing.TB, s *Store, i int) {
	t.Helper()
	got, err := s.Get(context.Background(), entry(i).Domain)
	if err != nil || !reflect.DeepEqual(got, entry(i)) {
		t.Errorf("got %+v, %v; want %+v", got, err, entry(i))
	}
}

func wantNone(t testing.TB, s *Store, i int) {
	t.Helper()
	if got, err := s.Get(context.Background(), entry(i).Domain); !errors.Is(err, mtasts.ErrNotStored) {
		t.Errorf("got %+v, %v; want none", got, err)
	}
}

// wantAll checks the entries that All yields.
func wantAll(t testing.TB, s *Store, i ...int) {
	t.Helper()
	got := map[string]mtasts.Entry{}
	for e, err := range s.All(context.Background()) {
		if _, again := got[e.Domain]; again || err != nil {
			t.Errorf("%q again: %v, error %v", e.Domain, again, err)
		}
		got[e.Domain] = e
	}
	want := map[string]mtasts.Entry{}
	for _, i := range i {
		want[entry(i).Domain] = entry(i)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("all: %d entries %v, want %d", len(got), slices.Sorted(maps.Keys(got)), len(want))
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Changes are visible at once, after a write, and after a restart. The same
// applies to deletions.
func TestChangesAreVisibleAtOnceAndLater(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	s := open(t, path, Config{})
	wantNone(t, s, 1)
	wantAll(t, s)
	put(t, s, 1, 2, 3)
	if err := s.Delete(t.Context(), entry(3).Domain); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), "never.example"); err != nil {
		t.Error(err)
	}
	for range 3 {
		wantEntry(t, s, 1)
		wantEntry(t, s, 2)
		wantNone(t, s, 3)
		wantAll(t, s, 1, 2)
		if err := s.Sync(); err != nil {
			t.Error(err)
		}
	}
	changed := entry(2)
	changed.Domain = entry(1).Domain
	if err := errors.Join(s.Put(t.Context(), changed), s.Delete(t.Context(), entry(2).Domain)); err != nil {
		t.Error(err)
	}
	wantNone(t, s, 2)
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	s = open(t, path, Config{})
	wantNone(t, s, 2)
	if got, err := s.Get(t.Context(), changed.Domain); err != nil || !reflect.DeepEqual(got, changed) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAllYieldsManyEntries(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	s := open(t, path, Config{})
	const n = 3*pageSize + 1
	var all []int
	for i := range n {
		put(t, s, i)
		all = append(all, i)
		if i == n/2 {
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantAll(t, s, all...) // half of them are not written yet
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Config{})
	wantAll(t, s, all...)
	for range s.All(t.Context()) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.All(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

func TestClosedStoreRefusesCalls(t *testing.T) {
	t.Parallel()
	s := open(t, tempFile(t), Config{})
	put(t, s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, get := s.Get(t.Context(), entry(1).Domain)
	for _, err := range []error{get, s.Put(t.Context(), entry(1)), s.Delete(t.Context(), "x.example"), s.Sync()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
	for _, err := range s.All(t.Context()) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
}

func TestPutRefusesNoDomain(t *testing.T) {
	t.Parallel()
	s := open(t, tempFile(t), Config{})
	for _, domain := range []string{"", string(make([]byte, bolt.MaxKeySize+1))} {
		if err := s.Put(t.Context(), mtasts.Entry{Domain: domain}); err == nil {
			t.Errorf("%d octets are a domain", len(domain))
		}
	}
}

// writes returns the number of pages written.
func writes(s *Store) int64 {
	stats := s.db.Stats()
	return stats.TxStats.GetWrite()
}

// Changes are on disk one second later without a call to Sync, and in fewer
// transactions than changes.
func TestChangesAreWrittenInASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := tempFile(t)
		s := open(t, path, Config{})
		before := writes(s)
		for i := range 100 {
			put(t, s, i)
		}
		synctest.Wait()
		if n := writes(s); n != before {
			t.Error("written at once")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := writes(s); n == before || n > before+50 {
			t.Errorf("%d pages written", n-before)
		}
		copyFile(t, path, path+".copy")
		saved := open(t, path+".copy", Config{})
		for i := range 100 {
			wantEntry(t, saved, i)
		}
		saved.Close()
		s.Close()
	})
}

// A damaged record is reported once and dropped. It is not used for another
// domain.
func TestDamagedRecordIsDropped(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	s := open(t, path, Config{})
	put(t, s, 1, 2, 3)
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(policies)
		flipped := slices.Clone(b.Get([]byte(entry(1).Domain)))
		flipped[40] ^= 1
		return errors.Join(
			b.Put([]byte(entry(1).Domain), flipped),
			b.Put([]byte(entry(2).Domain), b.Get([]byte(entry(3).Domain))),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	var domains []string
	for e, err := range s.All(t.Context()) {
		if (err != nil) != (e.Domain != entry(3).Domain) {
			t.Errorf("%q: error %v", e.Domain, err)
		}
		domains = append(domains, e.Domain)
	}
	if len(domains) != 3 {
		t.Errorf("domains %q", domains)
	}
	wantAll(t, s, 3)

	put(t, s, 1)
	s.Sync()
	s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(policies).Put([]byte(entry(1).Domain), []byte("nonsense"))
	})
	if _, err := s.Get(t.Context(), entry(1).Domain); err == nil || errors.Is(err, mtasts.ErrNotStored) {
		t.Errorf("error %v", err)
	}
	wantNone(t, s, 1)
}

// A client of package mtasts uses the policies that an earlier one has stored.
func TestClientOutlivesRestart(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	s := open(t, path, Config{})
	e := entry(1)
	e.Fetched = time.Now()
	e.NextCheck = e.Fetched.Add(time.Hour)
	if err := errors.Join(s.Put(t.Context(), e), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Config{})
	client, err := mtasts.New(mtasts.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Lookup(t.Context(), e.Domain)
	if err != nil || r.Policy == nil || r.Policy.Text != e.Text {
		t.Errorf("%+v, %v", r, err)
	}
}
