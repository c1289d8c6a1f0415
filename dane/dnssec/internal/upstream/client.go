// Package upstream sends DNS questions to recursive servers over UDP, TCP and
// TLS, and reads the replies. It checks that a reply belongs to its question. It
// does not judge what the reply says: package dnssec does.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/resolvconf"
	"github.com/mxseal/mxseal/internal/lack"
)

// Config configures a Client.
type Config struct {
	// Servers are recursive servers in the forms that ParseServer reads. Empty means
	// those of ResolvConf.
	Servers []string
	// ResolvConf is read if Servers is empty, and read again when it changes. Empty
	// means /etc/resolv.conf.
	ResolvConf string
	// Permit says which servers may be used. nil means all.
	Permit Permit
	// Dial connects to a server. nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is a template for connections over TLS. It may be nil.
	TLS *tls.Config
	// Options take precedence over those of ResolvConf.
	Options
	// Bounds bound all questions together.
	Bounds Bounds
	// Records bounds the records of one reply.
	Records int
	// WantAD asks the server for its own verdict (RFC 6840 section 5.7) instead of
	// the records that prove it.
	WantAD bool
}

// Permit returns an error for a server that must not be used. The file is that which
// names the server, or nil if the configuration does.
type Permit func(s *Server, file *resolvconf.File) error

// Client sends questions to servers. It is safe for concurrent use.
type Client struct {
	servers *serverList
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	tls     *tls.Config
	records int
	wantAD  bool
	Room    *Room // shared by all lookups
	// buffers holds what datagrams are read into. An unpacked message refers to
	// nothing in it.
	buffers *sync.Pool // of *[datagramSize]byte

	open  context.Context // ends with Close
	close context.CancelCauseFunc
}

// maxStrays is how many datagrams that do not answer are read before the attempt
// ends. The server is then asked over TCP, where no one else can send any.
const maxStrays = 64

// datagramSize is more than udpSize, because some servers ignore that.
const datagramSize = 4096

// New returns a Client. It fails if there is no server to ask.
func New(config Config) (*Client, error) {
	servers, err := newServerList(config.Servers, config.ResolvConf, config.Permit, config.Options)
	if err != nil {
		return nil, err
	}
	c := &Client{
		servers: servers,
		dial:    config.Dial,
		tls:     config.TLS,
		Room:    newRoom(config.Bounds),
		records: config.Records,
		wantAD:  config.WantAD,
		buffers: &sync.Pool{New: func() any { return new([datagramSize]byte) }},
	}
	if c.dial == nil {
		c.dial = new(net.Dialer).DialContext
	}
	c.open, c.close = context.WithCancelCause(context.Background())
	return c, nil
}

// Timeout returns the time that one attempt may take.
func (c *Client) Timeout() time.Duration { return c.servers.options().Timeout }

// Close closes the connections over TLS. Later attempts fail with net.ErrClosed.
// Attempts over UDP and TCP that have begun end by their own timeout. Close may be
// called more than once.
func (c *Client) Close() error {
	c.close(net.ErrClosed)
	return nil
}

// Only returns a Client that asks one of the servers. It is closed with c.
func (c *Client) Only(s *Server) *Client {
	only := *c
	only.servers = c.servers.only(s)
	return &only
}

// Servers returns the servers in the order of the configuration. The slice must
// not be changed. If the file that names them has become unusable, the servers
// stay as they are and the error says so.
func (c *Client) Servers() ([]*Server, error) { return c.servers.list() }

// Question is a question in class IN.
type Question struct {
	Name string // canonical
	Type uint16
	// Memory bounds Message.Memory. A larger reply is an Error, TooLarge. 0 means no
	// bound.
	Memory int
	// Plain asks for the server's own view, as Config.WantAD does.
	Plain bool
}

// Exchange asks the server and returns the reply. It asks over TCP if the reply over UDP
// is truncated (RFC 7766 section 5). The caller is a Race, which has the room and limits
// the time. The error is an *Error.
func (c *Client) Exchange(ctx context.Context, to Attempt, q Question) (*Message, error) {
	m, err := c.send(ctx, to, q)
	if err == nil && m.Truncated && !to.Stream && !to.Server.IsTLS() {
		m, err = c.send(ctx, Attempt{Server: to.Server, Stream: true}, q)
	}
	if err == nil && m.Truncated {
		return nil, &Error{Kind: Malformed, Server: to.Server.String(), Detail: "reply over TCP is truncated"}
	}
	return m, err
}

// Query makes one attempt outside of a Race, and returns a truncated reply as it is. It
// waits for room for at most Timeout, and then for the reply for at most Timeout.
func (c *Client) Query(ctx context.Context, to Attempt, q Question) (*Message, error) {
	room, err := c.enter(ctx, to, false)
	if err != nil {
		return nil, err
	}
	defer room.leave()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout())
	defer cancel()
	return c.send(ctx, to, q)
}

// enter takes the room for an attempt. spare means that the attempt can be left out.
func (c *Client) enter(ctx context.Context, to Attempt, spare bool) (seat, error) {
	if s, ok := c.Room.tryEnter(to, spare); ok {
		return s, nil
	}
	if spare {
		return seat{}, &Error{Kind: Busy, Server: to.Server.String(), Detail: "no room for a question that may not be needed"}
	}
	waiting, cancel := context.WithTimeout(ctx, c.Timeout())
	defer cancel()
	room, err := c.Room.enter(waiting, to)
	if err != nil {
		return seat{}, c.failure(ctx, to.Server, err)
	}
	return room, nil
}

// send sends one query and waits for the reply. Over UDP and TCP each query has a
// connection of its own, so that each has a source port of its own (RFC 5452
// section 9.2). Over TLS only the server can answer, and queries share a
// connection.
func (c *Client) send(ctx context.Context, to Attempt, q Question) (*Message, error) {
	to.Server.counts.queries.Add(1)
	var m *Message
	began := time.Now()
	query, err := newQuery(q, c.wantAD || q.Plain)
	switch {
	case err != nil:
	case c.open.Err() != nil:
		err = net.ErrClosed
	case to.Server.IsTLS():
		m, err = c.overTLS(ctx, to.Server, query)
	case to.Stream:
		m, err = c.overTCP(ctx, to.Server, query)
	default:
		m, err = c.overUDP(ctx, to.Server, query)
	}
	if err != nil {
		failed := c.failure(ctx, to.Server, err)
		if !errors.Is(ctx.Err(), context.Canceled) {
			to.Server.counts.failed(failed)
		}
		return nil, failed
	}
	to.Server.counts.replies.Add(1)
	m.Server = to.Server
	now := time.Now()
	to.Server.replied(now.Sub(began))
	if !to.Stream {
		to.Server.answered(to, now)
	}
	return m, nil
}

// failure makes an *Error of the outcome of an attempt. It distinguishes silence
// from a connection that failed.
func (c *Client) failure(ctx context.Context, s *Server, err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Kind: Unreachable, Err: err}
		if lack.Of(err) {
			e.Kind, e.Final = Busy, lack.Everywhere(err)
		}
	}
	e.Server = s.String()
	var certificate *tls.CertificateVerificationError
	switch {
	case e.Kind != Unreachable:
	case c.open.Err() != nil:
		e.Err = net.ErrClosed
	case errors.As(err, &certificate):
		e.Kind = NotAuthenticated
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		e.Kind = Timeout
	}
	return e
}

// overUDP sends the query and reads datagrams until one answers it. Anyone can send
// datagrams, so those that do not answer the query are dropped, up to maxStrays, and are
// not errors of the server (RFC 5452 section 9.1).
func (c *Client) overUDP(ctx context.Context, s *Server, query *query) (*Message, error) {
	conn, release, err := c.connect(ctx, "udp", s)
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := conn.Write(query.datagram()); err != nil {
		return nil, err
	}
	buf := c.buffers.Get().(*[datagramSize]byte)
	defer c.buffers.Put(buf)
	var stray *Error
	for range maxStrays {
		n, err := conn.Read(buf[:])
		if err != nil && stray != nil {
			return nil, &Error{Kind: Malformed, Detail: "no reply but " + stray.Detail, Err: err}
		}
		if err != nil {
			return nil, err
		}
		s.lives(time.Now())
		m, problem := readReply(buf[:n], query, c.records)
		if problem == nil {
			return m, nil
		}
		if problem.Kind == TooManyRecords || problem.Kind == TooLarge {
			return nil, problem
		}
		stray = problem
	}
	return nil, stray
}

func (c *Client) overTCP(ctx context.Context, s *Server, query *query) (*Message, error) {
	conn, release, err := c.connect(ctx, "tcp", s)
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := conn.Write(query.stream()); err != nil {
		return nil, err
	}
	wire, err := receiveStream(conn)
	if err != nil {
		return nil, err
	}
	return c.onlyReply(s, wire, query)
}

func (c *Client) overTLS(ctx context.Context, s *Server, query *query) (*Message, error) {
	wire, err := s.streams.exchange(ctx, query, func(ctx context.Context) (*stream, error) { // ctx lasts while anyone waits
		if c.open.Err() != nil {
			return nil, net.ErrClosed
		}
		// The wait for a socket ends before the attempts of those who wait for the
		// connection, so it is not held against the server.
		return c.Room.keep(ctx, c.Timeout()/2, func(leave func()) (*stream, error) {
			ctx, cancel := context.WithTimeout(ctx, c.Timeout())
			defer cancel()
			conn, err := c.dial(ctx, "tcp", s.hostPort)
			if err != nil {
				return nil, err
			}
			secured, err := secure(ctx, conn, c.tls, s.tlsName)
			if err != nil {
				return nil, err
			}
			return newStream(c.open, secured, leave), nil
		})
	})
	if err != nil {
		return nil, err
	}
	return c.onlyReply(s, wire, query)
}

// connect dials a connection that fails when ctx ends.
func (c *Client) connect(ctx context.Context, network string, s *Server) (net.Conn, func(), error) {
	conn, err := c.dial(ctx, network, s.hostPort)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); conn.Close() }, nil
}

// onlyReply reads what came over a stream, where it can only be the reply.
func (c *Client) onlyReply(s *Server, wire []byte, query *query) (*Message, error) {
	s.lives(time.Now())
	m, problem := readReply(wire, query, c.records)
	if problem != nil {
		return nil, problem
	}
	return m, nil
}
