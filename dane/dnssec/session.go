package dnssec

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/private"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/flight"
)

// session asks the servers on behalf of one top-level lookup, within its budget.
// It is used by one goroutine. Only the exchanges run concurrently.
type session struct {
	client    *upstream.Client
	private   private.Zones
	exchanges *flight.Group[exchangeKey, *outcome] // shared by all sessions
	ctx       context.Context
	now       time.Time
	budget    *budget
	servers   []*upstream.Server
	problem   error // with the list of servers
	ahead     bool  // the answer may turn out not to be needed: no server is blamed
	started   map[exchangeKey]*flight.Flight[*outcome]
	// octets and memory are those of all replies to the questions started here, including
	// questions sent in advance whose replies are never judged.
	octets, memory atomic.Int64
	lease          *upstream.Lease // of the memory of all lookups
}

// outcome is that of the servers' race for one question. The reply is nil if all failed,
// or if it was too large for a guess.
type outcome = upstream.Outcome[*reply]

type exchangeKey struct {
	question
	tried upstream.Tried
	guess bool // a large reply is dropped
}

// close drops the exchanges that were started and turned out not to be needed.
func (s *session) close() {
	for key, f := range s.started {
		s.exchanges.Leave(key, f)
	}
}

// ask puts q to the servers, until the caller accepts a reply. Every reply is judged
// alike: a server that fails, or whose reply is bogus, is no reason to believe the next
// one more. The caller accepts one of the replies that next returns.
func (s *session) ask(q question) *asking { return &asking{session: s, q: q} }

// asking is one question on its way through the servers.
type asking struct {
	session   *session
	q         question
	only      []*upstream.Server // nil means all
	tried     upstream.Tried
	by        upstream.Attempt // that brought the reply
	overtaken []*upstream.Server
	failures  []*Error

	reply *reply
	err   *Error // after next has returned false
}

// next waits for the next reply. It returns false if there is none left.
func (a *asking) next() bool {
	if a.err != nil {
		return false
	}
	o, err := a.session.receive(a)
	if err != nil {
		a.err = asError(a.q, err)
		return false
	}
	a.failures = addFailures(a.failures, a.q, o.Failures)
	a.reply, a.by, a.overtaken, a.tried = o.Reply, o.By, o.Overtaken, o.Tried
	if a.reply == nil {
		a.err = summary(a.q, a.failures)
	}
	return a.err == nil
}

// accept reports whether the judgement err of the reply is nil.
func (a *asking) accept(err error) bool {
	if err != nil {
		e := a.reply.blamed(asError(a.q, err), a.q)
		a.tried = a.tried.With(a.by, e.Status == Bogus || e.Reason == Malformed)
		if e.stripsKeys() && !a.session.ahead {
			a.by.Server.Poor(a.q.name, time.Now())
		}
		a.failures = addFailures(a.failures, a.q, []error{e})
		if e.final {
			a.err = e
		}
		return false
	}
	// What the reply says is known now, so it need not be kept.
	for key, f := range a.session.started {
		if key.question == a.q {
			a.session.exchanges.Leave(key, f)
			delete(a.session.started, key)
		}
	}
	return true
}

// receive takes the outcome of the next race from the budget.
func (s *session) receive(a *asking) (*outcome, error) {
	o, err := s.await(a)
	switch {
	case s.ctx.Err() != nil:
		return nil, interrupted(a.q, s.ctx.Err())
	case err != nil || o.Reply == nil:
		return o, err
	default:
		return o, s.budget.read(o.Reply)
	}
}

// await waits for the outcome of the next race.
func (s *session) await(a *asking) (*outcome, error) {
	if a.only != nil {
		if err := s.budget.query(); err != nil {
			return nil, err
		}
		return s.race(s.ctx, exchangeKey{question: a.q, tried: a.tried}, a.only)
	}
	if f := s.started[exchangeKey{a.q, a.tried, true}]; f != nil {
		o, err := f.Wait(s.ctx)
		busy := new(upstream.Error)
		wasSent := !errors.As(err, &busy) || busy.Kind != upstream.Busy
		if wasSent && (err != nil || o.Reply != nil || o.By.Server == nil) {
			return o, err
		}
	}
	f, err := s.start(exchangeKey{a.q, a.tried, false})
	if err != nil {
		return nil, err
	}
	return f.Wait(s.ctx)
}

// maxGuess bounds the memory for the reply to a guess. Honest zones have smaller ones.
const maxGuess = 32 << 10

// guess sends a question whose reply may turn out not to be needed, and reports whether more
// may follow. The replies to all of them take three eighths of the memory at most, and they
// must not use up the questions that a long chain of aliases needs.
func (s *session) guess(q question) bool {
	if s.started[exchangeKey{question: q}] != nil {
		return true
	}
	guesses, _ := s.held()
	if guesses+s.largest(true) > s.budget.limits.Memory*3/8 || s.budget.queries.Load() < int64(s.budget.limits.Queries/2) {
		return false
	}
	_, err := s.start(exchangeKey{question: q, guess: true})
	return err == nil
}

// start sends a question without waiting for the reply.
func (s *session) start(key exchangeKey) (*flight.Flight[*outcome], error) {
	if f := s.started[key]; f != nil {
		return f, nil
	}
	if key.tried == "" {
		if err := s.budget.query(); err != nil {
			return nil, err
		}
	}
	if err := s.budget.received(s.octets.Load(), s.memory.Load()); err != nil {
		return nil, err
	}
	if guesses, others := s.held(); !key.guess && guesses+others+s.largest(false) > s.budget.limits.Memory {
		return nil, &proof.LimitError{What: "octets of memory for replies", Limit: s.budget.limits.Memory, Total: true}
	}
	f := s.exchanges.Join(s.ctx, key, func(ctx context.Context) (*outcome, error) { return s.race(ctx, key, nil) })
	s.started[key] = f
	return f, nil
}

// held returns the memory of replies to guesses and to other questions. A reply that did
// not arrive counts as the largest that may.
func (s *session) held() (guesses, others int) {
	for key, f := range s.started {
		memory := s.largest(key.guess)
		select {
		case <-f.Done():
			memory = 0
			if o, _ := f.Outcome(); o != nil && o.Reply != nil {
				memory = o.Reply.memory
			}
		default:
		}
		if key.guess {
			guesses += memory
		} else {
			others += memory
		}
	}
	return guesses, others
}

// largest returns the memory that one reply may take.
func (s *session) largest(guess bool) int {
	half := s.budget.limits.Memory / 2
	if guess {
		return min(half, maxGuess)
	}
	return half
}

// race asks the servers given, or those for the name.
func (s *session) race(ctx context.Context, key exchangeKey, only []*upstream.Server) (*outcome, error) {
	r := upstream.Race[*reply]{Name: key.name, Servers: s.servers, Apex: ".", Tried: key.tried, Spare: key.guess, Spend: s.budget.query}
	if zone := s.private.Of(key.home()); zone != nil && len(zone.Servers) > 0 {
		r.Servers, r.Apex = zone.Servers, zone.Name
	}
	if only != nil {
		r.Servers = only
	}
	r.Ask = func(ctx context.Context, to upstream.Attempt) (*reply, error) { return s.exchange(ctx, key, to) }
	return r.Run(ctx, s.client)
}

// exchange makes one attempt. A reply that is too large for a guess is nil.
func (s *session) exchange(ctx context.Context, key exchangeKey, to upstream.Attempt) (*reply, error) {
	msg, err := s.client.Exchange(ctx, to, upstream.Question{Name: key.name, Type: key.rtype, Memory: s.largest(key.guess)})
	if e := new(upstream.Error); errors.As(err, &e) && e.Kind == upstream.TooLarge {
		s.octets.Add(1 << 16) // at most
		if key.guess {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	r, err := newReply(msg, key.question)
	switch {
	case err == nil:
		s.octets.Add(int64(r.octets))
		s.memory.Add(int64(r.memory))
		err = s.lease.Grow(r.memory)
	case asError(key.question, err).Reason == Refused && !key.guess && !s.ahead:
		to.Server.Poor(key.name, time.Now())
	}
	return r, err
}

// addFailures adds the errors of attempts. It keeps the last of each server.
func addFailures(failures []*Error, q question, errs []error) []*Error {
	for _, err := range errs {
		e := asError(q, err)
		failures = append(slices.DeleteFunc(failures, func(old *Error) bool { return old.Server == e.Server }), e)
	}
	return failures
}

// silence reports whether none of the servers that failed said anything about the name.
func silence(failures []*Error) bool {
	return !slices.ContainsFunc(failures, func(e *Error) bool { return !e.concernsServer() })
}

// summary is the error of a question that all servers failed. A bogus answer says more
// than another, which says more than none. A lack of room at this host comes before
// silence, which it may have caused.
func summary(q question, failures []*Error) *Error {
	switch len(failures) {
	case 0:
		return failure(q, Unreachable, "there is no server left to ask")
	case 1:
		return failures[0]
	}
	worst, fleeting := failures[0], true
	causes := make([]error, len(failures))
	for i, e := range failures {
		causes[i] = e
		fleeting = fleeting && e.fleeting
		if e.weight() > worst.weight() {
			worst = e
		}
	}
	e := failure(q, worst.Reason, "all servers failed")
	e.Status, e.Err, e.fleeting = worst.Status, errors.Join(causes...), fleeting
	return e
}
