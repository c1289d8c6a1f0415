// Package flight does work that several callers need at the same time only once.
package flight

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Group is a set of flights, at most one for each key at a time. The zero Group
// is ready for use. It is safe for concurrent use.
//
// A caller that has work for a goroutine of its own calls [Group.Join]: the work
// is cancelled when its last caller has left. A caller that decides itself where
// the work runs, and how long, calls [Group.Claim].
type Group[K comparable, V any] struct {
	// Limit bounds the time of the work that Join starts. 0 means no limit.
	Limit time.Duration

	mu sync.Mutex
	m  map[K]*Flight[V]
}

// Flight is work under way.
type Flight[V any] struct {
	done    chan struct{} // closed when value and err are set
	value   V
	err     error
	interim atomic.Pointer[V]
	began   time.Time
	callers int                // that joined and did not leave; guarded by the group's mu
	cancel  context.CancelFunc // nil for a claim
}

// Join returns the flight for key. If there is none, it starts one that does
// work in a goroutine of its own. Each caller calls [Group.Leave] once.
//
// The context of the work has the values of ctx. It ends when the last caller
// has left, or after Limit, and not with ctx: a caller that gives up does not
// fail the others.
func (g *Group[K, V]) Join(ctx context.Context, key K, work func(context.Context) (V, error)) *Flight[V] {
	f, _ := g.Start(ctx, key, work)
	return f
}

// JoinRunning is Join, but returns nil if there is no flight for key.
func (g *Group[K, V]) JoinRunning(key K) *Flight[V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.board(key)
}

// board is called with mu held.
func (g *Group[K, V]) board(key K) *Flight[V] {
	f := g.m[key]
	if f != nil {
		f.callers++
	}
	return f
}

// Start is Join, and reports whether the flight is new. If it is not, work is not called.
func (g *Group[K, V]) Start(ctx context.Context, key K, work func(context.Context) (V, error)) (f *Flight[V], isNew bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.board(key); f != nil {
		return f, false
	}
	f = g.add(key)
	f.callers = 1
	g.launch(ctx, key, f, work)
	return f, true
}

// launch is called with mu held.
func (g *Group[K, V]) launch(ctx context.Context, key K, f *Flight[V], work func(context.Context) (V, error)) {
	ctx, f.cancel = g.detach(ctx)
	cancel := f.cancel
	go func() {
		takeStack(0)
		value, err := work(ctx)
		g.Finish(key, f, value, err)
		cancel()
	}()
}

// Work is work that perhaps needs no goroutine of its own.
type Work[V any] interface {
	// AtOnce does the work if that is possible without waiting, and otherwise returns
	// false.
	AtOnce() (value V, done bool, err error)
	// Do does the work. It is called after AtOnce.
	Do(ctx context.Context) (V, error)
}

// JoinAtOnce is Join, but a new flight first calls AtOnce in the goroutine of the caller. It
// needs a goroutine, and a context with a timer, only if that is not enough.
func (g *Group[K, V]) JoinAtOnce(ctx context.Context, key K, work Work[V]) *Flight[V] {
	g.mu.Lock()
	f := g.board(key)
	if f != nil {
		g.mu.Unlock()
		return f
	}
	f = g.add(key)
	f.callers = 1
	g.mu.Unlock()
	done := false
	defer func() {
		if done {
			return
		}
		// Also if AtOnce panicked: others may wait for the outcome.
		g.mu.Lock()
		defer g.mu.Unlock()
		g.launch(ctx, key, f, work.Do)
	}()
	value, atOnce, err := work.AtOnce()
	if done = atOnce; done {
		g.Finish(key, f, value, err)
	}
	return f
}

// detach returns the context of the work.
func (g *Group[K, V]) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if g.Limit > 0 {
		return context.WithTimeout(ctx, g.Limit)
	}
	return context.WithCancel(ctx)
}

// Leave says that a caller of Join no longer waits for f.
func (g *Group[K, V]) Leave(key K, f *Flight[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.callers--; f.callers == 0 && f.cancel != nil {
		f.cancel()
		g.forget(key, f)
	}
}

// Claim returns the flight for key, and whether it is new. A caller that gets a
// new one does the work, in whatever goroutine, and calls [Group.Finish] in any
// case. Nothing cancels that work. Callers of Claim do not leave.
func (g *Group[K, V]) Claim(key K) (f *Flight[V], isNew bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.m[key]; f != nil {
		return f, false
	}
	return g.add(key), true
}

// Finish ends a flight that Claim has returned as new, and gives its outcome to all
// callers that wait for it.
func (g *Group[K, V]) Finish(key K, f *Flight[V], value V, err error) {
	f.value, f.err = value, err
	g.mu.Lock()
	g.forget(key, f)
	g.mu.Unlock()
	close(f.done)
}

// ForgetFunc makes later callers start flights of their own for the keys for which match
// returns true. Callers that wait for the present ones still get their outcomes. match
// must not use the group.
func (g *Group[K, V]) ForgetFunc(match func(K) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.m, func(key K, _ *Flight[V]) bool { return match(key) })
}

// add is called with mu held.
func (g *Group[K, V]) add(key K) *Flight[V] {
	f := &Flight[V]{done: make(chan struct{}), began: time.Now()}
	if g.m == nil {
		g.m = make(map[K]*Flight[V])
	}
	g.m[key] = f
	return f
}

// forget is called with mu held. The flight for key may be another one by now.
func (g *Group[K, V]) forget(key K, f *Flight[V]) {
	if g.m[key] == f {
		delete(g.m, key)
	}
}

// Publish sets what Interim returns: what the work knows before it has an outcome.
// It may be called again. Only the one that does the work calls it.
func (f *Flight[V]) Publish(value V) { f.interim.Store(&value) }

// Interim returns what was last published. ok is false if nothing was.
func (f *Flight[V]) Interim() (value V, ok bool) {
	if published := f.interim.Load(); published != nil {
		return *published, true
	}
	return value, false
}

// Began returns when the flight was started.
func (f *Flight[V]) Began() time.Time { return f.began }

// Done returns a channel that is closed when there is an outcome.
func (f *Flight[V]) Done() <-chan struct{} { return f.done }

// Outcome returns the outcome. It may be called once Done is closed.
func (f *Flight[V]) Outcome() (V, error) { return f.value, f.err }

// Wait returns the outcome, or the error of ctx if that ends first.
func (f *Flight[V]) Wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// stack makes the stack twice as large, in octets: a size is a power of two. That is about
// what the work needs, which is parsing and public-key arithmetic. A frame is cleared, so it
// is no larger.
const stack = 8 << 10

// takeStack grows the stack of the goroutine at once. Otherwise it would be
// doubled and copied several times deep in the work, which took a fifth of the
// processor time of a DNSSEC lookup.
//
//go:noinline
func takeStack(i int) byte {
	var frame [stack]byte
	return frame[i]
}
