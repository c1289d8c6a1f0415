package valkeystore

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLease(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	stores := []*Store{open(t, at(srv.addr)), open(t, at(srv.addr)), open(t, at(srv.addr))}
	for range 20 {
		var got atomic.Int32
		var release atomic.Value
		var all sync.WaitGroup
		for _, s := range stores {
			for range 4 {
				all.Go(func() {
					f, ok, err := s.Lease(t.Context(), domain, time.Minute)
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
		all.Wait()
		if n := got.Load(); n != 1 {
			t.Fatalf("%d have the lease, want 1", n)
		}
		release.Load().(func())()
	}
	if names := srv.keys(t, "*"); len(names) != 0 {
		t.Errorf("what is given back is still there: %q", names)
	}
}

// A lease ends by itself, and is not given back by who has lost it.
func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	a, b := open(t, at(srv.addr)), open(t, at(srv.addr))
	lost, ok, err := a.Lease(t.Context(), domain, 20*time.Millisecond)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	eventually(t, "another has it", func() bool {
		_, ok, err := b.Lease(t.Context(), domain, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	})
	lost()
	if _, ok, err = a.Lease(t.Context(), domain, time.Minute); err != nil || ok {
		t.Errorf("the lease of another was given back: %v, %v", ok, err)
	}
	if _, ok, err = a.Lease(t.Context(), "other.example", 0); err != nil || !ok {
		t.Errorf("each domain has a lease of its own: %v, %v", ok, err)
	}
}

// Who gets the lease sees what the one before has put, although the entry was
// in memory.
func TestLeaseComesAfterPut(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	stores := []*Store{open(t, at(srv.addr)), open(t, at(srv.addr)), open(t, at(srv.addr))}
	const turns = 100
	e := entry(domain, time.Hour)
	put(t, stores[0], e)
	var all sync.WaitGroup
	for _, s := range stores {
		all.Go(func() {
			for done := 0; done < turns; {
				if _, err := s.Get(t.Context(), domain); err != nil {
					t.Error(err)
				}
				release, ok, err := s.Lease(t.Context(), domain, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				if !ok {
					continue
				}
				if e, err := s.Get(t.Context(), domain); err != nil {
					t.Error(err)
				} else {
					e.Failed++
					e.Fetched = e.Fetched.Add(time.Second)
					if err := s.Put(t.Context(), e); err != nil {
						t.Error(err)
					}
				}
				release()
				done++
			}
		})
	}
	all.Wait()
	if got := mustGet(t, open(t, at(srv.addr)), domain); got.Failed != turns*len(stores) {
		t.Errorf("%d changes, want %d", got.Failed, turns*len(stores))
	}
}

func TestLeaseWithoutServer(t *testing.T) {
	t.Parallel()
	s := open(t, at(freeAddr(t)))
	if _, ok, err := s.Lease(t.Context(), domain, time.Minute); err == nil || ok {
		t.Errorf("%v, %v", ok, err)
	}
}
