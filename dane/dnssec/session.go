package dnssec

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/private"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/flight"
)

// session asks the servers on behalf of one top-level lookup, within its budget.
// It is used by one goroutine. Only the exchanges run concurrently.
type session struct {
	client    *upstream.Client
	private   private.Zones
	exchanges *flight.Group[exchangeKey, *reply] // shared by all sessions
	ctx       context.Context
	now       time.Time
	budget    *budget
	attempts  []upstream.Attempt
	problem   error // with the list of servers
	ahead     bool  // the answer may turn out not to be needed: no server is blamed
	started   map[exchangeKey]*flight.Flight[*reply]
	// octets and memory are those of all replies to the questions started here, including
	// questions sent in advance whose replies are never judged.
	octets, memory atomic.Int64
	lease          *upstream.Lease // of the memory of all lookups
}

type exchangeKey struct {
	upstream.Attempt
	question
	guess bool // a large reply is dropped
}

// close drops the exchanges that were started and turned out not to be needed.
func (s *session) close() {
	for key, f := range s.started {
		s.exchanges.Leave(key, f)
	}
}

// ask puts q to one server after the other, until the caller accepts a reply.
// Every reply is judged alike: a server that fails, or whose reply is bogus, is no
// reason to believe the next one more.
//
//	asked := s.ask(q)
//	for asked.next() {
//		if asked.accept(judge(asked.reply)) {
//			return nil
//		}
//	}
//	return asked.err
func (s *session) ask(q question) *asking {
	attempts := s.attempts
	if zone := s.private.Of(q.home()); zone != nil && len(zone.Servers) > 0 {
		attempts = s.client.Attempts(zone.Servers, time.Now())
	}
	return &asking{session: s, q: q, attempts: attempts}
}

// asking is one question on its way through the servers.
type asking struct {
	session  *session
	q        question
	attempts []upstream.Attempt // those that are left
	to       upstream.Attempt
	failures []*Error

	reply *reply
	err   error // after next has returned false
}

// next waits for the reply of the next server. It returns false after the last.
func (a *asking) next() bool {
	for a.err == nil && len(a.attempts) > 0 {
		a.to, a.attempts = a.attempts[0], a.attempts[1:]
		if a.to.Again && !worthAgain(a.failures, a.to) {
			continue
		}
		r, err := a.session.receive(a.to, a.q)
		if err == nil {
			a.reply = r
			return true
		}
		a.fail(asError(a.q, err))
	}
	if a.err == nil {
		a.err = summary(a.q, a.failures)
	}
	return false
}

// accept reports whether the judgement err of the reply is nil.
func (a *asking) accept(err error) bool {
	if err != nil {
		a.fail(a.reply.blamed(asError(a.q, err), a.q))
		return false
	}
	// What the reply says is known now, so it need not be kept. The chain may have
	// asked the same question while this reply was judged, and dropped it already.
	for _, guess := range []bool{false, true} {
		key := exchangeKey{a.to, a.q, guess}
		if f := a.session.started[key]; f != nil {
			a.session.exchanges.Leave(key, f)
			delete(a.session.started, key)
		}
	}
	return true
}

func (a *asking) fail(e *Error) {
	if e.final {
		a.err = e
		return
	}
	if e.concernsServer() && !a.session.ahead {
		a.to.Server.Failed(time.Now())
	}
	a.failures = addFailure(a.failures, e)
}

// receive waits for the reply of one server.
func (s *session) receive(to upstream.Attempt, q question) (*reply, error) {
	f := s.started[exchangeKey{to, q, true}]
	if f != nil {
		r, err := f.Wait(s.ctx)
		if dropped := new(upstream.Error); !errors.As(err, &dropped) || dropped.Kind != upstream.TooLarge && dropped.Kind != upstream.Busy {
			return s.received(q, r, err)
		}
	}
	f, err := s.start(exchangeKey{to, q, false})
	if err != nil {
		return nil, err
	}
	r, err := f.Wait(s.ctx)
	return s.received(q, r, err)
}

// received takes a reply from the budget.
func (s *session) received(q question, r *reply, err error) (*reply, error) {
	if s.ctx.Err() != nil {
		return nil, interrupted(q, s.ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	return r, s.budget.read(r)
}

// maxGuess bounds the memory for the reply to a guess. Those of honest zones are
// smaller.
const maxGuess = 32 << 10

// guess sends a question whose reply may turn out not to be needed.
func (s *session) guess(q question) error {
	if s.started[exchangeKey{s.attempts[0], q, false}] != nil {
		return nil
	}
	_, err := s.start(exchangeKey{s.attempts[0], q, true})
	return err
}

// start sends a question without waiting for the reply.
func (s *session) start(key exchangeKey) (*flight.Flight[*reply], error) {
	if f := s.started[key]; f != nil {
		return f, nil
	}
	if err := s.budget.query(); err != nil {
		return nil, err
	}
	if err := s.budget.received(s.octets.Load(), s.memory.Load()); err != nil {
		return nil, err
	}
	memory := s.budget.limits.Memory / 2
	if key.guess {
		memory = min(memory, maxGuess)
	}
	f := s.exchanges.Join(s.ctx, key, func(ctx context.Context) (*reply, error) {
		msg, err := s.client.Exchange(ctx, key.Attempt, upstream.Question{Name: key.name, Type: key.rtype, Memory: memory, Spare: key.guess})
		if err != nil {
			if e := new(upstream.Error); errors.As(err, &e) && e.Kind == upstream.TooLarge {
				s.octets.Add(1 << 16) // at most
			}
			return nil, err
		}
		r, err := newReply(msg, key.question)
		if err != nil {
			return nil, err
		}
		s.octets.Add(int64(r.octets))
		s.memory.Add(int64(r.memory))
		return r, s.lease.Grow(r.memory)
	})
	s.started[key] = f
	return f, nil
}

// addFailure keeps the last failure of each server.
func addFailure(failures []*Error, e *Error) []*Error {
	same := func(old *Error) bool { return old.Server == e.Server }
	return append(slices.DeleteFunc(failures, same), e)
}

// worthAgain reports whether the server may do better in the way of an attempt: it did
// not answer before, or its datagrams were malformed or bogus, which may have been sent
// by someone else.
func worthAgain(failures []*Error, to upstream.Attempt) bool {
	for _, e := range failures {
		if e.Server == to.Server.String() &&
			(e.Reason == Timeout || e.Reason == Malformed || e.Status == Bogus || e.Reason == Unreachable && !to.Stream) {
			return true
		}
	}
	return false
}

// summary is the error of a question that all servers failed. A bogus answer says more
// than another, which says more than none. A lack of room at this host comes before
// silence, which it may have caused.
func summary(q question, failures []*Error) *Error {
	if len(failures) == 1 {
		return failures[0]
	}
	worst := failures[0]
	causes := make([]error, len(failures))
	for i, e := range failures {
		causes[i] = e
		if e.weight() > worst.weight() {
			worst = e
		}
	}
	e := failure(q, worst.Reason, "all servers failed")
	e.Status, e.Err = worst.Status, errors.Join(causes...)
	return e
}
