package mtasts_test

import (
	"testing"

	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/storetest"
)

// The stores of these tests meet the requirements on a Store.
func TestStoresOfTests(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		storetest.Policies(t, func(*testing.T, string) mtasts.Store { return newMemStore() })
	})
	t.Run("leased", func(t *testing.T) {
		t.Parallel()
		stores := make(map[string]*sharing)
		storetest.Policies(t, func(_ *testing.T, name string) mtasts.Store {
			if stores[name] == nil {
				stores[name] = newSharing()
			}
			return stores[name]
		})
	})
}
