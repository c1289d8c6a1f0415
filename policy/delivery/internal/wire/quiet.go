package wire

import (
	"errors"
	"net"
	"time"
)

// Quiet reports whether the connection is open and nothing that the server sent is
// unread, as far as that is known without waiting: in the buffers, in records of TLS
// that were received and not decrypted yet, and in the system. What is unread would be
// taken for the reply to the next command. The end of the connection is noticed too.
func (c *Conn) Quiet() bool {
	if c.pending > 0 || c.r.Buffered() > 0 || c.w.Buffered() > 0 {
		return false
	}
	if err := c.begin(time.Second, maxReply); err != nil {
		return false
	}
	c.raw.now = true
	_, err := c.r.Peek(1)
	c.raw.now = false
	return errors.Is(err, errNothing)
}

// errNothing means that nothing has arrived. To package crypto/tls it is a timeout,
// after which the connection can be used as before.
var errNothing error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing has arrived" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// shortly is how long readSoon waits.
const shortly = time.Millisecond

// readSoon reads what has arrived or arrives within a short time, from connections
// that cannot be asked without waiting.
func readSoon(conn net.Conn, p []byte) (int, error) {
	if err := conn.SetReadDeadline(time.Now().Add(shortly)); err != nil {
		return 0, err
	}
	n, err := conn.Read(p)
	var timeout net.Error
	if n == 0 && errors.As(err, &timeout) && timeout.Timeout() {
		return 0, errNothing
	}
	return n, err
}
