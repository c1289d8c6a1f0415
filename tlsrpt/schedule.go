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
	startEarliest = 2 * time.Minute
	startLatest   = 4 * time.Hour
	// reportedDays is how many days back there may be something to report.
	reportedDays = 2

	domainsAtOnce = 16
	// scanEvery is how often the Store is asked for domains. It also bounds for
	// how long a clock that was set goes unnoticed.
	scanEvery = 10 * time.Minute
	// passEvery is the shortest time between two looks at what is due.
	passEvery = time.Second
)

// Run reports until ctx is done. The reports of a day begin at a random time
// within four hours after it. Those that no endpoint accepts are sent again for
// 24 hours, at growing intervals (RFC 8460 section 5.5); so is the record of a
// domain looked up again if DNS fails. Of the time when Run was not running, the
// last two days are reported.
//
// Sums that were reported, and those of domains that want no report, are deleted.
//
// Run an [Aggregator] beside it, which fills the Store. Run is called once.
func (r *Reporter) Run(ctx context.Context) {
	for ctx.Err() == nil {
		r.sleep(ctx, r.pass(ctx))
	}
}

// pass does all that is due and returns when to look again.
func (r *Reporter) pass(ctx context.Context) time.Time {
	now := r.cfg.Now()
	if wait := r.nextScan.Sub(now); wait <= 0 || wait > scanEvery {
		r.nextScan = r.scan(ctx, now)
	}
	r.doDue(ctx)
	return earlier(r.nextScan, r.nextAttempt())
}

// scan looks for what there is to report and returns when to do so again.
func (r *Reporter) scan(ctx context.Context, now time.Time) time.Time {
	r.countScan()
	yesterday := DayOf(now) - 1
	next := now.Add(scanEvery)
	r.forget(ctx, yesterday-reportedDays+1)
	for day := yesterday - reportedDays + 1; day <= yesterday+1; day++ {
		if start := r.start(day); start.After(now) {
			next = earlier(next, start)
		} else {
			r.scanDay(ctx, day)
		}
	}
	return next
}

func (r *Reporter) countScan() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scans++
}

// start is when the reports of a day begin. Nobody else can foresee it, and it
// does not change.
func (r *Reporter) start(day Day) time.Time {
	random := time.Duration(maphash.Comparable(r.seed, day) % uint64(startLatest-startEarliest))
	return (day + 1).Start().Add(startEarliest + random)
}

// forget deletes what is older than day.
func (r *Reporter) forget(ctx context.Context, day Day) {
	r.mu.Lock()
	for j := range r.pending {
		if j.day < day {
			delete(r.pending, j)
		}
	}
	r.mu.Unlock()
	if err := r.cfg.Store.DeleteBefore(ctx, day); err != nil && ctx.Err() == nil {
		r.cfg.Logger.LogAttrs(ctx, slog.LevelError, "tlsrpt: sums not deleted",
			slog.String("before", day.String()), slog.Any("error", err))
	}
}

// scanDay enlists the domains that have sums on a day. Those of which it had sums
// before and now has none were reported by another Reporter.
func (r *Reporter) scanDay(ctx context.Context, day Day) {
	for domain, err := range r.cfg.Store.Domains(ctx, day) {
		if err != nil {
			if ctx.Err() == nil {
				r.cfg.Logger.LogAttrs(ctx, slog.LevelError, "tlsrpt: the day's domains cannot be had",
					slog.String("day", day.String()), slog.Any("error", err))
			}
			return
		}
		r.enlist(job{day, domain})
	}
	r.forgetUnseen(day)
}

// doDue makes one attempt at each job that is due. Endpoints that do not answer
// must keep nobody else waiting: those that failed come last, and what is not
// begun after a while waits for the next look at what is due.
func (r *Reporter) doDue(ctx context.Context) {
	until := r.cfg.Now().Add(scanEvery)
	var workers errgroup.Group
	workers.SetLimit(domainsAtOnce)
	for _, due := range r.due() {
		workers.Go(func() error {
			if ctx.Err() == nil && r.cfg.Now().Before(until) {
				r.do(ctx, due.job, due.attempts)
			}
			return nil
		})
	}
	_ = workers.Wait() // they have no errors
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
