package dnssec

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the EDNS buffer size: what passes without fragmentation nearly
// everywhere, and more than the 1220 octets of RFC 4035 section 4.1.
const udpSize = 1232

// maxStrays is how many datagrams that do not answer are read before the server
// is asked over TCP, where nobody else can send any.
const maxStrays = 64

// question is what is asked for, in class IN.
type question struct {
	name  string // canonical
	rtype uint16
}

// client sends one question to one server and returns the reply.
type client struct {
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	timeout time.Duration
	tls     *tls.Config // template for servers reached over TLS; may be nil
	limit   int         // records of one reply
	// wantAD asks the server for its own verdict (RFC 6840 section 5.7) and
	// not for the records that prove it.
	wantAD bool
	// buffers has what datagrams are read into. A message that was unpacked
	// keeps nothing of it.
	buffers *sync.Pool // of *[datagramSize]byte
}

// datagramSize is more than udpSize: some servers do not care.
const datagramSize = 4096

func newClient(dial func(context.Context, string, string) (net.Conn, error), timeout time.Duration, template *tls.Config, records int) client {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if timeout <= 0 {
		timeout = 3 * time.Second
	}
	buffers := &sync.Pool{New: func() any { return new([datagramSize]byte) }}
	return client{dial: dial, timeout: timeout, tls: template, limit: records, buffers: buffers}
}

// exchange is one try at one server, within the timeout.
func (c *client) exchange(ctx context.Context, to attempt, q question) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.try(ctx, to, q)
}

// try asks over UDP, and over TCP if that was truncated or stream is set. The
// context bounds both together.
func (c *client) try(ctx context.Context, to attempt, q question) (*reply, error) {
	stream := to.stream || to.server.isTLS()
	msg, err := c.roundTrip(ctx, to.server, stream, q)
	if err == nil && msg.Truncated && !stream {
		msg, err = c.roundTrip(ctx, to.server, true, q) // RFC 7766 section 5
	}
	if err != nil {
		return nil, withServer(err, to.server)
	}
	if msg.Truncated {
		return nil, withServer(failure(q, Malformed, "reply over TCP is truncated"), to.server)
	}
	r, err := newReply(msg.Msg, q, to.server)
	if err != nil {
		return nil, err
	}
	r.octets = msg.octets
	return r, nil
}

func withServer(err error, s *server) error {
	var e *Error
	if errors.As(err, &e) {
		e.Server = s.String()
	}
	return err
}

// roundTrip sends one query over a connection of its own, so that each has a
// source port of its own (RFC 5452 section 9.2), and waits for the reply. Over
// TLS nobody else can answer, and queries share a connection.
func (c *client) roundTrip(ctx context.Context, s *server, stream bool, q question) (*message, error) {
	query, err := c.newQuery(q)
	if err != nil {
		return nil, err
	}
	if s.isTLS() {
		reply, err := c.overTLS(ctx, s, query)
		if err != nil {
			return nil, transportFailure(ctx, q, err)
		}
		return c.onlyReply(reply, query)
	}
	network := "udp"
	if stream {
		network = "tcp"
	}
	conn, err := c.dial(ctx, network, s.hostPort)
	if err != nil {
		return nil, transportFailure(ctx, q, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	if !stream {
		return c.overUDP(ctx, conn, query)
	}
	if _, err := conn.Write(query.stream()); err != nil {
		return nil, transportFailure(ctx, q, err)
	}
	reply, err := receiveStream(conn)
	if err != nil {
		return nil, transportFailure(ctx, q, err)
	}
	return c.onlyReply(reply, query)
}

// connectTLS connects to a server over TLS (RFC 7858 section 3.1, and as strict
// as the profile of RFC 8310 section 5).
func (c *client) connectTLS(ctx context.Context, s *server) (net.Conn, error) {
	conn, err := c.dial(ctx, "tcp", s.hostPort)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{}
	if c.tls != nil {
		config = c.tls.Clone()
	}
	config.ServerName = s.tlsName
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// query is a question as it is sent.
type query struct {
	question
	wire []byte // the message, behind its length
}

// newQuery writes the query for q: DO and CD set and AD clear for a validator
// (RFC 4035 sections 4.1, 4.6 and 4.9.2), AD alone for a truster.
func (c *client) newQuery(q question) (*query, error) {
	const rd, ad, cd, do = 1 << 8, 1 << 5, 1 << 4, 1 << 15
	flags, extended := uint16(rd|cd), uint16(do)
	if c.wantAD {
		flags, extended = rd|ad, 0
	}
	const header = 2 + 12
	wire := make([]byte, header+len(q.name)+1+4+11)
	end, err := dns.PackDomainName(q.name, wire, header, nil, false)
	if err != nil {
		return nil, failure(q, BadQuestion, "not a domain name")
	}
	for i, field := range [...]uint16{0, dns.Id(), flags, 1, 0, 0, 1} {
		binary.BigEndian.PutUint16(wire[2*i:], field)
	}
	wire = wire[:end]
	wire = binary.BigEndian.AppendUint16(wire, q.rtype)
	wire = binary.BigEndian.AppendUint16(wire, dns.ClassINET)
	// The OPT record (RFC 6891 section 6.1.2), at the root, without options.
	wire = append(wire, 0)
	for _, field := range [...]uint16{dns.TypeOPT, udpSize, 0, extended, 0} {
		wire = binary.BigEndian.AppendUint16(wire, field)
	}
	binary.BigEndian.PutUint16(wire, uint16(len(wire)-2))
	return &query{q, wire}, nil
}

// datagram is the message alone.
func (q *query) datagram() []byte { return q.wire[2:] }

// stream is the message behind its length (RFC 1035 section 4.2.2).
func (q *query) stream() []byte { return q.wire }

func (q *query) id() uint16 { return binary.BigEndian.Uint16(q.datagram()) }

func (q *query) setID(id uint16) { binary.BigEndian.PutUint16(q.datagram(), id) }

// onlyReply reads what came over a stream. There it can only be the reply.
func (c *client) onlyReply(wire []byte, query *query) (*message, error) {
	msg, err := c.readReply(wire, query)
	if limit := new(limitError); errors.As(err, &limit) {
		return nil, asError(query.question, err)
	}
	if err != nil {
		return nil, failure(query.question, Malformed, "%v", err)
	}
	return &message{msg, len(wire)}, nil
}

// overUDP asks, and reads datagrams until one answers the query. Anybody can
// send some, so those that do not answer it are dropped and not believed as
// errors (RFC 5452 section 9.1), until they are too many to be bad luck.
func (c *client) overUDP(ctx context.Context, conn net.Conn, query *query) (*message, error) {
	q := query.question
	if _, err := conn.Write(query.datagram()); err != nil {
		return nil, transportFailure(ctx, q, err)
	}
	buf := c.buffers.Get().(*[datagramSize]byte)
	defer c.buffers.Put(buf)
	var stray error
	for range maxStrays {
		n, err := conn.Read(buf[:])
		if err != nil {
			e := transportFailure(ctx, q, err)
			if stray != nil {
				e.Reason, e.Detail = Malformed, "no reply but "+stray.Error()
			}
			return nil, e
		}
		msg, err := c.readReply(buf[:n], query)
		if err == nil {
			return &message{msg, n}, nil
		}
		if limit := new(limitError); errors.As(err, &limit) {
			return nil, asError(q, err)
		}
		stray = err
	}
	return nil, failure(q, Malformed, "%v", stray)
}

// message is a DNS message and the size that it came in.
type message struct {
	*dns.Msg
	octets int
}

// readReply parses a message that answers query. The ID comes first: it sorts
// out a flood of forged messages at little cost. So does the number of records,
// because each may be 16 octets and unpack to a thousand.
func (c *client) readReply(wire []byte, query *query) (*dns.Msg, error) {
	if len(wire) < 2 || binary.BigEndian.Uint16(wire) != query.id() {
		return nil, errors.New("a message with another ID")
	}
	if n := countRecords(wire); n > c.limit {
		return nil, &limitError{what: "records of one reply", limit: c.limit}
	}
	msg, err := unpack(wire, query.rtype)
	if err != nil {
		return nil, errors.New("a message that cannot be parsed")
	}
	if err := answers(msg, query.question); err != nil {
		return nil, err
	}
	return msg, nil
}

// countRecords adds up the counts of the header (RFC 1035 section 4.1.1), but
// for the one question.
func countRecords(wire []byte) int {
	n := -1
	for _, at := range []int{4, 6, 8, 10} {
		if len(wire) >= at+2 {
			n += int(binary.BigEndian.Uint16(wire[at:]))
		}
	}
	return n
}

// answers checks that msg is a reply to the question asked.
func answers(msg *dns.Msg, asked question) error {
	switch {
	case !msg.Response || msg.Opcode != dns.OpcodeQuery:
		return errors.New("a message that is not a reply")
	case msg.Rcode == dns.RcodeFormatError && len(msg.Question) == 0:
		return nil // from a server that could not read the question
	case len(msg.Question) != 1:
		return errors.New("a reply without the question")
	}
	name, ok := canonicalName(msg.Question[0].Name)
	if !ok || name != asked.name || msg.Question[0].Qtype != asked.rtype || msg.Question[0].Qclass != dns.ClassINET {
		return errors.New("a reply to another question")
	}
	return nil
}

func receiveStream(conn net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, buf)
	return buf, err
}

// transportFailure tells silence from a refusal to talk.
func transportFailure(ctx context.Context, q question, err error) *Error {
	reason := Unreachable
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		reason = NotAuthenticated
	case errors.Is(err, os.ErrDeadlineExceeded), ctx.Err() != nil:
		reason = Timeout
	}
	e := failure(q, reason, "")
	e.Err = err
	return e
}
