package reporter

import (
	"cmp"
	"container/heap"
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
// the fields up to rank. Only the current attempt at the job uses the others.
type progress struct {
	job
	next    time.Time // of the next attempt
	owner   string    // the registrable domain
	order   int       // in which the jobs were found; 0 after an attempt has begun
	seen    int       // number of the last pass that found the job
	ready   bool      // it is due, and no attempt is in progress
	running bool      // an attempt is in progress
	removed bool      // it is no longer in the queue
	rank    int       // among the jobs of its share, when they were due

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
	ready   []*progress // those that are due, and some that were
	later   waiting     // those that are not, and some that are removed
	owners  map[string]owned
	all     owned
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
		p = &progress{job: j, owner: owner, order: q.added, ready: true}
		q.pending[j] = p
		q.ready = append(q.ready, p)
		q.count(owner, 1, 0)
	}
	p.seen = q.passes
	return true
}

// removeUnseen removes the jobs of a day that were not found in the current pass.
func (q *queue) removeUnseen(day report.Day) {
	q.removeIf(func(p *progress) bool { return p.day == day && p.seen != q.passes })
}

// removeBefore removes the jobs of the days before day.
func (q *queue) removeBefore(day report.Day) {
	q.removeIf(func(p *progress) bool { return p.day < day })
}

// clear removes all jobs.
func (q *queue) clear() { q.removeIf(func(*progress) bool { return true }) }

// removeIf removes jobs and returns their leases. A job that is being attempted
// stays until a later pass.
func (q *queue) removeIf(condition func(*progress) bool) {
	var removed []*progress
	q.mu.Lock()
	for _, p := range q.pending {
		if !p.running && condition(p) {
			q.forget(p)
			removed = append(removed, p)
		}
	}
	q.mu.Unlock()
	for _, p := range removed { // without the lock, because a Store may take long
		p.dropLease()
	}
}

// forget removes a job. It is called with mu held.
func (q *queue) forget(p *progress) {
	p.removed = true
	delete(q.pending, p.job)
	if p.order > 0 {
		q.count(p.owner, -1, 0)
	} else {
		q.count(p.owner, 0, -1)
	}
}

func (q *queue) remove(p *progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forget(p)
}

// due returns the jobs that are due: those that failed least often first, and among
// these one of each registrable domain, then a second one of each, and so on. So
// neither endpoints that do not answer nor the many names of one domain delay the
// reports to others. Otherwise, those that wait for a turn come first, and then all in the
// order in which they were found, because a Store changes neighbors at the least cost.
func (q *queue) due(now time.Time) []*progress {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.update(now)
	slices.SortFunc(q.ready, func(a, b *progress) int {
		return cmp.Or(cmp.Compare(a.failed, b.failed), cmp.Compare(a.order, b.order), a.next.Compare(b.next))
	})
	// Two counters for each share, chosen by its hash, cost less than a map. The
	// lower one is right unless both are also those of other shares.
	seed := maphash.MakeSeed()
	taken := make([]int, 4*len(q.ready))
	for _, p := range q.ready {
		hash := maphash.Comparable(seed, share{p.owner, p.failed})
		a, b := &taken[hash%uint64(len(taken))], &taken[hash>>32%uint64(len(taken))]
		p.rank = min(*a, *b)
		*a++
		*b++
	}
	slices.SortStableFunc(q.ready, func(a, b *progress) int {
		return cmp.Or(cmp.Compare(a.failed, b.failed), cmp.Compare(a.rank, b.rank))
	})
	return slices.Clone(q.ready)
}

// update makes exactly those jobs ready that are due. It is called with mu held.
func (q *queue) update(now time.Time) {
	kept := slices.DeleteFunc(q.ready, func(p *progress) bool { return !p.ready || p.removed })
	for len(q.later) > 0 && (q.later[0].removed || !q.later[0].next.After(now)) {
		if p := heap.Pop(&q.later).(*progress); !p.removed {
			p.ready = true
			kept = append(kept, p)
		}
	}
	q.ready = kept
}

// share is what takes turns with others in due.
type share struct {
	registrable string
	failed      int
}

// waiting is a heap of jobs, with the one that is due next first.
type waiting []*progress

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].next.Before(w[j].next) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(p any)        { *w = append(*w, p.(*progress)) }
func (w *waiting) Pop() any {
	last := len(*w) - 1
	p := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return p
}

// begin notes that an attempt at a job begins. It returns false if the job was removed since
// it was due.
func (q *queue) begin(p *progress) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if p.removed {
		return false
	}
	p.ready, p.running = false, true
	if p.order > 0 {
		p.order = 0
		q.count(p.owner, -1, 1)
	}
	return true
}

// end notes that the attempt has ended. If too many jobs wait for another attempt, this
// one is forgotten.
func (q *queue) end(p *progress) {
	q.mu.Lock()
	p.running = false
	forgotten := !p.removed && !p.over && (q.all.begun > maxBegun || q.owners[p.owner].begun > maxOwnerBegun)
	switch {
	case forgotten:
		q.forget(p)
	case !p.removed:
		heap.Push(&q.later, p)
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
	now := time.Now()
	q.update(now)
	switch {
	case len(q.ready) > 0:
		return now
	case len(q.later) > 0:
		return earlier(until, q.later[0].next)
	default:
		return until
	}
}

// postpone sets the time of the next attempt at a job, while one is in progress.
func (q *queue) postpone(p *progress, until time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.next = until
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
