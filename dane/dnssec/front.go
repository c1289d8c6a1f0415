package dnssec

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/memory"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/flight"
)

// front is where the callers of a Validator or a Trusting wait for their answers.
type front struct {
	client   *upstream.Client
	now      func() time.Time
	cache    *memory.Cache
	lookups  *flight.Group[question, *Answer]
	outcomes *outcomes
	host     *local // nil if it says nothing
}

// newFront checks what the configurations of both types have in common.
func newFront(config upstream.Config, now func() time.Time, cacheBytes int, limit time.Duration) (front, error) {
	if b := config.Bounds; config.Timeout < 0 || min(cacheBytes, b.Sockets, b.Exchanges, b.Memory) < 0 {
		return front{}, errors.New("dnssec: Config.Timeout, CacheBytes and Bounds must not be negative; 0 means the default")
	}
	client, err := upstream.New(config)
	if err != nil {
		return front{}, fmt.Errorf("dnssec: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return front{client, now, memory.New(cacheBytes), &flight.Group[question, *Answer]{Limit: limit}, new(outcomes), nil}, nil
}

// only returns a front for s alone, with an empty cache.
func (f front) only(s *upstream.Server) front {
	return front{f.client.Only(s), f.now, memory.New(1 << 20), &flight.Group[question, *Answer]{Limit: f.lookups.Limit}, new(outcomes), nil}
}

func (f *front) recall(name string, t Type) (a *Answer, ok bool, err error) {
	q, err := newQuestion(name, t)
	if err == nil && (f.host == nil || t != TypeA && t != TypeAAAA) {
		a, err = f.cached(q)
	}
	return a, a != nil || err != nil, err
}

// cached returns the answer, or the failure, if the cache has one.
func (f *front) cached(q question) (*Answer, error) {
	switch found := f.cache.Recall(q.name, q.rtype, f.now()).(type) {
	case *Answer:
		return found, nil
	case *Error:
		return nil, found
	default:
		return nil, nil
	}
}

// lookup waits for the outcome of work, which equal lookups at the same time share.
func (f *front) lookup(ctx context.Context, q question, work func(context.Context, *upstream.Lease) (*Answer, error)) (*Answer, error) {
	began := time.Now()
	a, err := f.join(ctx, q, work)
	f.outcomes.of(a, err).Add(time.Since(began))
	return a, err
}

// join waits for room only if the lookup is not under way. It waits in the goroutine of the
// caller: one of its own would take memory while it waits for some.
func (f *front) join(ctx context.Context, q question, work func(context.Context, *upstream.Lease) (*Answer, error)) (*Answer, error) {
	running := f.lookups.JoinRunning(q)
	if running == nil {
		lease, err := f.admit(ctx, q)
		if err != nil {
			return nil, err
		}
		var isNew bool
		running, isNew = f.lookups.Start(ctx, q, func(ctx context.Context) (*Answer, error) {
			defer lease.End()
			return work(ctx, lease)
		})
		if !isNew {
			lease.End()
		}
	}
	defer f.lookups.Leave(q, running)
	a, err := running.Wait(ctx)
	if err == nil {
		return a, nil
	}
	if ctx.Err() != nil {
		return nil, interrupted(q, ctx.Err())
	}
	return nil, asError(q, err)
}

// admit waits for the memory of one more lookup.
func (f *front) admit(ctx context.Context, q question) (*upstream.Lease, error) {
	lease, err := f.client.Room.Admit(ctx, f.lookups.Limit)
	switch {
	case err == nil:
		return lease, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, interrupted(q, ctx.Err())
	default:
		return nil, asError(q, err)
	}
}
