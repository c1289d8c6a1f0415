package mtasts

import (
	"context"
	"sync"
	"time"
)

// task is what a flight is to do.
type task uint8

const (
	// lookUp asks DNS for the id if it is time to, and fetches the policy if
	// there is a reason to.
	lookUp task = iota
	// recheck asks DNS whatever is remembered.
	recheck
	// refresh fetches the policy in force again whatever DNS says.
	refresh
	// reread takes what another Client has put into the store.
	reread
)

// patience is how long a Lookup waits for news of a domain whose policy in
// force it could answer with. The search goes on without it.
const patience = 5 * time.Second

// flight is work on one domain. There is one at a time, which all who need it
// wait for, so none undoes another.
type flight struct {
	task  task
	began time.Time
	done  chan struct{} // is closed when what follows is set
	state *state        // nil if nobody looked for news
}

// flights are the ones under way.
type flights struct {
	mu      sync.Mutex
	domains map[string]*flight
}

// board returns the flight for domain that is under way, or a new one. Its work
// goes on without those who wait, unless it is a refresh, which ends with ctx.
func (c *Client) board(ctx context.Context, domain string, t task) *flight {
	f, isNew := c.flights.board(domain, t)
	if !isNew {
		return f
	}
	if t != refresh {
		ctx = context.WithoutCancel(ctx)
	}
	var stored *state
	if t == lookUp && c.cache.get(domain) == nil {
		stored = c.recall(ctx, domain)
		if stored.used && stored.isFresh(c.now()) {
			// Most often there is nothing to do, and this takes no other goroutine.
			s := stored.at(c.now())
			c.cache.put(s)
			c.keep(ctx, stored, s)
			c.flights.land(domain, f, s)
			return f
		}
	}
	go func() { c.flights.land(domain, f, c.fly(ctx, domain, t, stored)) }()
	return f
}

// board returns the flight for domain that is under way, or a new one.
func (fs *flights) board(domain string, t task) (f *flight, isNew bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.domains[domain]; f != nil {
		return f, false
	}
	f = &flight{task: t, began: time.Now(), done: make(chan struct{})}
	fs.domains[domain] = f
	return f, true
}

// land ends a flight.
func (fs *flights) land(domain string, f *flight, s *state) {
	f.state = s
	fs.mu.Lock()
	delete(fs.domains, domain)
	fs.mu.Unlock()
	close(f.done)
}

// join boards a flight that looks at DNS, in any case or if it is time to, and
// waits for it. A Lookup that loses patience takes what is in force.
func (c *Client) join(ctx context.Context, domain string, t task) (*state, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := c.board(ctx, domain, t)
		s, err := c.wait(ctx, f, domain, t == lookUp)
		if err != nil || s != nil && (t == lookUp || f.task != lookUp) {
			return s, err
		}
		// That one did not look, or is a Lookup, which may not have asked DNS.
	}
}

// wait returns the outcome of f, nil if it has none.
func (c *Client) wait(ctx context.Context, f *flight, domain string, hasty bool) (*state, error) {
	select {
	case <-f.done:
		return f.state, nil
	default:
	}
	var hurry <-chan time.Time
	if hasty {
		timer := time.NewTimer(patience - time.Since(f.began))
		defer timer.Stop()
		hurry = timer.C
	}
	for {
		select {
		case <-f.done:
			return f.state, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-hurry:
			if s := c.cache.get(domain); s != nil {
				if s = s.at(c.now()); s.policy != nil {
					return s, nil
				}
			}
			hurry = nil
		}
	}
}
