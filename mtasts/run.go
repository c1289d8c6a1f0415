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
	// sweepEvery is how often everything known is looked through for what is
	// due in the time until the next sweep.
	sweepEvery = 10 * time.Minute
	// refreshLeast is the shortest time in force with which a policy is fetched
	// ahead of a lookup. It leaves the sweeps their time, and no domain can have
	// the sender fetch every few seconds of its own accord.
	refreshLeast = time.Hour
	// startSpread is over what time that is spread which is due at the start.
	startSpread = time.Hour
)

// Run keeps policies fresh until ctx is done, and returns when all that it began
// has ended.
//
// The policy of a domain that was asked for since it was fetched is fetched
// again about once a day, at an unpredictable moment before it runs out, whether
// or not its TXT record can be seen (RFC 8461 sections 3.3 and 10.2). One that
// nobody asked for is left to run out, and so is one that lasts for less than an
// hour, which lookups fetch anew. What has become due while the program was not
// running is spread over an hour. If the Store is a [Watcher], Run also takes in
// what other Clients have found.
//
// Without Run, policies are fetched again by lookups that come late in their
// time, and a domain that is asked for too seldom loses its policy.
//
// Close the Store after Run has returned.
func (c *Client) Run(ctx context.Context) {
	r := &refresher{client: c, seed: maphash.MakeSeed(), start: c.now(), work: make(chan string)}
	var workers sync.WaitGroup
	for range c.cfg.MaxRefreshes {
		workers.Go(func() {
			for domain := range r.work {
				<-c.board(ctx, domain, refresh).done
			}
		})
	}
	if w, ok := c.cfg.Store.(Watcher); ok {
		workers.Go(func() { c.watch(ctx, w) })
	}
	for ctx.Err() == nil {
		next := c.now().Add(sweepEvery)
		for _, j := range r.sweep(ctx, next) {
			if !r.hand(ctx, j) {
				break
			}
		}
		c.sleep(ctx, next)
	}
	close(r.work)
	workers.Wait()
}

// refresher hands out what is due.
type refresher struct {
	client *Client
	seed   maphash.Seed // nobody else knows, so nobody can foresee the moments
	start  time.Time
	work   chan string
}

// job is a domain whose policy is to be fetched again, or has run out.
type job struct {
	domain string
	due    time.Time
}

// sweep returns what is due before end, in order, from memory and the store. If
// it is more than memory has room for, the rest is left to the next sweep.
func (r *refresher) sweep(ctx context.Context, end time.Time) []job {
	now := r.client.now()
	r.start = earlier(r.start, now) // or a clock set back would put all off
	var jobs []job
	add := func(domain string, used bool, s schedule) {
		due := r.due(domain, used, s, now)
		if due.Before(end) && len(jobs) < r.client.cfg.MaxPolicies {
			jobs = append(jobs, job{domain, due})
		}
	}
	for s := range r.client.cache.all() {
		add(s.domain, s.used, s.schedule())
	}
	if r.client.cfg.Store != nil {
		for e, err := range r.client.cfg.Store.All(ctx) {
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				r.client.storeFailed(e.Domain, err)
			case r.client.cache.get(e.Domain) == nil:
				add(e.Domain, e.Used, e.schedule())
			}
		}
	}
	slices.SortFunc(jobs, func(a, b job) int { return a.due.Compare(b.due) })
	return jobs
}

// due returns when there is something to do for the domain: when its policy is
// to be fetched again, or has run out.
func (r *refresher) due(domain string, used bool, s schedule, now time.Time) time.Time {
	luck := r.luck(domain, s)
	if s.fetched.After(now) { // by a clock that was wrong; the refresh corrects it
		return r.start.Add(part(startSpread, luck))
	}
	over := s.expires.Add(1)
	if age := s.expires.Sub(s.fetched); !used || age < refreshLeast {
		return over
	}
	due := s.at(luck)
	if due.Before(r.start) && over.After(r.start) {
		due = r.start.Add(part(min(startSpread, s.expires.Sub(r.start)/2), luck))
	}
	return due
}

// luck returns a number in [0, 1) that is always the same for the same step of
// the same domain, so that nothing has to be remembered.
func (r *refresher) luck(domain string, s schedule) float64 {
	when := s.lastFailed.UnixNano() ^ s.fetched.UnixNano()<<1
	return float64(rand.NewPCG(maphash.String(r.seed, domain), uint64(when)).Uint64()>>11) / (1 << 53)
}

// hand waits until j is due and a worker is free. It reports whether Run is to
// go on.
func (r *refresher) hand(ctx context.Context, j job) bool {
	r.client.sleep(ctx, j.due)
	select {
	case r.work <- j.domain:
		return true
	case <-ctx.Done():
		return false
	}
}

// sleep returns at t, or when ctx is done.
func (c *Client) sleep(ctx context.Context, t time.Time) {
	timer := time.NewTimer(t.Sub(c.now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// watch takes in what other Clients change in the store that they share.
func (c *Client) watch(ctx context.Context, w Watcher) {
	for ctx.Err() == nil {
		err := w.Watch(ctx, func(domain string) {
			if domain != "" {
				c.reread(ctx, domain)
				return
			}
			for s := range c.cache.all() {
				c.reread(ctx, s.domain)
			}
		})
		if err != nil && ctx.Err() == nil {
			c.storeFailed("", err)
		}
		c.sleep(ctx, c.now().Add(storeQuiet))
	}
}

// reread takes what the store has of a domain that is in memory.
func (c *Client) reread(ctx context.Context, domain string) {
	if c.cache.get(domain) != nil && ctx.Err() == nil {
		<-c.board(ctx, domain, reread).done
	}
}
