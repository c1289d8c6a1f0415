package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// Policies tests a store of MTA-STS policies. The package comment describes open.
//
// It checks that a store meets these requirements:
//
//   - Get MUST return the entry that was last put, with all fields and with times of
//     at least millisecond precision, until it is deleted. The store MAY drop an entry a
//     day after its Expires. It MUST NOT do so because the clock of one of several
//     programs says that it has expired.
//   - Get MUST return [mtasts.ErrNotStored] if and only if there is no entry. A store
//     that cannot read its data MUST return another error.
//   - Put and Delete MUST be visible to later calls on the same store, and to those of
//     other programs that hold a lease.
//   - All MUST yield each entry that exists during the whole iteration. It MAY yield
//     an entry twice only if entries change during the iteration. It MUST stop if the
//     caller does. If it cannot read all entries, it MUST yield an error.
//   - Methods MUST be safe for concurrent use, MUST return soon after their context is
//     done, MUST NOT change or retain their arguments, and MUST NOT share memory with
//     what they return.
//   - Only one caller at a time MUST hold the lease of a domain. A lease MUST end after
//     its duration, and release MUST NOT end a later lease of another caller.
//   - Watch MUST call its function after each change by another program, or once with
//     "" for several changes, and MUST return the error of its context. When it calls
//     the function, Get MUST return the changed entry.
//   - Failures that Clients share MUST be visible to other programs, MUST end after their
//     time, and MUST NOT be returned by Get or All.
func Policies(t *testing.T, open func(t *testing.T, name string) mtasts.Store) {
	t.Helper()
	for i, tt := range []struct {
		name string
		test func(t *testing.T, s *policyStore)
	}{
		{"keeps all fields", keepsEntry},
		{"replaces an entry", replacesEntry},
		{"deletes an entry", deletesEntry},
		{"yields all entries", yieldsEntries},
		{"shares nothing with its callers", copiesEntry},
		{"is safe for concurrent use", putsConcurrently},
		{"obeys the context", policiesObeyContext},
		{"leases to one at a time", leasesPolicies},
		{"leases end", policyLeasesEnd},
		{"lease holders see the last put", leaseSeesPut},
		{"reports changes", watches},
		{"shares failures", sharesFailures},
	} {
		t.Run(tt.name, func(t *testing.T) {
			again := func() mtasts.Store { return open(t, fmt.Sprintf("policies%d", i)) }
			tt.test(t, &policyStore{Store: again(), t: t, again: again})
		})
	}
}

// policyStore is a Store whose errors end the test.
type policyStore struct {
	mtasts.Store
	t     *testing.T
	again func() mtasts.Store // opens another Store on the same data
}

func (s *policyStore) put(e mtasts.Entry) {
	s.t.Helper()
	if err := s.Put(s.t.Context(), e); err != nil {
		s.t.Fatal(err)
	}
}

func (s *policyStore) want(want mtasts.Entry) {
	s.t.Helper()
	got, err := s.Get(s.t.Context(), want.Domain)
	if err != nil {
		s.t.Fatal(err)
	}
	if !reflect.DeepEqual(inMillis(got), inMillis(want)) {
		s.t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func (s *policyStore) wantNone(domain string) {
	s.t.Helper()
	if e, err := s.Get(s.t.Context(), domain); !errors.Is(err, mtasts.ErrNotStored) {
		s.t.Errorf("%s: %+v, error %v; want ErrNotStored", domain, e, err)
	}
}

// inMillis returns e with its times in milliseconds, the precision that a Store keeps.
func inMillis(e mtasts.Entry) mtasts.Entry {
	millis := func(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()) }
	e.Fetched, e.Expires = millis(e.Fetched), millis(e.Expires)
	e.NextCheck, e.FailingSince = millis(e.NextCheck), millis(e.FailingSince)
	e.Noticed = millis(e.Noticed)
	e.Failures = slices.Clone(e.Failures)
	for i := range e.Failures {
		e.Failures[i].When = millis(e.Failures[i].When)
	}
	return e
}

// policyEntry returns an entry that was fetched some time ago.
func policyEntry(domain string, ago time.Duration) mtasts.Entry {
	fetched := time.Now().Add(-ago)
	return mtasts.Entry{
		Domain: domain, ID: "20260301", Used: true,
		Text:    "version: STSv1\r\nmode: enforce\r\nmx: *." + domain + "\r\nmax_age: 86400\r\n",
		Fetched: fetched, Expires: fetched.Add(24 * time.Hour), NextCheck: fetched.Add(5 * time.Minute),
	}
}

func keepsEntry(_ *testing.T, s *policyStore) {
	s.wantNone("example.com")
	plain := policyEntry("example.com", time.Minute)
	s.put(plain)
	s.want(plain)
	s.wantNone("example.net")

	all := policyEntry("example.net", time.Hour)
	all.Text += "x: \x00\xff\u00e9\n" + strings.Repeat("a: b\n", 8000)
	all.Used = false
	all.Noticed, all.Tag = all.Fetched.Add(-time.Hour), "\x00\xff tag"
	all.Failed, all.FailingSince = 7, all.Fetched.Add(time.Minute)
	for i := range 3 {
		all.Failures = append(all.Failures, mtasts.Failure{
			ID: fmt.Sprint(i), When: all.FailingSince.Add(time.Duration(i) * time.Minute),
			Kind: mtasts.KindFetch, ReasonCode: "timeout", Detail: "dial tcp: \u00fcber\n",
		})
	}
	s.put(all)
	s.want(all)
	s.want(plain)
}

func replacesEntry(_ *testing.T, s *policyStore) {
	s.put(policyEntry("example.com", time.Hour))
	newer := policyEntry("example.com", time.Minute)
	newer.ID, newer.Text = "2", newer.Text+"x: y\r\n"
	s.put(newer)
	s.want(newer)
	newer.NextCheck, newer.Used = newer.NextCheck.Add(time.Hour), false
	s.put(newer)
	s.want(newer)
}

func deletesEntry(t *testing.T, s *policyStore) {
	kept := policyEntry("example.net", time.Minute)
	s.put(policyEntry("example.com", time.Minute))
	s.put(kept)
	for range 2 { // the second time there is none
		if err := s.Delete(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		s.wantNone("example.com")
	}
	s.want(kept)
	for e := range s.All(t.Context()) {
		if e.Domain != kept.Domain {
			t.Errorf("All yields %+v", e)
		}
	}
	again := policyEntry("example.com", 0)
	s.put(again)
	s.want(again)
}

func yieldsEntries(t *testing.T, s *policyStore) {
	for e, err := range s.All(t.Context()) {
		t.Errorf("an empty store yields %+v, %v", e, err)
	}
	want := make(map[string]mtasts.Entry)
	for i := range 1200 {
		e := policyEntry(fmt.Sprintf("d%d.example", i), time.Minute)
		s.put(e)
		want[e.Domain] = inMillis(e)
	}
	got := make(map[string]mtasts.Entry)
	for e, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, again := got[e.Domain]; again {
			t.Errorf("%s twice", e.Domain)
		}
		got[e.Domain] = inMillis(e)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d entries %q, want %d", len(got), slices.Sorted(maps.Keys(got)), len(want))
	}
	for range s.All(t.Context()) {
		break // an iteration may end early
	}
}

func copiesEntry(_ *testing.T, s *policyStore) {
	e := policyEntry("example.com", time.Minute)
	e.Failed, e.FailingSince = 1, e.Fetched
	e.Failures = []mtasts.Failure{{ID: "1", When: e.Fetched, Kind: mtasts.KindFetch, ReasonCode: "timeout"}}
	want := inMillis(e)
	for range 20 { // a store may read some of these from a cache, and others not
		e.Failures = slices.Clone(want.Failures)
		s.put(e)
		e.Failures[0].ReasonCode = "changed"
		s.want(want)
		got, err := s.Get(s.t.Context(), e.Domain)
		if err != nil {
			s.t.Fatal(err)
		}
		got.Failures[0].ReasonCode = "changed"
		s.want(want)
	}
}

func putsConcurrently(t *testing.T, s *policyStore) {
	const writers, each = 4, 50
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for j := range each {
				e := policyEntry(fmt.Sprintf("d%d-%d.example", i, j), time.Minute)
				err := s.Put(t.Context(), e)
				if err == nil {
					_, err = s.Get(t.Context(), e.Domain)
				}
				if err == nil && j%2 == 1 {
					err = s.Delete(t.Context(), e.Domain)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	n := 0
	for _, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != writers*each/2 {
		t.Errorf("%d entries, want %d", n, writers*each/2)
	}
}

// A call whose context is done may be an error, but it never means that there is
// nothing.
func policiesObeyContext(t *testing.T, s *policyStore) {
	s.put(policyEntry("example.com", time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "example.com"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	yielded := false
	for _, err := range s.All(ctx) {
		yielded = true
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("All: %v", err)
		}
	}
	if !yielded {
		t.Error("All yields neither the entry nor an error")
	}
}

// fleet returns Leasers of several programs that share the store, or none if it is
// not a Leaser.
func (s *policyStore) fleet() []mtasts.Leaser {
	first, ok := s.Store.(mtasts.Leaser)
	if !ok {
		return nil
	}
	return []mtasts.Leaser{first, s.again().(mtasts.Leaser), s.again().(mtasts.Leaser)}
}

func leasesPolicies(t *testing.T, s *policyStore) {
	fleet := s.fleet()
	for range 10 {
		var got atomic.Int32
		var release atomic.Value
		var group sync.WaitGroup
		for _, leaser := range fleet {
			for range 4 {
				group.Go(func() {
					f, ok, err := leaser.Lease(t.Context(), "example.com", time.Minute)
					if err != nil {
						t.Error(err)
					}
					if ok {
						got.Add(1)
						release.Store(f)
					}
				})
			}
		}
		group.Wait()
		if n := got.Load(); n != min(1, int32(len(fleet))) {
			t.Fatalf("%d have the lease, want 1", n)
		}
		if f, ok := release.Load().(func()); ok {
			f()
		}
	}
	for _, domain := range []string{"example.net", "example.org"} {
		for i, leaser := range fleet {
			if _, ok, err := leaser.Lease(t.Context(), domain, time.Minute); err != nil || ok != (i == 0) {
				t.Errorf("lease %d of %s: %v, %v", i, domain, ok, err)
			}
		}
	}
}

func policyLeasesEnd(t *testing.T, s *policyStore) {
	fleet := s.fleet()
	if fleet == nil {
		return
	}
	lost, ok, err := fleet[0].Lease(t.Context(), "example.com", 20*time.Millisecond)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	eventually(t, "another program gets the lease", func() bool {
		_, ok, err := fleet[1].Lease(t.Context(), "example.com", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	})
	lost()
	if _, ok, err := fleet[0].Lease(t.Context(), "example.com", time.Minute); err != nil || ok {
		t.Errorf("release ended the lease of another program: %v, %v", ok, err)
	}
}

// The holder of the lease sees what the previous one has put, even if it had an
// older entry in memory.
func leaseSeesPut(t *testing.T, s *policyStore) {
	const turns = 50
	s.put(policyEntry("example.com", time.Hour))
	fleet := s.fleet()
	var group sync.WaitGroup
	for _, leaser := range fleet {
		group.Go(func() {
			store := leaser.(mtasts.Store)
			for done := 0; done < turns; {
				if _, err := store.Get(t.Context(), "example.com"); err != nil {
					t.Error(err)
				}
				release, ok, err := leaser.Lease(t.Context(), "example.com", time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if !ok {
					continue
				}
				e, err := store.Get(t.Context(), "example.com")
				if err == nil {
					e.Failed++
					e.Fetched = e.Fetched.Add(time.Second)
					err = store.Put(t.Context(), e)
				}
				if err != nil {
					t.Error(err)
				}
				release()
				done++
			}
		})
	}
	group.Wait()
	if fleet == nil {
		return
	}
	last := s.again()
	e, err := last.Get(t.Context(), "example.com")
	if err != nil || e.Failed != turns*len(fleet) {
		t.Errorf("%d changes, want %d; error %v", e.Failed, turns*len(fleet), err)
	}
}

func watches(t *testing.T, s *policyStore) {
	watcher, ok := s.Store.(mtasts.Watcher)
	if !ok {
		return
	}
	other := s.again()
	ctx, cancel := context.WithCancel(t.Context())
	var last atomic.Value // the ID that Get returned in the last call for the domain
	var calls atomic.Int64
	ended := make(chan error)
	go func() {
		ended <- watcher.Watch(ctx, func(domain string) {
			calls.Add(1)
			if domain != "" && domain != "example.com" {
				t.Errorf("Watch called with %q", domain)
			}
			e, err := s.Get(ctx, "example.com")
			if err == nil {
				last.Store(e.ID)
			} else if errors.Is(err, mtasts.ErrNotStored) {
				last.Store("none")
			}
		})
	}()
	// Watch may begin later than the first change, so the changes are repeated.
	ago := time.Hour
	for _, id := range []string{"1", "none", "2"} {
		eventually(t, "Watch reports the entry with ID "+id, func() bool {
			var err error
			if ago -= time.Second; id == "none" {
				err = other.Delete(t.Context(), "example.com")
			} else if last.Load() != id {
				e := policyEntry("example.com", ago)
				e.ID = id
				err = other.Put(t.Context(), e)
			}
			if err != nil {
				t.Fatal(err)
			}
			return last.Load() == id
		})
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v, want the error of its context", err)
	}
	if calls.Load() == 0 {
		t.Error("Watch did not call the function")
	}
}

func sharesFailures(t *testing.T, s *policyStore) {
	first, ok := s.Store.(mtasts.FailureSharer)
	if !ok {
		return
	}
	second := s.again().(mtasts.FailureSharer)
	failure := func(domain, id string) mtasts.Entry {
		return mtasts.Entry{Domain: domain, Tag: "\x00\xff tag", Failures: []mtasts.Failure{{
			ID: id, When: time.Now(), Kind: mtasts.KindPolicy, ReasonCode: "policy-mode", Detail: "no \u00fcber\n mode",
		}}}
	}
	put := func(e mtasts.Entry, d time.Duration) {
		t.Helper()
		if err := first.PutFailed(t.Context(), e, d); err != nil {
			t.Fatal(err)
		}
	}
	policy := policyEntry("example.com", time.Minute)
	s.put(policy)
	if e, err := second.Failed(t.Context(), "example.com"); !errors.Is(err, mtasts.ErrNotStored) {
		t.Errorf("before any failure was put: %+v, %v; want ErrNotStored", e, err)
	}
	put(failure("example.com", "1"), time.Minute)
	put(failure("example.net", "1"), time.Minute)
	put(failure("example.com", "2"), time.Minute)
	for _, sharer := range []mtasts.FailureSharer{first, second} {
		want := failure("example.com", "2")
		got, err := sharer.Failed(t.Context(), "example.com")
		if err != nil || len(got.Failures) != 1 || time.Since(got.Failures[0].When) > time.Minute {
			t.Fatalf("%+v, %v", got, err)
		}
		want.Failures[0].When = got.Failures[0].When
		if !reflect.DeepEqual(inMillis(got), inMillis(want)) {
			t.Errorf("got\n%+v\nwant\n%+v", got, want)
		}
	}
	s.want(policy)
	s.wantNone("example.net")
	for e := range s.All(t.Context()) {
		if e.Text == "" {
			t.Errorf("All yields %+v", e)
		}
	}
	put(failure("example.org", "1"), 20*time.Millisecond)
	eventually(t, "a failure ends", func() bool {
		_, err := second.Failed(t.Context(), "example.org")
		return errors.Is(err, mtasts.ErrNotStored)
	})
}

// eventually waits until a condition is true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for began := time.Now(); !condition(); <-poll.C {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("not within 20 seconds: %s", what)
		}
	}
}
