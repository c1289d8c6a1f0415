package delivery

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// quitTimeout bounds QUIT to a host that gets no mail.
const quitTimeout = 5 * time.Second

// conversation is one connection to a mail host, from the greeting to the point
// where mail may be sent or the attempt ends.
type conversation struct {
	host   *policy.Host
	addr   netip.Addr
	conn   *guardedConn
	client *smtp.Client

	greeting string // the name in the server's greeting
	polite   bool   // the server waits for a command, so that QUIT makes sense

	// Where and how the conversation ended, for Host.Attempted.
	step  policy.Step
	state *tls.ConnectionState // of a session, established or not verified
	err   error
	// failed means that the handshake began and failed.
	failed bool
}

// hold leads the conversation up to the step where it ends. Without withTLS it
// does not ask for TLS.
func (c *conversation) hold(localName string, withTLS, requireTLS bool) {
	if !c.greet() {
		return
	}
	offered, ok := c.hello(localName)
	if !ok {
		return
	}
	c.step = policy.Done
	if withTLS && !c.startTLS(offered) {
		return
	}
	if requireTLS && c.step == policy.Done {
		if offered, _ := c.client.Extension("REQUIRETLS"); !offered {
			// RFC 8689 section 4.2.1, step 5.
			c.step = policy.RequireTLSNotOffered
		}
	}
}

func (c *conversation) greet() bool {
	c.step = policy.Greeting
	c.conn.begin(replyLimit)
	c.client, c.err = smtp.NewClient(c.conn, c.host.Name)
	if c.err != nil {
		return false
	}
	c.greeting = greetingName(c.conn.heard)
	return true
}

// hello sends EHLO and returns whether the server offers STARTTLS.
func (c *conversation) hello(localName string) (offersTLS, ok bool) {
	c.step = policy.EHLO
	c.conn.begin(replyLimit)
	if c.err = c.client.Hello(localName); c.err != nil {
		return false, false
	}
	return offers(c.conn.heard, "STARTTLS"), true
}

// startTLS asks for TLS and sends EHLO again. It returns false if the connection
// is of no more use.
func (c *conversation) startTLS(offered bool) bool {
	if !offered {
		c.step, c.polite = policy.NotOffered, true
		return true
	}
	config := c.host.TLSConfig()
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := verify(state)
		if err != nil {
			c.state = &state
		}
		return err
	}
	c.conn.begin(replyLimit)
	c.conn.stage = commandNext
	err := c.client.StartTLS(config)

	if state, ok := c.client.TLSConnectionState(); ok && state.HandshakeComplete {
		c.state = &state
		if err != nil {
			c.step, c.err = policy.EHLO, err
			return false
		}
		c.polite = true
		return true
	}
	return c.withoutTLS(err)
}

// withoutTLS handles the ways in which STARTTLS can fail. Only after the server's
// reply does the conversation go on: the server knows the command and stays in
// cleartext (RFC 3207 section 4).
func (c *conversation) withoutTLS(err error) bool {
	var (
		refusal *textproto.Error
		garbage textproto.ProtocolError
	)
	c.step, c.err = policy.Handshake, err
	switch {
	case errors.As(err, &refusal):
		c.step, c.conn.stage, c.polite = policy.StartTLSRefused, inClear, true
		return true
	case errors.Is(err, errInjection):
	case errors.As(err, &garbage), errors.Is(err, errReplyTooLong), errors.Is(err, errNoReply):
		c.err = noReplyToSTARTTLS(c.host, err)
	case err == nil:
		c.failed, c.err = true, errNoHandshake
	default:
		c.failed = true
	}
	return false
}

// end returns the report and the error of the conversation. The report is nil for
// what reports do not count.
func (c *conversation) end() (*tlsrpt.Session, *policy.Error) {
	session, failure := c.host.Attempted(c.step, c.state, c.err)
	if len(session.Outcomes) == 0 {
		return nil, failure
	}
	session.HELO = c.greeting
	session.ReceivingIP = c.addr
	if local, err := netip.ParseAddrPort(c.conn.LocalAddr().String()); err == nil {
		session.SendingIP = local.Addr().Unmap()
	}
	return &session, failure
}

// leave ends a conversation without mail, with QUIT if the server expects a command
// (RFC 3207 section 4.1, RFC 8689 section 4.2.1). After a failed handshake there
// is no channel for it.
func (c *conversation) leave() {
	if c.polite {
		c.conn.timeout = quitTimeout
		c.conn.begin(replyLimit)
		c.client.Quit()
	}
	c.conn.Close()
}

// settle turns the conversation into a Client. Each of its commands and each block
// of the message is a step with its own deadline.
func (c *conversation) settle(plan *policy.Plan, timeout time.Duration) *Client {
	c.conn.stage, c.conn.heard, c.conn.timeout = passing, nil, timeout
	text := c.client.Text
	text.W = bufio.NewWriterSize(stepWriter{conn: c.conn, next: text.W}, 16<<10)
	return &Client{Client: c.client, Host: c.host, Plan: plan, conn: c.conn}
}

// interruptible closes the connection when ctx ends, which interrupts every read and
// write. The function that it returns stops that and returns ctx's error if ctx
// has ended.
func (c *guardedConn) interruptible(ctx context.Context) (stop func() error) {
	release := context.AfterFunc(ctx, func() { c.Conn.Close() })
	return func() error {
		if release() {
			return nil
		}
		return ctx.Err()
	}
}
