package delivery

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
)

const (
	// replyLimit bounds the octets of the reply to one command, TLS records
	// included. RFC 5321 section 4.5.3.1.5 has reply lines of 512 octets.
	replyLimit = 64 << 10
	// handshakeLimit bounds those of a handshake and the EHLO reply after it;
	// crypto/tls accepts certificate messages of up to 256 KiB.
	handshakeLimit = 512 << 10
)

var (
	errReplyTooLong = errors.New("the reply is too long")
	errNoReply      = errors.New("the server did not send an SMTP reply")
	errInjection    = injectionError{}
)

// injectionError means that something else than one 220 reply came between
// STARTTLS and the handshake (RFC 3207 section 6, CVE-2011-0411).
type injectionError struct{}

func (injectionError) Error() string {
	return "the server sent more than one 220 reply between STARTTLS and the handshake (response injection)"
}

// TLSReport is for tlsrpt.Classify.
func (injectionError) TLSReport() (resultType, reasonCode string) {
	return string(tlsrpt.ValidationFailure), "starttls-injection"
}

// guardedConn is the connection under an smtp.Client, which reads without bound and
// reads ahead. Each step of the conversation has a deadline and a number of octets;
// neither grows when the peer sends a little at a time. Nothing sent in cleartext
// is read as part of the TLS session.
type guardedConn struct {
	net.Conn
	allowance atomic.Int64 // octets that may still be read in this step
	timeout   time.Duration
	stage     stage
	heard     []byte // read since the last write, up to the handshake
	fault     error  // up to the handshake: why the conversation is over
}

// stage is how far a connection is on its way to TLS.
type stage uint8

const (
	inClear       stage = iota // replies are kept for reading their names
	commandNext                // the next write is the STARTTLS command
	handshakeNext              // the next write is the ClientHello
	passing                    // nothing is kept any more
)

// begin starts a step of the conversation.
func (c *guardedConn) begin(limit int64) {
	c.allowance.Store(limit)
	c.SetDeadline(time.Now().Add(c.timeout))
}

// Read reads no more than the step allows.
func (c *guardedConn) Read(p []byte) (int, error) {
	left := c.allowance.Load()
	if left <= 0 {
		return 0, c.end(errReplyTooLong)
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.allowance.Add(-int64(n))
	if c.stage != passing {
		c.heard = append(c.heard, p[:n]...)
		if !startsAsReply(c.heard) {
			return 0, c.end(errNoReply)
		}
	}
	return n, err
}

// end prevents net/smtp from sending HELO to a server that does not speak SMTP.
func (c *guardedConn) end(fault error) error {
	if c.stage != passing {
		c.fault = fault
	}
	return fault
}

// startsAsReply reports whether b can be the start of a reply. Package textproto
// reads "SSH-2.0" as one and waits for its last line.
func startsAsReply(b []byte) bool {
	for _, c := range b[:min(len(b), 3)] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Write lets a handshake begin only after one 220 reply without anything behind it.
// The rest would otherwise wait in a buffer (CVE-2011-0411 is the same in a
// server).
func (c *guardedConn) Write(p []byte) (int, error) {
	if c.stage != passing && c.fault != nil {
		return 0, c.fault
	}
	switch c.stage {
	case commandNext:
		c.stage = handshakeNext
	case handshakeNext:
		if !isReadyReply(c.heard) {
			return 0, errInjection
		}
		c.stage = passing
		c.begin(handshakeLimit)
	}
	c.heard = c.heard[:0]
	return c.Conn.Write(p)
}

// isReadyReply reports whether b is exactly one complete reply with the code 220.
func isReadyReply(b []byte) bool {
	for {
		line, rest, found := bytes.Cut(b, []byte("\n"))
		if !found || !bytes.HasPrefix(line, []byte("220")) {
			return false
		}
		if len(line) > 3 && line[3] == '-' {
			b = rest
			continue
		}
		return len(rest) == 0
	}
}

// stepWriter begins a step of the conversation with each write: a command or a block
// of the message. It is above TLS because a peer can make TLS itself write.
type stepWriter struct {
	conn *guardedConn
	next *bufio.Writer
}

func (w stepWriter) Write(p []byte) (int, error) {
	w.conn.begin(replyLimit)
	n, err := w.next.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.next.Flush()
}
