package wire

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/testpki"
)

// wrapped is a connection that the system cannot be asked about.
type wrapped struct{ net.Conn }

// SMTP-35: what a server said that no command asked for is noticed wherever it is: in a buffer,
// in a record of TLS that was read with another one, or in the system. So is the end of
// the connection. A session that is quiet can be used as before.
func TestUnaskedOctetsAreNoticed(t *testing.T) {
	t.Parallel()
	const first = "250 ok\r\n"
	for _, inTLS := range []bool{false, true} {
		for _, wraps := range []bool{false, true} {
			for name, tt := range map[string]struct {
				then func(server net.Conn) // after the reply
				want bool
			}{
				"nothing more":   {func(net.Conn) {}, true},
				"another reply":  {func(s net.Conn) { io.WriteString(s, first) }, false},
				"half a reply":   {func(s net.Conn) { io.WriteString(s, "2") }, false},
				"421":            {func(s net.Conn) { io.WriteString(s, "421 bye\r\n") }, false},
				"the end":        {func(s net.Conn) { s.Close() }, false},
				"421 and an end": {func(s net.Conn) { io.WriteString(s, "421 bye\r\n"); s.Close() }, false},
			} {
				ours, theirs := connected(t)
				if wraps {
					ours = wrapped{ours}
				}
				c := NewConn(ours)
				server := theirs
				if inTLS {
					server = secured(t, c, theirs)
				}
				step := make(chan bool)
				go func() {
					octets := make([]byte, len("RSET\r\n"))
					for {
						if _, err := io.ReadFull(server, octets); err != nil {
							return
						}
						io.WriteString(server, first)
						select {
						case <-step:
							tt.then(server)
							step <- true
						case <-time.After(time.Minute):
						}
					}
				}()
				for range 2 { // quiet once, and then perhaps not
					if _, err := c.Command(time.Minute, "RSET"); err != nil {
						t.Fatal(err)
					}
					if !c.Quiet() {
						t.Errorf("%s (TLS %v, wrapped %v): not quiet before", name, inTLS, wraps)
					}
					if tt.want {
						step <- true
						<-step
						if !c.Quiet() {
							t.Errorf("%s (TLS %v, wrapped %v): not quiet", name, inTLS, wraps)
						}
						continue
					}
					step <- true
					<-step
					if arrived(c) {
						t.Errorf("%s (TLS %v, wrapped %v): quiet", name, inTLS, wraps)
					}
					break
				}
				c.Abort()
				theirs.Close()
			}
		}
	}
}

// arrived asks until a connection is not quiet any more, and reports whether it always
// is. The system takes a moment, even on the loopback interface.
func arrived(c *Conn) (quiet bool) {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if !c.Quiet() {
			return false
		}
	}
	return true
}

// Two replies that come together, in two records of TLS: the second is in no buffer of
// ours, and not in the system either.
func TestQuietSeesRecordsThatWereReadTogether(t *testing.T) {
	t.Parallel()
	ours, theirs := connected(t)
	together := &corked{Conn: theirs}
	c := NewConn(ours)
	server := secured(t, c, together)
	go func() {
		io.ReadFull(server, make([]byte, len("RSET\r\n")))
		together.cork = true
		io.WriteString(server, "250 ok\r\n")
		io.WriteString(server, "250 ok\r\n")
		theirs.Write(together.kept)
	}()
	if _, err := c.Command(time.Minute, "RSET"); err != nil {
		t.Fatal(err)
	}
	if c.r.Buffered() > 0 {
		t.Fatal("the test shows nothing: the reply is in the buffer")
	}
	if c.Quiet() {
		t.Error("quiet")
	}
}

// buffered is a connection of Config.Dial that has read ahead, as behind a proxy. It has
// the methods of a TCPConn.
type buffered struct {
	*net.TCPConn
	ahead *bufio.Reader
}

func (c buffered) Read(p []byte) (int, error) { return c.ahead.Read(p) }

// What a connection around another one has read already is not quiet, although the system
// has nothing more.
func TestQuietAsksTheConnection(t *testing.T) {
	t.Parallel()
	ours, theirs := connected(t)
	conn := buffered{ours.(*net.TCPConn), bufio.NewReader(ours)}
	c := NewConn(conn)
	if !c.Quiet() {
		t.Error("a new connection is not quiet")
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(theirs, "250 ok\r\n")
	if _, err := conn.ahead.Peek(len("250 ok\r\n")); err != nil {
		t.Fatal(err)
	}
	if c.Quiet() {
		t.Error("quiet")
	}
}

// corked keeps what is written.
type corked struct {
	net.Conn
	cork bool
	kept []byte
}

func (c *corked) Write(p []byte) (int, error) {
	if !c.cork {
		return c.Conn.Write(p)
	}
	c.kept = append(c.kept, p...)
	return len(p), nil
}

// A command without its reply is not quiet.
func TestPendingIsNotQuiet(t *testing.T) {
	t.Parallel()
	ours, _ := connected(t)
	c := NewConn(ours)
	if !c.Quiet() {
		t.Error("a new connection is not quiet")
	}
	if err := c.Send("RSET"); err != nil {
		t.Fatal(err)
	}
	if c.Quiet() {
		t.Error("quiet with a command under way")
	}
}

// connected returns both ends of a connection over the loopback interface.
func connected(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := listener.Accept()
		accepted <- conn
	}()
	if ours, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	theirs = <-accepted
	t.Cleanup(func() {
		ours.Close()
		theirs.Close()
	})
	return ours, theirs
}

// secured makes a handshake over a connection, and returns the server's end.
func secured(t *testing.T, c *Conn, theirs net.Conn) net.Conn {
	t.Helper()
	certificate := testpki.SelfSigned(t, []string{"mx.example"}).TLS()
	server := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{certificate}})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := c.StartTLS(t.Context(), time.Minute, &tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server
}
