package valkeystore

import (
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// A change notice that arrives before the reply to an earlier read is not lost.
func TestEarlyChangeNoticeIsNotLost(t *testing.T) {
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
		if _, fresh, _ := c.fresh(domain); fresh != test.fresh {
			t.Errorf("%s: fresh is %v", test.name, fresh)
		}
		if got, lost, ok := c.last(domain); !ok || lost != test.lost || !same(got, e) {
			t.Errorf("%s: lost is %v, entry %+v, %v", test.name, lost, got, ok)
		}
	}
}

// C10: that a domain has no entry is known until a notice says otherwise or contact is
// lost, unless the notice came before the reply.
func TestC10AbsenceIsRemembered(t *testing.T) {
	t.Parallel()
	e := entry(domain, 0)
	for name, tt := range map[string]struct {
		between, after func(c *cache)
		known          bool
	}{
		"nothing":         {known: true},
		"changed between": {between: func(c *cache) { c.changed(domain) }},
		"changed after":   {after: func(c *cache) { c.changed(domain) }},
		"another changed": {after: func(c *cache) { c.changed("other.example") }, known: true},
		"lost between":    {between: (*cache).lost},
		"lost after":      {after: (*cache).lost},
		"put":             {after: func(c *cache) { c.wrote(e, c.moment()); c.slots.Remove(domain) }},
		"read":            {after: func(c *cache) { c.read(e, c.moment()); c.slots.Remove(domain) }},
	} {
		c := newCache(10)
		asked := c.moment()
		if tt.between != nil {
			tt.between(c)
		}
		c.missed(domain, asked)
		if tt.after != nil {
			tt.after(c)
		}
		if _, ok, err := c.fresh(domain); ok != tt.known || ok && err != mtasts.ErrNotStored {
			t.Errorf("%s: known: %v, %v", name, ok, err)
		}
	}
}
