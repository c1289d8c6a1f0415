package valkeystore

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/mxseal/mxseal/mtasts"
)

// maxCachedText bounds the policies that are kept in memory, so that a few
// large ones do not take much.
const maxCachedText = 8 << 10

// cache holds what the server was last known to have. It is safe for concurrent
// use.
//
// The news of a change may arrive before the reply that it makes obsolete. So the
// caller takes a moment before the query. If any news arrived since, the entry is
// not fresh.
type cache struct {
	mu    sync.Mutex
	slots *simplelru.LRU[string, *slot]
	now   moment
}

// moment counts what was heard.
type moment struct {
	losses  uint64 // of the connection, or of all that the server had
	changes uint64 // of single entries
}

// slot is one entry as of some moment.
type slot struct {
	entry  mtasts.Entry
	losses uint64
	stale  bool // whether the entry may have changed at the server
	own    bool // whether this Store has put the entry
}

func newCache(size int) *cache {
	slots, err := simplelru.NewLRU[string, *slot](size, nil)
	if err != nil {
		panic(err) // size is positive
	}
	return &cache{slots: slots}
}

func (c *cache) moment() moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// fresh returns the entry of domain if the server has the same.
func (c *cache) fresh(domain string) (mtasts.Entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots.Get(domain)
	if !ok || s.stale || s.losses != c.now.losses {
		return mtasts.Entry{}, false
	}
	return s.entry, true
}

// last returns the entry that the server was last known to have, and whether
// contact was lost since, so that the server may have lost it too.
func (c *cache) last(domain string) (e mtasts.Entry, lost, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots.Get(domain)
	if !ok {
		return mtasts.Entry{}, false, false
	}
	return s.entry, s.losses != c.now.losses, true
}

// own reports whether what the server has of domain is what this Store has put.
func (c *cache) own(domain string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots.Peek(domain)
	return ok && s.own
}

// read keeps an entry that was asked for at some moment.
func (c *cache) read(e mtasts.Entry, asked moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.slots.Peek(e.Domain)
	c.keep(e, asked, ok && s.own && same(s.entry, e))
}

// wrote keeps an entry that was put at some moment.
func (c *cache) wrote(e mtasts.Entry, asked moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(e, asked, true)
	c.now.changes++ // for those who have read what was there before
}

// unwritten keeps an entry that the server is still to get.
func (c *cache) unwritten(e mtasts.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(e, moment{losses: c.now.losses - 1}, true)
}

func (c *cache) keep(e mtasts.Entry, asked moment, own bool) {
	if len(e.Text) > maxCachedText {
		c.slots.Remove(e.Domain)
		return
	}
	c.slots.Add(e.Domain, &slot{entry: e, losses: asked.losses, stale: asked.changes != c.now.changes, own: own})
}

// remove forgets the entry of domain, which is deleted or damaged.
func (c *cache) remove(domain string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots.Remove(domain)
	c.now.changes++
}

// changed notes that the server has another entry of domain, or none any more.
func (c *cache) changed(domain string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.changes++
	if s, ok := c.slots.Peek(domain); ok {
		s.stale = true
	}
}

// lost notes that the server may have anything by now.
func (c *cache) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.losses++
}
