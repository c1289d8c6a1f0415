package mtasts_test

import (
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// M3: a policy that the store did not accept is put again at the next check, and not only
// when it is fetched again: until then, a restart would lose it. Once it is in the store, it
// is not reported as forgotten if memory is full.
func TestM3UnsavedPolicyIsPutAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.setTXT(txtAnswer{txts: []string{"v=STSv1; id=1;"}, ttl: time.Hour})
		store := newMemStore()
		var forgotten []mtasts.Event
		c := w.client(t, withStore(store), collect(&forgotten, mtasts.PolicyForgotten), func(config *mtasts.Config) { config.MaxPolicies = 1 })
		store.setErr(nil, errDisk)
		wantMode(t, lookup(t, c), mtasts.Enforce)
		store.setErr(nil, nil)
		time.Sleep(time.Hour)
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if !store.has(domain) {
			t.Fatal("the policy is not in the store")
		}
		puts := store.puts
		time.Sleep(time.Hour)
		wantMode(t, lookup(t, c), mtasts.Enforce)
		if store.puts != puts {
			t.Error("a policy that is in the store is put again")
		}
		w.publishAt("other.example", "11.0.1.1")
		if r, err := c.Lookup(t.Context(), "other.example"); err != nil || r.Policy == nil {
			t.Fatal(r, err)
		}
		if len(forgotten) != 0 {
			t.Errorf("an event for a policy that the store has: %+v", forgotten)
		}
	})
}
