package tally

import (
	"sync"
	"sync/atomic"
)

// cells is the number of cells of a Counter, a power of two.
const cells = 16

// Counter is a count to which many cores add at the same time. Each adds to a cell of its
// own, mostly, because a cache line that cores take from each other costs more than
// everything else that a hit in memory needs. The zero Counter is 0. It is safe for
// concurrent use.
type Counter struct {
	cells  [cells]cell
	shares sync.Pool // of *share; a pool keeps apart what different cores have put
	given  atomic.Uint32
}

// cell fills a cache line.
type cell struct {
	n atomic.Uint64
	_ [56]byte
}

// share is the cell of a core, until the pool drops it.
type share struct{ cell *cell }

// Add adds n.
func (c *Counter) Add(n uint64) {
	own, ok := c.shares.Get().(*share)
	if !ok {
		own = &share{&c.cells[c.given.Add(1)%cells]}
	}
	own.cell.n.Add(n)
	c.shares.Put(own)
}

// Read returns the sum of what was added.
func (c *Counter) Read() (n uint64) {
	for i := range c.cells {
		n += c.cells[i].n.Load()
	}
	return n
}
