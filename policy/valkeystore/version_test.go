package valkeystore

import (
	"errors"
	"strings"
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
func TestPrefixesShareNothing(t *testing.T) {
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
		t.Error("Watch reports changes of a Store with other keys")
	}
	if _, err := open(t, at(srv.addr)).Get(t.Context(), domain); err != nil {
		t.Error(err)
	}
}

// An entry of an older version is read, and is upgraded when it is put again. One of a
// later version is an error that names the version. It is not "no entry", and it is not
// deleted.
func TestEntryVersions(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	old := entry(domain, time.Minute)
	value, err := encode(old)
	if err != nil {
		t.Fatal(err)
	}
	version := strings.IndexByte(value, ' ') + 1 // where it is in the value
	if value[version] != 1 {
		t.Fatalf("the entry has version %d, want 1", value[version])
	}
	key := s.keys.policy(domain)
	srv.admin(t, "SET", key, value)
	eventually(t, "the entry is read", func() bool { _, err := s.Get(t.Context(), domain); return err == nil })
	wantEntry(t, s, old)
	newer := old
	newer.Tag, newer.Noticed = "tag", old.Fetched.Add(-time.Hour)
	put(t, s, newer)
	if stored, err := srv.admin(t, "GET", key).ToString(); err != nil || stored[version] != 2 {
		t.Errorf("it was not upgraded: %q, %v", stored, err)
	}
	if got := mustGet(t, open(t, at(srv.addr)), domain); got.Tag != "tag" || !got.Noticed.Equal(newer.Noticed) {
		t.Errorf("%+v", got)
	}

	later := value[:version] + "\x03" + value[version+1:]
	srv.admin(t, "SET", key, later)
	other := open(t, at(srv.addr))
	if _, err := other.Get(t.Context(), domain); err == nil || errors.Is(err, mtasts.ErrNotStored) || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("a later version: %v", err)
	}
	for e, err := range other.All(t.Context()) {
		if err == nil || e.Domain != domain || !strings.Contains(err.Error(), "version 3") {
			t.Errorf("All yields %+v, %v", e, err)
		}
	}
	if stored, err := srv.admin(t, "GET", key).ToString(); err != nil || stored != later {
		t.Errorf("the server has %q, %v", stored, err)
	}
}
