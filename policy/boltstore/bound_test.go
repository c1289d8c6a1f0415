package boltstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/mtasts"
)

// largeEntry is the largest policy of a domain.
func largeEntry(i int) mtasts.Entry {
	return mtasts.Entry{Domain: fmt.Sprintf("d%d.example", i), ID: "1", Text: strings.Repeat("x", mtasts.MaxPolicySize)}
}

// M9: the changes that wait to be written are bounded in octets.
func TestM9PendingIsBounded(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "policies.db"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	failing := errors.New("no space left on device")
	s.mu.Lock()
	s.err, s.roomBytes = failing, 1<<20
	s.mu.Unlock()
	for i := range 1000 {
		s.mu.Lock()
		s.err = failing // the writer may have written some
		s.mu.Unlock()
		if err := s.Put(t.Context(), largeEntry(i)); err != nil && !errors.Is(err, failing) {
			t.Fatal(err)
		}
		s.mu.Lock()
		size, n := 0, len(s.pending)
		for domain, e := range s.pending {
			size += sizeOf(domain, e)
		}
		if size != s.size || size > 1<<20 {
			t.Errorf("%d changes of %d octets are waiting, counted as %d", n, size, s.size)
		}
		s.mu.Unlock()
	}
}

// M9: the file is bounded. What it has is still updated and deleted, and then there is
// room again.
func TestM9FileIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policies.db")
	const limit = 4 << 20
	s, err := Open(path, Config{MaxSize: limit})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kept, refused := 0, 0
	for i := range 300 {
		switch err := s.Put(t.Context(), largeEntry(i)); {
		case err == nil:
			kept++
		case errors.Is(err, ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2*limit || kept < limit/(70<<10)/2 || refused == 0 {
		t.Errorf("%d policies are kept and %d refused, %d octets, %v", kept, refused, info.Size(), err)
	}
	again := largeEntry(0)
	again.ID = "2"
	if err := s.Put(t.Context(), again); err != nil {
		t.Errorf("a known domain: %v", err)
	}
	for i := range kept {
		if err := s.Delete(t.Context(), largeEntry(i).Domain); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		s.Delete(t.Context(), "unknown.example")
	}
	if err := s.Put(t.Context(), largeEntry(299)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
