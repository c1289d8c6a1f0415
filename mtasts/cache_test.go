package mtasts

import (
	"fmt"
	"strings"
	"testing"
)

func withPolicy(domain string, size int) *state {
	return &state{domain: domain, policy: &Policy{Text: strings.Repeat("x", size)}}
}

// A domain is in one of the three classes, and its last state replaces the others.
func TestCachePutReplaces(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	without := &state{domain: "example.com"}
	with := func(size int) *state { return withPolicy("example.com", size) }
	for _, s := range []*state{without, with(1000), with(MaxPolicySize), with(100), without, with(10)} {
		c.put(s)
		if c.get("example.com") != s {
			t.Error("an old state comes back")
		}
		if n := c.policies.count.Load() + c.large.count.Load() + c.others.count.Load(); n != 1 {
			t.Errorf("one domain is remembered %d times", n)
		}
	}
	if size := c.policies.size.Load(); size != 10 {
		t.Errorf("size %d, want 10", size)
	}
	c.remove("example.com")
	c.remove("example.com")
	if c.get("example.com") != nil || c.policies.count.Load() != 0 || c.policies.size.Load() != 0 {
		t.Error("a removed domain is still there")
	}
}

// Each class is limited in number, and the policies also in octets. The least
// recently used are removed first. Large policies remove only large ones.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache(10)
	for i := range 100 {
		c.put(withPolicy(fmt.Sprint("small", i), 100))
		c.put(&state{domain: fmt.Sprint("none", i)})
		c.get("small0")
	}
	policies, others, size := c.policies.count.Load(), c.others.count.Load(), c.policies.size.Load()
	if policies != 10 || others != 10 || size != 1000 {
		t.Errorf("%d and %d domains, %d octets", policies, others, size)
	}
	for domain, stays := range map[string]bool{"small0": true, "small99": true, "small98": true, "small95": true, "small80": false, "small1": false} {
		if (c.get(domain) != nil) != stays {
			t.Errorf("%s stays: %v, want %v", domain, !stays, stays)
		}
	}
	for i := range 100 {
		c.put(withPolicy(fmt.Sprint("large", i), MaxPolicySize/2))
	}
	if size := c.large.size.Load(); size > 10*textPerPolicy || c.get("large99") == nil {
		t.Errorf("%d octets in %d policies", size, c.large.count.Load())
	}
	c.put(withPolicy("huge", MaxPolicySize))
	if c.get("huge") == nil || c.large.count.Load() != 1 {
		t.Error("the newest policy is not kept")
	}
	if c.get("small0") == nil || c.policies.count.Load() != 10 {
		t.Error("large policies pushed out small ones")
	}
}

// All shards share one limit, and each domain is found in its shard.
func TestCacheShards(t *testing.T) {
	t.Parallel()
	const limit = 8 * perShard
	c := newCache(limit)
	if len(c.shards) != 8 {
		t.Fatalf("%d shards", len(c.shards))
	}
	for i := range 2 * limit {
		domain := fmt.Sprint("d", i)
		c.put(withPolicy(domain, 1))
		if c.get(domain) == nil {
			t.Fatalf("%s is not found", domain)
		}
	}
	n := 0
	for range c.all() {
		n++
	}
	if n != limit || c.policies.count.Load() != limit {
		t.Errorf("%d states, %d counted, want %d", n, c.policies.count.Load(), limit)
	}
}
