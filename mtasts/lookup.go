package mtasts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mxseal/mxseal/internal/flight"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/mtasts/internal/turn"
)

// Lookup returns the policy in force for domain. That is the domain of the
// recipient, or of a smart host (RFC 8461 section 3.4); it is never the domain
// of a mail host, nor a parent domain. domain may be in U-labels, and may end in
// a dot.
//
// An answer from memory costs no query. When the TTL of the TXT record has passed,
// Lookup asks DNS for the id. If the id has changed, or the policy has expired, Lookup
// fetches the policy. Concurrent lookups of one domain do this once. A policy stays in
// force, whatever fails, until it expires or is replaced. Lookup waits only a few
// seconds for a newer policy, and FirstWait for the first one. Then it answers that
// there is none yet (RFC 8461 section 3.3), with a NextCheck in a few seconds, and the
// search goes on. A failed fetch is repeated after five minutes at the earliest; while
// no policy is in force, a new id is tried at once, at most three times in five minutes.
//
// The returned error is that of ctx, or wraps [ErrDomain], or is [ErrClosed] or
// [ErrStoreUnread]; see [Result.Err] for all others. A lookup goes on when the ctx of
// its caller is done, because others may wait for it. It ends after FetchTimeout and
// a few seconds. While the Store fails, it is read again every few seconds for domains
// without a policy in memory.
func (c *Client) Lookup(ctx context.Context, domain string) (r Result, err error) {
	return c.lookup(ctx, domain, true)
}

// lookup is Lookup, which waits for the end of the search unless it is impatient.
func (c *Client) lookup(ctx context.Context, domain string, impatient bool) (r Result, err error) {
	// Names in memory are canonical, so the usual hit needs no conversion.
	s := c.fresh(domain)
	if s == nil {
		if domain, err = canonicalDomain(domain); err != nil {
			return r, err
		}
		if s = c.fresh(domain); s == nil {
			s, err = c.search(ctx, domain, lookUp, impatient)
		}
	}
	if err == nil {
		err = answer(c, s, &r)
	}
	return r, err
}

// Recall is Lookup from memory alone: it asks nobody and never waits. ok is false if Lookup
// would do more, or if domain is not as in [Result.Domain]. Then nothing is known.
func (c *Client) Recall(domain string) (r Result, ok bool, err error) {
	s := c.fresh(domain)
	if s == nil {
		return r, false, nil
	}
	err = answer(c, s, &r)
	return r, true, err
}

// answer says in r what a Lookup returns for s.
func answer(c *Client, s *state, r *Result) error {
	s.report(r)
	// In this order: what changes before IsCurrent looks is seen by it, and what changes
	// later is seen by the Mark.
	if mark := c.marks.Of(s.domain); c.IsCurrent(s.domain, s.policy) {
		r.Mark = Mark{mark, c.memory.Hit(s.domain)}
	}
	return c.unknown(s)
}

// fresh returns the state of domain in memory if it needs no lookup, or nil.
func (c *Client) fresh(domain string) *state {
	if s := c.memory.Get(domain); s != nil && s.used && s.isFresh(c.config.Now()) && !c.storage.isBack(s) {
		return s
	}
	return nil
}

// remember puts s into memory.
func (c *Client) remember(s *state) {
	class, size := s.weigh()
	if before := c.memory.Get(s.domain); before == nil || before.policy != s.policy {
		defer c.marks.Change(s.domain)
	}
	for _, gone := range c.memory.Put(s.domain, s, class, size) {
		if gone.inForce(c.config.Now()) && gone.policy.Mode != None && (c.config.Store == nil || gone.unsaved) {
			c.events.rarely(Event{Kind: PolicyForgotten, Domain: gone.domain, Old: gone.policy})
		}
	}
}

// unknown returns ErrStoreUnread if mail has to wait because the store may have a
// policy: it has given no answer about the domain yet, and nothing else is known.
func (c *Client) unknown(s *state) error {
	if c.config.Store != nil && !s.answered && s.policy == nil && !c.config.ProceedUnread {
		return ErrStoreUnread
	}
	return nil
}

// IsCurrent reports whether p, which may be nil, is still the policy that a Lookup of
// domain returns, as far as memory can tell. It costs no query and does not allocate. A
// caller that keeps what it made from a [Result] must make it again when IsCurrent is
// false, or at NextCheck: a refresh, another lookup or another Client that shares the
// Store may have brought another policy, or the Store can be read again.
//
// domain must be as in [Result.Domain].
func (c *Client) IsCurrent(domain string, p *Policy) bool {
	s := c.memory.Get(domain)
	switch {
	case s == nil:
		return true
	case c.storage.isBack(s):
		return false
	}
	return s.policy == p || s.policy != nil && p != nil && s.policy.Text == p.Text
}

// Recheck asks DNS for the id now, whatever the Client remembers, and fetches the
// policy if the id has changed. A cache inside the Resolver may still answer.
// changed reports whether another policy is in force than before.
//
// A sender must call Recheck, or Lookup after [Result.NextCheck], before it
// bounces a message that an enforced policy kept from delivery (RFC 8461 sections
// 5 and 5.1). If the policy changed, the sender must try the message again. The
// errors are those of [Client.Lookup].
func (c *Client) Recheck(ctx context.Context, domain string) (r Result, changed bool, err error) {
	domain, err = canonicalDomain(domain)
	if err != nil {
		return Result{}, false, err
	}
	var before *Policy
	if s := c.memory.Get(domain); s != nil {
		before = s.at(c.config.Now()).policy
	}
	s, err := c.search(ctx, domain, recheck, false)
	if err != nil {
		return Result{}, false, err
	}
	s.report(&r)
	return r, s.policy != before, c.unknown(s)
}

// Remembered returns the policy for domain that is in force in memory or in the
// Store. It does not use DNS. A sender needs it to judge a DNS answer that is not
// authenticated, for example that the domain does not exist.
//
// The error is [ErrNoPolicy] if no policy is in force, [ErrStoreUnread] if none is in
// force in memory and the Store could not be read, or that of ctx, or wraps
// [ErrDomain].
func (c *Client) Remembered(ctx context.Context, domain string) (*Policy, error) {
	domain, err := canonicalDomain(domain)
	if err != nil {
		return nil, err
	}
	s := c.memory.Get(domain)
	if s != nil {
		s = s.at(c.config.Now()) // perhaps with a policy back that a wrong clock has ended
	}
	if s == nil || s.policy == nil { // another Client may have fetched it
		s = c.storage.read(ctx, domain).at(c.config.Now())
	}
	switch {
	case s.policy != nil:
		return s.policy, nil
	case s.unread && ctx.Err() != nil:
		return nil, ctx.Err()
	case s.unread:
		return nil, ErrStoreUnread
	default:
		return nil, ErrNoPolicy
	}
}

// canonicalDomain returns domain in A-labels, in lower case, without a final dot.
// It does not allocate if domain already has that form.
func canonicalDomain(domain string) (string, error) {
	name, err := names.Canonical(domain)
	if err != nil {
		return "", fmt.Errorf("mtasts: %s: %w: %w", quote(domain), ErrDomain, err)
	}
	return name, nil
}

// task is the purpose of a flight.
type task uint8

const (
	// lookUp asks DNS for the id if the TTL has passed, and fetches the policy if
	// there is a reason to.
	lookUp task = iota
	// recheck asks DNS for the id now.
	recheck
	// refresh fetches the policy in force again, whatever DNS says.
	refresh
	// reread reads what another Client has put into the store.
	reread
)

const (
	// patience is how long a Lookup waits for news of a domain that has a policy in
	// force. The flight goes on without it.
	patience = 5 * time.Second
	// soon is when to look again for a policy that could not be waited for.
	soon = 5 * time.Second
)

// errPending means that a Lookup did not wait for the end of a fetch.
var errPending = errors.New("the fetch of the policy goes on; until it ends, mail may be sent as if there were none (RFC 8461 section 3.3)")

// search waits for a flight that asks DNS, always or if the TTL has passed, and returns
// the state of domain after it. An impatient caller gets what is known after a while.
func (c *Client) search(ctx context.Context, domain string, t task, impatient bool) (*state, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := c.board(ctx, domain, t)
		if err != nil {
			return nil, err
		}
		found, err := c.wait(ctx, f, impatient)
		if err != nil || found.state != nil && (t == lookUp || found.task != lookUp) {
			return found.state, err
		}
		// The flight did not ask DNS, or it was a Lookup that perhaps did not.
	}
}

// outcome is what a flight has found out about a domain. There is one flight for
// a domain at a time, and all callers that need it wait for it, so that no flight
// undoes the work of another.
type outcome struct {
	task  task
	state *state // nil if the flight did not look for news
}

// board returns the flight for domain that is in progress, or starts one. A
// refresh ends with ctx; other flights go on without their callers.
func (c *Client) board(ctx context.Context, domain string, t task) (*flight.Flight[outcome], error) {
	if !c.running.Begin() {
		return nil, ErrClosed
	}
	f, isNew := c.flights.Claim(domain)
	if !isNew {
		c.running.Done()
		return f, nil
	}
	if t != refresh {
		ctx = context.WithoutCancel(ctx)
	}
	w := &work{client: c, domain: domain, task: t, flight: f, remembered: c.memory.Get(domain)}
	if w.remembered == nil && t == lookUp {
		// Usually there is nothing to do after this, and no goroutine is needed.
		w.stored = c.storage.read(ctx, domain)
		if now := c.config.Now(); w.stored.used && w.stored.isFresh(now) && w.stored.inForce(now) {
			s := w.stored.at(now)
			c.remember(s)
			c.storage.write(ctx, w.stored, s)
			w.end(s)
			return f, nil
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.closing, cancel)
	go func() {
		w.end(w.run(ctx))
		stop()
		cancel()
	}()
	return f, nil
}

// wait returns the outcome of f. If impatient, it returns the policy in force once
// patience has passed, and none once FirstWait has passed.
func (c *Client) wait(ctx context.Context, f *flight.Flight[outcome], impatient bool) (outcome, error) {
	select {
	case <-f.Done():
		return f.Outcome()
	default:
	}
	var impatience, end <-chan time.Time
	if impatient {
		timer := time.NewTimer(patience - time.Since(f.Began()))
		defer timer.Stop()
		impatience = timer.C
		last := time.NewTimer(c.config.FirstWait)
		defer last.Stop()
		end = last.C
	}
	for {
		select {
		case <-f.Done():
			return f.Outcome()
		case <-ctx.Done():
			return outcome{}, ctx.Err()
		case <-impatience:
			if known, ok := f.Interim(); ok {
				if known.state = known.state.at(c.config.Now()); known.state.policy != nil {
					return known, nil
				}
			}
			impatience = nil
		case <-end:
			if known, ok := f.Interim(); ok {
				now := c.config.Now()
				known.state = known.state.at(now)
				if known.state.policy == nil {
					known.state.setError(&Error{Domain: known.state.domain, Kind: KindFetch, ReasonCode: "http-pending", Err: errPending}, "")
					known.state.checkAt(now.Add(soon))
				}
				return known, nil
			}
			end = nil
		}
	}
}

// work is what one flight does about a domain.
type work struct {
	client     *Client
	domain     string
	task       task
	flight     *flight.Flight[outcome]
	remembered *state // in memory at the start; nil for nothing
	stored     *state // in the store, as far as known; nil before it is read
	// refused means that what the store has does not replace the policy in memory.
	refused bool
}

// end gives the outcome to all that wait for the flight.
func (w *work) end(s *state) {
	w.client.flights.Finish(w.domain, w.flight, outcome{w.task, s}, nil)
	w.client.running.Done()
}

// run finds out what is known, takes one step from there, and passes the new state
// on to the store, memory and the operator. It returns the new state, or nil if
// the flight did not look for news or ctx ended before.
func (w *work) run(ctx context.Context) *state {
	c := w.client
	before, old := w.load(ctx)
	next, looked := w.step(ctx, old)
	if ctx.Err() != nil {
		return nil
	}
	if next.unread || c.unknown(next) != nil {
		next.checkAt(earlier(next.next, c.config.Now().Add(storeRetry)))
	}
	news := changes(before, next, c.config.Now())
	written := true
	// After a change by another Client, only what is missing or older is replaced in the
	// store, and not by what a wrong clock has dated. Otherwise Clients that disagree would
	// write in turns without end.
	if w.task != reread || w.stored.policy == nil || w.stored.fetched.Before(next.fetched) && !isFuture(next, c.config.Now()) {
		written = c.storage.write(ctx, w.stored, next)
		if next.unsaved == written {
			copied := *next // which others may be reading already
			copied.unsaved = !written
			next = &copied
		}
	}
	if w.task != refresh || w.remembered != nil || !written || c.memory.HasRoom() {
		// A refresh does not take room in memory from domains that are looked up,
		// except where the store did not accept the policy.
		c.remember(next)
	}
	for _, e := range news {
		c.events.notify(e)
	}
	if !looked {
		return nil
	}
	c.events.searchFailed(ctx, next)
	return next
}

// load returns and publishes what is known of the domain, from memory, or from the
// store if that has a newer policy. It also returns what was known before the
// store was read. Without a policy in force in memory, the store is read each time,
// because another Client may have put one.
func (w *work) load(ctx context.Context) (before, old *state) {
	c := w.client
	mine := w.remembered
	if mine != nil && w.task != reread && mine.inForce(c.config.Now()) {
		w.stored = mine
		w.flight.Publish(outcome{w.task, mine})
		return mine, mine
	}
	if w.stored == nil {
		w.stored = c.storage.read(ctx, w.domain)
	}
	theirs, now := w.stored, c.config.Now()
	if mine != nil && mine.lapsed != nil {
		mine = mine.at(now) // perhaps with the policy back, because the clock was wrong
	}
	switch {
	case mine == nil:
		before, old = theirs, theirs
	case !mine.inForce(now) && !theirs.inForce(now):
		same := *mine
		same.unread, same.epoch = theirs.unread, theirs.epoch
		same.answered = theirs.answered || mine.answered
		before, old = mine, &same
	case !mine.inForce(now):
		copied := *theirs
		copied.lapsed = mine.at(now).lapsed
		before, old = mine, &copied
	case theirs.policy != nil && !mayReplace(theirs, mine, now):
		// What is older is replaced in the store. Anything else stays there until this
		// Client has fetched the policy itself.
		w.refused = theirs.fetched.After(mine.fetched) || isFuture(mine, now)
		before, old = mine, mine
	case theirs.fetched.After(mine.fetched):
		copied := *theirs
		copied.lapsed = mine.lapsed
		before, old = mine, &copied
	default:
		before, old = mine, mine
	}
	w.flight.Publish(outcome{w.task, old})
	if w.remembered != nil || w.task != refresh {
		c.remember(old)
	}
	return before, old
}

// step returns the state that follows from old (RFC 8461 section 5.1), and
// whether the flight looked for news. Only a newer policy ends the policy in
// force.
func (w *work) step(ctx context.Context, old *state) (_ *state, looked bool) {
	c := w.client
	next := old.at(c.config.Now())
	switch {
	case w.task == reread && (!w.refused || isFuture(w.stored, next.made)), w.task == refresh && !next.used:
		return next, false
	case w.task == lookUp && old.isFresh(next.made):
		next.used = true
		return next, true
	}
	found := discover(ctx, c.config.Resolver, c.config.Now, w.domain)
	next = old.at(c.config.Now())
	if w.task == refresh && next.policy != nil {
		return w.renew(ctx, next, found), true
	}
	next.used = next.used || w.task != reread
	return w.follow(ctx, next, found), true
}

// follow returns the state that follows from what DNS says.
func (w *work) follow(ctx context.Context, next *state, found discovery) *state {
	switch {
	case errors.Is(found.err, ErrNoRecord) && next.policy == nil:
		next.setError(nil, "")
	case found.err != nil:
		next.setError(found.failure(w.domain), "")
	case next.policy == nil || next.id != found.record.ID:
		next, _ = w.fetch(ctx, next, found)
		return next
	default:
		next.confirmID()
		// Run would have fetched the policy by now. It is not running, or fails.
		if next.schedule().At(1).Before(next.made) {
			next, _ = w.fetch(ctx, next, found)
			return next
		}
	}
	next.checkAt(found.until)
	return next
}

// renew fetches the policy in force again, whether or not DNS has its record:
// otherwise an attacker who hides the record would make the policy expire (RFC
// 8461 section 10.2).
func (w *work) renew(ctx context.Context, next *state, found discovery) *state {
	seen := found
	if found.err != nil {
		seen.record.ID = next.id
	}
	next, ok := w.fetch(ctx, next, seen)
	if ok {
		next.used = false
		next.setError(found.failure(w.domain), "")
	}
	return next
}

// fetch returns the state that follows from the fetch of the policy that was
// found in DNS, by this Client or by another one that shares the store. ok
// reports whether the fetch succeeded.
func (w *work) fetch(ctx context.Context, next *state, found discovery) (_ *state, ok bool) {
	id := found.record.ID
	if next.backOff(id, found.until) {
		return next, false
	}
	theirs, release := w.share(ctx, next, id)
	defer release()
	if next.backOff(id, found.until) { // because of what another Client has found
		return next, false
	}
	if theirs == nil {
		return w.fetchItself(ctx, next, found)
	}
	theirs.used, theirs.lapsed = true, next.lapsed
	if theirs.backOff(id, found.until) {
		return theirs, false
	}
	theirs.checkAt(found.until)
	return theirs, true
}

// fetchItself fetches the policy over HTTPS. An expired policy is not in old any
// more, so an unchanged id does not extend it.
func (w *work) fetchItself(ctx context.Context, old *state, found discovery) (_ *state, ok bool) {
	c := w.client
	policy, text, err := c.fetcher.fetch(ctx, w.domain, old.policy)
	now := c.config.Now()
	next := old.at(now)
	switch {
	case err != nil && errors.Is(err, turn.ErrNone): // which is not the domain's failure
		next.setError(err, "")
		next.checkAt(earlier(found.until, now.Add(soon)))
	case err != nil:
		next.fetchFailed(failure{id: found.record.ID, when: now, err: err, text: shorten(text)})
		next.checkAt(earlier(found.until, now.Add(fetchRetry)))
	default:
		next.fetchSucceeded(found.record.ID, now, policy)
		next.used = true
		next.checkAt(found.until)
		// It applies from now on, and not only when the store has it.
		known := *next // which others read; next may still change
		w.flight.Publish(outcome{w.task, &known})
		if w.task != refresh || w.remembered != nil || c.memory.HasRoom() {
			c.remember(&known)
		}
	}
	if c.storage.leaser != nil && ctx.Err() == nil {
		c.storage.write(ctx, old, next) // before the lease ends and another Client may fetch
		c.storage.shareFailure(ctx, next)
	}
	return next, err == nil
}

// sleep returns after d, or when ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
