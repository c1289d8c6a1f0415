package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/mxseal/mxseal/internal/test/seed"
)

// commitSome changes n entries of the first number in one transaction, and returns how
// many octets it writes.
func commitSome(t testing.TB, s *Store, random *rand.Rand, number, n int) int64 {
	t.Helper()
	for range n {
		e := entry(random.IntN(number))
		e.Used = !e.Used
		if err := s.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	before := s.db.Stats().TxStats
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	after := s.db.Stats().TxStats
	metaPage := int64(s.db.Info().PageSize)
	return after.GetPageAlloc() - before.GetPageAlloc() + metaPage
}

// C9: a commit of few changes writes few pages, also when many pages are free.
func TestC9SmallCommitsWriteFewPages(t *testing.T) {
	t.Parallel()
	const number = 20_000
	random := seed.Rand(t)
	s := open(t, filled(t, number), Config{})
	for i := range 2000 { // pages become free, here and there
		if err := s.Delete(t.Context(), entry(i*10).Domain); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(); err != nil {
		t.Fatal(err)
	}
	if free := s.db.Stats().FreePageN + s.db.Stats().PendingPageN; free < 1000 {
		t.Fatalf("only %d pages are free", free)
	}
	for _, tt := range []struct {
		changes int
		each    int64 // octets
	}{{1, 28 << 10}, {4, 16 << 10}} {
		const commits = 50
		var total int64
		for range commits {
			total += commitSome(t, s, random, number, tt.changes)
		}
		if each := total / int64(commits*tt.changes); each > tt.each {
			t.Errorf("%d octets for each of %d changes in a commit, want at most %d", each, tt.changes, tt.each)
		}
	}
}

// C9: bbolt ends the process if it finds damage while it looks for free pages. So damage
// to the structure of pages is found before.
func TestC9DamagedStructureIsFound(t *testing.T) {
	t.Parallel()
	const n = 1500
	data, err := os.ReadFile(filled(t, n))
	if err != nil {
		t.Fatal(err)
	}
	random := seed.Rand(t)
	path := tempFile(t)
	page, damaged := os.Getpagesize(), 0
	for range 300 {
		b := bytes.Clone(data)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(b)/page) * page
			switch random.IntN(3) {
			case 0: // the header of a page
				b[at+random.IntN(pageHeader)] ^= byte(1 + random.IntN(255))
			case 1: // an element
				b[at+pageHeader+random.IntN(8*elementHeader)] ^= byte(1 << random.IntN(8))
			default: // a reference to another page
				reference := at + pageHeader + random.IntN(8)*elementHeader + 8
				binary.NativeEndian.PutUint64(b[reference:], uint64(random.IntN(len(b)/page)))
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Config{})
		if errors.Is(err, ErrDamaged) {
			damaged++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Put(t.Context(), entry(n))
		s.Sync()
		s.Close()
	}
	if damaged < 50 {
		t.Errorf("damage was found %d times of 300", damaged)
	}
}
