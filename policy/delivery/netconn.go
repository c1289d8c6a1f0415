package delivery

import (
	"bytes"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// netConn is a session as a net.Conn for an SMTP client that wants to begin at
// the greeting. It greets and answers the client's first EHLO or HELO itself,
// with what the server offers in the session as it is. From then on it hands
// commands and messages through as they are, and replies in the form that every
// client reads: behind each code a space and a text, keywords in upper case.
//
// As with any SMTP connection, one goroutine speaks at a time; Close and
// SetDeadline may be called by another.
type netConn struct {
	session *wire.Conn
	host    string
	hello   wire.Reply    // the server's last reply to EHLO
	timeout time.Duration // of each step
	ended   func()        // called by Close, any number of times

	greeted bool   // the client said EHLO or HELO
	line    []byte // what it said so far
	replies []byte // to read next

	// deadline is the client's own, in nanoseconds since 1970; 0 is none.
	deadline atomic.Int64
}

func newNetConn(session *wire.Conn, host string, hello wire.Reply, timeout time.Duration) *netConn {
	return &netConn{
		session: session,
		host:    host,
		hello:   hello,
		timeout: timeout,
		ended:   func() {},
		replies: []byte("220 " + host + " ESMTP\r\n"),
	}
}

// Read returns a part of the next reply.
func (c *netConn) Read(p []byte) (int, error) {
	if len(c.replies) == 0 {
		if !c.greeted {
			return 0, os.ErrDeadlineExceeded // nothing comes before a command
		}
		timeout, err := c.step()
		if err != nil {
			return 0, err
		}
		reply, err := c.session.Receive(timeout)
		if err != nil {
			return 0, err
		}
		c.replies = appendReply(nil, reply)
	}
	n := copy(p, c.replies)
	c.replies = c.replies[n:]
	return n, nil
}

// Write sends what the client says, from the end of its greeting on.
func (c *netConn) Write(p []byte) (int, error) {
	if c.greeted {
		timeout, err := c.step()
		if err != nil {
			return 0, err
		}
		if err := c.session.Write(p, timeout); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	c.line = append(c.line, p...)
	command, rest, complete := bytes.Cut(c.line, []byte("\n"))
	switch {
	case !complete && len(c.line) > maxCommand:
		return 0, wire.ErrTooLong
	case !complete:
		return len(p), nil
	}
	c.line = nil
	c.answer(strings.ToUpper(string(bytes.TrimSpace(command))))
	if len(rest) > 0 {
		if _, err := c.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// maxCommand bounds a command line (RFC 5321 section 4.5.3.1.4, with room for
// extensions).
const maxCommand = 4 << 10

// answer replies to the client's first command.
func (c *netConn) answer(command string) {
	switch {
	case strings.HasPrefix(command, "EHLO"):
		c.greeted = true
		c.replies = appendReply(c.replies, c.offers())
	case strings.HasPrefix(command, "HELO"):
		c.greeted = true
		c.replies = appendReply(c.replies, wire.Reply{Code: 250, Lines: []string{c.host}})
	default:
		c.replies = appendReply(c.replies, wire.Reply{Code: 503, Lines: []string{"5.5.1 EHLO first"}})
	}
}

// offers is the server's reply to EHLO without STARTTLS, which a session has at
// most once (RFC 3207 section 4.2).
func (c *netConn) offers() wire.Reply {
	reply := wire.Reply{Code: 250, Lines: []string{c.host}}
	extensions := c.hello.Extensions()
	for _, keyword := range slices.Sorted(maps.Keys(extensions)) {
		if keyword != "STARTTLS" {
			reply.Lines = append(reply.Lines, strings.TrimRight(keyword+" "+extensions[keyword], " "))
		}
	}
	return reply
}

// appendReply writes a reply so that clients which are strict read it.
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
func (c *netConn) step() (time.Duration, error) {
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
func (c *netConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.deadline.Store(0)
		return nil
	}
	c.deadline.Store(t.UnixNano())
	return c.session.NetConn().SetDeadline(t)
}

// SetReadDeadline is SetDeadline: a step is a command and its reply.
func (c *netConn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline is SetDeadline: a step is a command and its reply.
func (c *netConn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }

// Close closes the connection without a farewell.
func (c *netConn) Close() error {
	defer c.ended()
	return c.session.Abort()
}

// LocalAddr returns the local address of the connection.
func (c *netConn) LocalAddr() net.Addr { return c.session.NetConn().LocalAddr() }

// RemoteAddr returns the address of the mail host.
func (c *netConn) RemoteAddr() net.Addr { return c.session.NetConn().RemoteAddr() }
