package policytest

import (
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
)

// server is the common part of all hosts: a name, addresses, a certificate, and
// the faults in effect.
type server struct {
	domain *Domain
	name   string
	port   uint16
	// serve serves a connection and returns at once. It is nil if the server is a
	// program of its own at the real address.
	serve func(*transport)
	real  string
	// respond answers a request. Only HTTPS hosts have it.
	respond func(*transport, http.ResponseWriter, *http.Request)

	mu          sync.Mutex
	traits      []Option
	faults      []*fault
	connections int // so far
	keys        [2]crypto.Signer
	certs       []cached
	loopback    string // the result of LoopbackAddr
}

type fault struct{ options []Option }

// cached is a certificate chain and what it was made for: the faults, and what
// InTurn chose.
type cached struct {
	faults []*fault
	turns  []int
	chain  *chain
}

// Break applies the options to the server, beginning with the next connection,
// until restore is called.
func (s *server) Break(options ...Option) (restore func()) {
	f := &fault{options}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(slices.Clone(s.faults), f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(slices.Clone(s.faults), func(x *fault) bool { return x == f })
	}
}

// LoopbackAddr returns a real address of the server, such as "127.0.0.1:42587". It
// listens there from the first call on. Use it for programs that have no dial hook
// and need no DNS; see Listen for the others.
func (s *server) LoopbackAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loopback == "" {
		s.loopback = s.domain.inet.listen("127.0.0.1:0", s.acceptReal)
	}
	return s.loopback
}

// Name returns the name of the host, without a final dot.
func (s *server) Name() string { return s.name }

// behavior returns the behavior of the server at its next connection.
func (s *server) behavior() *Behavior {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviorAt(s.connections)
}

// behaviorDuring returns the behavior of the server now, in a connection with this
// number.
func (s *server) behaviorDuring(connection int) *Behavior {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviorAt(connection)
}

// arrive returns the behavior of the server for a connection that begins.
func (s *server) arrive() *Behavior {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections++
	return s.behaviorAt(s.connections - 1)
}

// behaviorAt is called with s.mu locked.
func (s *server) behaviorAt(connection int) *Behavior {
	options := [][]Option{s.traits}
	for _, f := range s.faults {
		options = append(options, f.options)
	}
	return behave(connection, options...)
}

// accept serves a connection.
func (s *server) accept(c net.Conn, b *Behavior) {
	s.serve(&transport{Conn: c, server: s, does: b})
}

// acceptReal serves a connection that was made without Dial. The system has
// accepted it already, so Refuse closes it, and Blackhole keeps it and says nothing.
func (s *server) acceptReal(c net.Conn) {
	b := s.arrive()
	local := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	switch {
	case b.refuse:
		c.Close()
	case b.blackhole || slices.Contains(b.stalling, local):
		s.domain.inet.attend(&transport{Conn: c}, func(t *transport) { t.ignore() })
	default:
		s.accept(c, b)
	}
}

// key returns the key of the server. There is one of each kind.
func (s *server) key(b *Behavior) crypto.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := 0
	if b.rsaKey {
		kind = 1
	}
	if s.keys[kind] == nil {
		s.keys[kind] = newKey(b.rsaKey)
	}
	return s.keys[kind]
}

// chain returns the certificate chain that the server presents in a connection.
// Each chain is made once, on first use.
func (s *server) chain(b *Behavior) *chain {
	key := s.key(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.certs {
		if slices.Equal(c.faults, s.faults) && slices.Equal(c.turns, b.turns) {
			return c.chain
		}
	}
	c := cached{s.faults, b.turns, s.domain.inet.issueChain(s.name, key, b)}
	s.certs = append(s.certs, c)
	return c.chain
}

// tlsConfig returns the TLS configuration for connections of type *transport. It
// follows their behavior and keeps the session ticket keys.
func tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		t := hello.Conn.(*transport)
		if t.does.http2 && !slices.Contains(hello.SupportedProtos, "h2") {
			return nil, errors.New("the client does not offer HTTP/2")
		}
		c := &tls.Config{Certificates: []tls.Certificate{t.server.chain(t.does).certificate()}, NextProtos: protocols}
		for _, change := range t.does.tls {
			change(c)
		}
		return c, nil
	}}
}

// publish adds the addresses of the server to the DNS and to Dial.
func (s *server) publish(b *Behavior) {
	addrs := b.addrs
	if addrs == nil {
		addrs = []string{s.domain.inet.allocate().String()}
	}
	if b.listen != "" {
		s.domain.inet.listen(b.listen, s.acceptReal)
	}
	for _, text := range addrs {
		addr := netip.MustParseAddr(text)
		s.domain.inet.attach(netip.AddrPortFrom(addr, s.port), s)
		kind := " A "
		if addr.Is6() {
			kind = " AAAA "
		}
		s.domain.Add(s.name + "." + kind + text)
	}
}

// publishTLSA replaces the TLSA records of the server.
func (s *server) publishTLSA(records []string) {
	owner := fmt.Sprintf("_%d._tcp.%s.", s.port, s.name)
	s.domain.Remove(owner)
	for _, record := range records {
		s.domain.Add(owner + " TLSA " + record)
	}
}
