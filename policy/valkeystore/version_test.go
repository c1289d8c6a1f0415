package valkeystore

import (
	"errors"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// A change of the form of entries needs a new formVersion. Otherwise two
// releases that share a server would delete each other's entries as damaged.
func TestFormVersion(t *testing.T) {
	t.Parallel()
	b, err := mtasts.Entry{}.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if formVersion != "1" || b[0] != 1 {
		t.Errorf("form %s has entries of version %d: change both, and this test", formVersion, b[0])
	}
}

// Stores with different prefixes or versions share nothing.
func TestKeysApart(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	mine := open(t, at(srv.addr))
	put(t, mine, entry(domain, time.Minute))
	if _, ok, err := mine.Lease(t.Context(), domain, time.Minute); err != nil || !ok {
		t.Fatal(ok, err)
	}
	others := map[string]*Store{
		"version": openVersion(t, at(srv.addr), "2"),
		"prefix":  open(t, at(srv.addr, func(config *Config) { config.Prefix = "staging:" })),
		"longer":  open(t, at(srv.addr, func(config *Config) { config.Prefix = "mxseal:1:policy:" })),
	}
	heard := listen(t, mine)
	for name, s := range others {
		if _, err := s.Get(t.Context(), domain); !errors.Is(err, mtasts.ErrNotStored) {
			t.Errorf("%s: Get: %v", name, err)
		}
		for e, err := range s.All(t.Context()) {
			t.Errorf("%s: All: %s, %v", name, e.Domain, err)
		}
		if _, ok, err := s.Lease(t.Context(), domain, time.Minute); err != nil || !ok {
			t.Errorf("%s: Lease: %v, %v", name, ok, err)
		}
		put(t, s, entry(domain, 0))
		if err := s.Delete(t.Context(), domain); err != nil {
			t.Errorf("%s: Delete: %v", name, err)
		}
	}
	mine.settle(t)
	if heard.has(domain) {
		t.Error("heard of the changes of others")
	}
	if _, err := open(t, at(srv.addr)).Get(t.Context(), domain); err != nil {
		t.Error(err)
	}
}
