package limits

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// S24: the deliveries of one call are bounded.
func TestDeliveriesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		turns := NewTurns()
		var all sync.WaitGroup
		for range 3 * InAll {
			done := turns.Take()
			all.Go(func() {
				defer done()
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Hour)
				mu.Lock()
				running--
				mu.Unlock()
			})
		}
		all.Wait()
		if most != InAll {
			t.Errorf("%d at the same time, want %d", most, InAll)
		}
	})
}

// The interruption of a caller ends its wait for a place.
func TestLimiterIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		leave, _ := l.Enter(t.Context(), "x", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, ok := l.Enter(ctx, "x", 1); ok || time.Since(start) != time.Second {
			t.Errorf("entered %v after %v", ok, time.Since(start))
		}
		leave()
		if l.Len() != 0 {
			t.Errorf("left: %v", l.Len())
		}
	})
}
