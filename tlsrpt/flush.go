package tlsrpt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// flushEvery is how much is lost when the program is killed, if the Store
	// keeps what it was given.
	flushEvery = 500 * time.Millisecond
	// flushTimeout bounds a flush; what was not stored waits for the next one.
	flushTimeout = time.Minute
	// maxBatchDomains and maxBatchResults bound what a Store has to add at once.
	// A domain may be alone in a batch and have more.
	maxBatchDomains = 512
	maxBatchResults = 4096
)

// outbox has what was counted and waits for the Store. Its mutex is held while a
// flush is under way.
type outbox struct {
	mu      sync.Mutex
	writer  string
	number  int64    // of the last batch
	batches []*Batch // the first one may have been added already
}

// Run hands the sums to the Store twice a second until ctx is done, and then
// once more.
func (a *Aggregator) Run(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	var lastError string
	for running := true; running; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			running = false
		}
		lastError = a.flushAndLog(context.WithoutCancel(ctx), lastError)
	}
}

// flushAndLog returns the error. One that stays is logged once.
func (a *Aggregator) flushAndLog(ctx context.Context, lastError string) string {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	err := a.Flush(ctx)
	switch {
	case err == nil && lastError == "":
		return ""
	case err == nil:
		a.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "tlsrpt: sums are stored again", slog.Int64("dropped", a.Dropped()))
		return ""
	case err.Error() != lastError:
		a.cfg.Logger.LogAttrs(ctx, slog.LevelError, "tlsrpt: sums not stored, will be tried again",
			slog.Any("error", err), slog.Int64("dropped", a.Dropped()))
	}
	return err.Error()
}

// Flush hands the sums to the Store. Those that it does not take are kept for
// the next time, and the error is the one that it returned.
func (a *Aggregator) Flush(ctx context.Context) error {
	a.outbox.mu.Lock()
	defer a.outbox.mu.Unlock()
	// While the Store takes nothing, what is counted stays in the tallies, which
	// are bounded.
	if err := a.send(ctx); err != nil {
		return err
	}
	for i := range a.shards {
		a.outbox.put(a.shards[i].drain())
	}
	return a.send(ctx)
}

// put divides sums into batches.
func (o *outbox) put(sums []DomainSums) {
	for len(sums) > 0 {
		n, results := 1, sums[0].size()
		for n < len(sums) && n < maxBatchDomains && results+sums[n].size() <= maxBatchResults {
			results += sums[n].size()
			n++
		}
		o.batches = append(o.batches, &Batch{Writer: o.writer, Sums: sums[:n:n]})
		sums = sums[n:]
	}
}

// size is how many sums a Store has to add.
func (d *DomainSums) size() int {
	n := len(d.Results)
	for i := range d.Results {
		n += len(d.Results[i].Details)
	}
	return n
}

// send has the Store add what is in the outbox, in order.
func (a *Aggregator) send(ctx context.Context) error {
	o := &a.outbox
	for len(o.batches) > 0 {
		first := o.batches[0]
		if first.Number == 0 {
			o.number++
			first.Number = o.number
		}
		err := ctx.Err()
		if err == nil {
			err = a.cfg.Store.Add(ctx, first)
		}
		switch {
		case errors.Is(err, ErrStoreFull):
			o.batches = append(a.withRoom(first), o.batches[1:]...)
		case err != nil:
			return fmt.Errorf("tlsrpt: storing sums: %w", err)
		default:
			o.batches = o.batches[1:]
		}
	}
	return nil
}

// withRoom returns batches of single domains in place of one for which there was
// no room: that may be so for some of them only. A single domain is dropped.
func (a *Aggregator) withRoom(full *Batch) []*Batch {
	if len(full.Sums) == 1 {
		for _, result := range full.Sums[0].Results {
			a.dropped.Add(result.Summary.Successes + result.Summary.Failures)
		}
		return nil
	}
	var singles []*Batch
	for i := range full.Sums {
		singles = append(singles, &Batch{Writer: full.Writer, Sums: full.Sums[i : i+1]})
	}
	return singles
}
