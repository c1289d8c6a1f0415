package absent

import (
	"fmt"
	"testing"
)

// M1: what was added or found last is kept, and the number is bounded.
func TestSetKeepsLatestNames(t *testing.T) {
	t.Parallel()
	const limit = 100
	s := NewSet(limit)
	s.Add("used")
	s.Add("removed")
	s.Remove("removed")
	for i := range 100 * limit {
		s.Add(fmt.Sprint("d", i))
		if !s.Has("used") {
			t.Fatalf("forgotten after %d others, although in use", i)
		}
	}
	if s.Has("removed") || s.Has("d0") || s.Has("never") {
		t.Error("it has what was removed, forgotten or never added")
	}
	if n := len(s.young) + len(s.old); n > 2*limit {
		t.Errorf("%d domains are kept, and the limit is %d", n, limit)
	}
	for i := 99*limit + 1; i < 100*limit; i++ {
		if !s.Has(fmt.Sprint("d", i)) {
			t.Fatalf("d%d is forgotten too soon", i)
		}
	}
	s.Add("old")
	for i := range limit {
		s.Add(fmt.Sprint("e", i))
	}
	s.Remove("old")
	if s.Has("old") {
		t.Error("what was removed is still in the old generation")
	}
	s.Add("young")
	if s.Clear(); s.Has("young") || s.Has("e0") {
		t.Error("it is not empty after Clear")
	}
}
