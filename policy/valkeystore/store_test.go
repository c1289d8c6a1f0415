package valkeystore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

func TestPutGetDelete(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	if _, err := a.Get(t.Context(), domain); !errors.Is(err, mtasts.ErrNotStored) {
		t.Fatalf("Get of nothing: %v", err)
	}
	e := entry(domain, time.Minute)
	e.Failed, e.FailingSince = 1, e.Fetched.Add(time.Second)
	e.Failures = []mtasts.Failure{{ID: "2", When: e.FailingSince, Kind: mtasts.KindFetch, ReasonCode: "timeout", Detail: "x"}}
	put(t, a, e)
	wantEntry(t, a, e)
	wantEntry(t, b, e)
	if got, _ := b.Get(t.Context(), domain); len(got.Failures) != 1 || got.Failed != 1 || !got.Used {
		t.Errorf("not all was kept: %+v", got)
	}
	if err := b.Delete(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{b, open(t, at(srv.addr))} {
		if _, err := s.Get(t.Context(), domain); !errors.Is(err, mtasts.ErrNotStored) {
			t.Errorf("Get after Delete: %v", err)
		}
	}
	if err := b.Delete(t.Context(), domain); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
}

// M7: the server removes a policy a day after its max_age has passed on the server's
// own clock. No relay's clock shortens that.
func TestTimeToLive(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	put(t, s, entry(domain, time.Hour))
	ttl, err := srv.admin(t, "PTTL", s.keys.policy(domain)).AsInt64()
	if err != nil {
		t.Fatal(err)
	}
	left := time.Duration(ttl) * time.Millisecond
	if left > 48*time.Hour || left < 47*time.Hour {
		t.Errorf("a policy for a day is kept for %v", left)
	}

	e := entry(domain, 0)
	e.Expires = e.Fetched.Add(50 * 365 * 24 * time.Hour)
	put(t, s, e)
	if ttl, _ = srv.admin(t, "PTTL", s.keys.policy(domain)).AsInt64(); ttl > (mtasts.MaxAge + 24*time.Hour).Milliseconds() {
		t.Errorf("kept for %d ms, which is more than the longest max_age and a day", ttl)
	}
}

// M7: relays whose clocks are ahead or behind, and which put what they have again,
// remove nothing, age nothing and do not prolong the time to live. What was fetched in
// the future, by the server's clock, is replaced.
func TestM7WrongClocks(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	const month = 30 * 24 * time.Hour
	offset := func(d time.Duration) func(*Config) {
		return func(c *Config) { c.Now = func() time.Time { return time.Now().Add(d) } }
	}
	good := open(t, at(srv.addr))
	for _, d := range []time.Duration{month, -month} {
		wrong := open(t, at(srv.addr, offset(d)))
		e := entry(domain, time.Hour)
		put(t, good, e)
		srv.admin(t, "PEXPIRE", good.keys.policy(domain), "3600000")
		e.Failed++
		put(t, wrong, e) // the same fetch
		if ttl, err := srv.admin(t, "PTTL", good.keys.policy(domain)).AsInt64(); err != nil || ttl < 3500_000 || ttl > 3600_000 {
			t.Errorf("%v: time to live %d ms, %v", d, ttl, err)
		}
		own := entry(domain, -d)
		own.ID = "own"
		put(t, wrong, own) // fetched by its own clock
		want := "1"
		if d > 0 {
			want = "own"
		}
		if got := mustGet(t, open(t, at(srv.addr)), domain); got.ID != want {
			t.Errorf("%v: the server has %+v", d, got)
		}
		put(t, good, entry(domain, time.Minute))
		if got := mustGet(t, open(t, at(srv.addr)), domain); got.ID != "1" || time.Since(got.Fetched) > 2*time.Minute {
			t.Errorf("%v, put again: the server has %+v", d, got)
		}
	}
}

// A hit needs no round trip until the entry changes on the server.
func TestHitInMemory(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	old := entry(domain, time.Hour)
	put(t, a, old)
	reads := func(s *Store, want mtasts.Entry) int {
		before := srv.calls(t, "getrange")
		for range 100 {
			wantEntry(t, s, want)
		}
		return srv.calls(t, "getrange") - before
	}
	if n := reads(a, old); n > 1 { // the server also announces changes to the Store that made them
		t.Errorf("%d round trips for an entry that was put", n)
	}
	if n := reads(b, old); n != 1 {
		t.Errorf("%d round trips for an entry that was read before, want 1", n)
	}
	fresh := entry(domain, time.Minute)
	fresh.ID = "2"
	put(t, a, fresh)
	eventually(t, "the other Store reads the new entry", func() bool {
		e, err := b.Get(t.Context(), domain)
		return err == nil && e.ID == "2"
	})
	if n := reads(b, fresh); n != 0 {
		t.Errorf("%d round trips for an entry that was read again", n)
	}
}

// The number of entries in memory is limited, and large policies are not kept
// in memory.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr, func(config *Config) { config.MaxCached = 3 }))
	for i := range 10 {
		put(t, s, entry(fmt.Sprintf("d%d.example", i), time.Minute))
	}
	large := entry("large.example", time.Minute)
	large.Text += string(make([]byte, maxCachedText))
	put(t, s, large)
	if n := s.cache.slots.Len(); n != 3 {
		t.Errorf("%d entries in memory, want 3", n)
	}
	wantEntry(t, s, large)
	large.Text += string(make([]byte, maxValue))
	if err := s.Put(t.Context(), large); err == nil {
		t.Error("an entry of any size is put")
	}
}

// A relay that has missed a change does not overwrite a policy that another
// relay has fetched later.
func TestNewerPolicyStays(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	behind, ahead := open(t, at(srv.addr)), open(t, at(srv.addr))
	old, fresh := entry(domain, time.Hour), entry(domain, time.Minute)
	fresh.ID = "2"
	put(t, behind, old)
	put(t, ahead, fresh)
	put(t, behind, old)
	wantEntry(t, behind, fresh)

	behind.cache.read(old, behind.cache.moment()) // as if the notice of the change was missed
	if err := behind.Delete(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	wantEntry(t, behind, fresh)
	if err := behind.Delete(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	if _, err := behind.Get(t.Context(), domain); !errors.Is(err, mtasts.ErrNotStored) {
		t.Errorf("after Delete by a Store that has read the newer entry: %v", err)
	}
}

// A policy from a relay whose clock is ahead can be replaced.
func TestFetchedInTheFuture(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	put(t, s, entry(domain, -time.Hour))
	e := entry(domain, time.Minute)
	put(t, s, e)
	wantEntry(t, open(t, at(srv.addr)), e)
}

func TestAllYieldsEachEntry(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	var want []string
	for i := range 5 * scanCount {
		e := entry(fmt.Sprintf("d%d.example", i), time.Minute)
		want = append(want, e.Domain)
		put(t, s, e)
	}
	srv.admin(t, "SET", "another program's", "x")
	seen := map[string]bool{}
	for e, err := range open(t, at(srv.addr)).All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Domain] = true
	}
	for _, domain := range want {
		if !seen[domain] {
			t.Errorf("%s is missing", domain)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d domains, want %d", len(seen), len(want))
	}
	for range s.All(t.Context()) {
		break // ends the iteration without an error
	}
}

func TestCloseEndsWatch(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	put(t, s, entry(domain, 0))
	watched := make(chan error)
	go func() { watched <- s.Watch(t.Context(), func(string) {}) }()
	eventually(t, "Watch has begun", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.watchers) == 1
	})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-watched; err != ErrClosed {
		t.Errorf("Watch: %v", err)
	}
	if err := s.Put(t.Context(), entry(domain, 0)); err != ErrClosed {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Get(t.Context(), "other.example"); err != ErrClosed {
		t.Errorf("Get: %v", err)
	}
	eventually(t, "the server has no connection of ours", func() bool {
		list, _ := srv.admin(t, "CLIENT", "LIST").ToString()
		return strings.Count(list, "\n") == 1
	})
}

func mustGet(t testing.TB, s *Store, domain string) mtasts.Entry {
	t.Helper()
	e, err := s.Get(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
