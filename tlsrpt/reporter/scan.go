package reporter

import (
	"context"
	"hash/maphash"
	"iter"
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
	days   []report.Day // whose reports have begun, at the last scan
	pass   *pass        // nil if none is in progress
	// again means that another pass follows, because a scan was made since the last one
	// began, or it has left out domains.
	again bool
}

// pass is one reading of all domains of the Store. It takes as long as their reports, since
// the queue has few of them at a time.
type pass struct {
	days []report.Day // not begun yet, the next one last
	day  report.Day   // of the iteration
	next func() (string, error, bool)
	stop func()
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

// scan finds out which days are to be reported, removes from the queue and the Store what
// is too old, and returns the time until the next scan.
func (s *scanner) scan(ctx context.Context, now time.Time, q *queue) time.Duration {
	isFirst := s.last.at.IsZero()
	now = s.last.confirmed(now)
	today := report.DayOf(now)
	oldest := today - reportedDays
	if !isFirst {
		s.deleteBefore(ctx, oldest, q)
	}
	next := scanEvery
	s.days = nil
	for day := oldest; day <= today; day++ {
		if start := s.start(day); start.After(now) {
			next = min(next, start.Sub(now))
		} else {
			s.days = append(s.days, day)
		}
	}
	s.again = true
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

// fill adds to the queue the domains that have sums on the days to be reported, the last
// day first, until the queue has no room. It reports whether there are more.
func (s *scanner) fill(ctx context.Context, q *queue) (more bool) {
	if s.pass == nil && s.again {
		s.pass, s.again = &pass{days: s.days}, false
		q.beginPass()
	}
	for s.pass != nil {
		if !q.hasRoom() {
			return true
		}
		s.advance(ctx, q)
	}
	return false
}

// advance adds the next domain of the pass to the queue.
func (s *scanner) advance(ctx context.Context, q *queue) {
	p := s.pass
	switch {
	case p.next != nil:
	case len(p.days) == 0:
		s.pass = nil
		return
	default:
		last := len(p.days) - 1
		p.day, p.days = p.days[last], p.days[:last]
		p.next, p.stop = iter.Pull2(s.store.Domains(ctx, p.day))
	}
	domain, err, found := p.next()
	switch {
	case err != nil:
		if ctx.Err() == nil {
			s.logger.LogAttrs(ctx, slog.LevelError, "reporter: cannot read the domains of the day, will be retried",
				slog.String("day", p.day.String()), slog.Any("error", err))
		}
	case found:
		if !q.add(job{p.day, domain}) {
			s.again = true
		}
		return
	default:
		// A domain of the queue that has no sums was reported by another Reporter.
		q.removeUnseen(p.day)
	}
	p.stop()
	p.next = nil
}

// hasMore reports whether fill may add domains before the next scan.
func (s *scanner) hasMore() bool { return s.pass != nil || s.again }

// end ends the pass.
func (s *scanner) end() {
	if s.pass != nil && s.pass.next != nil {
		s.pass.stop()
	}
}
