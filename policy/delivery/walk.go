package delivery

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// walk goes along the hosts of a plan, from one usable session to the next.
type walk struct {
	dialer *Dialer
	// bounce is true for mail with an empty return path, which must not be lost
	// because a server lacks REQUIRETLS (RFC 8689 section 5).
	bounce bool

	plan      *policy.Plan
	targets   []target // not yet tried
	left      int      // connections that may still be made
	failures  []*policy.Error
	stale     bool  // a policy failure occurred, and an MTA-STS policy is in force
	rechecked bool  // the policy was looked up again
	recheck   error // that lookup failed
}

// target is one address of a host, or a refused host without an address.
type target struct {
	host *policy.Host
	addr netip.Addr
}

// follow starts along the hosts of plan.
func (w *walk) follow(plan *policy.Plan) {
	w.plan = plan
	w.failures, w.stale = nil, false
	w.left = cmp.Or(max(w.dialer.MaxConnections, 0), defaultMaxConnections)
	w.targets = w.targets[:0]
	for _, host := range plan.Order() {
		if host.Level == policy.Refused {
			w.targets = append(w.targets, target{host: host})
			continue
		}
		for _, addr := range host.Addrs[:min(len(host.Addrs), addressesPerHost)] {
			w.targets = append(w.targets, target{host, addr})
		}
	}
}

// next returns a session with the next host that meets the plan. After the last
// host it returns the error for the domain.
func (w *walk) next(ctx context.Context) (*Client, error) {
	for {
		for len(w.targets) > 0 && ctx.Err() == nil {
			t := w.targets[0]
			w.targets = w.targets[1:]
			client, failure := w.try(ctx, t)
			if failure == nil {
				return client, nil
			}
			if ctx.Err() != nil {
				return nil, interrupted(w.plan.Domain, ctx.Err())
			}
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

// fail logs and keeps the failure of a host.
func (w *walk) fail(ctx context.Context, host *policy.Host, failure *policy.Error) {
	w.dialer.log(ctx, slog.LevelInfo, "mail host failed",
		slog.String("domain", w.plan.Domain), slog.String("host", host.Name), slog.Any("error", failure))
	w.failures = append(w.failures, failure)
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

// try makes a session with one target.
func (w *walk) try(ctx context.Context, t target) (*Client, *policy.Error) {
	if t.host.Level == policy.Refused {
		session, refusal := t.host.Attempted(policy.NotConnected, nil, nil)
		w.record(&session)
		return nil, refusal
	}
	client, talk, failure := w.connect(ctx, t, true)
	if talk != nil && talk.failed && t.host.Level == policy.Opportunistic && ctx.Err() == nil {
		w.dialer.log(ctx, slog.LevelWarn, "TLS failed and no policy requires it: trying in cleartext",
			slog.String("domain", w.plan.Domain), slog.String("host", t.host.Name), slog.Any("error", failure))
		// Not over the same connection: RFC 3207 section 4.
		client, _, failure = w.connect(ctx, t, false)
	}
	return client, failure
}

// connect makes one connection and holds one conversation over it. It returns the
// conversation if there was one.
func (w *walk) connect(ctx context.Context, t target, withTLS bool) (*Client, *conversation, *policy.Error) {
	if w.left == 0 {
		return nil, nil, tooManyConnections(w.plan, t.host)
	}
	w.left--
	conn, failure := w.dial(ctx, t)
	if failure != nil {
		return nil, nil, failure
	}
	talk := &conversation{host: t.host, addr: t.addr, conn: conn}
	stop := conn.interruptible(ctx)
	talk.hold(w.dialer.localName(), withTLS, w.plan.RequireTLS && !w.bounce)
	report, failure := talk.end()
	if report != nil && ctx.Err() == nil {
		w.record(report)
	}
	if failure != nil {
		talk.leave()
	}
	if err := stop(); err != nil {
		conn.Close()
		return nil, talk, interrupted(w.plan.Domain, err)
	}
	if failure != nil {
		return nil, talk, failure
	}
	return talk.settle(w.plan, cmp.Or(max(w.dialer.IdleTimeout, 0), defaultIdleTimeout)), talk, nil
}

// dial connects to an address.
func (w *walk) dial(ctx context.Context, t target) (*guardedConn, *policy.Error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(max(w.dialer.ConnectTimeout, 0), defaultConnectTimeout))
	defer cancel()
	conn, err := t.host.DialAddr(ctx, t.addr)
	if err != nil {
		_, failure := t.host.Attempted(policy.NotConnected, nil, err)
		return nil, failure
	}
	return &guardedConn{Conn: conn, timeout: cmp.Or(max(w.dialer.CommandTimeout, 0), defaultCommandTimeout)}, nil
}

func (w *walk) record(s *tlsrpt.Session) {
	if w.dialer.Recorder != nil && len(s.Outcomes) > 0 {
		w.dialer.Recorder.Record(s)
	}
}

// exhausted returns the error for a domain none of whose hosts is left. It is not
// permanent while it is not known whether the policy has changed.
func (w *walk) exhausted() *policy.Error {
	e := w.plan.Failed(w.failures...)
	if w.recheck != nil && e.Permanent {
		e.Permanent, e.Status = false, "4"+strings.TrimPrefix(e.Status, "5")
	}
	return e
}
