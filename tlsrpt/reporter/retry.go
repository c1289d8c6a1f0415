package reporter

import (
	"context"
	"log/slog"
	"time"
)

const (
	// retryFirst is the wait before the second attempt at a report. Each further
	// wait is twice as long, up to retryMost (RFC 8460 section 5.5).
	retryFirst = 10 * time.Minute
	retryMost  = 4 * time.Hour
	// retryFor is the time from the first attempt to the last (RFC 8460 section
	// 5.5).
	retryFor = 24 * time.Hour
	// deleteAgain is the time between two attempts to delete reported sums.
	deleteAgain = time.Minute
)

// retry schedules another attempt at a job whose last one did not finish, or gives
// the report up if its endpoints refused it for 24 hours. If DNS or the Store
// failed, a report is never given up: the sums are kept until the day is too old to
// be reported. It returns whether the report is given up.
func (r *Reporter) retry(ctx context.Context, j job, p *progress, last result, err error) (givenUp bool) {
	if ctx.Err() != nil || last == queued {
		return false
	}
	wait := p.wait()
	p.failed++
	if last == refused && p.waited+wait > retryFor {
		r.log(ctx, slog.LevelWarn, "reporter: report given up", j, slog.Int("attempts", p.failed), slog.Any("error", err))
		return true
	}
	r.log(ctx, slog.LevelInfo, "reporter: report postponed", j, slog.Duration("wait", wait), slog.Any("error", err))
	if last == refused || p.waited > 0 {
		p.waited += wait
	}
	r.postpone(ctx, j, p, time.Now().Add(wait))
	return false
}

// finish deletes the part that was reported and removes the job. If the program
// ends before that, even between two endpoints, or cannot reach the Store for longer than
// the lease, the report is sent again to all of them. Those that have it recognize it by its
// ID, which is the same (RFC 8460 section 5.3).
func (r *Reporter) finish(ctx context.Context, j job, p *progress) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if p.part != 0 {
		if err := r.config.Store.Delete(ctx, j.day, j.domain, p.part); err != nil {
			r.log(ctx, slog.LevelError, "reporter: sums not deleted, will be retried", j, slog.Any("error", err))
			r.queue.postpone(p, time.Now().Add(deleteAgain))
			return
		}
	}
	p.dropLease()
	r.queue.remove(p)
}
