package reporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter/internal/pacing"
)

// round is one attempt to deliver a report to each of its endpoints. Each delivery
// waits for its own turn at the host of the endpoint.
type round struct {
	left     []tlsrpt.Endpoint // not tried yet, in order
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
		free, ok, err := r.turn(ctx, slot, endpoint, p.round)
		if err != nil {
			r.tried(ctx, j, p.round, err)
			continue
		}
		if !ok {
			r.postpone(ctx, j, p, free)
			return queued, nil
		}
		if built == nil {
			part, err := r.seal(ctx, j, p)
			if err != nil || part.Number == 0 {
				return finishedUnless(err), err
			}
			if built, err = r.build(ctx, j, part); err != nil {
				return failed, err
			}
		}
		sleep(ctx, r.pace.Next(time.Now()))
		err = r.send(ctx, slot, endpoint, built, p.round)
		if err == nil {
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
	round.left, round.turn = round.left[1:], time.Time{}
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

// turn waits until a delivery to the endpoint may begin, if that is soon. Otherwise it
// returns when to ask again. It fails if the turn is after the time of the last
// attempt.
func (r *Reporter) turn(ctx context.Context, slot *pacing.Slot, endpoint tlsrpt.Endpoint, round *round) (again time.Time, ok bool, err error) {
	host, now := hostOf(endpoint), time.Now()
	if r.slow.Contains(host, now) && !slot.SlowDown() {
		return now.Add(slowLaneFull), false, nil
	}
	for {
		if round.turn.IsZero() {
			if round.turn, ok = r.pace.Reserve(host, now, now.Add(retryFor)); !ok {
				return time.Time{}, false, errors.New("there are too many reports for the endpoint")
			}
		}
		if round.turn.Sub(now) > shortWait {
			return round.turn, false, nil
		}
		sleep(ctx, round.turn)
		now = time.Now()
		if _, ok := r.pace.Begin(host, now); ok || ctx.Err() != nil {
			return now, true, nil
		}
		round.turn = time.Time{} // the turn has passed, or another delivery was late
	}
}

// hostOf returns the host or mail domain of an endpoint, which limits the pace.
func hostOf(e tlsrpt.Endpoint) string {
	if e.Mail != "" {
		return e.Mail[strings.LastIndexByte(e.Mail, '@')+1:]
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		return e.URL
	}
	return names.Fold(u.Hostname())
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
	r.slow.Set(hostOf(endpoint), now, end())
	return err
}
