package dnssec

import (
	"context"
	"sync"
)

// flights runs work that several callers want at the same time only once. The
// work has a context of its own, which ends when the last caller has left: one
// who gives up does not fail the others, and nothing runs on for nobody.
type flights[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*flight[V]
}

type flight[V any] struct {
	done    chan struct{}
	value   V
	err     error
	callers int
	cancel  context.CancelFunc
}

// join starts the work for key, or joins it if it is under way. Whoever joins
// must leave.
func (g *flights[K, V]) join(ctx context.Context, key K, work func(context.Context) (V, error)) *flight[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.m[key]; f != nil {
		f.callers++
		return f
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight[V]{done: make(chan struct{}), callers: 1, cancel: cancel}
	if g.m == nil {
		g.m = make(map[K]*flight[V])
	}
	g.m[key] = f
	go func() {
		f.value, f.err = work(ctx)
		g.mu.Lock()
		g.forget(key, f)
		g.mu.Unlock()
		close(f.done)
		cancel()
	}()
	return f
}

// leave ends a caller's interest.
func (g *flights[K, V]) leave(key K, f *flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.callers--; f.callers == 0 {
		f.cancel()
		g.forget(key, f)
	}
}

func (g *flights[K, V]) forget(key K, f *flight[V]) {
	if g.m[key] == f {
		delete(g.m, key)
	}
}

// wait returns the outcome, or the context's error if that ends first.
func (f *flight[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}
