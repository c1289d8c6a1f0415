// Package tally counts how long things took.
package tally

import (
	"sync/atomic"
	"time"
)

// Bounds is how many bounds Histogram has.
const Bounds = 13

// Limits returns the upper bounds of the buckets of a Histogram, except for the last.
func Limits() [Bounds]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{1 * ms, 2 * ms, 5 * ms, 10 * ms, 20 * ms, 50 * ms, 100 * ms, 200 * ms, 500 * ms, 1000 * ms, 2000 * ms, 5000 * ms, 10000 * ms}
}

// Histogram counts durations. The zero Histogram is empty. It is safe for concurrent use.
type Histogram struct {
	total   atomic.Int64
	buckets [Bounds + 1]atomic.Uint64
}

// Add counts a duration in the first bucket whose bound it does not exceed.
func (h *Histogram) Add(took time.Duration) {
	h.total.Add(int64(took))
	for i, bound := range Limits() {
		if took <= bound {
			h.buckets[i].Add(1)
			return
		}
	}
	h.buckets[Bounds].Add(1)
}

// Latencies are what a Histogram has counted, in the form in which packages export it.
type Latencies struct {
	Count   uint64        // the sum of Buckets
	Total   time.Duration // the sum of all durations
	Buckets [Bounds + 1]uint64
}

// Read returns what was counted.
func (h *Histogram) Read() (l Latencies) {
	for i := range h.buckets {
		n := h.buckets[i].Load()
		l.Buckets[i] = n
		l.Count += n
	}
	l.Total = time.Duration(h.total.Load())
	return l
}
