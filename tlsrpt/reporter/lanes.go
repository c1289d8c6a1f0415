package reporter

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// fastAttempts and slowAttempts are the numbers of attempts that run at the same
	// time in each lane.
	fastAttempts = 16
	slowAttempts = 64
	// slowAfter is the time that a step of an attempt may take in the fast lane.
	slowAfter = 10 * time.Second
)

// errSlow ends a step of an attempt that is slow while too many others are.
var errSlow = errors.New("no reply for 10 seconds, and too many other endpoints are slow")

// lanes limit the attempts that run at the same time. Every attempt begins in the
// fast lane and moves to the slow lane when a step takes long. So an endpoint that
// does not answer occupies a place in the fast lane for seconds only.
type lanes struct{ fast, slow *semaphore.Weighted }

func newLanes() lanes {
	return lanes{semaphore.NewWeighted(fastAttempts), semaphore.NewWeighted(slowAttempts)}
}

// enter waits for a place in the fast lane. It returns nil if ctx ends before that.
func (l lanes) enter(ctx context.Context) *slot {
	if l.fast.Acquire(ctx, 1) != nil {
		return nil
	}
	return &slot{lanes: l, in: l.fast}
}

// slot is the place of an attempt in a lane.
type slot struct {
	lanes lanes
	mu    sync.Mutex
	in    *semaphore.Weighted // nil after leave
}

// slowDown moves the attempt to the slow lane. It returns false if that lane is full.
func (s *slot) slowDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != s.lanes.fast {
		return true
	}
	if !s.lanes.slow.TryAcquire(1) {
		return false
	}
	s.in.Release(1)
	s.in = s.lanes.slow
	return true
}

// step returns a context for one step of the attempt. If the step takes longer than
// slowAfter, the attempt moves to the slow lane; if that is full, the step ends with
// errSlow as the cause. end must be called when the step is over. It returns
// whether the step was slow.
func (s *slot) step(ctx context.Context) (_ context.Context, end func() (wasSlow bool)) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(slowAfter, func() {
		if !s.slowDown() {
			cancel(errSlow)
		}
	})
	return ctx, func() bool {
		cancel(nil)
		return !timer.Stop()
	}
}

func (s *slot) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in.Release(1)
	s.in = nil
}
