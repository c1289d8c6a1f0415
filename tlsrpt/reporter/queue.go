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
// the fields up to running. Only the current attempt at the job uses the others.
type progress struct {
	next    time.Time // of the next attempt
	owner   string    // the registrable domain
	order   int       // in which the jobs were found; 0 after an attempt has begun
	seen    int       // number of the last pass that found the job
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

const (
	// maxFresh is how many jobs the queue has that no attempt has begun at, and
	// maxOwnerFresh how many of them are of one registrable domain. The Store has the
	// others. The queue is filled again when half of them have begun, so the names of one
	// owner are never among that half if there are others.
	maxFresh      = 1 << 13
	maxOwnerFresh = maxFresh / 4
	// maxBegun is how many jobs the queue has that wait for another attempt, and
	// maxOwnerBegun how many of them are of one registrable domain. A pass finds the others
	// again, but how often they have failed is forgotten.
	maxBegun      = 1 << 17
	maxOwnerBegun = maxBegun / 16
)

// queue has the jobs of a Reporter that are due next, and those that an attempt has begun
// at.
type queue struct {
	mu      sync.Mutex
	pending map[job]*progress
	owners  map[string]owned
	all     owned
	soonest time.Time     // no job is due before
	passes  int           // number of passes so far
	added   int           // number of jobs so far
	changed chan struct{} // receives when an attempt has ended; buffered
}

// owned is how many jobs there are.
type owned struct{ fresh, begun int }

func newQueue() queue {
	return queue{pending: make(map[job]*progress), owners: make(map[string]owned), changed: make(chan struct{}, 1)}
}

// count adds to the numbers of an owner and of all. It is called with mu held.
func (q *queue) count(owner string, fresh, begun int) {
	q.all.fresh += fresh
	q.all.begun += begun
	n := q.owners[owner]
	n.fresh += fresh
	n.begun += begun
	if n == (owned{}) {
		delete(q.owners, owner)
	} else {
		q.owners[owner] = n
	}
}

// hasRoom reports whether jobs can be added.
func (q *queue) hasRoom() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all.fresh < maxFresh
}

// isHalfEmpty reports whether it is time to add jobs.
func (q *queue) isHalfEmpty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all.fresh < maxFresh/2
}

// beginPass begins another pass.
func (q *queue) beginPass() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.passes++
}

// add adds a job that was found in the current pass, if it is not in the queue. It returns
// false if the queue has too many jobs of its owner.
func (q *queue) add(j job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.pending[j]
	if p == nil {
		owner := names.Registrable(j.domain)
		if q.owners[owner].fresh >= maxOwnerFresh {
			return false
		}
		q.added++
		p = &progress{owner: owner, order: q.added}
		q.pending[j] = p
		q.count(owner, 1, 0)
		q.soonest = time.Time{}
	}
	p.seen = q.passes
	return true
}

// removeUnseen removes the jobs of a day that were not found in the current pass.
func (q *queue) removeUnseen(day report.Day) {
	q.removeIf(func(j job, p *progress) bool { return j.day == day && p.seen != q.passes })
}

// removeBefore removes the jobs of the days before day.
func (q *queue) removeBefore(day report.Day) {
	q.removeIf(func(j job, _ *progress) bool { return j.day < day })
}

// clear removes all jobs.
func (q *queue) clear() { q.removeIf(func(job, *progress) bool { return true }) }

// removeIf removes jobs and returns their leases. A job that is being attempted
// stays until a later pass.
func (q *queue) removeIf(condition func(job, *progress) bool) {
	var removed []*progress
	q.mu.Lock()
	for j, p := range q.pending {
		if !p.running && condition(j, p) {
			q.forget(j, p)
			removed = append(removed, p)
		}
	}
	q.mu.Unlock()
	for _, p := range removed { // without the lock, because a Store may take long
		p.dropLease()
	}
}

// forget removes a job. It is called with mu held.
func (q *queue) forget(j job, p *progress) {
	delete(q.pending, j)
	if p.order > 0 {
		q.count(p.owner, -1, 0)
	} else {
		q.count(p.owner, 0, -1)
	}
}

func (q *queue) remove(j job, p *progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(j, p)
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
// reports to others. Otherwise, those that wait for a turn come first, and then all in the
// order in which they were found, because a Store changes neighbors at the least cost.
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
	slices.SortFunc(due, func(a, b dueJob) int {
		return cmp.Or(cmp.Compare(a.failed, b.failed), cmp.Compare(a.order, b.order), a.next.Compare(b.next))
	})
	// Two counters for each share, chosen by its hash, cost less than a map. The
	// lower one is right unless both are also those of other shares.
	seed := maphash.MakeSeed()
	taken := make([]int, 4*len(due))
	for i := range due {
		hash := maphash.Comparable(seed, share{due[i].owner, due[i].failed})
		a, b := &taken[hash%uint64(len(taken))], &taken[hash>>32%uint64(len(taken))]
		due[i].rank = min(*a, *b)
		*a++
		*b++
	}
	slices.SortStableFunc(due, func(a, b dueJob) int {
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
	if p.order > 0 {
		p.order = 0
		q.count(p.owner, -1, 1)
	}
}

// leave leaves jobs that are due for later.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.soonest = time.Time{}
}

// end notes that the attempt has ended. If too many jobs wait for another attempt, this
// one is forgotten.
func (q *queue) end(j job, p *progress) {
	q.mu.Lock()
	p.running = false
	q.soonest = earlier(q.soonest, p.next)
	forgotten := q.pending[j] == p && !p.over && (q.all.begun > maxBegun || q.owners[p.owner].begun > maxOwnerBegun)
	if forgotten {
		q.forget(j, p)
	}
	q.mu.Unlock()
	if forgotten {
		p.dropLease()
	}
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
