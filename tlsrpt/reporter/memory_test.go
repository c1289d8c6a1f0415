package reporter_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy/storetest"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	stores := make(map[string]*reporter.MemoryStore)
	storetest.Reports(t, func(_ *testing.T, name string) reporter.Store {
		if stores[name] == nil {
			stores[name] = new(reporter.MemoryStore)
		}
		return stores[name]
	})
}

// A lease expires, so a domain gets its report even if the Reporter that held
// the lease has died.
func TestMemoryStoreLeaseEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store reporter.MemoryStore
		first, ok, err := store.Lease(t.Context(), today, "example.com", time.Minute)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		time.Sleep(time.Minute - 1)
		if _, ok, _ := store.Lease(t.Context(), today, "example.com", time.Minute); ok {
			t.Error("a lease before the end of the first")
		}
		time.Sleep(time.Nanosecond)
		if _, ok, _ := store.Lease(t.Context(), today, "example.com", time.Minute); !ok {
			t.Error("no lease after the end of the first")
		}
		first()
		if _, ok, _ := store.Lease(t.Context(), today, "example.com", time.Minute); ok {
			t.Error("who had the first gave back the second")
		}
	})
}
