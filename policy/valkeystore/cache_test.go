package valkeystore

import (
	"testing"
	"time"
)

// A change notice that arrives before the reply to an earlier read is not lost.
func TestCacheMoments(t *testing.T) {
	t.Parallel()
	e, other := entry(domain, time.Hour), entry("other.example", time.Hour)
	for _, test := range []struct {
		name        string
		between     func(*cache) // the read and its reply
		after       func(*cache)
		fresh, lost bool
	}{
		{name: "nothing", fresh: true},
		{name: "changed between", between: func(c *cache) { c.changed(domain) }},
		{name: "changed after", after: func(c *cache) { c.changed(domain) }},
		{name: "another changed between", between: func(c *cache) { c.changed("other.example") }},
		{name: "another changed after", after: func(c *cache) { c.changed("other.example") }, fresh: true},
		{name: "deleted between", between: func(c *cache) { c.remove(domain) }},
		{name: "lost between", between: (*cache).lost, lost: true},
		{name: "lost after", after: (*cache).lost, lost: true},
		{name: "put between", between: func(c *cache) { c.wrote(other, c.moment()) }},
		{name: "put after, not written", after: func(c *cache) { c.unwritten(e) }, lost: true},
	} {
		c := newCache(10)
		asked := c.moment()
		if test.between != nil {
			test.between(c)
		}
		c.read(e, asked)
		if test.after != nil {
			test.after(c)
		}
		if _, fresh := c.fresh(domain); fresh != test.fresh {
			t.Errorf("%s: fresh is %v", test.name, fresh)
		}
		if got, lost, ok := c.last(domain); !ok || lost != test.lost || !same(got, e) {
			t.Errorf("%s: lost is %v, entry %+v, %v", test.name, lost, got, ok)
		}
	}
}
