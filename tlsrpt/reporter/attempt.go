package reporter

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter/internal/pacing"
)

const (
	lookupTimeout = 30 * time.Second
	// roundTimeout limits the deliveries of one attempt, without the waits for their
	// turns. Each endpoint gets an equal share of the time that is left.
	roundTimeout = 5 * time.Minute
	// leaseFor is longer than one attempt.
	leaseFor = 2*lookupTimeout + roundTimeout + 4*time.Minute
	// heldWait is the least wait before the next attempt if another Reporter has the
	// lease. With a random part, it does not end when that one renews the lease.
	heldWait   = 30 * time.Minute
	heldRandom = 10 * time.Minute
	// shortWait is the longest wait for a turn in a lane.
	shortWait = 2 * time.Second
	// slowLaneFull is the wait for a place in the slow lane.
	slowLaneFull = time.Minute
)

// result is the result of an attempt.
type result int

const (
	failed   result = iota // a lookup or the Store failed
	queued                 // the attempt continues later
	refused                // no endpoint accepted the report
	finished               // the report was delivered, or there is nothing to deliver
)

// attempt makes one attempt at a job, or continues one whose turn has come.
func (r *Reporter) attempt(ctx context.Context, slot *pacing.Slot, j job, p *progress) {
	if !p.over {
		// If the attempt fails, the lease lasts until the end of the next one.
		if now := time.Now(); !r.hold(ctx, j, p, now.Add(2*leaseFor+p.wait())) {
			r.queue.postpone(p, now.Add(heldWait+rand.N(heldRandom)))
			return
		}
		result, err := r.report(ctx, slot, j, p)
		if result != finished && !r.retry(ctx, j, p, result, err) {
			return
		}
		p.over = true
	}
	slot.Pause()
	r.finish(context.WithoutCancel(ctx), j, p)
}

// hold prevents other Reporters from working on the job until a time. If another one is
// working on it, what was planned for the job is forgotten.
func (r *Reporter) hold(ctx context.Context, j job, p *progress, until time.Time) bool {
	leaser, shared := r.config.Store.(Leaser)
	if !shared || p.release != nil && !p.held.Before(until) {
		return true
	}
	p.dropLease()
	release, ok, err := leaser.Lease(ctx, j.day, j.domain, time.Until(until))
	if err != nil {
		r.log(ctx, slog.LevelError, "reporter: no lease from the Store, will be retried", j, slog.Any("error", err))
	}
	if !ok || err != nil {
		p.round = nil
		return false
	}
	p.release, p.held = release, until
	return true
}

// report looks up the endpoints of the domain, builds the report and delivers it.
func (r *Reporter) report(ctx context.Context, slot *pacing.Slot, j job, p *progress) (result, error) {
	if _, shared := r.config.Store.(Leaser); shared {
		if part, err := r.config.Store.Sums(ctx, j.day, j.domain); err != nil || part.Number == 0 {
			return finishedUnless(err), err // another Reporter was faster
		}
	}
	if p.round == nil {
		endpoints, err := r.endpoints(ctx, slot, j.domain)
		switch {
		case errors.Is(err, tlsrpt.ErrNoRecord) || errors.Is(err, tlsrpt.ErrBadRecord):
			err := r.seal(ctx, slot, j, p)
			return finishedUnless(err), err
		case err != nil:
			return failed, err
		case len(endpoints) == 0:
			r.log(ctx, slog.LevelInfo, "reporter: no report, because there is no Mailer, or Config.Endpoints wants none", j)
			err := r.seal(ctx, slot, j, p)
			return finishedUnless(err), err
		}
		p.round = &round{left: endpoints, time: roundTimeout}
	}
	return r.deliver(ctx, slot, j, p)
}

// finishedUnless is the result if there is nothing to deliver, unless err says that
// this is not known.
func finishedUnless(err error) result {
	if err != nil {
		return failed
	}
	return finished
}

// seal seals the part to be reported, so that each attempt sends the same report
// with the same ID.
func (r *Reporter) seal(ctx context.Context, slot *pacing.Slot, j job, p *progress) error {
	slot.Pause()
	number, err := r.config.Store.Seal(ctx, j.day, j.domain)
	if err == nil {
		p.part = number
	}
	if !slot.Resume(ctx) {
		return ctx.Err()
	}
	return err
}

// sealed seals the part to be reported and returns it. It is read after the wait for the
// Store, so that few parts are in memory at the same time. Without anything to report, it
// returns the zero Part.
func (r *Reporter) sealed(ctx context.Context, slot *pacing.Slot, j job, p *progress) (Part, error) {
	if err := r.seal(ctx, slot, j, p); err != nil || p.part == 0 {
		return Part{}, err
	}
	part, err := r.config.Store.Sums(ctx, j.day, j.domain)
	if err != nil || part.Number != p.part { // another Reporter has sent it meanwhile
		return Part{}, err
	}
	return part, nil
}

func (r *Reporter) log(ctx context.Context, level slog.Level, message string, j job, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("domain", j.domain), slog.String("day", j.day.String())}, attrs...)
	r.config.Logger.LogAttrs(ctx, level, message, attrs...)
}
