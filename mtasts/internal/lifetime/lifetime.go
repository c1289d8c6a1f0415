// Package lifetime counts the work that is under way, so that it can be waited for when no
// more may begin.
package lifetime

import "sync"

// Running is the work under way. The zero Running has none.
type Running struct {
	sync.WaitGroup
	mu     sync.Mutex
	closed bool
}

// Begin adds one, unless Close was called. The caller calls Done.
func (r *Running) Begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.Add(1)
	}
	return !r.closed
}

// Close makes Begin fail from now on.
func (r *Running) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
