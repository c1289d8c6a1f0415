package delivery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"iter"
	"net"
	"strings"
	"sync"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/handover"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// Sessions returns sessions that meet the domain's plan, host after host, for programs
// with an SMTP client of their own:
//
//	for session, err := range dialer.Sessions(ctx, "example.org") {
//		if err != nil {
//			return err // the mail waits, unless the *policy.Error is permanent
//		}
//		err = send(session.NetConn(), mail) // any SMTP client
//		failure := session.Failure(err)
//		if failure == nil {
//			return nil
//		}
//		if !failure.NextHost {
//			return failure.Err
//		}
//	}
//	return errors.New("canceled") // not reached: the last round has an error
//
// Each session is as Dial returns it, logged in if that is asked for. The caller stops
// as soon as all recipients have an answer. It goes on as long as Failure.NextHost is
// true for some, with only those. After the last host, there is one error and no
// session: the *policy.Error of the domain, as that of Dial. It includes the failures
// that Session.Failure returned.
//
// A session ends with the body of the loop. ctx bounds all of it, and closes the
// connection when it ends.
func (d *Dialer) Sessions(ctx context.Context, domain string, options ...policy.Option) iter.Seq2[*Session, error] {
	return sessions(ctx, d.walk, domain, options)
}

func sessions(ctx context.Context, along walker, domain string, options []policy.Option) iter.Seq2[*Session, error] {
	return func(yield func(*Session, error) bool) {
		w, err := along(ctx, domain, options)
		if err != nil {
			yield(nil, err)
			return
		}
		w.lends = true
		defer w.end()
		for {
			session, err := w.session(ctx, w.release)
			if err != nil {
				yield(nil, err)
				return
			}
			if !session.lend(ctx, yield) {
				return
			}
			if session.handed.Stale() {
				w.redial()
				continue
			}
			w.fail(ctx, session.Host, cmp.Or(session.reason, session.abandoned()))
		}
	}
}

// DialHost returns a session with one host of a plan, for programs that go along the
// mail hosts of a domain themselves. Each address of the host is tried, at level
// Opportunistic with less TLS too, as Dial does. A host that is not in the plan is
// refused, and so is every host of a plan that has expired: ErrExpired, which is temporary.
// The caller resolves the domain again then.
//
// The error is the *policy.Error of the host. The caller goes on to its next host. After
// the last one, Plan.Failed makes the error of the domain from those of the hosts;
// Resolver.Recheck comes before a mail fails because of a policy. The caller ends the
// session with Close. ctx bounds DialHost, and not the session.
//
// A Dialer with a SmartHost has one host for all mail, and DialHost fails.
func (d *Dialer) DialHost(ctx context.Context, plan *policy.Plan, host string) (*Session, error) {
	found := plan.Host(host)
	switch {
	case d.Resolver == nil:
		return nil, errNoResolver
	case d.SmartHost != nil || plan.Login:
		return nil, smartHostFailed(plan.Domain, errNoSmartHost)
	case found == nil:
		return nil, notInPlan(plan, host)
	case !d.Resolver.Holds(plan):
		return nil, expired(plan, host)
	}
	again := func(context.Context) (*policy.Plan, error) { return nil, expired(plan, host) }
	w := &walk{dialer: d, rechecked: true, resolve: again}
	w.follow(plan)
	w.targets = order([]*policy.Host{found}, d.stalls.recent)
	session, err := w.session(ctx, w.release)
	if err != nil && len(w.failures) > 0 && ctx.Err() == nil && !errors.Is(err, ErrExpired) {
		return nil, foremost(w.failures)
	}
	return session, err
}

// foremost returns the failure of a host at several addresses: a temporary one comes
// first, because that address may take the mail later, and then a failure of policy.
func foremost(failures []*policy.Error) *policy.Error {
	best := failures[0]
	for _, failure := range failures[1:] {
		switch {
		case best.Permanent != failure.Permanent:
			if best.Permanent {
				best = failure
			}
		case best.Reason == "" && failure.Reason != "":
			best = failure
		}
	}
	return best
}

// Session is a session with a mail host that meets the plan, for any SMTP client.
// Dialer.Sessions and Dialer.DialHost return it. It is for one goroutine at a time.
type Session struct {
	// Host is the mail host at the other end.
	Host *policy.Host
	// Plan is the plan that the session meets.
	Plan *policy.Plan

	conn      *wire.Conn
	handed    *handover.Conn
	offers    wire.Extensions
	localName string
	// reason is the last failure that leaves recipients to the next host.
	reason *policy.Error
	// keep keeps the session for another message, or ends it; nil without a pool.
	keep func()
	// stop ends what closes the connection when a context ends; nil if nothing does.
	stop func() error
}

// session returns the next session of a walk. It calls ended when the session ends.
func (w *walk) session(ctx context.Context, ended func()) (*Session, error) {
	talk, err := w.next(ctx)
	if err != nil {
		return nil, err
	}
	offers := talk.Hello.Extensions()
	session := &Session{
		Host: talk.Host, Plan: w.plan, conn: talk.Conn, offers: offers, localName: talk.LocalName,
		handed: handover.New(handover.Config{
			Session: talk.Conn, Host: talk.Host.Name, Hello: talk.Hello,
			Timeout:       cmp.Or(max(w.dialer.IdleTimeout, 0), defaultIdleTimeout),
			Circumstances: talk.Circumstances, Ended: sync.OnceFunc(ended),
			Authenticated: talk.InTLS && talk.Host.Level == policy.Authenticated && talk.Host.RouteAuthenticated,
			RequireTLS:    w.plan.RequireTLS && (!w.plan.Bounce || talk.InTLS && offers.Has("REQUIRETLS")),
			Keep:          w.pool != nil, Reused: talk.Reused,
		}),
	}
	if w.pool != nil {
		session.keep = func() {
			if !w.pool.keep(w, talk) {
				talk.Conn.Quit(conversation.QuitTimeout)
			}
			ended()
		}
	}
	return session, nil
}

// lend yields the session, and ends it afterwards. It reports whether the loop goes on.
func (s *Session) lend(ctx context.Context, yield func(*Session, error) bool) bool {
	s.stop = s.conn.Interruptible(ctx)
	defer s.Close()
	return yield(s, nil)
}

// NetConn returns the session as a connection over which an SMTP client begins as
// though the server had just sent its greeting. The client says EHLO, and not STARTTLS
// or AUTH: the session has the TLS and the login that it can have. AUTH does not reach a
// server below level Authenticated, nor one that a forged MX record may have named.
// Dialer.IdleTimeout bounds each command with its reply, and each block of a message. It
// is the same connection for each call, for one client.
//
// Under a plan with RequireTLS, a MAIL command without the parameter REQUIRETLS does
// not reach the server. The client gets a temporary failure for it.
func (s *Session) NetConn() net.Conn { return s.handed }

// TLS returns the state of the TLS session, and false if the session is in cleartext,
// which only a host of level Opportunistic permits.
func (s *Session) TLS() (tls.ConnectionState, bool) { return s.conn.TLS() }

// Extension reports whether the server offers an extension in the session as it is, and
// with which parameters. The keyword may be in any case.
func (s *Session) Extension(keyword string) (bool, string) {
	parameters, ok := s.offers[strings.ToUpper(keyword)]
	return ok && !strings.EqualFold(keyword, "STARTTLS"), parameters
}

// Close ends the session: with QUIT if the server waits for a command, and otherwise at
// once. A session of a Pool may be kept for another message instead. It may be called
// more than once.
func (s *Session) Close() error {
	interrupted := s.stop != nil && s.stop() != nil
	s.stop = nil
	if s.keep != nil && !interrupted && s.handed.Release() {
		s.keep()
		return nil
	}
	if s.handed.Idle() {
		s.handed.Leave(conversation.QuitTimeout)
		return nil
	}
	s.handed.Close()
	return nil
}

// Failure says what an error of an SMTP client means for the recipients that it
// concerns: the one that RCPT named, or all that have no answer yet.
type Failure struct {
	// Err is the error for the queue. It is permanent only if the domain's answer is.
	// A 5yz reply to a session in cleartext is temporary if TLS failed before, and so is
	// 530 in any cleartext.
	Err *policy.Error
	// NextHost is true if the next host may take the mail. It is never true once the
	// octets of the message have begun: that host could deliver it a second time.
	NextHost bool
	// SameHost is true if the recipient may get the message in another transaction of
	// the same session, after this one (RFC 5321 section 4.5.3.1.10). If not there, the
	// next host may take it.
	SameHost bool
	// Over is true if the session can no longer be used.
	Over bool
	// OutcomeUnknown is true if the session ended after the message had begun, and
	// before the reply to it. The server may have the message. Err is temporary.
	OutcomeUnknown bool
}

// Failure returns what an error means that the client over NetConn returned, by the
// table in ARCHITECTURE.md. Call it with the result of each mail transaction, nil too,
// before the next one begins. It returns nil for nil, and for an error after the server
// has accepted the message, such as a connection that ends at QUIT.
//
// err may be of any client. It only tells which of the server's replies it is about: by
// a *textproto.Error, by a method ErrorCode, or by the code in its text. The session
// itself knows at which step that was, or at which the connection ended. An error that
// no reply explains is the client's own, and is temporary.
func (s *Session) Failure(err error) *Failure {
	if err == nil {
		s.handed.Settle()
		return nil
	}
	about, concerns := s.handed.About(err)
	if !concerns {
		return nil
	}
	judged := about.Ruling()
	failure := &Failure{
		Err:            s.failed(about, judged, err),
		NextHost:       judged.Action == conversation.TryNext || judged.Action == conversation.Again || judged.Action == conversation.Redial,
		SameHost:       judged.Action == conversation.Again,
		Over:           !judged.Alive || judged.Action == conversation.Redial,
		OutcomeUnknown: judged.Verdict == conversation.Unknown,
	}
	if failure.NextHost {
		s.reason = failure.Err
	}
	return failure
}

// failed returns the error for the queue.
func (s *Session) failed(about handover.Heard, judged conversation.Ruling, err error) *policy.Error {
	detail := details[about.Verb]
	switch {
	case judged.Verdict == conversation.Unknown:
		detail = outcomeUnknown
	case about.Unsaid:
		detail = "the SMTP client failed, and no reply of the server explains it"
	case detail == "" && about.Verb == "":
		detail = "the session ended"
	case detail == "":
		detail = "the server refuses a command of the SMTP client"
	}
	if about.Reply.Code != 0 {
		err = about.Reply.Err()
	}
	failure := s.Host.Replied(detail, err)
	if failure.Permanent && judged.Verdict != conversation.Permanent {
		return conversation.Postponed(failure)
	}
	return failure
}

// details say which command failed, by its verb.
var details = map[string]string{
	"MAIL": "the server refuses MAIL",
	"RCPT": "the server refuses the recipient",
	"DATA": "the server refuses DATA",
	".":    "the server does not accept the message",
	"BDAT": "the server does not accept the message",
}

// abandoned returns the reason to go on to the next host for a caller that gave none.
func (s *Session) abandoned() *policy.Error {
	return s.Host.Replied("the SMTP client went on to the next host", nil)
}
