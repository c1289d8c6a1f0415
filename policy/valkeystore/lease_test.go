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

func TestLeaseWithoutServer(t *testing.T) {
	t.Parallel()
	s := open(t, at(freeAddr(t)))
	if _, ok, err := s.Lease(t.Context(), domain, time.Minute); err == nil || ok {
		t.Errorf("%v, %v", ok, err)
	}
}
