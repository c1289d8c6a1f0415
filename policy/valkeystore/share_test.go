package valkeystore

import (
	"errors"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// failed returns the failure of a fetch.
func failed(domain string) mtasts.Entry {
	return mtasts.Entry{Domain: domain, Failures: []mtasts.Failure{{
		ID: "1", When: time.Now().Truncate(time.Millisecond), Kind: mtasts.KindFetch, ReasonCode: "http-status-404", Detail: "x",
	}}}
}

// C10: a failure that is shared ends by itself, and neither replaces a policy nor looks
// like one. A damaged one is an error.
func TestC10FailureOnServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	heard := listen(t, b)
	policy := entry(domain, time.Hour)
	put(t, a, policy)
	wantEntry(t, b, policy)
	if err := a.PutFailed(t.Context(), failed(domain), time.Minute); err != nil {
		t.Fatal(err)
	}
	wantEntry(t, b, policy)
	for e, err := range b.All(t.Context()) {
		if err != nil || e.Text == "" {
			t.Errorf("All yields %+v, %v", e, err)
		}
	}
	if ttl, err := srv.admin(t, "PTTL", a.keys.failure(domain)).AsInt64(); err != nil || ttl > 60_000 || ttl < 1 {
		t.Errorf("it is kept for %d ms, %v", ttl, err)
	}
	b.settle(t)
	heard.clear()
	srv.admin(t, "SET", a.keys.failure("other.example"), "garbage")
	srv.admin(t, "HSET", a.keys.failure("hash.example"), "a", "b")
	value, _ := failed("third.example").MarshalBinary()
	srv.admin(t, "SET", a.keys.failure("another.example"), string(value))
	for _, domain := range []string{"other.example", "hash.example", "another.example"} {
		if e, err := b.Failed(t.Context(), domain); err == nil || errors.Is(err, mtasts.ErrNotStored) || len(e.Failures) > 0 {
			t.Errorf("%s: %+v, %v", domain, e, err)
		}
	}
	if heard.has("other.example") {
		t.Error("failures are announced like policies")
	}
}

// C10: a domain without a policy costs one command, and none while nothing changes.
func TestC10FewCommands(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	a.settle(t)
	b.settle(t)
	reads := func(s *Store, want error) int {
		t.Helper()
		before := srv.calls(t, "getrange")
		for range 100 {
			if _, err := s.Get(t.Context(), domain); !errors.Is(err, want) {
				t.Fatalf("error %v, want %v", err, want)
			}
		}
		return srv.calls(t, "getrange") - before
	}
	if n := reads(a, mtasts.ErrNotStored); n != 1 {
		t.Errorf("%d commands for what is not there, want 1", n)
	}
	if n := reads(b, mtasts.ErrNotStored); n != 1 {
		t.Errorf("%d commands for what is not there, want 1", n)
	}
	put(t, b, entry(domain, time.Minute))
	eventually(t, "the other relay has it", func() bool { _, err := a.Get(t.Context(), domain); return err == nil })
	for _, s := range []*Store{a, b} {
		if n := reads(s, nil); n > 1 { // the server also announces changes to the Store that made them
			t.Errorf("%d commands for what was put or read", n)
		}
	}
	if err := a.Delete(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other relay no longer has it", func() bool {
		_, err := b.Get(t.Context(), domain)
		return errors.Is(err, mtasts.ErrNotStored)
	})
	for _, s := range []*Store{a, b} {
		if n := reads(s, mtasts.ErrNotStored); n > 1 {
			t.Errorf("%d commands for what was deleted", n)
		}
	}
	srv.admin(t, "FLUSHALL")
	put(t, open(t, at(srv.addr)), entry(domain, 0))
	eventually(t, "found after a flush", func() bool { _, err := a.Get(t.Context(), domain); return err == nil })
}

// All reads many entries with few commands, and large ones too.
func TestC10FewCommandsForAll(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	const number, large = 1000, 10
	for i := range number {
		e := entry(domainOf(i), time.Minute)
		if i < large {
			e.Text += "x: " + string(make([]byte, 60<<10)) + "\r\n"
		}
		put(t, s, e)
	}
	scans, reads := srv.calls(t, "eval"), srv.calls(t, "getrange")
	found := 0
	for e, err := range open(t, at(srv.addr)).All(t.Context()) {
		if err != nil || e.Text == "" {
			t.Fatal(e.Domain, err)
		}
		found++
	}
	if found != number {
		t.Errorf("%d entries, want %d", found, number)
	}
	if n := srv.calls(t, "eval") - scans; n > number/scanCount+10 {
		t.Errorf("%d calls for %d entries", n, number)
	}
	if n := srv.calls(t, "getrange") - reads; n > number+2*large {
		t.Errorf("%d reads of %d entries", n, number)
	}
}

// C10: what a relay has not heard while it had no contact with the server, or when the
// server lost its data, does not remain absent for it.
func TestC10AbsenceAfterLoss(t *testing.T) {
	t.Parallel()
	for _, l := range losses {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			srv := startServer(t)
			way := startProxy(t, srv.addr)
			s := open(t, at(way.addr, soonLost))
			s.settle(t)
			if _, err := s.Get(t.Context(), domain); !errors.Is(err, mtasts.ErrNotStored) {
				t.Fatal(err)
			}
			l.lose(t, srv, way)
			eventually(t, "the loss is noticed", func() bool { _, err := s.link.get(); return err != nil })
			if _, err := s.Get(t.Context(), domain); err == nil || errors.Is(err, mtasts.ErrNotStored) {
				t.Errorf("without the server: %v, want another error than ErrNotStored", err)
			}
			policy := entry(domain, time.Minute)
			changed := l.name == "partitioned" // while the relay was away
			if changed {
				put(t, open(t, at(srv.addr)), policy)
			}
			l.regain(t, srv, way)
			if !changed {
				put(t, open(t, at(srv.addr)), policy)
			}
			eventually(t, "the policy is found", func() bool { _, err := s.Get(t.Context(), domain); return err == nil })
		})
	}
}
