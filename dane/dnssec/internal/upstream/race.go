package upstream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Race asks one question. It asks the first server, and the next one when the first has
// failed, or in parallel if the first is slow. The first reply wins.
type Race[R any] struct {
	Name    string // that the question is about
	Servers []*Server
	// Apex is a name that all the servers know: see check.
	Apex string
	// Tried are the attempts of earlier races for the question. They are not repeated.
	Tried Tried
	// Ask makes one attempt. The context ends after Client.Timeout, or when the race is
	// over. It is called by several goroutines, like Spend.
	Ask func(ctx context.Context, to Attempt) (R, error)
	// Spare means that nobody may need the reply. The question is then not sent unless a
	// quarter of the room is free; the error of Run is an *Error, Busy.
	Spare bool
	// Spend is called before each attempt for the question but the first. Its error ends
	// the race if no attempt under way brings a reply.
	Spend func() error
}

// Outcome is how a Race ended.
type Outcome[R any] struct {
	Reply R
	By    Attempt // that brought the Reply; zero if all attempts failed
	// Failures are the errors of the attempts that failed, in the order in which they
	// began.
	Failures []error
	// Overtaken are the servers that are configured before that of By and have neither
	// replied nor failed.
	Overtaken []*Server
	// Tried are the attempts that failed, and those of earlier races.
	Tried Tried
}

// lookTime is how often a race looks at the servers that it waits for.
const lookTime = 50 * time.Millisecond

// Run runs the race. It returns an error if ctx ended, Spend returned one, or this host
// has no room. If all attempts failed, the error is nil and Outcome.By is zero.
func (r Race[R]) Run(ctx context.Context, c *Client) (*Outcome[R], error) {
	options := c.servers.options()
	run := &running[R]{Race: r, client: c, ctx: ctx, timeout: options.Timeout, rotated: options.Rotate, began: time.Now()}
	run.outcome = &Outcome[R]{Tried: r.Tried}
	run.line(c.Attempts(r.Servers, run.began))
	run.work()
	run.wait()
	return run.end()
}

// running is a Race under way.
type running[R any] struct {
	Race[R]
	client  *Client
	ctx     context.Context
	timeout time.Duration // of one attempt
	rotated bool          // the order is not that of the configuration
	began   time.Time

	mu      sync.Mutex
	left    []Attempt // not begun
	entries []*entry  // begun, or refused
	timer   *time.Timer
	over    bool
	done    chan struct{} // if not nil, closed when the race is over
	outcome *Outcome[R]
	err     error // why no more attempts begin
}

// entry is an attempt of a race.
type entry struct {
	Attempt
	began    time.Time
	cancel   context.CancelFunc
	underWay bool
	missed   bool  // the reply is overdue
	givenUp  bool  // because the server is failing
	err      error // if it failed
}

// line sorts out which attempts may be made. Servers that are failing are not asked.
func (r *running[R]) line(attempts []Attempt) {
	r.left = attempts[:0]
	for _, to := range attempts {
		to.Stream = to.Stream || r.Tried.overUDP(to.Server)
		switch {
		case r.Tried.has(to):
		case to.Server.standing(r.began) == failing && r.client.open.Err() == nil:
			if !slices.ContainsFunc(r.entries, func(e *entry) bool { return e.Server == to.Server }) {
				r.entries = append(r.entries, &entry{Attempt: to, err: to.Server.failingError()})
			}
		default:
			r.left = append(r.left, to)
		}
		if to.Round == 0 {
			to.Server.review(r.client, r.Apex)
		}
	}
}

// work makes attempts until none may begin. The timer calls it in a second goroutine if
// the first attempt is slow, and so on.
func (r *running[R]) work() {
	for e := r.begin(); e != nil; e = r.begin() {
		reply, err := r.attempt(e)
		r.ended(e, reply, err)
	}
}

// attempt makes an attempt when there is room. While this host has too many files open, it
// tries again, because others are closed all the time; not so for a question that nobody
// may need. Neither wait is held against the server.
func (r *running[R]) attempt(e *entry) (reply R, err error) {
	room, err := r.client.enter(r.ctx, e.Attempt, r.Spare)
	if err != nil {
		return reply, err
	}
	defer room.leave()
	if e.Server.standing(time.Now()) == failing { // by now
		return reply, e.Server.failingError()
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	defer cancel()
	var lack error
	for {
		r.sent(e, cancel)
		reply, err = r.Ask(ctx, e.Attempt)
		switch {
		case err == nil:
			return reply, nil
		case tooManyFiles(err):
			lack = err
			r.client.Room.lacked.Store(time.Now().UnixNano())
		case lack != nil && isTimeout(err):
			return reply, lack
		default:
			return reply, err
		}
		if r.Spare || !waits(ctx, lackTime) {
			return reply, lack
		}
	}
}

// waits reports whether ctx lasts for the time, and waits for it.
func waits(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// begin takes the next attempt, or returns nil if none may begin now.
func (r *running[R]) begin() *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil
	}
	at, alone := -1, !slices.ContainsFunc(r.entries, (*entry).isUnderWay)
	if r.err == nil && r.ctx.Err() == nil && (alone || r.client.Room.HasSpare()) {
		at = slices.IndexFunc(r.left, r.mayBegin)
	}
	if at >= 0 && r.Spend != nil && (r.Tried != "" || slices.ContainsFunc(r.entries, (*entry).isMade)) {
		if r.err = r.Spend(); r.err != nil {
			at = -1
		}
	}
	if at < 0 {
		if alone {
			r.finish()
		}
		return nil
	}
	e := &entry{Attempt: r.left[at], underWay: true}
	r.left = slices.Delete(r.left, at, at+1)
	r.entries = append(r.entries, e)
	return e
}

// mayBegin reports whether the attempt is allowed now. A plaintext server is not asked
// while an authenticated one may still reply, because it is easier to attack. A server
// is asked again after a failure that may be due to the way in which it was asked, and in
// parallel with an attempt in another way whose reply is overdue, like all others.
func (r *running[R]) mayBegin(to Attempt) bool {
	overdue, sameWay := false, false
	for _, e := range r.entries {
		switch {
		case !e.underWay:
		case e.Server.isAuthenticated() && !to.Server.isAuthenticated(), to.Round > 0 && !e.missed:
			return false
		case e.Server == to.Server:
			overdue = overdue || e.missed
			sameWay = sameWay || e.Stream == to.Stream || e.Server.IsTLS()
		}
	}
	return to.Round == 0 || overdue && !sameWay || r.outcome.Tried.worthAgain(to.Server)
}

// sent notes that the question is about to be sent.
func (r *running[R]) sent(e *entry, cancel context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.began, e.cancel = time.Now(), cancel
	switch {
	case r.over:
		cancel()
	case r.timer == nil:
		r.timer = time.AfterFunc(e.Server.patience(), r.look)
	case e.Server.failsChecks():
		r.timer.Reset(0)
	default:
		r.timer.Reset(lookTime)
	}
}

// look looks at the attempts under way, and begins the next one if all are overdue, or their
// servers do not reply to checks either: dead servers cost their time together.
func (r *running[R]) look() {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	now, isTurn := time.Now(), true
	for _, e := range r.entries {
		if !e.underWay || e.began.IsZero() {
			continue
		}
		if wait := e.Server.patience(); now.Sub(e.began) >= wait {
			r.missed(e)
		}
		isTurn = isTurn && (e.missed || e.Server.failsChecks())
		if e.Server.standing(now) == failing {
			e.givenUp = true
			e.cancel()
		}
	}
	r.timer.Reset(lookTime)
	r.mu.Unlock()
	if isTurn {
		r.work()
	}
}

// missed notes that there is no reply to an attempt, at least not in the usual time. All
// servers are then checked, because the others may have to take over.
func (r *running[R]) missed(e *entry) {
	e.missed = true
	now := time.Now()
	if e.Server.missed(r.Name, e.began, now) {
		for _, s := range r.Servers {
			if s.isQuiet(e.began, now) {
				s.doubt(r.client, r.Apex)
			}
		}
	}
}

// ended notes the result of an attempt.
func (r *running[R]) ended(e *entry, reply R, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.underWay = false
	if r.over || r.ctx.Err() != nil {
		return
	}
	if err == nil {
		r.outcome.Reply, r.outcome.By = reply, e.Attempt
		if slices.ContainsFunc(r.entries, func(other *entry) bool { return other.Server == e.Server && !other.Stream && other.missed }) {
			e.Server.answered(e.Attempt, time.Now())
		}
		r.outcome.Overtaken = r.overtaken(e.Server)
		r.finish()
		return
	}
	if busy := new(Error); errors.As(err, &busy) && busy.Kind == Busy && (busy.Final || r.Spare) {
		if r.err = err; !slices.ContainsFunc(r.entries[:slices.Index(r.entries, e)], (*entry).isUnderWay) {
			r.finish() // what began later lacks the same
			return
		}
	}
	if e.err = err; e.givenUp {
		e.err = e.Server.failingError()
	} else if isSilence(err) {
		r.missed(e)
	}
	r.outcome.Tried = r.outcome.Tried.With(e.Attempt, !e.givenUp && mayDoBetter(err, e.Attempt))
}

// overtaken returns the servers that come before the winner and may still reply: those
// that are being asked, and those that were not asked because they did badly recently.
func (r *running[R]) overtaken(winner *Server) (servers []*Server) {
	before := r.Servers
	if r.rotated {
		before = nil
		for _, e := range r.entries {
			before = append(before, e.Server)
		}
	}
	for _, s := range before[:slices.Index(before, winner)] {
		failed, underWay := r.Tried.names(s), false
		for _, e := range r.entries {
			failed = failed || e.Server == s && e.err != nil
			underWay = underWay || e.Server == s && e.underWay
		}
		if (underWay || !failed) && !slices.Contains(servers, s) {
			servers = append(servers, s)
		}
	}
	return servers
}

// finish ends the race.
func (r *running[R]) finish() {
	r.over = true
	if r.timer != nil {
		r.timer.Stop()
	}
	for _, e := range r.entries {
		if e.underWay && e.cancel != nil {
			e.cancel()
		}
	}
	if r.done != nil {
		close(r.done)
	}
}

// wait waits until the race is over.
func (r *running[R]) wait() {
	r.mu.Lock()
	if !r.over {
		r.done = make(chan struct{})
	}
	done := r.done
	r.mu.Unlock()
	if done != nil {
		<-done
	}
}

// end returns the outcome.
func (r *running[R]) end() (*Outcome[R], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if e.err != nil {
			r.outcome.Failures = append(r.outcome.Failures, e.err)
		}
	}
	switch {
	case r.outcome.By.Server != nil:
		return r.outcome, nil
	case r.ctx.Err() != nil:
		return nil, r.ctx.Err()
	case r.err != nil:
		return nil, r.err
	default:
		return r.outcome, nil
	}
}

func (e *entry) isUnderWay() bool { return e.underWay }

// isMade reports whether a question was sent for the entry.
func (e *entry) isMade() bool { return !e.began.IsZero() }

// failingError returns the error of an attempt that a failed check prevents or ends.
func (s *Server) failingError() *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &Error{
		Kind: Timeout, Server: s.String(), Failing: true,
		Detail: "the server does not reply to anything; it is checked with each lookup",
	}
	if s.failure != nil { // it may have replied a moment ago
		e.Kind, e.Err = s.failure.Kind, s.failure
	}
	return e
}

// isSilence reports whether there was no reply at all.
func isSilence(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == Timeout || e.Kind == Unreachable || e.Kind == NotAuthenticated)
}

func isTimeout(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Timeout
}

// mayDoBetter reports whether the server may do better in another way: it did not reply,
// or the datagrams were malformed, which may have been sent by someone else.
func mayDoBetter(err error, to Attempt) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == Timeout || e.Kind == Malformed || e.Kind == Unreachable && to.Stream)
}
