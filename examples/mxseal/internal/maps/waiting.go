package maps

import (
	"context"
	"sync"
	"time"
)

// waiting is a context with a deadline that is made when it is first used. Most answers come from memory
// and wait for nothing: the timers would take longer than the rest of the answer.
type waiting struct {
	context.Context // the parent
	// begin makes the context that is used, and the function that ends it.
	begin func() (context.Context, func())

	once   sync.Once
	used   context.Context
	cancel func()
}

func (w *waiting) start() context.Context {
	w.once.Do(func() { w.used, w.cancel = w.begin() })
	return w.used
}

// Deadline, Done and Err are those of the context that is used.
func (w *waiting) Deadline() (time.Time, bool) { return w.start().Deadline() }
func (w *waiting) Done() <-chan struct{}       { return w.start().Done() }
func (w *waiting) Err() error                  { return w.start().Err() }

// end ends the context. It must not be used afterwards.
func (w *waiting) end() {
	w.once.Do(func() { w.used, w.cancel = w.Context, func() {} })
	w.cancel()
}
