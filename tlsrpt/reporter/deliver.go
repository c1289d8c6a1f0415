package reporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter/internal/pacing"
)

// round is one attempt to deliver a report to each of its endpoints. Each delivery
// waits for its own turn at the host of the endpoint.
type round struct {
	left     []tlsrpt.Endpoint // not tried yet, in order
	owner    string            // of the first one; empty if that is not known yet
	turn     time.Time         // of the first one; zero if it has none
	time     time.Duration     // that the deliveries may still take
	accepted bool              // by one of the others
	errs     []error           // of the others
}

// deliver sends the report to the endpoints whose turns have come. The round succeeds
// if one of them accepts it (RFC 8460 section 3).
func (r *Reporter) deliver(ctx context.Context, slot *pacing.Slot, j job, p *progress) (result, error) {
	var built *submission
	for len(p.round.left) > 0 {
		endpoint := p.round.left[0]
		if p.round.owner == "" {
			p.round.owner = ownerOf(endpoint)
		}
		free, ok, err := r.turn(ctx, slot, p.round)
		if err != nil {
			r.tried(ctx, j, p.round, err)
			continue
		}
		if !ok {
			r.postpone(ctx, j, p, free)
			return queued, nil
		}
		if built == nil {
			part, err := r.sealed(ctx, slot, j, p)
			if err != nil || part.Number == 0 {
				return finishedUnless(err), err
			}
			if built, err = r.build(ctx, j, part); err != nil {
				return failed, err
			}
		}
		sleep(ctx, r.pace.Next(time.Now()))
		again, ok := r.begin(ctx, p.round)
		switch {
		case ctx.Err() != nil:
			return failed, ctx.Err() // a Mailer may not look at it
		case !again.IsZero():
			r.postpone(ctx, j, p, again)
			return queued, nil
		case !ok:
			continue
		}
		err = r.send(ctx, slot, endpoint, built, p.round)
		if err == nil && r.config.Logger.Enabled(ctx, slog.LevelInfo) {
			r.log(ctx, slog.LevelInfo, "reporter: report delivered", j, slog.String("endpoint", endpoint.String()),
				slog.String("report_id", built.report.ID), slog.Int("octets", len(built.gzip)))
		}
		r.tried(ctx, j, p.round, err)
	}
	ended := p.round
	p.round = nil
	if ended.accepted {
		return finished, nil
	}
	return refused, errors.Join(ended.errs...)
}

// tried notes the result of the first endpoint that was left.
func (r *Reporter) tried(ctx context.Context, j job, round *round, err error) {
	endpoint := round.left[0]
	round.left, round.owner, round.turn = round.left[1:], "", time.Time{}
	if r.config.Attempted != nil {
		r.config.Attempted(endpoint, err)
	}
	if err == nil {
		round.accepted = true
		return
	}
	err = fmt.Errorf("%s: %s", names.Mask(endpoint.String(), maxLogged), names.Mask(err.Error(), maxLogged))
	r.log(ctx, slog.LevelInfo, "reporter: report not accepted", j, slog.Any("error", err))
	round.errs = append(round.errs, err)
}

// maxLogged limits the text from an endpoint in a log message, in octets.
const maxLogged = 300

// turn waits for the turn of the first endpoint, if that is soon. Otherwise it returns when to ask
// again. It fails if the turn is after the time of the last attempt.
func (r *Reporter) turn(ctx context.Context, slot *pacing.Slot, round *round) (again time.Time, ok bool, err error) {
	now := time.Now()
	if r.slow.Contains(round.owner, now) && !slot.SlowDown() {
		return now.Add(slowLaneFull), false, nil
	}
	if round.turn.IsZero() {
		if round.turn, ok = r.pace.Reserve(round.owner, now, now.Add(retryFor)); !ok {
			return time.Time{}, false, errors.New("there are too many reports for the endpoint")
		}
	}
	if round.turn.Sub(now) > shortWait {
		return round.turn, false, nil
	}
	sleep(ctx, round.turn)
	return time.Time{}, true, nil
}

// claimAgain is the wait after the Store could not say whether a delivery may begin.
const claimAgain = time.Minute

// begin begins a delivery whose turn has come. If another one came late, it waits until the
// owner of the endpoint is free again. If that takes long, the turn has passed, and the
// delivery needs a new one; ok is then false. If the Store does not answer, begin returns
// when to ask again.
func (r *Reporter) begin(ctx context.Context, round *round) (again time.Time, ok bool) {
	for {
		now := time.Now()
		free, ok := r.pace.Begin(round.owner, now)
		if ok {
			var err error
			if ok, err = r.claim(ctx, round.owner); err != nil && ctx.Err() == nil {
				round.turn = time.Time{}
				return now.Add(claimAgain), false
			}
			free = now.Add(r.config.EndpointInterval)
		}
		switch {
		case ok || ctx.Err() != nil:
			return time.Time{}, true
		case free.Sub(round.turn) > shortWait+r.config.EndpointInterval:
			round.turn = time.Time{}
			return time.Time{}, false
		}
		sleep(ctx, free)
	}
}

// claim begins a delivery to an owner of endpoints for all Reporters that share the Store. It
// returns false if one of the others began one less than the interval ago.
func (r *Reporter) claim(ctx context.Context, owner string) (bool, error) {
	leaser, shared := r.config.Store.(Leaser)
	if !shared {
		return true, nil
	}
	_, ok, err := leaser.Lease(ctx, endpointDay, owner, r.config.EndpointInterval) // which ends by itself
	if err != nil && ctx.Err() == nil {
		r.config.Logger.LogAttrs(ctx, slog.LevelError, "reporter: no lease from the Store, the delivery will be retried",
			slog.String("endpoint", names.Mask(owner, maxLogged)), slog.Any("error", err))
	}
	return ok && err == nil, err
}

// postpone lets the round continue at a later time.
func (r *Reporter) postpone(ctx context.Context, j job, p *progress, until time.Time) {
	if !r.hold(ctx, j, p, until.Add(leaseFor)) {
		until = time.Now().Add(heldWait + rand.N(heldRandom))
	}
	r.queue.postpone(p, until)
}

// send sends the report to one endpoint. An endpoint that is slow is remembered.
func (r *Reporter) send(ctx context.Context, slot *pacing.Slot, endpoint tlsrpt.Endpoint, s *submission, round *round) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, round.time/time.Duration(len(round.left)))
	defer cancel()
	ctx, end := slot.Step(ctx)
	var err error
	if endpoint.Mail != "" {
		err = r.mail.send(ctx, endpoint.Mail, s)
	} else {
		err = r.https.post(ctx, endpoint.URL, s.gzip)
	}
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, pacing.ErrSlow) {
		err = cause
	}
	now := time.Now()
	round.time -= now.Sub(began)
	r.slow.Set(round.owner, now, end())
	return err
}
