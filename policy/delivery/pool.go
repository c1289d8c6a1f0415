package delivery

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/netip"
	"sync"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/limits"
	"github.com/mxseal/mxseal/policy/delivery/internal/parking"
)

// Pool sends mail as its Dialer does, and keeps each session for the next message to the
// same host. Only Dialer is required:
//
//	pool := &delivery.Pool{Dialer: dialer}
//	defer pool.Close(ctx)
//	err := pool.SendMail(ctx, from, to, message)
//
// A session serves another message only if a new connection would be to the same host,
// port and address, with the same name for SNI, local address, next hop, login and
// configuration of TLS, and if the session meets the plan of that message as it is then.
// The certificates are verified each time, as in a handshake; no verdict is
// remembered. So a session ends when a key is rolled, a pin is added or a policy changes,
// and no mail is lost. Cleartext, and TLS on a second attempt, serve only hosts of level
// Opportunistic. A session to a host never takes the place of a better one that was not
// tried.
//
// RSET comes before each message. A session that the server has closed, or in which it sent
// anything that no command asked for, ends, and a new connection to the same address is
// made. That is not a failure. The same happens once if the server refuses MAIL for now, by
// which many servers limit the messages of a session; the reply over the new connection
// counts. After a timeout, or a reply that cannot be told from another, a session is not
// kept.
//
// TLS sessions of new connections are resumed where the server permits that: only within
// the same plan key and level, and verified as a full handshake is. If a resumed one
// fails, a full handshake is made first. Reports for TLS-RPT count connections, resumed
// or not, and not the messages over each. A Dialer alone resumes nothing.
//
// All methods are safe for concurrent use. A Pool and its Dialer must not be copied or
// changed after first use.
type Pool struct {
	// Dialer makes the connections. It is required. Its MaxPerHost and MaxPerDomain
	// bound the sessions of the Pool, in use and idle ones together; an idle session
	// counts for the domain that it served last. Sessions of the Dialer's own methods
	// are not counted.
	Dialer *Dialer

	// MaxSessions bounds the sessions in all, in use and idle; 0 means 500. At the bound,
	// the session that has been idle for longest ends. If none is idle, a call waits for
	// a few seconds. Then it fails temporarily with the status 4.4.5.
	MaxSessions int
	// MaxUses bounds the messages over one session; 0 means 100. 1 means that sessions
	// are not reused, only resumed.
	MaxUses int
	// IdleTime is how long a session is kept without a message; 0 means 15 seconds.
	// Many servers close idle sessions after some minutes, and all count them.
	IdleTime time.Duration

	lot     *parking.Lot[contact, *conversation.Conversation]
	tickets *conversation.Tickets

	mu      sync.Mutex
	closed  bool
	walks   int           // under way
	drained chan struct{} // closed when there are none, after Close
}

const (
	defaultMaxSessions = 500
	defaultMaxUses     = 100
	defaultIdle        = 15 * time.Second
)

// ErrPoolClosed means that Close was called before.
var ErrPoolClosed = errors.New("delivery: the Pool is closed")

// contact has what must be equal for a session to be used again, besides what it
// proves.
type contact struct {
	host       string
	port       uint16
	addr       netip.Addr
	serverName string
	local      netip.Addr // as configured
	localName  string     // as configured
	via        string
	login      bool
	username   string
	password   string
}

// SendMail sends a message as Dialer.SendMail does, over sessions of the Pool.
func (p *Pool) SendMail(ctx context.Context, from string, to []string, msg []byte, options ...policy.Option) error {
	_, err := p.Send(ctx, newMail(from, to, msg), options...)
	return err
}

// Send sends a message as Dialer.Send does, over sessions of the Pool. After Close, the
// errors are temporary, and errors.Is finds ErrPoolClosed in them.
func (p *Pool) Send(ctx context.Context, mail Mail, options ...policy.Option) (Result, error) {
	return cmp.Or(p.Dialer, &Dialer{}).send(ctx, p.walk, mail, options)
}

// Sessions returns sessions as Dialer.Sessions does, of the Pool. The client may have
// used a session only for mail: after AUTH, or any command that RFC 5321 does not have,
// it is not kept. QUIT, and the end of the connection, reach the client and not the
// server; a client that does not wait for the reply to its QUIT leaves the session as one
// that does. After the body of the loop, neither the Session nor its NetConn can be used.
//
// If the server serves no more messages in a kept session, Session.Failure says NextHost, and
// the next session is a new one with the same address.
func (p *Pool) Sessions(ctx context.Context, domain string, options ...policy.Option) iter.Seq2[*Session, error] {
	return sessions(ctx, p.walk, domain, options)
}

// Close ends the idle sessions with QUIT, and waits for the mails under way until ctx
// ends. Those then go on, and their sessions end with them. Its error is that of ctx. It
// may be called more than once.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.drained == nil {
		p.drained = make(chan struct{})
		if p.walks == 0 {
			close(p.drained)
		}
	}
	p.closed = true
	lot := p.lot
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if lot != nil {
			lot.Close()
		}
		<-p.drained
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// walk is Dialer.walk with the sessions of the pool.
func (p *Pool) walk(ctx context.Context, domain string, options []policy.Option) (*walk, error) {
	if p.Dialer == nil {
		return nil, errNoDialer
	}
	if !p.enter() {
		return nil, poolClosed(domain)
	}
	w, err := p.Dialer.walk(ctx, domain, options)
	if err != nil {
		p.leave()
		return nil, err
	}
	w.pool = p
	leaveDomain := w.leaveDomain
	w.leaveDomain = func() {
		leaveDomain()
		p.leave()
	}
	return w, nil
}

// enter counts a walk, unless the pool is closed.
func (p *Pool) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if p.lot == nil {
		p.tickets = conversation.NewTickets()
		p.lot = parking.New[contact](parking.Config[*conversation.Conversation]{
			Most:      cmp.Or(max(p.MaxSessions, 0), defaultMaxSessions),
			PerHost:   cmp.Or(max(p.Dialer.MaxPerHost, 0), defaultMaxPerHost),
			PerDomain: cmp.Or(max(p.Dialer.MaxPerDomain, 0), defaultMaxPerDomain),
			IdleTime:  cmp.Or(max(p.IdleTime, 0), defaultIdle),
			Patience:  limits.Patience,
			Leave:     func(kept *conversation.Conversation) { kept.Conn.Quit(conversation.QuitTimeout) },
			Hurry:     func(kept *conversation.Conversation) { kept.Conn.Quit(0) },
		})
	}
	p.walks++
	return true
}

func (p *Pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.walks--; p.walks == 0 && p.closed {
		close(p.drained)
	}
}

// contact returns the contact of a session with a target.
func (p *Pool) contact(plan *policy.Plan, t target) contact {
	c := contact{
		host: t.host.Name, port: t.host.Port, addr: t.addr, serverName: t.host.ServerName,
		local: p.Dialer.local(t.addr), localName: p.Dialer.LocalName,
		via: plan.Via, login: plan.Login,
	}
	if s := p.Dialer.SmartHost; s != nil {
		c.username, c.password = s.Username, s.Password
	}
	return c
}

// find returns a session with a target that was kept and meets the plan as it is now. If
// there is none, it takes a place for a new one.
func (p *Pool) find(ctx context.Context, w *walk, t target) (*conversation.Conversation, *policy.Error) {
	place := parking.Place{Host: t.host.Name, Domain: w.plan.Domain}
	talk := w.converse(t.host, conversation.CurrentTLS)
	for !t.fresh && ctx.Err() == nil {
		kept, ok := p.lot.Take(p.contact(w.plan, t), place, talk.Fits)
		if !ok {
			break
		}
		if talk.TakeOver(ctx, kept, w.lends) {
			w.place = &place
			return talk, nil
		}
		p.lot.Exit(place)
	}
	if !p.lot.Enter(ctx, place) {
		return nil, tooManyInPool(w.plan, t.host)
	}
	w.place = &place
	return nil, nil
}

// keep keeps the session of a walk for another message, and reports whether it does. What
// the server says meanwhile is noticed when the session is taken over.
func (p *Pool) keep(w *walk, talk *conversation.Conversation) bool {
	talk.Uses++
	if talk.Uses >= cmp.Or(max(p.MaxUses, 0), defaultMaxUses) ||
		!p.lot.Park(p.contact(w.plan, w.current), *w.place, talk) {
		return false
	}
	w.place = nil
	return true
}

// redial makes the target of the session that has ended the next one, for a new
// connection.
func (w *walk) redial() {
	again := w.current
	again.fresh = true
	w.targets = append([]target{again}, w.targets...)
}
