package reporter

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

// job is a report to be built and delivered.
type job struct {
	day    report.Day
	domain string
}

// progress is what was done about a job so far. The mutex of the queue protects
// next and seen. Only the current attempt at the job uses the other fields.
type progress struct {
	next   time.Time // of the next attempt
	seen   int       // number of the last scan in which the domain had sums
	failed int       // number of failed attempts
	first  time.Time // of the first failed delivery; zero before that
	queued bool      // next is the turn that the endpoints gave to the job
	part   int       // number of the part that is reported; 0 if unknown

	over    bool   // only the part remains to be deleted
	release func() // releases the lease, which is kept until then
}

// queue has the jobs of a Reporter.
type queue struct {
	mu      sync.Mutex
	pending map[job]*progress
	scans   int // number of scans so far
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
	}
	p.seen = q.scans
}

// removeUnseen removes the jobs of a day that were not found in the current scan.
func (q *queue) removeUnseen(day report.Day) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for j, p := range q.pending {
		if j.day == day && p.seen != q.scans {
			delete(q.pending, j)
		}
	}
}

// removeBefore removes the jobs of the days before day.
func (q *queue) removeBefore(day report.Day) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for j := range q.pending {
		if j.day < day {
			delete(q.pending, j)
		}
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
}

// due returns the jobs that are due, with those that failed least often first.
func (q *queue) due(now time.Time) []dueJob {
	q.mu.Lock()
	defer q.mu.Unlock()
	var due []dueJob
	for j, p := range q.pending {
		if !p.next.After(now) {
			due = append(due, dueJob{j, p})
		}
	}
	slices.SortFunc(due, func(a, b dueJob) int { return cmp.Compare(a.failed, b.failed) })
	return due
}

// minWait is the shortest time until the next look at what is due.
const minWait = time.Second

// next returns when the next job is due, between minWait and scanEvery from now.
func (q *queue) next(now time.Time) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	next := now.Add(scanEvery)
	for _, p := range q.pending {
		next = earlier(next, p.next)
	}
	if soonest := now.Add(minWait); next.Before(soonest) {
		return soonest
	}
	return next
}

// postpone sets the time of the next attempt.
func (q *queue) postpone(p *progress, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.next = until
}
