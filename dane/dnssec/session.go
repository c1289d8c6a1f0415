package dnssec

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/flight"
)

// session is one top-level lookup: its budget, and what it has learnt so far.
// It is used by one goroutine; only the exchanges run beside it.
type session struct {
	v       *Validator
	ctx     context.Context
	now     time.Time
	budget  *budget
	tries   []attempt
	problem error // with the list of servers
	started map[exchangeKey]*flight.Flight[*reply]
	cuts    map[string]cutResult
	// received are the octets of all replies to what was started here, those to
	// guesses included, which nobody may ever judge.
	received atomic.Int64
}

type exchangeKey struct {
	attempt
	question
}

type cutResult struct {
	cut *cut
	err error
}

func (v *Validator) newSession(ctx context.Context) *session {
	servers, problem := v.upstreams.list()
	return &session{
		v:       v,
		ctx:     ctx,
		now:     v.now(),
		budget:  newBudget(v.limits),
		tries:   attempts(servers, time.Now()),
		problem: problem,
		started: make(map[exchangeKey]*flight.Flight[*reply]),
		cuts:    make(map[string]cutResult),
	}
}

// close drops the exchanges that were begun and turned out not to be needed.
func (s *session) close() {
	for key, f := range s.started {
		s.v.exchanges.Leave(key, f)
	}
}

// start sends a question without waiting for the reply.
func (s *session) start(to attempt, q question) (*flight.Flight[*reply], error) {
	key := exchangeKey{to, q}
	if f := s.started[key]; f != nil {
		return f, nil
	}
	if err := s.budget.query(); err != nil {
		return nil, err
	}
	if err := s.budget.hold(s.received.Load()); err != nil {
		return nil, err
	}
	f := s.v.exchanges.Join(s.ctx, key, func(ctx context.Context) (*reply, error) {
		r, err := s.v.client.try(ctx, to, q)
		if err == nil {
			s.received.Add(int64(r.octets))
		}
		return r, err
	})
	s.started[key] = f
	return f, nil
}

// ask puts q to one server after the other until judge accepts a reply. A
// server that does not answer, or whose answer is bogus, is no reason to
// believe the next one any more than the first: each answer is judged alike.
func (s *session) ask(q question, judge func(*reply) error) error {
	var failures []*Error
	for _, to := range s.tries {
		if to.stream && !worthStream(failures, to.server) {
			continue
		}
		err := s.askOne(q, to, judge)
		if err == nil {
			return nil
		}
		e := asError(q, err)
		if final(e) {
			return e
		}
		to.server.note(e, time.Now())
		failures = addFailure(failures, e)
	}
	return summary(q, failures)
}

// addFailure keeps the last failure of each server.
func addFailure(failures []*Error, e *Error) []*Error {
	same := func(old *Error) bool { return old.Server == e.Server }
	return append(slices.DeleteFunc(failures, same), e)
}

func (s *session) askOne(q question, to attempt, judge func(*reply) error) error {
	f, err := s.start(to, q)
	if err != nil {
		return err
	}
	r, err := f.Wait(s.ctx)
	if s.ctx.Err() != nil {
		return interrupted(q, s.ctx.Err())
	}
	if err != nil {
		return err
	}
	if err := s.budget.read(r.octets); err != nil {
		return err
	}
	if err := judge(r); err != nil {
		return r.blamed(asError(q, err), q)
	}
	// What it said is known now: the reply need not be kept.
	key := exchangeKey{to, q}
	s.v.exchanges.Leave(key, f)
	delete(s.started, key)
	return nil
}

// blamed names the server in an error about q, and wraps one about another
// question, further up the chain.
func (r *reply) blamed(e *Error, q question) *Error {
	switch {
	case e.final:
		return e
	case e.Name == q.name && e.Type == Type(q.rtype) && e.Server == "":
		return r.blame(e)
	case e.Name == q.name && e.Type == Type(q.rtype):
		return e
	default:
		return r.blame(e.within(q))
	}
}

// worthStream reports whether the server may do better over TCP: it kept
// silent, or its datagrams were nonsense or bogus, which somebody else may have
// sent.
func worthStream(failures []*Error, s *server) bool {
	for _, e := range failures {
		if e.Server == s.String() && (e.Reason == Timeout || e.Reason == Malformed || e.Status == Bogus) {
			return true
		}
	}
	return false
}

// asError turns any error below into an *Error about q.
func asError(q question, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var limit *limitError
	if errors.As(err, &limit) {
		e = failure(q, WorkLimit, "%v", limit)
		e.final = limit.total
		return e
	}
	e = failure(q, Unreachable, "")
	e.Err = err
	return e
}

// summary is the error of a question that every server failed. A bogus answer
// says more than none.
func summary(q question, failures []*Error) *Error {
	if len(failures) == 1 {
		return failures[0]
	}
	worst := failures[0]
	causes := make([]error, len(failures))
	for i, e := range failures {
		causes[i] = e
		if e.Status == Bogus && worst.Status != Bogus {
			worst = e
		}
	}
	e := failure(q, worst.Reason, "all servers failed")
	e.Status, e.Err = worst.Status, errors.Join(causes...)
	return e
}
