package conversation

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/tlsalert"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Conversation is one connection to a mail host, from the greeting to the point
// where mail may be sent or the attempt ends. It follows the table in replies.go.
// The caller sets the exported fields before Hold; Circumstances, Hello, Last, At,
// Err and Uncounted are for the caller after it.
type Conversation struct {
	// Host is the mail host, with what its plan demands.
	Host *policy.Host
	// Conn is a connection on which nothing was read yet.
	Conn *wire.Conn
	// LocalName is the name for EHLO.
	LocalName string
	// Timeouts bound the steps.
	Timeouts Timeouts
	// Offer is the TLS that the connection asks for.
	Offer Offer
	// SmallHello makes a ClientHello that fits one packet.
	SmallHello bool
	// ImplicitTLS begins with the handshake (RFC 8314 section 3). Nothing is ever said
	// in cleartext then, so Mandatory has to be set too.
	ImplicitTLS bool
	// Customize changes the configuration of TLS, as far as takeOver lets it; nil means
	// no changes.
	Customize func(*tls.Config)
	// Tickets are where TLS sessions are kept for resumption, under PlanKey; nil means
	// that none are. FullHandshake offers none of them.
	Tickets       *Tickets
	PlanKey       string
	FullHandshake bool
	Circumstances

	// Hello is the reply to the last EHLO.
	Hello wire.Reply
	// Last is the ruling on the last event.
	Last Ruling
	// At is the step of that event.
	At Step
	// Err is the error of that event, or nil.
	Err error
	// Uncounted is for TLS-RPT if mail then goes to the same address with less TLS: it
	// is then not a network failure. The caller sets it.
	Uncounted *tlsrpt.Session
	// TicketFailed means that TLS failed where a ticket was offered, or that the server
	// did not answer in a resumed session. That says nothing about the server, and is not
	// counted: one full handshake comes first. The ticket is gone.
	TicketFailed bool
	// Proven is the level of the host in the handshake.
	Proven policy.Level
	// Reused means that the session was taken over, ResetDue that it needs RSET before
	// MAIL, and Uses are the mails that went over it. The caller counts them.
	Reused, ResetDue bool
	Uses             int

	greeting string // the server's name
	ticket   *ticket
	custom   custom
	resumed  bool // the TLS session
	// step and state are where the conversation ended, for Host.Attempted.
	step  policy.Step
	state *tls.ConnectionState // of a session, established or not verified
}

// QuitTimeout bounds QUIT: nothing depends on the reply.
const QuitTimeout = 5 * time.Second

// Offer is the TLS that a connection asks for.
type Offer uint8

const (
	// CurrentTLS is what package crypto/tls offers, under the host's plan.
	CurrentTLS Offer = iota
	// OldTLS adds what old servers speak, and tolerates octets that they send unasked.
	// It serves only level Opportunistic.
	OldTLS
	// ClearOnly does not ask for TLS.
	ClearOnly
)

// Timeouts are those of the steps up to the session.
type Timeouts struct{ Greeting, Command, Handshake time.Duration }

// Hold leads the conversation to the step where it ends. It returns nil if mail may be
// sent, and otherwise the reason.
func (c *Conversation) Hold(ctx context.Context) *policy.Error {
	if c.ImplicitTLS {
		c.beginTLS(ctx)
	} else if c.greet() && c.sayHello(StepEHLO) {
		c.startTLS(ctx)
	}
	_, failure := c.Host.Attempted(c.step, c.state, c.Err)
	if failure != nil && failure.Permanent && c.Last.Verdict != Permanent {
		return Postponed(failure) // Attempted does not know what came before
	}
	return failure
}

// judge looks up what an event at a step means. err is the error of the event, or
// nil.
func (c *Conversation) judge(s Step, e Event, err error) Ruling {
	c.At, c.Err, c.Last = s, err, Rule(s, e, c.Circumstances)
	return c.Last
}

// judgeReply looks up what a reply, or the error instead of it, means at a step. A server
// that does not answer in a resumed session may do so after a full handshake.
func (c *Conversation) judgeReply(s Step, reply wire.Reply, err error) Ruling {
	judged := c.judge(s, EventOf(reply, err), err)
	if err == nil && judged.Action != Proceed {
		c.Err = reply.Err()
	}
	if err != nil && c.resumed {
		c.failTicket()
	}
	return judged
}

// EventOf returns a reply, or the error instead of it, as the table names it.
func EventOf(reply wire.Reply, err error) Event {
	var own *policy.Error
	_, alert := tlsalert.Remote(err)
	switch {
	case err == nil:
		return Event(reply.Code)
	case errors.Is(err, wire.ErrNotReply), errors.Is(err, wire.ErrTooLong), errors.Is(err, wire.ErrUnasked), errors.Is(err, wire.ErrInjection):
		return Garbage
	case errors.As(err, &own):
		return Unverified
	case tlsalert.Incapable(err):
		return Incapable
	case alert:
		return Alerted
	case IsTimeout(err):
		return TimedOut
	}
	return Lost
}

// beginTLS makes the handshake before the greeting.
func (c *Conversation) beginTLS(ctx context.Context) {
	if !c.handshake(ctx) {
		return
	}
	if c.greet() && c.sayHello(StepEHLOInTLS) {
		c.checkRequireTLS()
	}
}

func (c *Conversation) greet() bool {
	c.step = policy.Greeting
	if c.InTLS {
		c.step = policy.EHLO // which has the session
	}
	reply, err := c.Conn.Receive(c.Timeouts.Greeting)
	if c.judgeReply(StepGreeting, reply, err).Action != Proceed {
		if event := EventOf(reply, err); event == Alerted || event == Incapable {
			// In TLS 1.3 the server's verdict on the client comes after the handshake.
			c.step, c.state = policy.Handshake, nil
		}
		return false
	}
	c.greeting = greetingName(reply)
	return true
}

// greetingName returns the name of the server in its greeting, or the empty string
// for what is not a name (RFC 5321 section 4.2).
func greetingName(greeting wire.Reply) string {
	if name := greeting.ServerName(); names.IsDomain(name) {
		return name
	}
	return ""
}

// sayHello sends EHLO, or HELO if the server does not know that.
func (c *Conversation) sayHello(s Step) bool {
	c.step = policy.EHLO
	reply, err := c.Conn.Command(c.Timeouts.Command, "EHLO "+c.LocalName)
	switch c.judgeReply(s, reply, err).Action {
	case Proceed:
		c.Hello = reply
		return true
	case SayHELO:
		reply, err = c.Conn.Command(c.Timeouts.Command, "HELO "+c.LocalName)
		c.Hello = wire.Reply{}
		return c.judgeReply(StepHELO, reply, err).Action == Proceed
	}
	if c.Last.Action == Retry || c.Last.Result == FailedTLS {
		// In TLS 1.3 the server's verdict on the client comes after the handshake.
		c.step, c.state = policy.Handshake, nil
	}
	return false
}

// startTLS asks for TLS, if the offer is one, and sends EHLO again.
func (c *Conversation) startTLS(ctx context.Context) {
	c.step, c.Err = policy.Done, nil
	switch {
	case c.Offer == ClearOnly:
		return
	case !c.Hello.Extensions().Has("STARTTLS"):
		c.step = policy.NotOffered
		c.judge(StepSTARTTLS, NotOffered, nil)
		return
	}
	if c.Offer == OldTLS {
		// Octets that nobody asked for must not be taken for replies. Where TLS
		// proves nothing, encryption without them is better than none.
		c.Conn.Discard()
	}
	reply, err := c.Conn.AskTLS(c.Timeouts.Command)
	if errors.Is(err, wire.ErrInjection) {
		c.step = policy.Handshake
		c.judge(StepHandshake, Garbage, err)
		return
	}
	if c.judgeReply(StepSTARTTLS, reply, err).Action != Proceed {
		c.FellBack = true
		c.step = policy.StartTLSRefused
		if err != nil {
			c.step = policy.Handshake
		}
		if errors.Is(err, wire.ErrNotReply) || errors.Is(err, wire.ErrTooLong) {
			c.Err = noReplyToSTARTTLS(c.Host, err)
		}
		return
	}
	if c.handshake(ctx) && c.sayHello(StepEHLOInTLS) {
		c.checkRequireTLS()
	}
}

// handshake establishes TLS, and verifies the server inside it.
func (c *Conversation) handshake(ctx context.Context) bool {
	c.step = policy.Handshake
	config, custom := c.tlsConfig()
	c.custom = custom
	if choose := config.GetClientCertificate; choose != nil {
		config.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			chosen, err := choose(asked)
			c.custom.asked, c.custom.sent = asked, digestOf(chosen)
			return chosen, err
		}
	}
	if c.ticket = c.ticketFor(custom); c.ticket != nil {
		config.ClientSessionCache = c.ticket
	}
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := verify(state)
		if err != nil {
			c.state = &state
		}
		return err
	}
	if c.Offer == OldTLS {
		c.Conn.Discard()
	}
	if err := c.Conn.StartTLS(ctx, c.Timeouts.Handshake, config); err != nil {
		c.judge(StepHandshake, EventOf(wire.Reply{}, err), err)
		if c.ticket != nil && c.ticket.offered && (c.state == nil || c.state.DidResume) {
			c.failTicket()
		}
		return false
	}
	c.judge(StepHandshake, Completed, nil)
	state, _ := c.Conn.TLS()
	c.state, c.InTLS, c.FellBack = &state, true, false
	c.Proven, c.resumed = c.Host.Level, state.DidResume
	if c.ticket != nil {
		c.ticket.verified(state.PeerCertificates)
	}
	return true
}

// failTicket drops a ticket that may be why TLS failed.
func (c *Conversation) failTicket() {
	c.TicketFailed = true
	c.ticket.drop()
}

// checkRequireTLS demands the extension that mail with RequireTLS needs, as
// offered inside TLS (RFC 8689 section 4.2.1, step 5).
func (c *Conversation) checkRequireTLS() {
	c.step, c.Err = policy.Done, nil
	if c.RequireTLS && !c.Hello.Extensions().Has("REQUIRETLS") {
		c.step = policy.RequireTLSNotOffered
		c.Last = Ruling{Action: TryNext, Verdict: Permanent, Alive: true, Result: GoodTLS}
	}
}

// Report returns what TLS-RPT counts of the conversation, without outcomes if that is
// nothing, or nil. A connection that asks for less TLS than the first is not counted: the
// first one was, as a failure. One on which a ticket failed is followed by one that is.
func (c *Conversation) Report(addr, sending netip.Addr) *tlsrpt.Session {
	if c.Offer != CurrentTLS || c.TicketFailed {
		return nil
	}
	session, _ := c.Host.Attempted(c.step, c.state, c.Err)
	session.HELO = c.greeting
	session.ReceivingIP = addr
	session.SendingIP = sending
	return &session
}

// ReportWithoutTLS completes a report of a connection on which TLS failed by what
// looked like a network error.
func (c *Conversation) ReportWithoutTLS(report *tlsrpt.Session) *tlsrpt.Session {
	session, _ := c.Host.Attempted(policy.Handshake, nil, silentTLS{c.Err})
	session.HELO, session.ReceivingIP, session.SendingIP = report.HELO, report.ReceivingIP, report.SendingIP
	return &session
}

// silentTLS is a network error at the point where TLS should begin. A server that then
// takes mail over another connection was reachable all the time.
type silentTLS struct{ error }

// TLSReport is for tlsrpt.Classify.
func (silentTLS) TLSReport() (resultType, reasonCode string) {
	return "validation-failure", "tls-no-answer"
}

// Leave ends a conversation without mail, with QUIT if the server expects a command
// (RFC 3207 section 4.1, RFC 8689 section 4.2.1).
func (c *Conversation) Leave() {
	if c.Last.Alive {
		c.Conn.Quit(QuitTimeout)
		return
	}
	c.Conn.Abort()
}

// Postponed makes a permanent failure temporary.
func Postponed(failure *policy.Error) *policy.Error {
	changed := *failure
	changed.Permanent, changed.ReplyCode = false, 0
	changed.Status = "4" + strings.TrimPrefix(failure.Status, "5")
	return &changed
}

// IsTimeout reports whether a step or a connection took too long.
func IsTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout()
}

// noReplyToSTARTTLS means that the server stopped speaking SMTP.
func noReplyToSTARTTLS(host *policy.Host, err error) *policy.Error {
	return host.Replied("the server does not answer STARTTLS by an SMTP reply", err)
}
