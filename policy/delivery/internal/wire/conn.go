package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxLine bounds what is kept of a line of a reply. RFC 5321 section
	// 4.5.3.1.5 has 512 octets, and real servers exceed that.
	maxLine = 4 << 10
	// maxReply bounds the octets of a reply, TLS records included.
	maxReply = 64 << 10
	// maxKept bounds what is kept of a reply, lineOverhead for each line included. A
	// server may refuse each of many recipients, at each of its addresses, and all of these
	// replies are kept until the end. Real ones have a tenth of that.
	maxKept      = 8 << 10
	lineOverhead = 16
	// maxHandshake bounds the octets of a TLS handshake; crypto/tls accepts
	// certificate messages of up to 256 KiB.
	maxHandshake = 512 << 10
	// bufferSize is that of the buffers for commands and replies.
	bufferSize = 4 << 10
	// partTimeout bounds a QUIT whose reply is not waited for.
	partTimeout = time.Second
)

// Conn is a connection to an SMTP server. It is for one goroutine at a time,
// except for Abort.
type Conn struct {
	raw     *boundedConn
	tls     *tls.Conn // nil in cleartext
	r       *bufio.Reader
	w       *bufio.Writer
	pending int // commands without reply
	message message
}

// NewConn returns a Conn over a connection on which nothing was read yet.
func NewConn(conn net.Conn) *Conn {
	c := &Conn{raw: &boundedConn{Conn: conn}}
	c.use(c.raw)
	return c
}

// use makes c read from and write to conn from now on.
func (c *Conn) use(conn net.Conn) {
	c.r = bufio.NewReaderSize(conn, bufferSize)
	c.w = bufio.NewWriterSize(conn, bufferSize)
}

// boundedConn bounds what a peer may send in one step.
type boundedConn struct {
	net.Conn
	left atomic.Int64
	now  bool // Read does not wait
}

func (c *boundedConn) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 {
		return 0, ErrTooLong
	}
	read := c.Conn.Read
	if c.now {
		read = func(p []byte) (int, error) { return readNow(c.Conn, p) }
	}
	n, err := read(p[:min(int64(len(p)), left)])
	c.left.Add(-int64(n))
	return n, err
}

// begin starts a step that takes at most timeout, and in which the peer may send so
// many octets.
func (c *Conn) begin(timeout time.Duration, octets int64) error {
	c.raw.left.Store(octets)
	return c.raw.SetDeadline(time.Now().Add(timeout))
}

// NetConn returns the connection as it was given to NewConn.
func (c *Conn) NetConn() net.Conn { return c.raw.Conn }

// TLS returns the state of the TLS session; ok is false in cleartext.
func (c *Conn) TLS() (state tls.ConnectionState, ok bool) {
	if c.tls == nil {
		return state, false
	}
	return c.tls.ConnectionState(), true
}

// Send writes a command without waiting for its reply, for pipelining (RFC 2920
// section 3.1). The command has no line end in it.
func (c *Conn) Send(command string) error {
	if strings.ContainsAny(command, "\r\n\x00") {
		return errors.New("a command must not contain CR, LF or NUL")
	}
	if c.pending == 0 && c.unasked() {
		return ErrUnasked
	}
	c.pending++
	_, err := c.w.WriteString(command + "\r\n")
	return err
}

// unasked reports whether the server has said something that no command asked for. It
// would be taken for the reply to the next command. 421 may come at any time
// (RFC 5321 section 3.8).
func (c *Conn) unasked() bool {
	if c.r.Buffered() == 0 {
		return false
	}
	start, _ := c.r.Peek(min(c.r.Buffered(), 3))
	return string(start) != "421"
}

// Receive returns the reply to the oldest command without one, within timeout.
func (c *Conn) Receive(timeout time.Duration) (Reply, error) {
	if err := c.begin(timeout, maxReply); err != nil {
		return Reply{}, err
	}
	if err := c.w.Flush(); err != nil {
		return Reply{}, err
	}
	c.pending = max(c.pending-1, 0)
	return c.read()
}

// Command sends a command and returns its reply, within timeout.
func (c *Conn) Command(timeout time.Duration, command string) (Reply, error) {
	if err := c.Send(command); err != nil {
		return Reply{}, err
	}
	return c.Receive(timeout)
}

// Write sends octets as they are, within timeout: commands of a client that
// speaks SMTP itself, or a part of its message.
func (c *Conn) Write(octets []byte, timeout time.Duration) error {
	// TLS may need to read while it writes.
	if err := c.begin(timeout, maxReply); err != nil {
		return err
	}
	if _, err := c.w.Write(octets); err != nil {
		return err
	}
	return c.w.Flush()
}

// read reads one reply. Lines end in CRLF; a bare LF and more than one CR are accepted
// as well. The lines of a reply all have the same code (RFC 5321 section 4.2.1); where a
// server sends different ones, the last counts, as it does for other senders.
func (c *Conn) read() (Reply, error) {
	var reply Reply
	for kept := 0; ; {
		line, err := c.line()
		if err != nil {
			return Reply{}, err
		}
		code, text, last, err := parseLine(line)
		if err != nil {
			return Reply{}, err
		}
		reply.Mixed = reply.Mixed || reply.Code != 0 && reply.Code != code
		reply.Code = code
		if kept += lineOverhead + len(text); kept <= maxKept {
			reply.Lines = append(reply.Lines, text)
		}
		if !last {
			continue
		}
		if reply.Class() == 3 && c.r.Buffered() > 0 {
			// The server waits for more of the command and cannot have an answer.
			return Reply{}, ErrUnasked
		}
		return reply, nil
	}
}

// line reads a line without its line end. A peer that does not speak SMTP is
// noticed by its first octets, and not only at the end of its line.
func (c *Conn) line() (string, error) {
	if start, err := c.r.Peek(3); len(start) < 3 {
		return "", unexpected(err)
	} else if !isDigits(string(start)) {
		return "", ErrNotReply
	}
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		// The end of a long line is dropped; the octets of the reply are bounded.
		line = append(line, part[:min(len(part), maxLine-len(line))]...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return "", unexpected(err)
		}
		return strings.TrimRight(strings.TrimSuffix(string(line), "\n"), "\r"), nil
	}
}

// unexpected returns the error for the end of a connection where a reply should come.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// AskTLS sends STARTTLS and returns the reply. A reply that was there before the
// command, and one whose lines do not agree, are ErrInjection.
func (c *Conn) AskTLS(timeout time.Duration) (Reply, error) {
	if c.r.Buffered() > 0 {
		return Reply{}, ErrInjection
	}
	reply, err := c.Command(timeout, "STARTTLS")
	if err == nil && reply.Mixed {
		return Reply{}, ErrInjection
	}
	return reply, err
}

// StartTLS makes the handshake after the server's 220. Nothing may have come after that
// reply: it would lie in a buffer and could be taken for something said inside TLS.
func (c *Conn) StartTLS(ctx context.Context, timeout time.Duration, config *tls.Config) error {
	if c.r.Buffered() > 0 {
		return ErrInjection
	}
	if err := c.begin(timeout, maxHandshake); err != nil {
		return err
	}
	conn := tls.Client(c.raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	c.tls = conn
	c.use(conn)
	return nil
}

// Discard throws away what the server sent after a reply, for a handshake that need not
// prove anything (RFC 3207 section 4.2: whatever was learned in cleartext is
// forgotten).
func (c *Conn) Discard() { c.r.Discard(c.r.Buffered()) }

// Abort closes the connection without a farewell, neither of SMTP nor of TLS. It
// may be called at any time and by any goroutine.
func (c *Conn) Abort() error { return c.raw.Close() }

// Quit says QUIT, waits at most timeout for the reply, and closes the connection. Nothing
// depends on the reply. RFC 5321 section 4.1.1.10 requires clients to wait for it; with
// 0, Quit does not wait, because other mail needs the place of the session at once.
func (c *Conn) Quit(timeout time.Duration) {
	if timeout > 0 {
		c.Command(timeout, "QUIT")
	} else if c.begin(partTimeout, maxReply) == nil && c.Send("QUIT") == nil {
		c.w.Flush()
	}
	c.Abort()
}

// Interruptible aborts the connection when ctx ends. The function it returns
// ends that, and returns ctx's error if it came first.
func (c *Conn) Interruptible(ctx context.Context) (stop func() error) {
	release := context.AfterFunc(ctx, func() { c.Abort() })
	return func() error {
		if release() {
			return nil
		}
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
}
