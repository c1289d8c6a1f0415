// Package pacing decides when the deliveries of a reporter begin, so that no endpoint
// is overrun, and none that does not answer delays the others.
package pacing

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// allAttempts is the number of attempts in progress, with those that wait for the Store
	// outside of the lanes.
	allAttempts = 1024
	// fastAttempts and slowAttempts are the numbers of attempts that run at the same
	// time in each lane.
	fastAttempts = 16
	slowAttempts = 64
	// slowAfter is the time that a step of an attempt may take in the fast lane.
	slowAfter = 10 * time.Second
)

// ErrSlow ends a step of an attempt that is slow while too many others are.
var ErrSlow = errors.New("no reply for 10 seconds, and too many other endpoints are slow")

// Lanes limit the attempts that run at the same time. Every attempt begins in the
// fast lane and moves to the slow lane when a step takes long. So an endpoint that
// does not answer occupies a place in the fast lane for seconds only.
type Lanes struct{ all, fast, slow *semaphore.Weighted }

// NewLanes returns lanes without attempts.
func NewLanes() Lanes {
	return Lanes{semaphore.NewWeighted(allAttempts), semaphore.NewWeighted(fastAttempts), semaphore.NewWeighted(slowAttempts)}
}

// Enter waits for a place in the fast lane. It returns nil if ctx ends before that.
func (l Lanes) Enter(ctx context.Context) *Slot {
	if l.all.Acquire(ctx, 1) != nil {
		return nil
	}
	if l.fast.Acquire(ctx, 1) != nil {
		l.all.Release(1)
		return nil
	}
	return &Slot{lanes: l, in: l.fast}
}

// Slot is the place of an attempt in a lane.
type Slot struct {
	lanes Lanes
	mu    sync.Mutex
	in    *semaphore.Weighted // nil after Leave, and from Pause to Resume
}

// Pause leaves the fast lane while the attempt waits for the Store. So many attempts can
// wait at the same time, and the Store can write what they change at once. In the slow lane
// it does nothing.
func (s *Slot) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == s.lanes.fast {
		s.in.Release(1)
		s.in = nil
	}
}

// Resume waits for a place in the fast lane after Pause. It returns false if ctx ends
// before that.
func (s *Slot) Resume(ctx context.Context) bool {
	s.mu.Lock()
	isPaused := s.in == nil
	s.mu.Unlock()
	if !isPaused {
		return true
	}
	if s.lanes.fast.Acquire(ctx, 1) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in = s.lanes.fast
	return true
}

// SlowDown moves the attempt to the slow lane. It returns false if that lane is full.
func (s *Slot) SlowDown() bool {
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

// Step returns a context for one step of the attempt. If the step takes longer than
// slowAfter, the attempt moves to the slow lane; if that is full, the step ends with
// ErrSlow as the cause. end must be called when the step is over. It returns
// whether the step was slow.
func (s *Slot) Step(ctx context.Context) (_ context.Context, end func() (wasSlow bool)) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(slowAfter, func() {
		if !s.SlowDown() {
			cancel(ErrSlow)
		}
	})
	return ctx, func() bool {
		cancel(nil)
		return !timer.Stop()
	}
}

// Leave ends the attempt.
func (s *Slot) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != nil {
		s.in.Release(1)
		s.in = nil
	}
	s.lanes.all.Release(1)
}
