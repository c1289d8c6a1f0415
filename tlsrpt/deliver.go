package tlsrpt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// retryFirst is the time before the second attempt; each further one is twice
	// as long, up to retryMost.
	retryFirst = 10 * time.Minute
	retryMost  = 4 * time.Hour
	// retryFor is how long after the first attempt the last one is (RFC 8460
	// section 5.5).
	retryFor = 24 * time.Hour

	// deleteAgain is the time between two attempts to delete what was reported.
	deleteAgain = time.Minute

	lookupTimeout   = 30 * time.Second
	deliveryTimeout = time.Minute // to an https endpoint
	mailTimeout     = 10 * time.Minute
	// leaseFor is longer than one attempt at all endpoints.
	leaseFor = maxEndpoints*mailTimeout + 10*time.Minute
	// queueShort is for how long a turn of an endpoint is waited for.
	queueShort = 2 * time.Second
)

// job is a report to be made and delivered.
type job struct {
	day    Day
	domain string
}

// attempts is what became of a job so far. Reporter.mu is for next and seen; the
// rest is in use by who does the job.
type attempts struct {
	next   time.Time
	seen   int       // in which scan its domain last had sums
	number int       // of attempts that failed
	first  time.Time // of those to deliver; zero before
	queued bool      // next is the turn that was given to it
	part   int       // the number of the part that is reported; 0 if not known

	over    bool   // it only remains to delete that part
	release func() // gives back the lease, which is kept until then
}

// enlist makes sure that a job will be done.
func (r *Reporter) enlist(j job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.pending[j]
	if a == nil {
		a = new(attempts)
		r.pending[j] = a
	}
	a.seen = r.scans
}

// dueJob is a job that is due.
type dueJob struct {
	job
	*attempts
}

// due returns the jobs that are due, those that failed least first.
func (r *Reporter) due() []dueJob {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	var due []dueJob
	for j, a := range r.pending {
		if !a.next.After(now) {
			due = append(due, dueJob{j, a})
		}
	}
	slices.SortFunc(due, func(a, b dueJob) int { return cmp.Compare(a.number, b.number) })
	return due
}

// forgetUnseen forgets jobs of a day whose domains had no sums in this scan.
func (r *Reporter) forgetUnseen(day Day) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for j, a := range r.pending {
		if j.day == day && a.seen != r.scans {
			delete(r.pending, j)
		}
	}
}

// nextAttempt returns when a job is due.
func (r *Reporter) nextAttempt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	next := now.Add(scanEvery)
	for _, a := range r.pending {
		next = earlier(next, a.next)
	}
	if soonest := now.Add(passEvery); next.Before(soonest) {
		return soonest
	}
	return next
}

// outcome is what became of an attempt.
type outcome int

const (
	unknown  outcome = iota // whether and where to report, or what
	queued                  // its turn is later
	refused                 // no endpoint accepted
	finished                // delivered, or there is nothing to deliver
)

// do makes one attempt at a job.
func (r *Reporter) do(ctx context.Context, j job, a *attempts) {
	if !a.over {
		release, ok := r.lease(ctx, j)
		if !ok {
			r.postpone(a, r.cfg.Now().Add(retryFirst))
			return
		}
		result, err := r.attempt(ctx, j, a)
		if result != finished {
			release()
			r.notYet(ctx, j, a, result, err)
			return
		}
		a.over, a.release = true, release
	}
	r.finish(context.WithoutCancel(ctx), j, a)
}

// lease makes sure that no other Reporter is at the same job.
func (r *Reporter) lease(ctx context.Context, j job) (release func(), ok bool) {
	leaser, shared := r.cfg.Store.(Leaser)
	if !shared {
		return func() {}, true
	}
	release, ok, err := leaser.Lease(ctx, j.day, j.domain, leaseFor)
	if err != nil {
		r.log(ctx, slog.LevelError, "tlsrpt: no lease of the store", j, slog.Any("error", err))
	}
	return release, ok && err == nil
}

// attempt looks up where reports go, and sends one there.
func (r *Reporter) attempt(ctx context.Context, j job, a *attempts) (outcome, error) {
	if part, err := r.cfg.Store.Sums(ctx, j.day, j.domain); err != nil || part.Number == 0 {
		return knownIf(err), err // another Reporter was faster
	}
	endpoints, err := r.endpoints(ctx, j.domain)
	if errors.Is(err, ErrNoRecord) || errors.Is(err, ErrBadRecord) {
		_, err := r.seal(ctx, j, a)
		return knownIf(err), err
	}
	if err != nil {
		return unknown, err
	}
	if len(endpoints) == 0 {
		r.log(ctx, slog.LevelInfo, "tlsrpt: no report, because there is no Mailer", j)
		_, err := r.seal(ctx, j, a)
		return knownIf(err), err
	}
	turn, ok := r.turn(endpoints, a)
	if !ok {
		return unknown, errors.New("there are too many reports for the endpoint")
	}
	if turn.Sub(r.cfg.Now()) > queueShort {
		a.queued = true
		r.postpone(a, turn)
		return queued, nil
	}
	r.sleep(ctx, turn)
	part, err := r.seal(ctx, j, a)
	if err != nil || part.Number == 0 {
		return knownIf(err), err
	}
	built, err := r.build(j.domain, j.day, part)
	if err != nil {
		return unknown, err
	}
	return r.deliver(ctx, j, built, endpoints)
}

// seal makes sure that each attempt sends the same report, with the same ID.
func (r *Reporter) seal(ctx context.Context, j job, a *attempts) (Part, error) {
	part, err := r.cfg.Store.Seal(ctx, j.day, j.domain)
	if err == nil {
		a.part = part.Number
	}
	return part, err
}

// knownIf is what became of a report that nobody waits for, unless that is not
// known.
func knownIf(err error) outcome {
	if err != nil {
		return unknown
	}
	return finished
}

// endpoints returns the endpoints of a domain that there are means for.
func (r *Reporter) endpoints(ctx context.Context, domain string) ([]Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	txts, err := r.cfg.Resolver.LookupTXT(ctx, "_smtp._tls."+domain+".")
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return nil, ErrNoRecord
	}
	if err != nil {
		return nil, fmt.Errorf("looking up the TLSRPT record: %w", err)
	}
	record, err := SelectRecord(txts)
	if err != nil {
		return nil, err
	}
	var usable []Endpoint
	for _, endpoint := range record.Endpoints {
		if endpoint.URL != "" || r.cfg.Mailer != nil {
			usable = append(usable, endpoint)
		}
	}
	return usable, nil
}

// turn returns when the endpoints are free for a report; never, if that is after
// the last attempt.
func (r *Reporter) turn(endpoints []Endpoint, a *attempts) (turn time.Time, ok bool) {
	now := r.cfg.Now()
	if a.queued {
		a.queued = false
		return now, true
	}
	turn = now
	for _, endpoint := range endpoints {
		at, ok := r.pace.reserve(endpoint.host(), now, now.Add(retryFor))
		if !ok {
			return time.Time{}, false
		}
		if at.After(turn) {
			turn = at
		}
	}
	return turn, true
}

// host is who has the work with a report: the host of a URL, a mail domain.
func (e Endpoint) host() string {
	if e.Mail != "" {
		return e.Mail[strings.LastIndexByte(e.Mail, '@')+1:]
	}
	u, err := url.Parse(e.URL)
	if err != nil {
		return e.URL
	}
	return strings.ToLower(u.Hostname())
}

// deliver sends a report to all endpoints. One that accepts it is enough (RFC
// 8460 section 3).
func (r *Reporter) deliver(ctx context.Context, j job, s *submission, endpoints []Endpoint) (outcome, error) {
	accepted := false
	var errs []error
	for _, endpoint := range endpoints {
		r.sleep(ctx, r.pace.next(r.cfg.Now()))
		if err := r.send(ctx, endpoint, s); err != nil {
			err = fmt.Errorf("%s: %s", printable(endpoint.String(), maxLogged), printable(err.Error(), maxLogged))
			r.log(ctx, slog.LevelInfo, "tlsrpt: report not accepted", j, slog.Any("error", err))
			errs = append(errs, err)
			continue
		}
		accepted = true
		r.log(ctx, slog.LevelInfo, "tlsrpt: report delivered", j,
			slog.String("endpoint", endpoint.String()), slog.String("report_id", s.id), slog.Int("octets", len(s.gzip)))
	}
	if accepted {
		return finished, nil
	}
	return refused, errors.Join(errs...)
}

// maxLogged bounds what an endpoint can put in a log.
const maxLogged = 300

func (r *Reporter) send(ctx context.Context, endpoint Endpoint, s *submission) error {
	if endpoint.Mail != "" {
		ctx, cancel := context.WithTimeout(ctx, mailTimeout)
		defer cancel()
		return r.mail(ctx, endpoint.Mail, s)
	}
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	return r.post(ctx, endpoint.URL, s)
}

// postpone puts the next attempt off.
func (r *Reporter) postpone(a *attempts, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.next = until
}

// notYet sees to another attempt, unless an endpoint had 24 hours to accept the
// report. That DNS does not answer is never a reason to give up: the sums are
// kept until the day is too old to be reported.
func (r *Reporter) notYet(ctx context.Context, j job, a *attempts, result outcome, err error) {
	if ctx.Err() != nil || result == queued {
		return
	}
	now := r.cfg.Now()
	if result == refused && a.first.IsZero() {
		a.first = now
	}
	a.number++
	wait := min(retryFirst<<min(a.number-1, 10), retryMost)
	if result == refused && now.Add(wait).After(a.first.Add(retryFor)) {
		r.log(ctx, slog.LevelWarn, "tlsrpt: report given up", j, slog.Int("attempts", a.number), slog.Any("error", err))
		a.over, a.release = true, func() {}
		r.finish(ctx, j, a)
		return
	}
	r.log(ctx, slog.LevelInfo, "tlsrpt: report put off", j, slog.Duration("wait", wait), slog.Any("error", err))
	r.postpone(a, now.Add(wait))
}

// finish deletes what was reported and forgets the job. Should the program end
// before that, or be cut off from the Store for longer than the lease, the report
// is sent again; who has it already tells by its ID.
func (r *Reporter) finish(ctx context.Context, j job, a *attempts) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if err := r.deletePart(ctx, j, a.part); err != nil {
		r.log(ctx, slog.LevelError, "tlsrpt: sums not deleted", j, slog.Any("error", err))
		r.postpone(a, r.cfg.Now().Add(deleteAgain))
		return
	}
	a.release()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pending, j)
}

func (r *Reporter) deletePart(ctx context.Context, j job, number int) error {
	if number == 0 {
		return nil
	}
	return r.cfg.Store.Delete(ctx, j.day, j.domain, number)
}

func (r *Reporter) log(ctx context.Context, level slog.Level, message string, j job, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("domain", j.domain), slog.String("day", j.day.String())}, attrs...)
	r.cfg.Logger.LogAttrs(ctx, level, message, attrs...)
}
