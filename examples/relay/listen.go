package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// maxConnections bounds the memory for messages.
	maxConnections = 64
	// lastWord is for how long a client may go on when the relay ends.
	lastWord = time.Second
)

// listen returns a listener that only this machine can connect to.
func listen(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if at, ok := listener.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		listener.Close()
		return nil, fmt.Errorf("%s is not a loopback address, and the relay sends for everybody who can connect", address)
	}
	return netutil.LimitListener(listener, maxConnections), nil
}

// listener makes each connection a clientConn.
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

// clientConn is a connection that has nothing more to read soon after its context
// is done, and none but whole line ends at any time.
type clientConn struct {
	net.Conn
	ctx   context.Context
	stop  func() bool
	mu    sync.Mutex // the deadline that is set last is the right one
	lines lineEnds
}

// SetReadDeadline sets the deadline, or an early one when the context is done.
// Writing has its own.
func (c *clientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		t = time.Now().Add(lastWord)
	}
	return c.Conn.SetReadDeadline(t)
}

// Read reads up to the first line end that is none.
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

// errBareLineEnd is for a CR or LF without the other. Servers differ in what they
// make of it (RFC 5321 section 2.3.8): where one sees the end of a message, another
// sees text, and what follows is a message that nobody sent, or is lost.
var errBareLineEnd = errors.New("a line does not end in CRLF")

// lineEnds follows the line ends in what is read piece by piece.
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
