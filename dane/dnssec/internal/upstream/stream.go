package upstream

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/flight"
)

// idleTime is how long an unused connection over TLS is kept open.
const idleTime = 10 * time.Second

// maxPipelined is how many questions wait on one connection before a new one is
// opened for later questions.
const maxPipelined = 64

// maxWaiting is how many questions wait on one connection at most, including those
// that came while it was being opened. It leaves most IDs free.
const maxWaiting = 1 << 14

var errFull = errors.New("too many questions wait on the connection")

// pool holds the connection over TLS to one server. All questions share it,
// because a lookup asks many at once and handshakes are slow (RFC 7858 section
// 3.4). The zero pool is ready for use.
type pool struct {
	mu      sync.Mutex
	current *stream
	opening flight.Group[struct{}, *stream]
}

// maxBarren is how many connections in a row may close without a reply before a question
// is given up.
const maxBarren = 2

// exchange asks on the shared connection. The server may close one before it has answered
// all questions. The others are asked again on a new connection (RFC 7766 section 6.2.4),
// as long as the server answers some questions on each.
func (p *pool) exchange(ctx context.Context, query *query, open func(context.Context) (*stream, error)) ([]byte, error) {
	for barren := 0; ; {
		s, err := p.get(ctx, open)
		if err != nil {
			return nil, err
		}
		reply, err := s.ask(ctx, query)
		switch {
		case errors.Is(err, errFull):
			continue // on the next connection
		case err == nil, ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
			return reply, err
		case s.hasReplied():
			barren = 0
			continue
		}
		if barren++; barren == maxBarren {
			return nil, err
		}
	}
}

// get returns a stream, a new one if none takes more questions.
func (p *pool) get(ctx context.Context, open func(context.Context) (*stream, error)) (*stream, error) {
	p.mu.Lock()
	s := p.current
	p.mu.Unlock()
	if s != nil && s.takesMore() {
		return s, nil
	}
	f := p.opening.Join(ctx, struct{}{}, func(ctx context.Context) (*stream, error) {
		s, err := open(ctx)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.current = s
		return s, nil
	})
	defer p.opening.Leave(struct{}{}, f)
	return f.Wait(ctx)
}

// renew makes later questions open a new connection if questions wait on the present one.
func (p *pool) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.current; s != nil && s.isWaiting() {
		s.retire()
	}
}

// secure makes the handshake with a server over TLS (RFC 7858 section 3.1). It is
// as strict as the profile of RFC 8310 section 5. It closes conn if it fails.
func secure(ctx context.Context, conn net.Conn, template *tls.Config, name string) (net.Conn, error) {
	config := &tls.Config{}
	if template != nil {
		config = template.Clone()
	}
	config.ServerName = name
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// stream is a connection on which many questions wait for their replies. Replies
// come in any order (RFC 7766 section 7) and are distinguished by their IDs.
type stream struct {
	conn net.Conn

	mu      sync.Mutex
	err     error // the connection is closed
	retired bool  // takes no more questions
	replied bool  // at least one reply came
	// waiting holds the questions by ID. An abandoned question is nil and keeps its ID,
	// so that a late reply is not delivered to another question.
	waiting map[uint16]chan []byte
	live    int // of waiting, not nil
	idle    *time.Timer
	detach  func() bool // from the Client, whose Close closes the stream
	leave   func()      // gives the socket back
}

// newStream returns a stream that is closed when open ends. It calls leave when it is
// closed.
func newStream(open context.Context, conn net.Conn, leave func()) *stream {
	s := &stream{conn: conn, waiting: make(map[uint16]chan []byte), leave: leave}
	s.mu.Lock() // open may have ended, and close is then called at once
	defer s.mu.Unlock()
	s.idle = time.AfterFunc(idleTime, s.closeIfIdle)
	s.detach = context.AfterFunc(open, func() { s.close(net.ErrClosed) })
	go s.receive()
	return s
}

func (s *stream) takesMore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil && !s.retired && len(s.waiting) < maxPipelined
}

// ask sends the query under an ID of its own and waits for the reply.
func (s *stream) ask(ctx context.Context, query *query) ([]byte, error) {
	reply, err := s.enter(query)
	if err != nil {
		return nil, err
	}
	if s.send(ctx, query.stream()) != nil {
		s.retire() // receive may still find replies, and then the end of the connection
	}
	select {
	case wire, ok := <-reply:
		if !ok {
			return nil, s.failure()
		}
		return wire, nil
	case <-ctx.Done():
		s.abandon(query.id(), ctx.Err())
		return nil, ctx.Err()
	}
}

func (s *stream) send(ctx context.Context, wire []byte) error {
	if deadline, ok := ctx.Deadline(); ok {
		s.conn.SetWriteDeadline(deadline)
	}
	_, err := s.conn.Write(wire)
	return err
}

// enter registers the query under an ID that no other query has.
func (s *stream) enter(query *query) (<-chan []byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if len(s.waiting) >= maxWaiting {
		return nil, errFull
	}
	for taken := true; taken; _, taken = s.waiting[query.id()] {
		query.setID(dns.Id())
	}
	reply := make(chan []byte, 1)
	s.waiting[query.id()] = reply
	s.live++
	s.idle.Stop()
	return reply, nil
}

// retire keeps later questions off the connection.
func (s *stream) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
}

// abandon gives up a question. A server that does not answer in time gets no more
// questions on this connection.
func (s *stream) abandon(id uint16, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = s.retired || errors.Is(why, context.DeadlineExceeded)
	if s.waiting[id] != nil {
		s.waiting[id] = nil
		s.left()
	}
}

// left notes that one question fewer is waiting.
func (s *stream) left() {
	if s.live--; s.live > 0 {
		return
	}
	if s.retired {
		s.idle.Reset(0)
		return
	}
	s.idle.Reset(idleTime)
}

// receive delivers the replies. A reply that was not asked for ends the
// connection, because the server is broken.
func (s *stream) receive() {
	for {
		wire, err := receiveStream(s.conn)
		if err == nil && !s.deliver(wire) {
			err = errors.New("a reply that was not asked for")
		}
		if err != nil {
			s.close(err)
			return
		}
	}
}

func (s *stream) deliver(wire []byte) bool {
	if len(wire) < 2 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := binary.BigEndian.Uint16(wire)
	reply, asked := s.waiting[id]
	delete(s.waiting, id)
	s.replied = s.replied || asked
	if reply != nil {
		reply <- wire
		s.left()
	}
	return asked
}

func (s *stream) isWaiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live > 0
}

func (s *stream) hasReplied() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replied
}

func (s *stream) closeIfIdle() {
	s.mu.Lock()
	idle := s.live == 0
	s.mu.Unlock()
	if idle {
		s.close(net.ErrClosed)
	}
}

// close fails all waiting questions.
func (s *stream) close(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = err
	s.detach()
	s.idle.Stop()
	s.conn.Close()
	s.leave()
	for _, reply := range s.waiting {
		if reply != nil {
			close(reply)
		}
	}
	clear(s.waiting)
}

func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
