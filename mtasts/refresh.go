package mtasts

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// sweepEvery is how often all known policies are searched for those that are
	// due before the next sweep.
	sweepEvery = 10 * time.Minute
	// minRefreshed is the shortest max_age with which a policy is fetched ahead
	// of a lookup. It leaves time for the sweeps, and prevents a domain from
	// making the sender fetch every few seconds without mail.
	minRefreshed = time.Hour
	// startSpread is the time over which work that is due at the start is spread.
	startSpread = time.Hour
)

// Run keeps policies fresh until ctx is done or the Client is closed. It returns
// when all work that it started has ended.
//
// Run fetches the policy of each domain that was looked up since the last fetch
// about once a day, at an unpredictable moment before it expires, whether or not
// its TXT record is found (RFC 8461 sections 3.3 and 10.2). A policy that is not
// used expires, and so does one with a max_age below one hour, which lookups fetch
// again. If a fetch fails, the policy stays in force until it expires (RFC 8461
// section 3.3), and the fetch is repeated, at first after five minutes. Work that
// became due while the program was not running is spread over an hour. If the Store
// is a [Watcher], Run also takes over what other Clients have found.
//
// Without Run, a policy is fetched again only by a lookup late in its life, and a
// domain that rarely gets mail loses its policy.
func (c *Client) Run(ctx context.Context) {
	if !c.running.begin() {
		return
	}
	defer c.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()

	r := &refresher{client: c, seed: maphash.MakeSeed(), start: c.config.Now(), work: make(chan string)}
	var workers sync.WaitGroup
	for range c.config.MaxRefreshes {
		workers.Go(func() {
			for domain := range r.work {
				c.fly(ctx, domain, refresh)
			}
		})
	}
	if w, ok := c.config.Store.(Watcher); ok {
		workers.Go(func() { c.watch(ctx, w) })
	}
	for ctx.Err() == nil {
		next := c.config.Now().Add(sweepEvery)
		for _, j := range r.sweep(ctx, next) {
			if !r.hand(ctx, j) {
				break
			}
		}
		sleep(ctx, next.Sub(c.config.Now()))
	}
	close(r.work)
	workers.Wait()
}

// refresher hands out the refreshes that are due.
type refresher struct {
	client *Client
	seed   maphash.Seed // secret, so that the moments are unpredictable
	start  time.Time
	work   chan string
}

// job is a domain whose policy has to be fetched again, or has expired.
type job struct {
	domain string
	due    time.Time
}

// sweep returns what is due before end, in order of time, from memory and the
// store. It returns at most MaxPolicies jobs; the next sweep finds the others.
func (r *refresher) sweep(ctx context.Context, end time.Time) []job {
	c := r.client
	now := c.config.Now()
	r.start = earlier(r.start, now) // a clock that was set back must not delay everything
	var jobs []job
	add := func(domain string, used bool, s schedule) {
		due := r.due(domain, used, s, now)
		if due.Before(end) && len(jobs) < c.config.MaxPolicies {
			jobs = append(jobs, job{domain, due})
		}
	}
	for s := range c.memory.all() {
		if s.policy == nil {
			s = s.at(now) // perhaps with the policy back, because the clock was wrong
		}
		switch {
		case s.policy != nil:
			add(s.domain, s.used, s.schedule())
		case s.lapsed == nil:
			c.memory.remove(s.domain)
		}
	}
	if c.config.Store != nil {
		for e, err := range c.config.Store.All(ctx) {
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				c.events.storeFailed(e.Domain, err)
			case c.memory.get(e.Domain) == nil:
				// What has expired stays in the store, in case the clock is wrong.
				if plan := e.schedule(now); !plan.expires.Before(now) {
					add(e.Domain, e.Used, plan)
				}
			}
		}
	}
	slices.SortFunc(jobs, func(a, b job) int { return a.due.Compare(b.due) })
	return jobs
}

// due returns when the policy of the domain has to be fetched again, or has
// expired.
func (r *refresher) due(domain string, used bool, s schedule, now time.Time) time.Time {
	// The jitter is derived from the domain and its last fetch, so that it stays
	// the same in every sweep and need not be stored.
	when := s.lastFailed.UnixNano() ^ s.fetched.UnixNano()<<1
	jitter := float64(rand.NewPCG(maphash.String(r.seed, domain), uint64(when)).Uint64()>>11) / (1 << 53)
	if s.fetched.After(now) { // by a clock that was wrong; the refresh corrects it
		return r.start.Add(part(startSpread, jitter))
	}
	over := s.expires.Add(1)
	if maxAge := s.expires.Sub(s.fetched); !used || maxAge < minRefreshed {
		return over
	}
	due := s.at(jitter)
	if due.Before(r.start) && over.After(r.start) {
		due = r.start.Add(part(min(startSpread, s.expires.Sub(r.start)/2), jitter))
	}
	return due
}

// hand waits until j is due and a worker is free. It returns false if ctx is
// done before.
func (r *refresher) hand(ctx context.Context, j job) bool {
	sleep(ctx, j.due.Sub(r.client.config.Now()))
	select {
	case r.work <- j.domain:
		return true
	case <-ctx.Done():
		return false
	}
}

const (
	// maxRefresh is the age at which a policy in use is fetched again at the
	// latest, unless less than a fifth of max_age would be left then. The fetch
	// is at a random moment in the last two fifths of that time, so about once a
	// day.
	maxRefresh = 30 * time.Hour
	// maxRetry is the longest time between two attempts after a failed refresh.
	maxRetry = 4 * time.Hour
)

// schedule is what decides when a policy is fetched again.
type schedule struct {
	fetched, expires time.Time
	failed           int       // fetches since fetched
	lastFailed       time.Time // when the last of these failed
}

// at returns when to fetch the policy, for a jitter from 0 (earliest) to 1
// (latest). After a failed fetch, that is five minutes later. The time doubles
// with each failure, and gets shorter again as the policy comes close to its
// end.
func (s schedule) at(jitter float64) time.Time {
	if s.failed == 0 || s.lastFailed.IsZero() {
		latest := min(maxRefresh, s.expires.Sub(s.fetched)*4/5)
		return s.fetched.Add(latest - part(latest*2/5, 1-jitter))
	}
	wait := min(fetchRetry<<min(s.failed-1, 8), maxRetry)
	wait += part(wait/4, jitter)
	wait = min(wait, s.expires.Sub(s.lastFailed)/2)
	return s.lastFailed.Add(max(wait, fetchRetry))
}

func part(d time.Duration, of float64) time.Duration { return time.Duration(float64(d) * of) }

// schedule returns the schedule of the policy, which is not nil.
func (s *state) schedule() schedule {
	plan := schedule{fetched: s.fetched, expires: s.expires()}
	if s.behind != 0 {
		plan.fetched = plan.expires.Add(-s.policy.MaxAge)
	}
	if last := s.problems.last(); s.problems.failing() && last != nil {
		plan.failed, plan.lastFailed = s.problems.failed, last.when
	}
	return plan
}

// schedule returns the schedule of a stored policy. It believes the entry,
// because each sweep looks at perhaps a million of them. The flight that follows
// reads the entry again and checks it.
func (e *Entry) schedule(now time.Time) schedule {
	plan := schedule{fetched: e.Fetched, expires: e.Expires}
	if !e.Noticed.IsZero() && now.Before(e.Fetched) {
		plan.fetched = e.Noticed
		plan.expires = e.Noticed.Add(e.Expires.Sub(e.Fetched))
	}
	if n := len(e.Failures); n > 0 && !e.FailingSince.IsZero() {
		plan.failed, plan.lastFailed = e.Failed, e.Failures[n-1].When
	}
	return plan
}

// watch takes over what other Clients change in the store.
func (c *Client) watch(ctx context.Context, w Watcher) {
	update := func(domain string) {
		if c.memory.get(domain) != nil && ctx.Err() == nil {
			c.fly(ctx, domain, reread)
		}
	}
	for ctx.Err() == nil {
		err := w.Watch(ctx, func(domain string) {
			if domain != "" {
				update(domain)
				return
			}
			c.storage.seen()
			for s := range c.memory.all() {
				update(s.domain)
			}
		})
		if err != nil && ctx.Err() == nil {
			c.events.storeFailed("", err)
		}
		sleep(ctx, storeQuiet)
	}
}

// fly waits for a flight for domain.
func (c *Client) fly(ctx context.Context, domain string, t task) {
	if f, err := c.board(ctx, domain, t); err == nil {
		<-f.Done()
	}
}
