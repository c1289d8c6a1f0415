package reporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// flushEvery is the time for which sums are lost if the program is killed.
	flushEvery = 500 * time.Millisecond
	// flushTimeout limits a flush. Sums that were not stored wait for the next one.
	flushTimeout = time.Minute
	// maxBatchDomains limits the domains of a batch, unless the Store has a limit of its
	// own, batchResults the results and details in relation to it, and maxBatchOctets
	// their text. A domain that exceeds them has a batch of its own.
	maxBatchDomains = 10_000
	batchResults    = 8
	maxBatchOctets  = 4 << 20
)

// outbox has the batches that wait for the Store. Its mutex is held during a flush.
type outbox struct {
	mu      sync.Mutex
	writer  string
	number  int64    // Number of the last batch
	batches []*Batch // the first may have been added already
}

// Run passes the sums to the Store twice a second until ctx is done, and then once
// more.
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

// flushAndLog returns the text of the error. The same error is logged only once.
func (a *Aggregator) flushAndLog(ctx context.Context, lastError string) string {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	err := a.Flush(ctx)
	switch {
	case err == nil && lastError == "":
		return ""
	case err == nil:
		a.config.Logger.LogAttrs(ctx, slog.LevelInfo, "reporter: the Store accepts sums again", slog.Int64("dropped", a.Dropped()))
		return ""
	case err.Error() != lastError:
		a.config.Logger.LogAttrs(ctx, slog.LevelError, "reporter: sums not stored, will be retried",
			slog.Any("error", err), slog.Int64("dropped", a.Dropped()))
	}
	return err.Error()
}

// Flush passes the sums to the Store. If the Store returns an error, Flush returns it
// and keeps the sums for the next call.
func (a *Aggregator) Flush(ctx context.Context) error {
	a.outbox.mu.Lock()
	defer a.outbox.mu.Unlock()
	// While the Store accepts nothing, sums stay in the tallies, which are limited in
	// size.
	if err := a.send(ctx); err != nil {
		return err
	}
	var sums []DomainSums
	for i := range a.shards {
		sums = append(sums, a.shards[i].drain()...)
	}
	domains := maxBatchDomains
	if limiter, ok := a.config.Store.(BatchLimiter); ok {
		domains = min(domains, max(limiter.MaxBatch(), 1))
	}
	a.outbox.put(sums, domains)
	return a.send(ctx)
}

// put divides sums into batches of at most that many domains.
func (o *outbox) put(sums []DomainSums, domains int) {
	for len(sums) > 0 {
		n := 1
		results, octets := sums[0].size()
		for ; n < len(sums) && n < domains; n++ {
			moreResults, moreOctets := sums[n].size()
			results, octets = results+moreResults, octets+moreOctets
			if results > batchResults*domains || octets > maxBatchOctets {
				break
			}
		}
		o.batches = append(o.batches, &Batch{Writer: o.writer, Sums: sums[:n:n]})
		sums = sums[n:]
	}
}

// size returns the number of results and details that a Store has to add, and about how
// many octets of text they have.
func (d *DomainSums) size() (results, octets int) {
	results, octets = len(d.Results), len(d.Domain)
	for i := range d.Results {
		r := &d.Results[i]
		results += len(r.Details)
		octets += len(r.Policy.Domain)
		for _, list := range [][]string{r.Policy.Strings, r.Policy.MXHosts} {
			for _, s := range list {
				octets += len(s)
			}
		}
		for j := range r.Details {
			octets += len(r.Details[j].MXHost) + len(r.Details[j].HELO) + len(r.Details[j].ReasonCode) + len(r.Details[j].Info)
		}
	}
	return results, octets
}

// send adds the batches of the outbox to the Store, in order.
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
			err = a.config.Store.Add(ctx, first)
		}
		switch {
		case errors.Is(err, ErrStoreFull):
			o.batches = append(a.withRoom(first), o.batches[1:]...)
		case err != nil:
			return fmt.Errorf("reporter: storing sums: %w", err)
		default:
			o.batches = o.batches[1:]
		}
	}
	return nil
}

// withRoom replaces a batch for which the Store had no room by two halves, because the
// Store may have room for one of them. A batch of a single domain is dropped.
func (a *Aggregator) withRoom(full *Batch) []*Batch {
	if len(full.Sums) == 1 {
		for _, result := range full.Sums[0].Results {
			a.dropped.Add(result.Summary.Successes + result.Summary.Failures)
		}
		return nil
	}
	half := len(full.Sums) / 2
	return []*Batch{{Writer: full.Writer, Sums: full.Sums[:half]}, {Writer: full.Writer, Sums: full.Sums[half:]}}
}
