package tlsrpt

import (
	"context"
	"hash/maphash"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// A day's reports begin between these times after its end: late enough that
	// all its sessions are in the Store, and at random (RFC 8460 section 4.1).
	startEarliest = 2 * flushEvery
	startLatest   = 4 * time.Hour
	// reportedDays is how many days back there may be something to report.
	reportedDays = 2

	domainsAtOnce = 16
	// longestSleep bounds for how long a clock that was set goes unnoticed.
	longestSleep = time.Hour
	storeRetry   = 5 * time.Minute
)

// Run reports until ctx is done. The reports of a day begin at a random time
// within four hours after it. Those that no endpoint accepts are sent again for
// 24 hours, at growing intervals (RFC 8460 section 5.5); so is the record of a
// domain looked up again if DNS fails. Of the time when Run was not running, the
// last two days are reported.
//
// Sums that were reported, and those of domains that want no report, are deleted.
//
// Run an [Aggregator] beside it, which fills the Store.
func (r *Reporter) Run(ctx context.Context) {
	for ctx.Err() == nil {
		r.sleep(ctx, r.pass(ctx))
	}
}

// pass does all that is due and returns when to look again.
func (r *Reporter) pass(ctx context.Context) time.Time {
	r.countPass()
	now := r.cfg.Now()
	yesterday := DayOf(now) - 1
	next := now.Add(longestSleep)
	if err := r.forget(ctx, yesterday-reportedDays+1); err != nil {
		next = now.Add(storeRetry)
	}
	for day := yesterday - reportedDays + 1; day <= yesterday+1; day++ {
		start := r.start(day)
		if start.After(now) {
			next = earlier(next, start)
		} else if err := r.reportDay(ctx, day); err != nil {
			next = earlier(next, r.cfg.Now().Add(storeRetry))
		}
	}
	return earlier(next, r.nextAttempt())
}

func (r *Reporter) countPass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passes++
}

// start is when the reports of a day begin. Nobody else can foresee it, and it
// does not change.
func (r *Reporter) start(day Day) time.Time {
	random := time.Duration(maphash.Comparable(r.seed, day) % uint64(startLatest-startEarliest))
	return (day + 1).Start().Add(startEarliest + random)
}

// forget deletes what is older than day.
func (r *Reporter) forget(ctx context.Context, day Day) error {
	r.mu.Lock()
	for j := range r.pending {
		if j.day < day {
			delete(r.pending, j)
		}
	}
	r.mu.Unlock()
	err := r.cfg.Store.DeleteBefore(ctx, day)
	if err != nil && ctx.Err() == nil {
		r.cfg.Logger.LogAttrs(ctx, slog.LevelError, "tlsrpt: sums not deleted",
			slog.String("before", day.String()), slog.Any("error", err))
	}
	return err
}

// reportDay does what is due for the domains of a day.
func (r *Reporter) reportDay(ctx context.Context, day Day) error {
	var workers errgroup.Group
	workers.SetLimit(domainsAtOnce)
	var failed error
	for domain, err := range r.cfg.Store.Domains(ctx, day) {
		if err != nil {
			failed = err
			break
		}
		if ctx.Err() != nil {
			break
		}
		j := job{day, domain}
		if a := r.begin(j); a != nil {
			workers.Go(func() error {
				r.do(ctx, j, a)
				return nil
			})
		}
	}
	_ = workers.Wait() // they have no errors
	if failed == nil && ctx.Err() == nil {
		r.forgetUnseen(day)
	}
	if failed != nil && ctx.Err() == nil {
		r.cfg.Logger.LogAttrs(ctx, slog.LevelError, "tlsrpt: the day's domains cannot be had",
			slog.String("day", day.String()), slog.Any("error", failed))
	}
	return failed
}

// sleep waits until the clock says at, or ctx is done.
func (r *Reporter) sleep(ctx context.Context, at time.Time) {
	timer := time.NewTimer(at.Sub(r.cfg.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
