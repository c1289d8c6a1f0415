package boltstore

import (
	"sync"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

const (
	// keepExpired is how long an entry is kept after it has expired, and how long the
	// clock must have been steady before entries are deleted.
	keepExpired = 24 * time.Hour
	// maxDrift is how far the wall clock may move against the monotonic clock.
	maxDrift = time.Minute
)

// clock tells how long the wall clock has been steady. It is safe for concurrent use.
type clock struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time     // of the monotonic clock
	ahead time.Duration // of the wall clock at that time
}

func newClock(now func() time.Time) *clock {
	c := &clock{now: now}
	c.read()
	return c
}

// read returns the time, and whether the clock has been steady for keepExpired.
func (c *clock) read() (now time.Time, sure bool) {
	monotonic := time.Now()
	now = c.now().Round(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	ahead := now.Sub(c.since.Round(0)) - monotonic.Sub(c.since)
	if c.since.IsZero() || (ahead-c.ahead).Abs() > maxDrift {
		c.since = monotonic
		c.ahead = now.Sub(monotonic.Round(0))
	}
	return now, monotonic.Sub(c.since) >= keepExpired
}

// end returns when the policy of e expires according to a clock that says now.
func end(e *mtasts.Entry, now time.Time) time.Time {
	if now.Before(e.Fetched) && !e.Noticed.IsZero() {
		return e.Noticed.Add(e.Expires.Sub(e.Fetched))
	}
	return e.Expires
}
