package policy

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/mxseal/mxseal/tlsrpt"
)

// walk goes along the hosts of a plan, from one usable session to the next.
type walk struct {
	dialer  *Dialer
	options []Option
	// bounce is true for mail with an empty return path, which REQUIRETLS must
	// not cause to be lost (RFC 8689 section 5).
	bounce bool

	plan      *Plan
	targets   []target // what is left to try
	left      int      // connections left to make
	failures  []*Error
	stale     bool  // a host failed by policy, and there is one of MTA-STS
	rechecked bool  // its id was looked up again
	recheck   error // and that failed
}

// target is one address of a host, or the host alone when it is not to be
// connected to.
type target struct {
	host *Host
	addr netip.Addr
}

// follow starts along the hosts of plan.
func (w *walk) follow(plan *Plan) {
	w.plan = plan
	w.failures, w.stale = nil, false
	w.left = cmp.Or(max(w.dialer.MaxConnections, 0), defaultMaxConnections)
	w.targets = w.targets[:0]
	for _, host := range plan.Order() {
		if host.Level == Refused || len(host.Addrs) == 0 {
			w.targets = append(w.targets, target{host: host})
			continue
		}
		for _, addr := range bothFamilies(host.Addrs) {
			w.targets = append(w.targets, target{host, addr})
		}
	}
}

// bothFamilies returns the addresses to try of a host: in the resolver's order
// (RFC 5321 section 5.1), but the families by turns, so that a sender without
// IPv6 does not use up its attempts on that.
func bothFamilies(addrs []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() == addrs[0].Is4() {
			first = append(first, addr)
		} else {
			second = append(second, addr)
		}
	}
	var mixed []netip.Addr
	for i := range max(len(first), len(second)) {
		mixed = append(mixed, first[min(i, len(first)):min(i+1, len(first))]...)
		mixed = append(mixed, second[min(i, len(second)):min(i+1, len(second))]...)
	}
	return mixed[:min(len(mixed), addressesPerHost)]
}

// next returns a session with the next host that has one. At the end of the
// hosts it returns the error for the domain.
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
				return nil, w.interrupted(ctx)
			}
			w.fail(ctx, t.host, failure)
		}
		if !w.again(ctx) {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, w.interrupted(ctx)
	}
	return nil, w.exhausted()
}

// fail keeps why a host was of no use.
func (w *walk) fail(ctx context.Context, host *Host, failure *Error) {
	w.dialer.log(ctx, slog.LevelInfo, "mail host failed",
		slog.String("domain", w.plan.Domain), slog.String("host", host.Name), slog.Any("error", failure))
	w.failures = append(w.failures, failure)
	if w.plan.MTASTS.Policy != nil && (failure.Reason != "" || failure.Permanent) {
		w.stale = true
	}
}

// again looks the MTA-STS policy up once more if it stood in the way, and
// reports whether a changed one gives other hosts to try: nothing is given up
// before that (RFC 8461 sections 5 and 5.1).
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
func (w *walk) try(ctx context.Context, t target) (*Client, *Error) {
	switch {
	case t.host.Level == Refused:
		w.record(t.host.Session(nil, nil))
		return nil, refusalOf(t.host)
	case !t.addr.IsValid():
		return nil, t.host.failure("", "", "4.4.4", "no address is known", nil)
	}
	client, talk, failure := w.connect(ctx, t, true)
	if talk != nil && talk.tls.failed && t.host.Level == Opportunistic && ctx.Err() == nil {
		w.dialer.log(ctx, slog.LevelWarn, "TLS failed, and no policy asks for it: trying in clear",
			slog.String("domain", w.plan.Domain), slog.String("host", t.host.Name), slog.Any("error", failure))
		// Not over the same connection: RFC 3207 section 4.
		client, _, failure = w.connect(ctx, t, false)
	}
	if failure != nil && failure.Reason != "" && w.plan.RequireTLS && talk.lacksTLS() {
		failure = permanent(failure, "5.7.10") // RFC 8689 section 4.2.1
	}
	return client, failure
}

// connect makes one connection and holds one conversation over it, which it
// returns when there was one.
func (w *walk) connect(ctx context.Context, t target, withTLS bool) (*Client, *conversation, *Error) {
	if w.left == 0 {
		return nil, nil, t.host.failure("", "", "4.4.1", "not tried: too many connections were made for the domain", nil)
	}
	w.left--
	conn, failure := w.dial(ctx, t)
	if failure != nil {
		return nil, nil, failure
	}
	talk := &conversation{host: t.host, addr: t.addr, conn: conn}
	stop := conn.interruptible(ctx)
	failure = talk.hold(w.dialer.localName(), withTLS)
	if failure == nil {
		failure = w.checkRequireTLS(talk)
	}
	if report := talk.report(); report != nil && ctx.Err() == nil {
		w.record(*report)
	}
	if failure != nil {
		talk.leave()
	}
	if err := stop(); err != nil {
		conn.Close()
		return nil, talk, t.host.failure("", "", "4.4.7", "interrupted", err)
	}
	if failure != nil {
		return nil, talk, failure
	}
	client := talk.settle(positive(w.dialer.IdleTimeout, defaultIdleTimeout))
	client.Plan = w.plan
	return client, talk, nil
}

// dial connects to an address.
func (w *walk) dial(ctx context.Context, t target) (*guardedConn, *Error) {
	conn, err := t.host.dialFor(ctx, positive(w.dialer.ConnectTimeout, defaultConnectTimeout), t.addr)
	if err != nil {
		return nil, t.host.failure("", "", "4.4.1", "no connection to "+t.addr.String(), err)
	}
	return &guardedConn{Conn: conn, timeout: positive(w.dialer.CommandTimeout, defaultCommandTimeout)}, nil
}

// checkRequireTLS demands the extension REQUIRETLS from a server, as offered
// inside TLS (RFC 8689 section 4.2.1, step 5).
func (w *walk) checkRequireTLS(c *conversation) *Error {
	if !w.plan.RequireTLS || w.bounce {
		return nil
	}
	if offered, _ := c.client.Extension("REQUIRETLS"); offered {
		return nil
	}
	return lacksRequireTLS(c.host)
}

func lacksRequireTLS(h *Host) *Error {
	e := h.failure("", "", "5.7.30", "the server does not support REQUIRETLS", nil)
	e.Permanent = true
	return e
}

// refusalOf is the reason of a refused host, which plans share.
func refusalOf(h *Host) *Error {
	if h.Refusal != nil {
		return h.Refusal
	}
	return h.failure("", "", "4.7.5", "the host is refused", nil)
}

func permanent(e *Error, status string) *Error {
	changed := *e
	changed.Permanent, changed.Status = true, status
	return &changed
}

func (w *walk) record(s tlsrpt.Session) {
	if w.dialer.Recorder != nil && len(s.Outcomes) > 0 {
		w.dialer.Recorder.Record(&s)
	}
}

// exhausted is the error for a domain none of whose hosts is left. It is not
// permanent while it is not known whether the policy is still the same.
func (w *walk) exhausted() *Error {
	e := w.plan.Failed(w.failures...)
	if w.recheck != nil && e.Permanent {
		e.Permanent, e.Status = false, "4"+strings.TrimPrefix(e.Status, "5")
	}
	return e
}

func (w *walk) interrupted(ctx context.Context) *Error {
	return &Error{Domain: w.plan.Domain, Status: "4.4.7", Detail: "interrupted", Err: ctx.Err()}
}
