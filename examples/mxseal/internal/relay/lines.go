package relay

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// lastWord is how long a client may continue when the relay is shutting down.
const lastWord = time.Second

// listener wraps each connection in a clientConn.
type listener struct {
	net.Listener
	ctx context.Context
}

// Accept waits for the next connection.
func (l listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &clientConn{Conn: accepted, ctx: l.ctx}
	c.stop = context.AfterFunc(l.ctx, func() { _ = c.SetReadDeadline(time.Time{}) })
	return c, nil
}

// clientConn ends reads soon after its context is done, and ends the input at
// the first bare CR or LF.
type clientConn struct {
	net.Conn
	ctx   context.Context
	stop  func() bool
	mu    sync.Mutex // orders the calls that set the deadline
	lines lineEnds
}

// SetReadDeadline sets the deadline for reads, or an earlier one if the context
// is done. Writes have their own deadline.
func (c *clientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		t = time.Now().Add(lastWord)
	}
	return c.Conn.SetReadDeadline(t)
}

// Read reads up to the first bare CR or LF.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.lines.bad {
		return 0, errBareLineEnd
	}
	n, err := c.Conn.Read(p)
	if good := c.lines.check(p[:n]); good < n {
		return good, errBareLineEnd
	}
	return n, err
}

// Close closes the connection.
func (c *clientConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// errBareLineEnd is the error for a CR without LF or an LF without CR. Servers
// interpret these differently (RFC 5321 section 2.3.8). If one server sees the
// end of a message where another one does not, an attacker can inject a
// message.
var errBareLineEnd = errors.New("a line does not end in CRLF")

// lineEnds checks line ends across reads.
type lineEnds struct {
	afterCR bool
	bad     bool
}

// check returns the number of octets before the first bare CR or LF.
func (l *lineEnds) check(p []byte) int {
	for i, c := range p {
		if l.bad = l.bad || l.afterCR != (c == '\n'); l.bad {
			return i
		}
		l.afterCR = c == '\r'
	}
	return len(p)
}
