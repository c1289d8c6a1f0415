package boltstore

import (
	"runtime"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// group runs concurrent changes in one transaction, since each transaction
// waits for the disk. bbolt's Batch does the same, but in a separate goroutine,
// where a fault in the memory mapping (such as after truncation of the file)
// cannot be recovered.
type group struct {
	db *database

	mu      sync.Mutex
	waiting []*call
}

type call struct {
	change func(*dayCursors) error
	err    error
	done   chan struct{}
}

// do runs a change. It returns the error of the change or of the transaction.
func (g *group) do(change func(*dayCursors) error) error {
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

// run runs the waiting changes. While it waits for the current transaction to
// end, more changes can join. So can those of goroutines that are ready to run.
func (g *group) run() {
	var calls []*call
	err := g.db.update(func(tx *bolt.Tx) error {
		for n := 0; n < g.len(); {
			n = g.len()
			runtime.Gosched()
		}
		calls = g.take()
		days := &dayCursors{tx: tx}
		for _, c := range calls {
			c.err = c.change(days)
		}
		return nil
	})
	if calls == nil { // the transaction did not begin
		calls = g.take()
	}
	for _, c := range calls {
		if err != nil {
			c.err = err
		}
		close(c.done)
	}
}

func (g *group) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

func (g *group) take() []*call {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := g.waiting
	g.waiting = nil
	return calls
}
