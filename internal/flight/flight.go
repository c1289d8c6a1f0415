// Package flight does work that several callers want at the same time only
// once.
package flight

import (
	"context"
	"sync"
	"time"
)

// Group runs work that several callers want at the same time only once. The
// work has a context of its own, which ends when the last caller has left: one
// who gives up does not fail the others, and nothing runs on for nobody. The
// zero Group is ready for use, by several goroutines.
type Group[K comparable, V any] struct {
	// Limit is how long the work may take; 0 is as long as somebody waits.
	Limit time.Duration

	mu sync.Mutex
	m  map[K]*Flight[V]
}

// Flight is work under way.
type Flight[V any] struct {
	done    chan struct{}
	value   V
	err     error
	callers int
	cancel  context.CancelFunc
}

// Join starts the work for key, or joins it if it is under way. Whoever joins
// must leave.
func (g *Group[K, V]) Join(ctx context.Context, key K, work func(context.Context) (V, error)) *Flight[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.m[key]; f != nil {
		f.callers++
		return f
	}
	ctx, cancel := g.detach(ctx)
	f := &Flight[V]{done: make(chan struct{}), callers: 1, cancel: cancel}
	if g.m == nil {
		g.m = make(map[K]*Flight[V])
	}
	g.m[key] = f
	go func() {
		takeStack(0)
		f.value, f.err = work(ctx)
		g.mu.Lock()
		g.forget(key, f)
		g.mu.Unlock()
		close(f.done)
		cancel()
	}()
	return f
}

// detach returns the context of the work, which has the values of the caller's.
func (g *Group[K, V]) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if g.Limit > 0 {
		return context.WithTimeout(ctx, g.Limit)
	}
	return context.WithCancel(ctx)
}

// Leave ends a caller's interest.
func (g *Group[K, V]) Leave(key K, f *Flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.callers--; f.callers == 0 {
		f.cancel()
		g.forget(key, f)
	}
}

// Forget makes later callers start the work anew, and leaves those who wait for
// it what they wait for.
func (g *Group[K, V]) Forget(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.m, key)
}

func (g *Group[K, V]) forget(key K, f *Flight[V]) {
	if g.m[key] == f {
		delete(g.m, key)
	}
}

// Wait returns the outcome, or the context's error if that ends first.
func (f *Flight[V]) Wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// stack is about what the work needs: parsing, and the arithmetic of keys.
const stack = 12 << 10

// takeStack has the goroutine take its stack at once. Doubled bit by bit, deep
// in the work, what is on it would be moved each time, which has taken a fifth
// of the processor time of a DNSSEC lookup.
//
//go:noinline
func takeStack(i int) byte {
	var frame [stack]byte
	return frame[i]
}
