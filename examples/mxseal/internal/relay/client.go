package relay

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// readTimeout bounds the wait for a command and for a message (RFC 5321 section 4.5.3.2.7).
	readTimeout  = 5 * time.Minute
	writeTimeout = time.Minute
	// lastWord is how long a client may continue when the relay is shutting down.
	lastWord = time.Second
	// lastReplies is how long the client may then take to read replies.
	lastReplies = 10 * time.Second
	// maxLine bounds a command in octets. RFC 5321 section 4.5.3.1.4 has 512; the extensions add to that.
	maxLine = 2048
	// bufferSize is the size of the buffer for what a client sends.
	bufferSize = 16 << 10
)

// client is the connection of a client: lines and messages in, replies out. Replies are sent when more input
// is needed, so that those to a group of commands go together (RFC 2920 section 3.2).
type client struct {
	conn net.Conn // in TLS after STARTTLS
	raw  *endingConn
	in   *bufio.Reader
	out  *bufio.Writer
	ends lineEnds
	// until bounds the reads of a message; zero means that each read has its own time.
	until time.Time
}

func newClient(conn net.Conn, ctx context.Context) *client {
	c := &client{raw: &endingConn{Conn: conn, ctx: ctx}}
	c.speakOver(c.raw)
	return c
}

func (c *client) speakOver(conn net.Conn) {
	c.conn, c.ends = conn, lineEnds{}
	c.in, c.out = bufio.NewReaderSize(c, bufferSize), bufio.NewWriter(conn)
}

// startTLS begins TLS. What the client has sent ahead is not protected, and is an error.
func (c *client) startTLS(config *tls.Config) error {
	if err := c.flush(); err != nil {
		return err
	}
	if c.in.Buffered() > 0 {
		return errSentAhead
	}
	_ = c.raw.SetReadDeadline(time.Now().Add(readTimeout))
	conn := tls.Server(c.raw, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	c.speakOver(conn)
	return nil
}

var (
	// errBareLineEnd is the error for a CR without LF or an LF without CR. Servers interpret these
	// differently (RFC 5321 section 2.3.8). If one server sees the end of a message where another one
	// does not, an attacker can inject a message.
	errBareLineEnd = errors.New("a line does not end in CRLF")
	errTooLong     = errors.New("the line is too long")
	errSentAhead   = errors.New("octets follow STARTTLS")
)

// Read reads up to the first bare CR or LF.
func (c *client) Read(p []byte) (int, error) {
	if c.ends.bad {
		return 0, errBareLineEnd
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	until := c.until
	if until.IsZero() {
		until = time.Now().Add(readTimeout)
	}
	_ = c.raw.SetReadDeadline(until)
	n, err := c.conn.Read(p)
	if good := c.ends.check(p[:n]); good < n {
		return good, errBareLineEnd
	}
	return n, err
}

func (c *client) flush() error {
	if c.out.Buffered() == 0 {
		return nil
	}
	return c.out.Flush()
}

// say writes a reply. An error shows in the next read.
func (c *client) say(r reply) { _, _ = fmt.Fprintf(c.out, "%s\r\n", r) }

// line reads a command, without its end.
func (c *client) line() (string, error) {
	line, err := c.in.ReadSlice('\n')
	switch {
	case len(line) > maxLine || errors.Is(err, bufio.ErrBufferFull):
		return "", errTooLong
	case err != nil:
		return "", err
	}
	return string(bytes.TrimSuffix(line, []byte("\r\n"))), nil
}

// text reads a message up to the line that has only a dot (RFC 5321 section 4.5.2).
func (c *client) text(to *body) error {
	c.until = time.Now().Add(readTimeout)
	defer func() { c.until = time.Time{} }()
	for first := true; ; {
		part, err := c.in.ReadSlice('\n')
		whole := err == nil
		switch {
		case !whole && !errors.Is(err, bufio.ErrBufferFull):
			return err
		case first && string(part) == ".\r\n":
			return nil
		case first:
			part = bytes.TrimPrefix(part, []byte("."))
		}
		to.add(part)
		first = whole
	}
}

// chunk reads a part of a message that has n octets (RFC 3030).
func (c *client) chunk(n int64, to *body) error {
	c.until = time.Now().Add(readTimeout)
	defer func() { c.until = time.Time{} }()
	_, err := io.CopyN(to, c.in, n)
	return err
}

// endingConn ends reads soon after its context is done, and writes that take long. Each write has a deadline of
// its own, because replies may be written minutes after the last input: a client that does not get them sends a
// message again that was delivered.
type endingConn struct {
	net.Conn
	ctx context.Context
	mu  sync.Mutex // orders the calls that set deadlines
	end time.Time  // of reads; zero before the first one after the context is done
}

// SetReadDeadline sets the deadline for reads, or an earlier one if the context is done.
func (c *endingConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		if c.end.IsZero() {
			c.end = time.Now().Add(lastWord)
		}
		t = c.end
	}
	return c.Conn.SetReadDeadline(t)
}

// Write writes within writeTimeout, or within lastReplies if the context is done.
func (c *endingConn) Write(p []byte) (int, error) {
	c.limitWrite()
	return c.Conn.Write(p)
}

func (c *endingConn) limitWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := writeTimeout
	if c.ctx.Err() != nil {
		limit = lastReplies
	}
	_ = c.SetWriteDeadline(time.Now().Add(limit))
}

// hurry applies the deadlines of a relay that is shutting down to what is in progress.
func (c *endingConn) hurry() {
	c.mu.Lock()
	_ = c.Conn.SetReadDeadline(time.Now().Add(lastWord))
	c.mu.Unlock()
	c.limitWrite()
}

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
