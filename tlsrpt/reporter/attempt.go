package reporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
)

const (
	lookupTimeout = 30 * time.Second
	postTimeout   = time.Minute
	mailTimeout   = 10 * time.Minute
	// leaseFor is longer than one attempt at all endpoints.
	leaseFor = tlsrpt.MaxEndpoints*mailTimeout + 10*time.Minute
	// shortWait is the longest wait for a turn during which an attempt, and its
	// lease, stay open.
	shortWait = 2 * time.Second
)

// result is the result of an attempt.
type result int

const (
	failed   result = iota // a lookup or the Store failed
	queued                 // the turn of the job is later
	refused                // no endpoint accepted the report
	finished               // the report was delivered, or there is nothing to deliver
)

// attempt makes one attempt at a job.
func (r *Reporter) attempt(ctx context.Context, j job, p *progress) {
	if !p.over {
		release, ok := r.lease(ctx, j)
		if !ok {
			r.queue.postpone(p, r.config.Now().Add(retryFirst))
			return
		}
		result, err := r.report(ctx, j, p)
		if result != finished {
			release()
			r.retry(ctx, j, p, result, err)
			return
		}
		p.over, p.release = true, release
	}
	r.finish(context.WithoutCancel(ctx), j, p)
}

// lease prevents other Reporters from working on the same job.
func (r *Reporter) lease(ctx context.Context, j job) (release func(), ok bool) {
	leaser, shared := r.config.Store.(Leaser)
	if !shared {
		return func() {}, true
	}
	release, ok, err := leaser.Lease(ctx, j.day, j.domain, leaseFor)
	if err != nil {
		r.log(ctx, slog.LevelError, "reporter: no lease from the Store, will be retried", j, slog.Any("error", err))
	}
	return release, ok && err == nil
}

// report looks up the endpoints of the domain, builds the report and delivers it.
func (r *Reporter) report(ctx context.Context, j job, p *progress) (result, error) {
	if part, err := r.config.Store.Sums(ctx, j.day, j.domain); err != nil || part.Number == 0 {
		return finishedUnless(err), err // another Reporter was faster
	}
	endpoints, err := r.endpoints(ctx, j.domain)
	if errors.Is(err, tlsrpt.ErrNoRecord) || errors.Is(err, tlsrpt.ErrBadRecord) {
		_, err := r.seal(ctx, j, p)
		return finishedUnless(err), err
	}
	if err != nil {
		return failed, err
	}
	if len(endpoints) == 0 {
		r.log(ctx, slog.LevelInfo, "reporter: no report, because there is no Mailer", j)
		_, err := r.seal(ctx, j, p)
		return finishedUnless(err), err
	}
	turn, ok := r.turn(endpoints, p)
	if !ok {
		return failed, errors.New("there are too many reports for the endpoint")
	}
	if turn.Sub(r.config.Now()) > shortWait {
		p.queued = true
		r.queue.postpone(p, turn)
		return queued, nil
	}
	r.sleep(ctx, turn)
	part, err := r.seal(ctx, j, p)
	if err != nil || part.Number == 0 {
		return finishedUnless(err), err
	}
	built, err := r.builder.build(j, part)
	if err != nil {
		return failed, err
	}
	return r.deliver(ctx, j, built, endpoints)
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
func (r *Reporter) seal(ctx context.Context, j job, p *progress) (Part, error) {
	part, err := r.config.Store.Seal(ctx, j.day, j.domain)
	if err == nil {
		p.part = part.Number
	}
	return part, err
}

// endpoints returns the endpoints of a domain that the Reporter can deliver to.
func (r *Reporter) endpoints(ctx context.Context, domain string) ([]tlsrpt.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	txts, err := r.config.Resolver.LookupTXT(ctx, "_smtp._tls."+domain+".")
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return nil, tlsrpt.ErrNoRecord
	}
	if err != nil {
		return nil, fmt.Errorf("looking up the TLSRPT record: %w", err)
	}
	record, err := tlsrpt.SelectRecord(txts)
	if err != nil {
		return nil, err
	}
	var usable []tlsrpt.Endpoint
	for _, endpoint := range record.Endpoints {
		if endpoint.URL != "" || r.config.Mailer != nil {
			usable = append(usable, endpoint)
		}
	}
	return usable, nil
}

// turn returns when all endpoints are free for the report. It fails if that is
// after the time of the last attempt.
func (r *Reporter) turn(endpoints []tlsrpt.Endpoint, p *progress) (turn time.Time, ok bool) {
	now := r.config.Now()
	if p.queued {
		p.queued = false
		return now, true
	}
	turn = now
	for _, endpoint := range endpoints {
		at, ok := r.pace.reserve(hostOf(endpoint), now, now.Add(retryFor))
		if !ok {
			return time.Time{}, false
		}
		if at.After(turn) {
			turn = at
		}
	}
	return turn, true
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
	return strings.ToLower(u.Hostname())
}

// deliver sends a report to all endpoints. It succeeds if one of them accepts it
// (RFC 8460 section 3).
func (r *Reporter) deliver(ctx context.Context, j job, s *submission, endpoints []tlsrpt.Endpoint) (result, error) {
	accepted := false
	var errs []error
	for _, endpoint := range endpoints {
		r.sleep(ctx, r.pace.next(r.config.Now()))
		if err := r.send(ctx, endpoint, s); err != nil {
			err = fmt.Errorf("%s: %s", names.Mask(endpoint.String(), maxLogged), names.Mask(err.Error(), maxLogged))
			r.log(ctx, slog.LevelInfo, "reporter: report not accepted", j, slog.Any("error", err))
			errs = append(errs, err)
			continue
		}
		accepted = true
		r.log(ctx, slog.LevelInfo, "reporter: report delivered", j,
			slog.String("endpoint", endpoint.String()), slog.String("report_id", s.report.ID), slog.Int("octets", len(s.gzip)))
	}
	if accepted {
		return finished, nil
	}
	return refused, errors.Join(errs...)
}

// maxLogged limits the text from an endpoint in a log message, in octets.
const maxLogged = 300

func (r *Reporter) send(ctx context.Context, endpoint tlsrpt.Endpoint, s *submission) error {
	if endpoint.Mail != "" {
		ctx, cancel := context.WithTimeout(ctx, mailTimeout)
		defer cancel()
		return r.mail.send(ctx, endpoint.Mail, s)
	}
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	return r.https.post(ctx, endpoint.URL, s.gzip)
}

func (r *Reporter) log(ctx context.Context, level slog.Level, message string, j job, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("domain", j.domain), slog.String("day", j.day.String())}, attrs...)
	r.config.Logger.LogAttrs(ctx, level, message, attrs...)
}
