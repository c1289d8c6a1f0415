package policy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
)

// quitTimeout bounds the farewell to a host that gets no mail.
const quitTimeout = 5 * time.Second

// conversation is one connection to a mail host, from the greeting to the point
// where mail may be sent or never will.
type conversation struct {
	host   *Host
	addr   netip.Addr
	conn   *guardedConn
	client *smtp.Client

	greeting string // the name in the server's greeting
	tls      attempt
	polite   bool // the server waits for a command, and may be told QUIT
}

// attempt is what became of TLS, as a report counts it.
type attempt struct {
	made bool // the conversation came as far as to ask for TLS
	// state is the session, or what verification saw of one that it refused.
	state *tls.ConnectionState
	err   error // why there is no session; nil with a nil state: not offered
	// failed means that TLS was begun and did not come about.
	failed bool
}

// hold leads the conversation. Without withTLS it does not ask for TLS.
func (c *conversation) hold(localName string, withTLS bool) *Error {
	if err := c.greet(); err != nil {
		return err
	}
	offered, err := c.hello(localName)
	if err != nil {
		return err
	}
	if withTLS {
		if err := c.startTLS(offered); err != nil {
			return err
		}
	}
	return c.check()
}

func (c *conversation) greet() *Error {
	c.conn.begin(replyLimit)
	client, err := smtp.NewClient(c.conn, c.host.Name)
	if err != nil {
		return c.host.broken("the server does not greet", err)
	}
	c.client = client
	c.greeting = greetingName(c.conn.heard)
	return nil
}

// hello says EHLO, and returns whether the server offers STARTTLS.
func (c *conversation) hello(localName string) (offersTLS bool, failure *Error) {
	c.conn.begin(replyLimit)
	if err := c.client.Hello(localName); err != nil {
		return false, c.host.broken("the server does not answer EHLO", err)
	}
	return offers(c.conn.heard, "STARTTLS"), nil
}

// startTLS asks for TLS and says EHLO again. It returns nil when the
// conversation may go on, perhaps without TLS: check decides about that.
func (c *conversation) startTLS(offered bool) *Error {
	c.tls.made = true
	if !offered {
		c.polite = true
		return nil
	}
	config := c.host.TLSConfig()
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := verify(state)
		if err != nil {
			c.tls.state = &state
		}
		return err
	}
	c.conn.begin(replyLimit)
	c.conn.stage = commandNext
	err := c.client.StartTLS(config)

	if state, ok := c.client.TLSConnectionState(); ok && state.HandshakeComplete {
		c.tls.state = &state
		if err != nil {
			return c.host.broken("the server does not answer EHLO after the handshake", err)
		}
		c.polite = true
		return nil
	}
	return c.withoutTLS(err)
}

// withoutTLS sorts the ways in which STARTTLS can fail.
func (c *conversation) withoutTLS(err error) *Error {
	var (
		refusal *textproto.Error
		garbage textproto.ProtocolError
		failure *Error
	)
	switch {
	case errors.As(err, &refusal):
		// The server knows what was asked and talks on in clear (RFC 3207
		// section 4).
		c.conn.stage, c.polite = inClear, true
		failure = c.host.failure(tlsrpt.STARTTLSNotSupported, startTLSRefused, "4.7.4", "the server refuses STARTTLS", bounded(err))
		c.tls.err = failure
		return nil
	case errors.Is(err, errInjection):
		failure = c.host.failure(tlsrpt.ValidationFailure, "starttls-injection", "4.7.5", "TLS cannot begin", err)
	case errors.As(err, &garbage), errors.Is(err, errReplyTooLong), errors.Is(err, errNoReply):
		failure = c.host.broken("TLS cannot begin", err)
	default:
		c.tls.failed = true
		failure = c.handshakeFailure(err)
	}
	c.tls.err = failure
	return failure
}

// handshakeFailure is a failed verification as Host.Verify has it, or what
// else became of the handshake.
func (c *conversation) handshakeFailure(err error) *Error {
	var failure *Error
	if errors.As(err, &failure) {
		return failure
	}
	if err == nil {
		err = errors.New("the handshake did not come to an end")
	}
	reason := tlsrpt.Classify(err)
	if reason.Type == "" {
		return c.host.broken("the connection was lost in the TLS handshake", err)
	}
	return c.host.failure(reason.Type, reason.ReasonCode, "4.7.5", "the TLS handshake failed", err)
}

// check is the one place that lets mail through: TLS as verified in the
// handshake, or the level that does without.
func (c *conversation) check() *Error {
	state, active := c.client.TLSConnectionState()
	switch {
	case c.host.Level == Opportunistic:
		return nil
	case c.host.Level == Refused:
		return c.host.failure("", "", "4.7.5", "the host is refused", nil)
	case active && state.HandshakeComplete:
		return nil
	case c.tls.err != nil:
		return c.host.failure(tlsrpt.STARTTLSNotSupported, startTLSRefused, "4.7.4", "TLS is required", c.tls.err)
	default:
		return c.host.failure(tlsrpt.STARTTLSNotSupported, "", "4.7.4", "TLS is required, and the server does not offer STARTTLS", nil)
	}
}

// lacksTLS reports whether the server answered, and does not have what the mail
// requires: it offers no STARTTLS, refuses it for good, or was not verified. One
// that is in trouble, or cut off, may have it later (RFC 3207 section 6).
func (c *conversation) lacksTLS() bool {
	var refusal *textproto.Error
	switch {
	case c.tls.state != nil:
		return true
	case errors.As(c.tls.err, &refusal):
		return refusal.Code >= 500
	default:
		return c.tls.made && c.tls.err == nil
	}
}

// report is what a Recorder gets, or nil for what no report counts.
func (c *conversation) report() *tlsrpt.Session {
	if !c.tls.made {
		return nil
	}
	session := c.host.Session(c.tls.state, c.tls.err)
	if len(session.Outcomes) == 0 {
		return nil
	}
	session.HELO = c.greeting
	session.ReceivingIP = c.addr
	if local, err := netip.ParseAddrPort(c.conn.LocalAddr().String()); err == nil {
		session.SendingIP = local.Addr().Unmap()
	}
	return &session
}

// leave ends a conversation that carries no mail, with QUIT where the server
// listens (RFC 3207 section 4.1, RFC 8689 section 4.2.1). A failed handshake
// leaves nothing to say it over.
func (c *conversation) leave() {
	if c.polite {
		c.conn.timeout = quitTimeout
		c.conn.begin(replyLimit)
		c.client.Quit()
	}
	c.conn.Close()
}

// settle turns the conversation into a Client, whose every command and block of
// the message begins a step of its own.
func (c *conversation) settle(timeout time.Duration) *Client {
	c.conn.stage, c.conn.heard, c.conn.timeout = passing, nil, timeout
	text := c.client.Text
	text.W = bufio.NewWriterSize(stepWriter{conn: c.conn, next: text.W}, 16<<10)
	return &Client{Client: c.client, Host: c.host, Plan: c.host.plan, conn: c.conn}
}

// interruptible closes the connection when ctx ends, which nothing that reads
// or writes can miss. The function it returns ends that, and reports ctx's
// error if it came first.
func (c *guardedConn) interruptible(ctx context.Context) (stop func() error) {
	release := context.AfterFunc(ctx, func() { c.Conn.Close() })
	return func() error {
		if release() {
			return nil
		}
		return ctx.Err()
	}
}
