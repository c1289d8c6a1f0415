package reporter

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// job is a report to be built and delivered.
type job struct {
	day    report.Day
	domain string
}

// progress is what was done about a job so far. The mutex of the queue protects
// next, seen and running. Only the current attempt at the job uses the other fields.
type progress struct {
	next    time.Time // of the next attempt
	seen    int       // number of the last scan in which the domain had sums
	running bool      // an attempt is in progress

	failed int           // number of failed attempts
	waited time.Duration // after failed attempts, since the first failed delivery
	part   int           // number of the part that is reported; 0 if unknown
	over   bool          // only the part remains to be deleted
	round  *round        // the deliveries that wait for their turns; nil if none do

	// release returns the lease; nil if the Reporter has none. The lease is kept
	// between attempts, so that a fleet makes as many attempts as one Reporter. held is
	// when it ends.
	release func()
	held    time.Time
}

// wait returns the wait before the next attempt if the present one fails.
func (p *progress) wait() time.Duration { return min(retryFirst<<min(p.failed, 10), retryMost) }

// dropLease returns the lease of the job, if the Reporter has it.
func (p *progress) dropLease() {
	if p.release != nil {
		p.release()
		p.release = nil
	}
}

// queue has the jobs of a Reporter.
type queue struct {
	mu      sync.Mutex
	pending map[job]*progress
	soonest time.Time     // no job is due before
	scans   int           // number of scans so far
	changed chan struct{} // receives when an attempt has ended; buffered
}

// beginScan begins another scan.
func (q *queue) beginScan() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.scans++
}

// add adds a job that was found in the current scan, if it is not in the queue.
func (q *queue) add(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.pending[j]
	if p == nil {
		p = new(progress)
		q.pending[j] = p
		q.soonest = time.Time{}
	}
	p.seen = q.scans
}

// removeUnseen removes the jobs of a day that were not found in the current scan.
func (q *queue) removeUnseen(day report.Day) {
	q.removeIf(func(j job, p *progress) bool { return j.day == day && p.seen != q.scans })
}

// removeBefore removes the jobs of the days before day.
func (q *queue) removeBefore(day report.Day) {
	q.removeIf(func(j job, _ *progress) bool { return j.day < day })
}

// clear removes all jobs.
func (q *queue) clear() { q.removeIf(func(job, *progress) bool { return true }) }

// removeIf removes jobs and returns their leases. A job that is being attempted
// stays until a later scan.
func (q *queue) removeIf(condition func(job, *progress) bool) {
	var removed []*progress
	q.mu.Lock()
	for j, p := range q.pending {
		if !p.running && condition(j, p) {
			delete(q.pending, j)
			removed = append(removed, p)
		}
	}
	q.mu.Unlock()
	for _, p := range removed { // without the lock, because a Store may take long
		p.dropLease()
	}
}

func (q *queue) remove(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, j)
}

// dueJob is a job that is due.
type dueJob struct {
	job
	*progress
	rank int // among the jobs of its share
}

// due returns the jobs that are due: those that failed least often first, and among
// these one of each registrable domain, then a second one of each, and so on. So
// neither endpoints that do not answer nor the many names of one domain delay the
// reports to others.
func (q *queue) due(now time.Time) []dueJob {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.soonest.After(now) {
		return nil
	}
	var due []dueJob
	q.soonest = now.Add(scanEvery)
	for j, p := range q.pending {
		switch {
		case p.running:
		case p.next.After(now):
			q.soonest = earlier(q.soonest, p.next)
		default:
			due = append(due, dueJob{j, p, 0})
		}
	}
	// Two counters for each share, chosen by its hash, cost less than a map. The
	// lower one is right unless both are also those of other shares.
	seed := maphash.MakeSeed()
	taken := make([]int, 4*len(due))
	for i := range due {
		hash := maphash.Comparable(seed, share{names.Registrable(due[i].domain), due[i].failed})
		a, b := &taken[hash%uint64(len(taken))], &taken[hash>>32%uint64(len(taken))]
		due[i].rank = min(*a, *b)
		*a++
		*b++
	}
	slices.SortFunc(due, func(a, b dueJob) int {
		return cmp.Or(cmp.Compare(a.failed, b.failed), cmp.Compare(a.rank, b.rank))
	})
	return due
}

// share is what takes turns with others in due.
type share struct {
	registrable string
	failed      int
}

// begin notes that an attempt at a job begins.
func (q *queue) begin(p *progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.running = true
}

// leave leaves jobs that are due for later.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.soonest = time.Time{}
}

// end notes that the attempt has ended.
func (q *queue) end(p *progress) {
	q.mu.Lock()
	p.running = false
	q.soonest = earlier(q.soonest, p.next)
	q.mu.Unlock()
	select {
	case q.changed <- struct{}{}:
	default: // is noticed already
	}
}

// minWait is the shortest time between two looks at what is due.
const minWait = time.Second

// wait waits until a job is due, an attempt has ended, until a time, or until ctx is
// done.
func (q *queue) wait(ctx context.Context, until time.Time) {
	soonest := time.NewTimer(minWait)
	defer soonest.Stop()
	select {
	case <-soonest.C:
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(time.Until(q.next(until)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.changed:
	case <-ctx.Done():
	}
}

// next returns when the next job is due, but not after until.
func (q *queue) next(until time.Time) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return earlier(until, q.soonest)
}

// postpone sets the time of the next attempt.
func (q *queue) postpone(p *progress, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.next = until
	if !p.running {
		q.soonest = earlier(q.soonest, until)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
