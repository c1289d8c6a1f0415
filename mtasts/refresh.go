package mtasts

import (
	"cmp"
	"context"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/mtasts/internal/memory"
	"github.com/mxseal/mxseal/mtasts/internal/schedule"
)

const (
	// sweepEvery is how often all known policies are searched for those that are
	// due before the next sweep.
	sweepEvery = 10 * time.Minute
	// octetsPerJob limits the jobs of one sweep: one for so many octets of
	// [Config.Memory].
	octetsPerJob = 1 << 10
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
	if !c.running.Begin() {
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
// store. The next sweep finds those for which there was no room.
func (r *refresher) sweep(ctx context.Context, end time.Time) []job {
	c := r.client
	now := c.config.Now()
	r.start = earlier(r.start, now) // a clock that was set back must not delay everything
	limit := cmp.Or(c.config.MaxPolicies, c.config.Memory/octetsPerJob)
	var jobs []job
	add := func(domain string, used bool, s schedule.Schedule) {
		// The jitter is derived from the domain and its last fetch, so that it stays
		// the same in every sweep and need not be stored.
		when := s.LastFailed.UnixNano() ^ s.Fetched.UnixNano()<<1
		jitter := float64(rand.NewPCG(maphash.String(r.seed, domain), uint64(when)).Uint64()>>11) / (1 << 53)
		due := s.Due(used, r.start, now, jitter)
		if due.Before(end) && len(jobs) < limit {
			jobs = append(jobs, job{domain, due})
		}
	}
	for kept := range c.memory.All(memory.Protected, memory.Large) {
		s := kept
		if s.policy == nil {
			s = s.at(now) // perhaps with the policy back, because the clock was wrong
		}
		switch {
		case s.policy != nil:
			add(s.domain, s.used, s.schedule())
		case s.lapsed == nil:
			c.memory.Remove(s.domain, kept)
		}
	}
	if c.storage.maySweep(ctx) {
		for e, err := range c.config.Store.All(ctx) {
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				c.events.storeFailed(e.Domain, err)
			case c.memory.Get(e.Domain) == nil:
				// What has expired stays in the store, in case the clock is wrong.
				if plan := e.schedule(now); !plan.Expires.Before(now) {
					add(e.Domain, e.Used, plan)
				}
			}
		}
	}
	slices.SortFunc(jobs, func(a, b job) int { return a.due.Compare(b.due) })
	return jobs
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

// schedule returns the schedule of the policy, which is not nil.
func (s *state) schedule() schedule.Schedule {
	plan := schedule.Schedule{Fetched: s.fetched, Expires: s.expires()}
	if s.behind != 0 {
		plan.Fetched = plan.Expires.Add(-s.policy.MaxAge)
	}
	if last := s.problems.last(); s.problems.failing() && last != nil {
		plan.Failed, plan.LastFailed = s.problems.failed, last.when
	}
	return plan
}

// schedule returns the schedule of a stored policy. It believes the entry,
// because each sweep looks at perhaps a million of them. The flight that follows
// reads the entry again and checks it.
func (e *Entry) schedule(now time.Time) schedule.Schedule {
	plan := schedule.Schedule{Fetched: e.Fetched, Expires: e.Expires}
	if !e.Noticed.IsZero() && now.Before(e.Fetched) {
		plan.Fetched = e.Noticed
		plan.Expires = e.Noticed.Add(e.Expires.Sub(e.Fetched))
	}
	if n := len(e.Failures); n > 0 && !e.FailingSince.IsZero() {
		plan.Failed, plan.LastFailed = e.Failed, e.Failures[n-1].When
	}
	return plan
}

// watch takes over what other Clients change in the store.
func (c *Client) watch(ctx context.Context, w Watcher) {
	update := func(domain string) {
		if c.memory.Get(domain) != nil && ctx.Err() == nil {
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
			for s := range c.memory.All(memory.Protected, memory.Large) {
				update(s.domain)
			}
		})
		if err != nil && ctx.Err() == nil {
			c.events.storeFailed("", err)
		}
		sleep(ctx, quietTime)
	}
}

// fly waits for a flight for domain.
func (c *Client) fly(ctx context.Context, domain string, t task) {
	if f, err := c.board(ctx, domain, t); err == nil {
		<-f.Done()
	}
}
