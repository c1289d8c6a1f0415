package wire

import (
	"fmt"
	"io"
	"time"
)

// blockSize is that of the pieces in which a message is sent: a TLS record.
const blockSize = 16 << 10

// SourceError is a failure to read the message, as opposed to one to send it.
type SourceError struct{ Err error }

// Error says that the message could not be read.
func (e *SourceError) Error() string { return fmt.Sprintf("the message could not be read: %v", e.Err) }

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// Message sends a message and its end after the server's 354, and leaves the reply to
// Receive. Lines of r end in CRLF or LF; they go out ending in CRLF, and with a dot
// before each that starts with one (RFC 5321 section 4.5.2). timeout bounds each block
// of blockSize.
//
// After an error the server has a part of the message that looks like the
// beginning of it: the connection is to be aborted and not ended politely.
func (c *Conn) Message(r io.Reader, timeout time.Duration) error {
	out := &c.message
	out.lineStart, out.cr = true, false
	if out.in == nil {
		out.in = make([]byte, blockSize)
	}
	for {
		n, err := 0, error(nil)
		for n < len(out.in) && err == nil {
			var more int
			more, err = r.Read(out.in[n:])
			n += more
		}
		octets := out.encode(out.in[:n])
		if err == io.EOF { // the end goes with the last block
			octets = append(octets, out.end()...)
		}
		if err := c.Write(octets, timeout); err != nil {
			return err
		}
		switch err {
		case nil:
		case io.EOF:
			c.pending++
			return nil
		default:
			return &SourceError{err}
		}
	}
}

// Early returns the reply of a server that refused a message before its end, after an
// error of Message. It is 4yz or 5yz: no server can have accepted a message that it
// does not have. ok is false if there is none.
func (c *Conn) Early(timeout time.Duration) (reply Reply, ok bool) {
	if c.begin(timeout, maxReply) != nil {
		return Reply{}, false
	}
	reply, err := c.read()
	if err != nil || reply.Class() < 4 {
		return Reply{}, false
	}
	return reply, true
}

// message encodes a message piece by piece. Its buffers serve all messages of a session.
type message struct {
	lineStart bool   // the next octet starts a line
	cr        bool   // the last octet was CR
	in, out   []byte // a piece, and what is sent for it
}

// encode returns the octets to send for a piece; they are good until the next call.
func (m *message) encode(piece []byte) []byte {
	m.out = m.out[:0]
	for _, c := range piece {
		if c == '.' && m.lineStart {
			m.out = append(m.out, '.')
		}
		if c == '\n' && !m.cr {
			m.out = append(m.out, '\r')
		}
		m.out = append(m.out, c)
		m.lineStart, m.cr = c == '\n', c == '\r'
	}
	return m.out
}

// end returns the end of the message (RFC 5321 section 4.1.1.4). A message
// without a final line end gets one.
func (m *message) end() []byte {
	switch {
	case m.lineStart:
		return []byte(".\r\n")
	case m.cr:
		return []byte("\n.\r\n")
	default:
		return []byte("\r\n.\r\n")
	}
}
