package delivery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/textproto"
	"slices"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/parking"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
	"github.com/mxseal/mxseal/tlsrpt"
)

// walk goes along the hosts of a plan, from one usable session to the next.
type walk struct {
	dialer *Dialer
	pool   *Pool // nil without reuse
	lends  bool  // sessions go to an SMTP client

	plan *policy.Plan
	// resolve makes a plan to replace one that no longer holds.
	resolve   func(context.Context) (*policy.Plan, error)
	renewals  int      // of such plans
	targets   []target // not yet tried
	current   target   // the last that was tried
	failed    []target // by this plan and those that it replaced
	left      int      // connections that may still be made
	failures  []*policy.Error
	stale     bool  // a policy failure occurred, and an MTA-STS policy is in force
	rechecked bool  // the policy was looked up again
	recheck   error // that lookup failed
	missed    bool  // a host gave no session or no answer, and may give one later

	// leaveHost and leaveDomain give back the places for the current host and for the
	// domain. place is the one of the pool, or nil.
	leaveHost, leaveDomain func()
	place                  *parking.Place
}

// follow starts along the hosts of plan.
func (w *walk) follow(plan *policy.Plan) {
	w.plan, w.current = plan, target{}
	w.failures, w.failed, w.stale = nil, nil, false
	w.left = cmp.Or(max(w.dialer.MaxConnections, 0), defaultMaxConnections)
	w.targets = order(plan.Order(), w.dialer.stalls.recent)
}

// next returns a session with the next host that meets the plan. After the last
// host it returns the error for the domain.
func (w *walk) next(ctx context.Context) (*conversation.Conversation, error) {
	for {
		for len(w.targets) > 0 && ctx.Err() == nil {
			if err := w.renew(ctx); err != nil {
				return nil, err
			}
			if len(w.targets) == 0 {
				break
			}
			t := w.targets[0]
			w.targets = w.targets[1:]
			talk, failure := w.visit(ctx, t)
			if failure == nil {
				return talk, nil
			}
			if ctx.Err() != nil {
				return nil, interrupted(w.plan.Domain, ctx.Err())
			}
			w.missed = w.missed || failure.Temporary()
			w.fail(ctx, t.host, failure)
		}
		if !w.again(ctx) {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, interrupted(w.plan.Domain, ctx.Err())
	}
	return nil, w.exhausted()
}

// renew resolves the domain again if the plan no longer holds: its keys, policies and hosts
// may have changed. Addresses that failed and hosts that were refused are not tried again.
// The first address of a plan is tried in any case, because the plan held when it was made.
func (w *walk) renew(ctx context.Context) error {
	if w.current.host == nil || w.resolve == nil || w.dialer.Resolver.Holds(w.plan) {
		return nil
	}
	if w.renewals == maxRenewals {
		w.missed = true
		return expired(w.plan, w.targets[0].host.Name)
	}
	w.renewals++
	plan, err := w.resolve(ctx)
	if err != nil {
		w.missed = true
		return err
	}
	before := w.targets
	w.plan, w.current = plan, target{}
	w.targets = slices.DeleteFunc(order(plan.Order(), w.dialer.stalls.recent), func(t target) bool {
		return slices.ContainsFunc(w.failed, t.isAt)
	})
	for i, t := range w.targets {
		w.targets[i].fresh = slices.ContainsFunc(before, func(b target) bool { return b.fresh && t.isAt(b) })
	}
	return nil
}

// visit makes a session with one target in its share of the time, if ctx has a
// deadline. A target that takes longer has stalled.
func (w *walk) visit(ctx context.Context, t target) (*conversation.Conversation, *policy.Error) {
	w.current = t
	if failure := w.enter(ctx, t.host); failure != nil {
		return nil, failure
	}
	within, cancel := w.share(ctx)
	defer cancel()
	talk, failure := w.try(within, t)
	if failure == nil {
		return talk, nil
	}
	w.release()
	if within.Err() != nil && ctx.Err() == nil {
		w.dialer.stalls.note(t.addr)
		failure = shareIsOver(w.plan, t.host)
	}
	return nil, failure
}

// share returns a context for a session with the present target, or for a transaction
// in it, with its part of the time that ctx leaves, if ctx has a deadline. The
// targets after it have the rest.
func (w *walk) share(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if share := max(left/time.Duration(min(len(w.targets)+1, mostShares)), shortestShare); share < left {
			return context.WithTimeout(ctx, share)
		}
	}
	return ctx, func() {}
}

// enter takes a place among the sessions with a host, which release gives back.
func (w *walk) enter(ctx context.Context, host *policy.Host) *policy.Error {
	if host.Level == policy.Refused {
		return nil
	}
	leave, ok := w.dialer.hosts.Enter(ctx, host.Name, cmp.Or(max(w.dialer.MaxPerHost, 0), defaultMaxPerHost))
	if !ok {
		return tooManySessions(w.plan, host)
	}
	w.leaveHost = leave
	return nil
}

func (w *walk) release() {
	if w.place != nil {
		w.pool.lot.Exit(*w.place)
		w.place = nil
	}
	if w.leaveHost != nil {
		w.leaveHost()
		w.leaveHost = nil
	}
}

// end ends the walk and its session.
func (w *walk) end() {
	w.release()
	if w.leaveDomain != nil {
		w.leaveDomain()
		w.leaveDomain = nil
	}
}

// fail logs and keeps the failure of a host. If it is a reply, the host has spoken for
// all its addresses: the attempt at the host ends and the next host is tried. RFC 5321
// section 5.1 requires that each address is tried, so the others come after that. If
// the present target took too long, it has stalled.
func (w *walk) fail(ctx context.Context, host *policy.Host, failure *policy.Error) {
	w.dialer.log(ctx, slog.LevelInfo, "mail host failed",
		slog.String("domain", w.plan.Domain), slog.String("host", host.Name), slog.Any("error", failure))
	w.failures, w.failed = append(w.failures, failure), append(w.failed, w.current)
	var reply *textproto.Error
	if errors.As(failure.Err, &reply) {
		putBack(w.targets, host)
	}
	if w.current.addr.IsValid() && conversation.IsTimeout(failure.Err) && ctx.Err() == nil {
		w.dialer.stalls.note(w.current.addr)
	}
	if w.plan.MTASTS.Policy != nil && (failure.Reason != "" || failure.Permanent) {
		w.stale = true
	}
}

// again looks up the MTA-STS policy once more after a policy failure, and reports
// whether a changed policy gives hosts to try. This comes before the failure of
// the domain (RFC 8461 sections 5 and 5.1).
func (w *walk) again(ctx context.Context) bool {
	if !w.stale || w.rechecked || ctx.Err() != nil {
		return false
	}
	w.rechecked = true
	fresh, changed, err := w.dialer.Resolver.Recheck(ctx, w.plan)
	if err != nil {
		w.recheck = err
		return false
	}
	if changed {
		w.follow(fresh)
	}
	return changed
}

// try makes a session with one target. Where no policy demands TLS, a failure of
// TLS is followed by a connection for old servers, and by one without TLS. Neither
// is over the same connection: RFC 3207 section 4.
func (w *walk) try(ctx context.Context, t target) (*conversation.Conversation, *policy.Error) {
	if t.host.Level == policy.Refused {
		session, refusal := t.host.Attempted(policy.NotConnected, nil, nil)
		w.record(&session)
		return nil, refusal
	}
	if w.pool != nil {
		if talk, failure := w.pool.find(ctx, w, t); talk != nil || failure != nil {
			return talk, failure
		}
	}
	var uncounted *tlsrpt.Session
	full := false // the handshake
	for with := conversation.CurrentTLS; ; {
		talk, failure := w.connect(ctx, t, with, full)
		if talk != nil && talk.TicketFailed && ctx.Err() == nil {
			full = true
			w.left++ // the failed connection was ours to avoid
			continue
		}
		if failure == nil && talk.Last.Action != conversation.Retry && uncounted != nil {
			w.record(uncounted)
		}
		if talk != nil && with == conversation.CurrentTLS {
			uncounted = talk.Uncounted
		}
		if talk == nil || talk.Last.Action != conversation.Retry || with == conversation.ClearOnly || ctx.Err() != nil {
			return talk, failure
		}
		// What helps an old server in the handshake does not help elsewhere.
		if with == conversation.CurrentTLS && talk.At == conversation.StepHandshake {
			with = conversation.OldTLS
		} else {
			with = conversation.ClearOnly
		}
		w.dialer.log(ctx, slog.LevelWarn, "TLS failed and no policy requires it: trying again with older TLS or without TLS",
			slog.String("domain", w.plan.Domain), slog.String("host", t.host.Name), slog.Bool("cleartext", with == conversation.ClearOnly), slog.Any("error", talk.Err))
	}
}

// connect makes one connection and holds one conversation over it. The
// conversation is nil if there was no connection. With an error, the connection is
// closed.
func (w *walk) connect(ctx context.Context, t target, with conversation.Offer, full bool) (*conversation.Conversation, *policy.Error) {
	if w.left == 0 {
		return nil, tooManyConnections(w.plan, t.host)
	}
	w.left--
	conn, failure := w.dial(ctx, t)
	if failure != nil {
		return nil, failure
	}
	talk := w.converse(t.host, with)
	talk.Conn, talk.LocalName, talk.FullHandshake = wire.NewConn(conn), w.dialer.localName(conn), full
	stop := talk.Conn.Interruptible(ctx)
	failure = talk.Hold(ctx)
	switch report := talk.Report(t.addr, w.dialer.sendingIP(conn)); {
	case report == nil || ctx.Err() != nil:
	case len(report.Outcomes) > 0:
		w.record(report)
	case talk.Last.Action == conversation.Retry:
		talk.Uncounted = talk.ReportWithoutTLS(report)
	}
	if failure == nil && talk.Last.Action != conversation.Retry && w.plan.Login {
		failure = w.login(ctx, talk)
	}
	if failure != nil || talk.Last.Action == conversation.Retry {
		talk.Leave()
	}
	if err := stop(); err != nil {
		talk.Conn.Abort()
		return nil, interrupted(w.plan.Domain, ctx.Err())
	}
	return talk, failure
}

// converse returns a conversation that has not begun, and has no connection.
func (w *walk) converse(host *policy.Host, with conversation.Offer) *conversation.Conversation {
	implicit := host.Port == submissions
	talk := &conversation.Conversation{
		Host: host, Timeouts: w.dialer.timeouts(), Offer: with,
		SmallHello: w.dialer.SmallClientHello, ImplicitTLS: implicit,
		Circumstances: conversation.Circumstances{
			Mandatory:  host.Level > policy.Opportunistic || implicit,
			RequireTLS: w.plan.RequireTLS && !w.plan.Bounce,
			FellBack:   with != conversation.CurrentTLS,
		},
	}
	if customize := w.dialer.CustomizeTLS; customize != nil {
		talk.Customize = func(config *tls.Config) { customize(host, config) }
	}
	if w.pool != nil {
		talk.Tickets, talk.PlanKey = w.pool.tickets, w.plan.Key()
	}
	return talk
}

// submissions is the port where TLS begins without STARTTLS (RFC 8314 section 3.3).
const submissions = 465

// dial connects to an address.
func (w *walk) dial(ctx context.Context, t target) (net.Conn, *policy.Error) {
	dialing, cancel := context.WithTimeout(ctx, cmp.Or(max(w.dialer.ConnectTimeout, 0), defaultConnectTimeout))
	defer cancel()
	conn, err := t.host.DialFrom(dialing, w.dialer.local(t.addr), t.addr)
	if err != nil {
		_, failure := t.host.Attempted(policy.NotConnected, nil, err)
		return nil, failure
	}
	return conn, nil
}

func (w *walk) record(s *tlsrpt.Session) {
	if w.dialer.Recorder != nil && len(s.Outcomes) > 0 {
		w.dialer.Recorder.Record(s)
	}
}

// exhausted returns the error for a domain none of whose hosts is left. It is not
// permanent while it is not known whether the policy has changed, nor if hosts failed by a
// plan that no longer holds.
func (w *walk) exhausted() *policy.Error {
	e := w.plan.Failed(w.failures...)
	if (w.recheck != nil || w.renewals > 0) && e.Permanent {
		return conversation.Postponed(e)
	}
	return e
}

// timeouts returns the timeouts of a conversation.
func (d *Dialer) timeouts() conversation.Timeouts {
	command := cmp.Or(max(d.CommandTimeout, 0), defaultCommandTimeout)
	return conversation.Timeouts{
		Greeting:  min(command, greetingTimeout),
		Command:   command,
		Handshake: min(command, handshakeTimeout),
	}
}

const (
	// maxRenewals bounds the plans of one walk that replace another, for records that
	// expire at once.
	maxRenewals = 4
	// shortestShare is the least that a target gets of the time for the domain.
	shortestShare = 10 * time.Second
	// mostShares bounds the parts of that time, so that a domain with many addresses
	// leaves the first ones the time of a step (RFC 5321 section 4.5.3.2).
	mostShares = 4
	// greetingTimeout is shorter than the five minutes of RFC 5321 section 4.5.3.2.1:
	// until it is over, the mail does not reach the next host.
	greetingTimeout = time.Minute
	// handshakeTimeout is for a path that drops large packets, which would
	// otherwise hold up mail that may go without TLS.
	handshakeTimeout = time.Minute
)
