package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/tlsalert"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
	"github.com/mxseal/mxseal/tlsrpt"
)

// conversation is one connection to a mail host, from the greeting to the point
// where mail may be sent or the attempt ends. It follows the table in replies.go.
type conversation struct {
	host      *policy.Host
	conn      *wire.Conn
	localName string
	timeouts  timeouts
	offer     offer
	small     bool // the ClientHello fits one packet
	circumstances

	greeting string     // the server's name
	hello    wire.Reply // to the last EHLO

	// Where and how the conversation ended, for Host.Attempted.
	step  policy.Step
	state *tls.ConnectionState // of a session, established or not verified
	err   error
	// last is the ruling on the last event.
	last ruling
	// at is the step of that event.
	at step
	// uncounted is for TLS-RPT if mail then goes to the same address with less TLS:
	// it is no network failure any more.
	uncounted *tlsrpt.Session
}

// offer is the TLS that a connection asks for.
type offer uint8

const (
	// currentTLS is what package crypto/tls offers, under the host's plan.
	currentTLS offer = iota
	// oldTLS adds what old servers speak, and does not mind what they say too
	// much. It serves no level but Opportunistic.
	oldTLS
	// clearOnly does not ask for TLS.
	clearOnly
)

// timeouts are those of the steps up to the session.
type timeouts struct{ greeting, command, handshake time.Duration }

// hold leads the conversation to the step where it ends. It returns nil if mail
// may be sent, and else why not.
func (c *conversation) hold(ctx context.Context) *policy.Error {
	if c.greet() && c.sayHello(stepEHLO) {
		c.startTLS(ctx)
	}
	_, failure := c.host.Attempted(c.step, c.state, c.err)
	if failure != nil && failure.Permanent && c.last.verdict != permanent {
		return postponed(failure) // Attempted does not know what came before
	}
	return failure
}

// judge looks up what an event at a step means. err is the error of the event, or
// nil.
func (c *conversation) judge(s step, e event, err error) ruling {
	c.at, c.err, c.last = s, err, rule(s, e, c.circumstances)
	return c.last
}

// judgeReply looks up what a reply, or the error instead of it, means at a step.
func (c *conversation) judgeReply(s step, reply wire.Reply, err error) ruling {
	judged := c.judge(s, eventOf(reply, err), err)
	if err == nil && judged.action != proceed {
		c.err = reply.Err()
	}
	return judged
}

// eventOf returns a reply, or the error instead of it, as the table names it.
func eventOf(reply wire.Reply, err error) event {
	var own *policy.Error
	_, alert := tlsalert.Remote(err)
	switch {
	case err == nil:
		return event(reply.Code)
	case errors.Is(err, wire.ErrNotReply), errors.Is(err, wire.ErrTooLong), errors.Is(err, wire.ErrUnasked), errors.Is(err, wire.ErrInjection):
		return garbage
	case errors.As(err, &own):
		return unverified
	case tlsalert.Incapable(err):
		return incapable
	case alert:
		return alerted
	case isTimeout(err):
		return timedOut
	}
	return lost
}

func (c *conversation) greet() bool {
	c.step = policy.Greeting
	reply, err := c.conn.Receive(c.timeouts.greeting)
	if c.judgeReply(stepGreeting, reply, err).action != proceed {
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
func (c *conversation) sayHello(s step) bool {
	c.step = policy.EHLO
	reply, err := c.conn.Command(c.timeouts.command, "EHLO "+c.localName)
	switch c.judgeReply(s, reply, err).action {
	case proceed:
		c.hello = reply
		return true
	case sayHELO:
		reply, err = c.conn.Command(c.timeouts.command, "HELO "+c.localName)
		c.hello = wire.Reply{}
		return c.judgeReply(stepHELO, reply, err).action == proceed
	}
	if c.last.action == retry || c.last.result == failedTLS {
		// In TLS 1.3 the server's verdict on the client comes after the handshake.
		c.step, c.state = policy.Handshake, nil
	}
	return false
}

// startTLS asks for TLS, if the offer is one, and sends EHLO again.
func (c *conversation) startTLS(ctx context.Context) {
	c.step, c.err = policy.Done, nil
	switch {
	case c.offer == clearOnly:
		return
	case !c.hello.Extensions().Has("STARTTLS"):
		c.step = policy.NotOffered
		c.judge(stepSTARTTLS, notOffered, nil)
		return
	}
	if c.offer == oldTLS {
		// Octets that nobody asked for must not be taken for replies. Where TLS
		// proves nothing, encryption without them is better than none.
		c.conn.Discard()
	}
	reply, err := c.conn.AskTLS(c.timeouts.command)
	if errors.Is(err, wire.ErrInjection) {
		c.step = policy.Handshake
		c.judge(stepHandshake, garbage, err)
		return
	}
	if c.judgeReply(stepSTARTTLS, reply, err).action != proceed {
		c.fellBack = true
		c.step = policy.StartTLSRefused
		if err != nil {
			c.step = policy.Handshake
		}
		if errors.Is(err, wire.ErrNotReply) || errors.Is(err, wire.ErrTooLong) {
			c.err = noReplyToSTARTTLS(c.host, err)
		}
		return
	}
	if c.handshake(ctx) && c.sayHello(stepEHLOInTLS) {
		c.checkRequireTLS()
	}
}

// handshake establishes TLS, and verifies the server inside it.
func (c *conversation) handshake(ctx context.Context) bool {
	c.step = policy.Handshake
	config := c.host.TLSConfig()
	if c.small || c.offer == oldTLS {
		config.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	if c.offer == oldTLS {
		addOldTLS(config)
	}
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := verify(state)
		if err != nil {
			c.state = &state
		}
		return err
	}
	if c.offer == oldTLS {
		c.conn.Discard()
	}
	if err := c.conn.StartTLS(ctx, c.timeouts.handshake, config); err != nil {
		c.judge(stepHandshake, eventOf(wire.Reply{}, err), err)
		return false
	}
	c.judge(stepHandshake, completed, nil)
	state, _ := c.conn.TLS()
	c.state, c.inTLS, c.fellBack = &state, true, false
	return true
}

// checkRequireTLS demands the extension that mail with RequireTLS needs, as
// offered inside TLS (RFC 8689 section 4.2.1, step 5).
func (c *conversation) checkRequireTLS() {
	c.step, c.err = policy.Done, nil
	if c.requireTLS && !c.hello.Extensions().Has("REQUIRETLS") {
		c.step = policy.RequireTLSNotOffered
		c.last = ruling{action: tryNext, verdict: permanent, alive: true, result: goodTLS}
	}
}

// report returns what TLS-RPT counts of the conversation, without outcomes if that is
// nothing, or nil. A connection that asks for less TLS than the first is not counted: the
// first one was, as a failure.
func (c *conversation) report(addr, sending netip.Addr) *tlsrpt.Session {
	if c.offer != currentTLS {
		return nil
	}
	session, _ := c.host.Attempted(c.step, c.state, c.err)
	session.HELO = c.greeting
	session.ReceivingIP = addr
	session.SendingIP = sending
	return &session
}

// reportWithoutTLS completes a report of a connection on which TLS failed by what
// looked like a network error.
func (c *conversation) reportWithoutTLS(report *tlsrpt.Session) *tlsrpt.Session {
	session, _ := c.host.Attempted(policy.Handshake, nil, silentTLS{c.err})
	session.HELO, session.ReceivingIP, session.SendingIP = report.HELO, report.ReceivingIP, report.SendingIP
	return &session
}

// silentTLS is a network error at the point where TLS should begin. A server that
// then takes mail over another connection was reachable all the time.
type silentTLS struct{ error }

// TLSReport is for tlsrpt.Classify.
func (silentTLS) TLSReport() (resultType, reasonCode string) {
	return "validation-failure", "tls-no-answer"
}

// leave ends a conversation without mail, with QUIT if the server expects a command
// (RFC 3207 section 4.1, RFC 8689 section 4.2.1).
func (c *conversation) leave() {
	if c.last.alive {
		c.conn.Quit(quitTimeout)
		return
	}
	c.conn.Abort()
}

// addOldTLS makes a configuration that servers of twenty years ago understand, with
// RSA key exchange and 3DES, but never RC4.
func addOldTLS(config *tls.Config) {
	for _, suite := range tls.CipherSuites() {
		config.CipherSuites = append(config.CipherSuites, suite.ID)
	}
	config.CipherSuites = append(config.CipherSuites,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
	)
}
