package valkeystore

import (
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/mxseal/mxseal/internal/absent"
	"github.com/mxseal/mxseal/mtasts"
)

// maxCachedText is the maximum size of cached policies, so that a few large
// ones do not use most of the memory.
const maxCachedText = 8 << 10

// cache holds the last known entries of the server. It is safe for concurrent
// use.
//
// A change notice can arrive before the reply to an earlier read. So each read
// takes the current moment first. If a notice has arrived since then, the entry
// that was read is not fresh.
type cache struct {
	mu     sync.Mutex
	slots  *simplelru.LRU[string, *slot]
	absent *absent.Set // the domains without an entry on the server
	now    moment
}

// absentPerEntry is the number of domains without an entry that are remembered, for each
// of Config.MaxCached. Most domains have no policy, and each needs about 40 octets.
const absentPerEntry = 8

// moment counts notices.
type moment struct {
	losses  uint64 // lost connections, or losses of all data of the server
	changes uint64 // changes of single entries
}

// slot is an entry and its state.
type slot struct {
	entry  mtasts.Entry
	losses uint64
	stale  bool // the entry may have changed on the server
	own    bool // this Store has put the entry
}

func newCache(size int) *cache {
	slots, err := simplelru.NewLRU[string, *slot](size, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &cache{slots: slots, absent: absent.NewSet(size * absentPerEntry)}
}

func (c *cache) moment() moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// fresh returns the entry of domain, or mtasts.ErrNotStored, if that is known to be the
// same as on the server.
func (c *cache) fresh(domain string) (e mtasts.Entry, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots.Get(domain)
	switch {
	case !ok && c.absent.Has(domain):
		return e, true, mtasts.ErrNotStored
	case !ok || s.stale || s.losses != c.now.losses:
		return e, false, nil
	}
	return clone(s.entry), true, nil
}

// last returns the last known entry of the server. lost reports whether contact
// was lost since then, so that the server may have lost the entry.
func (c *cache) last(domain string) (e mtasts.Entry, lost, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots.Get(domain)
	if !ok {
		return mtasts.Entry{}, false, false
	}
	return clone(s.entry), s.losses != c.now.losses, true
}

// own reports whether this Store has put the entry that the server has for
// domain.
func (c *cache) own(domain string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots.Peek(domain)
	return ok && s.own
}

// read stores an entry that was read. asked is the moment before the read.
func (c *cache) read(e mtasts.Entry, asked moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots.Peek(e.Domain)
	c.keep(e, asked, ok && s.own && same(s.entry, e))
}

// missed records that a read found no entry. asked is the moment before the read.
func (c *cache) missed(domain string, asked moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots.Remove(domain)
	if asked == c.now {
		c.absent.Add(domain)
	}
}

// wrote stores an entry that was put. asked is the moment before the put.
func (c *cache) wrote(e mtasts.Entry, asked moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(e, asked, true)
	c.now.changes++ // reads in progress may have the previous entry
}

// unwritten stores an entry that is not on the server yet.
func (c *cache) unwritten(e mtasts.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(e, moment{losses: c.now.losses - 1}, true)
}

func (c *cache) keep(e mtasts.Entry, asked moment, own bool) {
	c.absent.Remove(e.Domain)
	if len(e.Text) > maxCachedText {
		c.slots.Remove(e.Domain)
		return
	}
	c.slots.Add(e.Domain, &slot{entry: clone(e), losses: asked.losses, stale: asked.changes != c.now.changes, own: own})
}

// clone returns a copy of e that shares nothing with the caller's, which may be
// modified later.
func clone(e mtasts.Entry) mtasts.Entry {
	e.Failures = slices.Clone(e.Failures)
	return e
}

// remove removes the entry of domain, after it was deleted or found damaged.
func (c *cache) remove(domain string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots.Remove(domain)
	c.now.changes++
}

// changed records that the entry of domain has changed on the server, or was
// deleted there.
func (c *cache) changed(domain string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.changes++
	c.absent.Remove(domain)
	if s, ok := c.slots.Peek(domain); ok {
		s.stale = true
	}
}

// lost records that any entry may have changed on the server.
func (c *cache) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.losses++
	c.absent.Clear()
}
