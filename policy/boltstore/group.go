package boltstore

import (
	"sync"

	bolt "go.etcd.io/bbolt"
)

// group has calls that come at the same time share a transaction, since each
// transaction waits for the disk. bbolt has the like in Batch, but runs it in a
// goroutine where a fault, as of a file that was cut off, cannot be caught.
type group struct {
	db *bolt.DB

	mu      sync.Mutex
	waiting []*call
}

type call struct {
	change func(*bolt.Tx) error
	err    error
	done   chan struct{}
}

// do makes a change. The error is that of the change, or of the transaction.
func (g *group) do(change func(*bolt.Tx) error) error {
	c := &call{change: change, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	isFirst := len(g.waiting) == 1
	g.mu.Unlock()
	if isFirst {
		g.run()
	}
	<-c.done
	return c.err
}

// run makes the changes that wait. It has to wait itself for the transaction
// under way, and so long more of them join.
func (g *group) run() {
	var calls []*call
	err := guard(func() error {
		return g.db.Update(func(tx *bolt.Tx) error {
			calls = g.take()
			for _, c := range calls {
				c.err = c.change(tx)
			}
			return nil
		})
	})
	if calls == nil { // there was no transaction
		calls = g.take()
	}
	for _, c := range calls {
		if err != nil {
			c.err = err
		}
		close(c.done)
	}
}

func (g *group) take() []*call {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := g.waiting
	g.waiting = nil
	return calls
}
