package valkeystore

import (
	"testing"
	"time"
)

// A lease that was released leaves no key. Package storetest tests the rest.
func TestReleasedLease(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, at(srv.addr))
	release, ok, err := s.Lease(t.Context(), domain, time.Minute)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if names := srv.keys(t, "*"); len(names) != 1 {
		t.Errorf("keys %q, want that of the lease", names)
	}
	release()
	if names := srv.keys(t, "*"); len(names) != 0 {
		t.Errorf("keys after the release: %q", names)
	}
}

func TestLeaseWithoutServer(t *testing.T) {
	t.Parallel()
	s := open(t, at(freeAddr(t)))
	if _, ok, err := s.Lease(t.Context(), domain, time.Minute); err == nil || ok {
		t.Errorf("%v, %v", ok, err)
	}
}
