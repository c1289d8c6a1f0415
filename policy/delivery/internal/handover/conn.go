package handover

import (
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// Conn is a session as a net.Conn for an SMTP client that wants to begin at the
// greeting. It greets and answers the client's first EHLO or HELO itself, with what the
// server offers in the session as it is. From then on it passes commands and messages
// on as they are, and replies in the form that every client reads: a space and a text
// after each code, the usual code for each success, keywords in upper case. It answers
// itself what must not reach the server: STARTTLS, AUTH in a session that is not
// authenticated, and MAIL without REQUIRETLS where that is required.
//
// As with any SMTP connection, one goroutine speaks at a time; Close and
// SetDeadline may be called by another.
type Conn struct {
	session *wire.Conn
	host    string
	hello   wire.Reply    // the server's last reply to EHLO
	timeout time.Duration // of each step
	login   bool          // Config.Authenticated
	keep    bool          // Config.Keep
	ended   func()

	mu       sync.Mutex
	busy     int  // calls that use the session
	closed   bool // by the client
	released bool

	track   track
	replies []byte // to read next

	// deadline is the client's own, in nanoseconds since 1970; 0 is none.
	deadline atomic.Int64
}

// Config is what a Conn is made from.
type Config struct {
	// Session is the connection to the server, which has answered EHLO.
	Session *wire.Conn
	// Host is the name of the server.
	Host string
	// Hello is the server's last reply to EHLO.
	Hello wire.Reply
	// Timeout bounds each step.
	Timeout time.Duration
	// Circumstances are those of the session.
	Circumstances conversation.Circumstances
	// Authenticated means that the client may log in: credentials do not go to a server
	// that may be anyone, or that anyone may have named.
	Authenticated bool
	// RequireTLS means that MAIL without the parameter REQUIRETLS must not reach the
	// server (RFC 8689 section 4.2.1).
	RequireTLS bool
	// Keep means that the session may be used by others afterwards: QUIT and Close do not
	// reach the server.
	Keep bool
	// Reused means that the session was used by others before.
	Reused bool
	// Ended is called when the connection is closed, any number of times.
	Ended func()
}

// New returns a Conn.
func New(c Config) *Conn {
	return &Conn{
		session: c.Session,
		host:    c.Host,
		hello:   c.Hello,
		timeout: c.Timeout,
		login:   c.Authenticated,
		keep:    c.Keep,
		ended:   c.Ended,
		track:   track{circumstances: c.Circumstances, requireTLS: c.RequireTLS, noLogin: !c.Authenticated, keep: c.Keep, untried: c.Reused},
		replies: appendReply(nil, wire.Reply{Code: 220, Lines: []string{c.Host + " ESMTP"}}),
	}
}

// About returns what an error of the client is about, by what was said. ok is false
// if the error does not matter, because the server has accepted the message.
func (c *Conn) About(err error) (about Heard, ok bool) { return c.track.about(err) }

// Settle notes that the caller knows what became of the mail so far. Errors from then
// on are about the next one, except after QUIT.
func (c *Conn) Settle() { c.track.settle() }

// Idle reports whether the server waits for a command, so that it may be told QUIT.
func (c *Conn) Idle() bool { return c.track.idle() }

// Stale reports whether a session that was used by others ended, or refused to serve
// more, before a message began. A timeout is another matter.
func (c *Conn) Stale() bool { return c.track.stale() }

// Release takes the session from the client, for others to use: from then on the Conn is
// closed and does not touch it. It reports false, and does nothing, unless the server
// waits for a command and the client has left nothing behind in the session but mail.
func (c *Conn) Release() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released || c.busy > 0 || !c.track.reusable() {
		return false
	}
	c.released = true
	return true
}

// use begins a call that uses the session. The caller calls done.
func (c *Conn) use() (done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.released {
		return nil, net.ErrClosed
	}
	c.busy++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy--
	}, nil
}

// Leave says QUIT, if the client has not, and closes the connection.
func (c *Conn) Leave(timeout time.Duration) {
	if c.end() {
		defer c.ended()
		c.session.Quit(timeout)
	}
}

// end marks the connection as closed, and reports whether the session is still its own.
func (c *Conn) end() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.track.lost(false)
	return !c.released
}

// Read returns a part of the next reply.
func (c *Conn) Read(p []byte) (int, error) {
	done, err := c.use()
	if err != nil {
		return 0, err
	}
	defer done()
	if len(c.replies) == 0 {
		reply, err := c.reply()
		if err != nil {
			return 0, err
		}
		c.replies = appendReply(nil, reply)
	}
	n := copy(p, c.replies)
	c.replies = c.replies[n:]
	return n, nil
}

// reply returns the next reply: one of our own, or the server's.
func (c *Conn) reply() (wire.Reply, error) {
	next, waiting := c.track.next()
	switch {
	case waiting && next.own == greet:
		return c.greet(next), nil
	case waiting && next.own != "":
		reply := wire.Reply{Code: next.code, Lines: []string{next.own}}
		c.track.heard(reply)
		return reply, nil
	case !waiting && c.track.parted():
		return wire.Reply{}, io.EOF // as after the reply to QUIT
	case !waiting && !c.track.greeted():
		return wire.Reply{}, os.ErrDeadlineExceeded // nothing comes before a command
	}
	timeout, err := c.step()
	if err == nil {
		var reply wire.Reply
		if reply, err = c.session.Receive(timeout); err == nil {
			c.track.heard(reply)
			if next.verb == "EHLO" && reply.Class() == 2 {
				return c.offers(reply), nil
			}
			reply.Code = expected(next.verb, reply.Code)
			return reply, nil
		}
	}
	c.track.lost(!conversation.IsTimeout(err))
	return wire.Reply{}, err
}

// greet answers the client's first EHLO or HELO.
func (c *Conn) greet(first command) wire.Reply {
	reply := wire.Reply{Code: 250, Lines: []string{c.host}}
	if first.verb == "EHLO" {
		reply = c.offers(c.hello)
	}
	c.track.heard(reply)
	return reply
}

// Write sends what the client says, from the end of its greeting on.
func (c *Conn) Write(p []byte) (int, error) {
	done, err := c.use()
	if err != nil {
		return 0, err
	}
	defer done()
	forward, err := c.track.said(p)
	if err == nil && len(forward) > 0 {
		var timeout time.Duration
		if timeout, err = c.step(); err == nil {
			err = c.session.Write(forward, timeout)
		}
	}
	if err != nil {
		c.track.lost(!conversation.IsTimeout(err))
		return 0, err
	}
	return len(p), nil
}

// offers returns the server's reply to EHLO without STARTTLS, which a session has at
// most once (RFC 3207 section 4.2), and without AUTH where the client must not log in.
func (c *Conn) offers(hello wire.Reply) wire.Reply {
	reply := wire.Reply{Code: 250, Lines: []string{c.host}}
	extensions := hello.Extensions()
	for _, keyword := range slices.Sorted(maps.Keys(extensions)) {
		if keyword != "STARTTLS" && (keyword != "AUTH" || c.login) {
			reply.Lines = append(reply.Lines, strings.TrimRight(keyword+" "+extensions[keyword], " "))
		}
	}
	return reply
}

// expected returns the code of a reply that clients expect which compare all three
// digits. The first digit decides (RFC 5321 section 4.3.2): a client that takes 251
// after the message for a failure would send the message again.
func expected(verb string, code int) int {
	switch class := code / 100; {
	case class == 3 && verb == "DATA":
		return 354
	case class == 2 && verb == "QUIT":
		return 221
	case class == 2 && verb == "RCPT" && code/10 == 25:
		return code
	case class == 2 && slices.Contains([]string{"HELO", "MAIL", "RCPT", ".", "BDAT", "RSET", "NOOP"}, verb):
		return 250
	}
	return code
}

// appendReply appends a reply in the form that strict clients read.
func appendReply(b []byte, reply wire.Reply) []byte {
	for i, line := range reply.Lines {
		b = append(b, byte('0'+reply.Code/100), byte('0'+reply.Code/10%10), byte('0'+reply.Code%10))
		if i < len(reply.Lines)-1 {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		b = append(b, line...)
		b = append(b, "\r\n"...)
	}
	return b
}

// step returns the time for the next step: the session's, or the client's own if
// that is shorter.
func (c *Conn) step() (time.Duration, error) {
	deadline := c.deadline.Load()
	if deadline == 0 {
		return c.timeout, nil
	}
	left := time.Until(time.Unix(0, deadline))
	if left <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return min(left, c.timeout), nil
}

// SetDeadline bounds the steps from now on, the one under way included.
func (c *Conn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.deadline.Store(0)
		return nil
	}
	c.deadline.Store(t.UnixNano())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released {
		return net.ErrClosed
	}
	return c.session.NetConn().SetDeadline(t)
}

// SetReadDeadline is SetDeadline: a step is a command and its reply.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline is SetDeadline: a step is a command and its reply.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }

// Close closes the connection without a farewell. If the session may be used by others,
// that is left to Release or Leave.
func (c *Conn) Close() error {
	c.mu.Lock()
	postponed := c.keep && c.busy == 0 && c.track.reusable()
	c.closed = c.closed || postponed
	c.mu.Unlock()
	if postponed || !c.end() {
		return nil
	}
	defer c.ended()
	return c.session.Abort()
}

// LocalAddr returns the local address of the connection.
func (c *Conn) LocalAddr() net.Addr { return c.session.NetConn().LocalAddr() }

// RemoteAddr returns the address of the mail host.
func (c *Conn) RemoteAddr() net.Addr { return c.session.NetConn().RemoteAddr() }
