package reporter

import (
	"context"
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

const (
	// The reports of a day begin at a random time between these two after its end:
	// late enough that the Store has all its sessions, and not at the same time as
	// those of other senders (RFC 8460 section 4.1).
	startEarliest = 2 * time.Minute
	startLatest   = 4 * time.Hour
	// reportedDays is the number of past days that may still be reported. Domains repair
	// their DNSSEC within days, and then get the reports about it.
	reportedDays = 7
	// scanEvery is the time between two scans. It also limits how long a clock
	// that was set goes unnoticed.
	scanEvery = 10 * time.Minute
)

// scanner finds in the Store what is to be reported.
type scanner struct {
	store  Store
	logger *slog.Logger
	seed   maphash.Seed
	last   reading
}

// reading is a reading of the clock, which may be wrong.
type reading struct {
	wall time.Time
	at   time.Time // by time.Now, which is monotonic; zero if there is no reading
}

// confirmed returns the time that now and the last reading agree on: the earlier one.
func (r *reading) confirmed(now time.Time) time.Time {
	last := *r
	*r = reading{now.Round(0), time.Now()}
	if last.at.IsZero() {
		return now
	}
	return earlier(now, last.wall.Add(time.Since(last.at)))
}

// scan adds to the queue the domains that have sums on a day whose reports have
// begun, removes what is too old, and returns the time until the next scan.
func (s *scanner) scan(ctx context.Context, now time.Time, q *queue) time.Duration {
	isFirst := s.last.at.IsZero()
	now = s.last.confirmed(now)
	today := report.DayOf(now)
	oldest := today - reportedDays
	q.beginScan()
	if !isFirst {
		s.deleteBefore(ctx, oldest, q)
	}
	next := scanEvery
	for day := oldest; day <= today; day++ {
		if start := s.start(day); start.After(now) {
			next = min(next, start.Sub(now))
		} else {
			s.scanDay(ctx, day, q)
		}
	}
	return next
}

func (s *scanner) deleteBefore(ctx context.Context, oldest report.Day, q *queue) {
	q.removeBefore(oldest)
	if err := s.store.DeleteBefore(ctx, oldest); err != nil && ctx.Err() == nil {
		s.logger.LogAttrs(ctx, slog.LevelError, "reporter: sums not deleted",
			slog.String("before", oldest.String()), slog.Any("error", err))
	}
}

// start returns when the reports of a day begin. It is the same in each call, and
// unpredictable for others.
func (s *scanner) start(day report.Day) time.Time {
	random := time.Duration(maphash.Comparable(s.seed, day) % uint64(startLatest-startEarliest))
	return (day + 1).Start().Add(startEarliest + random)
}

// scanDay adds the domains that have sums on a day. A domain of the queue that has
// none was reported by another Reporter.
func (s *scanner) scanDay(ctx context.Context, day report.Day, q *queue) {
	for domain, err := range s.store.Domains(ctx, day) {
		if err != nil {
			if ctx.Err() == nil {
				s.logger.LogAttrs(ctx, slog.LevelError, "reporter: cannot read the domains of the day, will be retried",
					slog.String("day", day.String()), slog.Any("error", err))
			}
			return
		}
		q.add(job{day, domain})
	}
	q.removeUnseen(day)
}
