package mtasts

import (
	"fmt"
	"strings"
	"testing"
)

func withPolicy(size int) *state {
	return &state{result: Result{Policy: &Policy{Text: strings.Repeat("x", size)}}}
}

// A domain is in one of the two halves, and its newest state counts.
func TestCachePutReplaces(t *testing.T) {
	t.Parallel()
	c, err := newCache(10)
	if err != nil {
		t.Fatal(err)
	}
	without := new(state)
	for _, s := range []*state{without, withPolicy(1000), withPolicy(100), without, withPolicy(10)} {
		c.put("example.com", s)
		if c.get("example.com") != s {
			t.Error("an old state comes back")
		}
		if n := c.policies.Len() + c.others.Len(); n != 1 {
			t.Errorf("one domain is remembered %d times", n)
		}
	}
	if c.size != 10 {
		t.Errorf("size %d, want 10", c.size)
	}
}

// Each half is bounded in number, the policies also in octets; the least
// recently used go first.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c, err := newCache(10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		c.put(fmt.Sprint("small", i), withPolicy(100))
		c.put(fmt.Sprint("none", i), new(state))
		c.get("small0")
	}
	if c.policies.Len() != 10 || c.others.Len() != 10 || c.size != 1000 {
		t.Errorf("%d and %d domains, %d octets", c.policies.Len(), c.others.Len(), c.size)
	}
	if c.get("small0") == nil || c.get("small99") == nil || c.get("small1") != nil {
		t.Error("not the least recently used went first")
	}
	for i := range 100 {
		c.put(fmt.Sprint("large", i), withPolicy(MaxPolicySize/2))
	}
	if c.size > 10*textPerPolicy || c.get("large99") == nil {
		t.Errorf("%d octets in %d policies", c.size, c.policies.Len())
	}
	c.put("huge", withPolicy(MaxPolicySize))
	if c.get("huge") == nil || c.policies.Len() != 1 {
		t.Error("the newest policy is not kept")
	}
}
