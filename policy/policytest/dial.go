package policytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// attach makes a port of an address reachable by Dial.
func (inet *Internet) attach(at netip.AddrPort, s *server) {
	inet.mu.Lock()
	defer inet.mu.Unlock()
	if _, taken := inet.endpoints[at]; taken {
		panic(fmt.Sprintf("policytest: %s is already in use", at))
	}
	inet.pool.used[at.Addr()] = true
	inet.endpoints[at] = s
}

// Dial connects to a host of this internet, given by address or by name. It has
// the signature of net.Dialer.DialContext; the network is "tcp", "tcp4" or
// "tcp6". A connection to an address or port without a server is refused. Dial
// never connects to anything outside this internet, except to the programs that
// were added with Server. LocalAddr and RemoteAddr of the connection return
// addresses of this internet. Dial is safe for concurrent use.
func (inet *Internet) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return inet.dial(ctx, network, addr, func(server netip.Addr) netip.Addr {
		if server.Is6() {
			return netip.MustParseAddr("2001:db8:ffff::ffff")
		}
		return netip.MustParseAddr("203.0.113.255")
	})
}

// DialFrom returns a function like Dial whose connections have this LocalAddr, such
// as "10.0.0.5" for a client behind NAT.
func (inet *Internet) DialFrom(local string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	from := netip.MustParseAddr(local)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return inet.dial(ctx, network, addr, func(netip.Addr) netip.Addr { return from })
	}
}

// dial is Dial with a function that returns the client's address for the server's.
func (inet *Internet) dial(ctx context.Context, network, addr string, local func(netip.Addr) netip.Addr) (net.Conn, error) {
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: named(addr), Err: err}
	}
	targets, err := inet.targets(network, addr)
	if err != nil {
		return nil, fail(err)
	}
	err = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	for _, target := range targets {
		var c net.Conn
		if c, err = inet.connect(ctx, local(target.Addr()), target); err == nil {
			return c, nil
		}
	}
	return nil, fail(err)
}

// targets returns the addresses and the port that addr names.
func (inet *Internet) targets(network, addr string) (targets []netip.AddrPort, err error) {
	var types []uint16
	switch network {
	case "tcp":
		types = []uint16{dns.TypeAAAA, dns.TypeA}
	case "tcp4":
		types = []uint16{dns.TypeA}
	case "tcp6":
		types = []uint16{dns.TypeAAAA}
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := net.LookupPort(network, service)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), uint16(number))}, nil
	}
	for _, t := range types {
		reply := inet.tree.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(host), t))
		if reply == nil {
			continue
		}
		for _, rr := range reply.Answer {
			var ip netip.Addr
			switch rr := rr.(type) {
			case *dns.A:
				ip, _ = netip.AddrFromSlice(rr.A.To4())
			case *dns.AAAA:
				ip, _ = netip.AddrFromSlice(rr.AAAA)
			default:
				continue
			}
			targets = append(targets, netip.AddrPortFrom(ip, uint16(number)))
		}
	}
	if targets == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return targets, nil
}

// connect connects to the server at target.
func (inet *Internet) connect(ctx context.Context, from netip.Addr, target netip.AddrPort) (net.Conn, error) {
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	inet.mu.Lock()
	s, ok := inet.endpoints[target]
	inet.mu.Unlock()
	if !ok {
		return nil, refused
	}
	var c net.Conn
	var err error
	switch b := s.arrive(); {
	case b.refuse:
		return nil, refused
	case b.blackhole || slices.Contains(b.stalling, target.Addr()):
		inet.wait(ctx)
		return nil, cause(ctx)
	case s.serve == nil:
		c, err = new(net.Dialer).DialContext(ctx, "tcp", s.real)
	case ctx.Err() != nil:
		return nil, cause(ctx)
	default:
		c, err = inet.gate.connect(func(c net.Conn) { s.accept(c, b) })
	}
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, local: client(from, c), remote: net.TCPAddrFromAddrPort(target)}, nil
}

// wait returns when the context ends or the internet is closed.
func (inet *Internet) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-inet.closing:
	}
}

// pause returns after a time, or when the internet is closed.
func (inet *Internet) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-inet.closing:
	}
}

// cause returns the error of a dial that ended with its context, or with the internet.
func cause(ctx context.Context) error {
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded):
		return os.ErrDeadlineExceeded
	case err != nil:
		return err
	default:
		return net.ErrClosed
	}
}

// conn is a connection that reports addresses of this internet.
type conn struct {
	net.Conn
	local, remote net.Addr
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// client returns the address of the client.
func client(addr netip.Addr, c net.Conn) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(c.LocalAddr().(*net.TCPAddr).Port)))
}

// named is the address in the error of a failed dial.
type named string

func (named) Network() string  { return "tcp" }
func (n named) String() string { return string(n) }
