package policytest

import (
	"crypto/ecdsa"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// server is the common part of mail hosts and HTTPS hosts: a name, addresses, a
// certificate, and the faults in effect.
type server struct {
	domain *Domain
	name   string
	key    *ecdsa.PrivateKey
	real   net.Addr // of the listener

	mu     sync.Mutex
	traits []Option
	faults []*fault
	certs  []cached
}

type fault struct{ options []Option }

// cached is a certificate chain and the faults that it was made for.
type cached struct {
	faults []*fault
	chain  *tls.Certificate
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

// LoopbackAddr returns the real address of the server, such as
// "127.0.0.1:42587". Use it for programs that have no dial hook.
func (s *server) LoopbackAddr() string { return s.real.String() }

// Name returns the name of the host, without a final dot.
func (s *server) Name() string { return s.name }

// behaviour returns the current behavior of the server.
func (s *server) behaviour() *behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviourLocked()
}

func (s *server) behaviourLocked() *behaviour {
	options := [][]Option{s.traits}
	for _, f := range s.faults {
		options = append(options, f.options)
	}
	return behave(options...)
}

// chain returns the certificate chain that the server presents now. Each chain
// is made once, on first use.
func (s *server) chain() *tls.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.certs {
		if slices.Equal(c.faults, s.faults) {
			return c.chain
		}
	}
	c := cached{s.faults, s.domain.inet.issueChain(s.name, s.key, s.behaviourLocked())}
	s.certs = append(s.certs, c)
	return c.chain
}

// tlsConfig returns the TLS configuration of the server. It follows the faults
// in effect and keeps the session ticket keys.
func (s *server) tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		b := s.behaviour()
		switch b.replies[Handshake] {
		case stall:
			s.domain.inet.wait(hello.Context())
			fallthrough
		case hangUp:
			hello.Conn.Close()
			return nil, net.ErrClosed
		}
		c := &tls.Config{Certificates: []tls.Certificate{*s.chain()}, NextProtos: protocols}
		for _, change := range b.tls {
			change(c)
		}
		return c, nil
	}}
}

// publish adds the addresses of the server to the DNS and to Dial.
func (s *server) publish(port uint16, real net.Addr) {
	s.real = real
	addrs := s.behaviour().addrs
	if addrs == nil {
		addrs = []string{s.domain.inet.allocate()}
	}
	for _, text := range addrs {
		addr := netip.MustParseAddr(text)
		s.domain.inet.attach(netip.AddrPortFrom(addr, port), endpoint{real, s})
		kind := " A "
		if addr.Is6() {
			kind = " AAAA "
		}
		s.domain.Add(s.name + "." + kind + text)
	}
}
