package policytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/miekg/dns"
)

// ranges returns the documentation ranges that contain all addresses of an
// internet (RFC 5737, RFC 3849).
func ranges() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
}

// Contains reports whether addr is in one of the ranges that this internet
// uses. Use it for settings that permit special-purpose addresses, such as
// policy.Config.AllowPolicyHost.
func (inet *Internet) Contains(addr netip.Addr) bool {
	for _, r := range ranges() {
		if r.Contains(addr) {
			return true
		}
	}
	return false
}

// endpoint is the listener behind a port of an address.
type endpoint struct {
	real   net.Addr // on the loopback interface
	server *server
}

// allocate returns an unused IPv4 address.
func (inet *Internet) allocate() string {
	inet.mu.Lock()
	defer inet.mu.Unlock()
	for _, r := range ranges()[:3] {
		for addr := r.Addr().Next(); addr.As4()[3] < 255; addr = addr.Next() {
			if !inet.used[addr] {
				inet.used[addr] = true
				return addr.String()
			}
		}
	}
	panic("policytest: out of addresses")
}

// attach makes a port of an address reachable by Dial.
func (inet *Internet) attach(at netip.AddrPort, e endpoint) {
	if !inet.Contains(at.Addr()) {
		panic(fmt.Sprintf("policytest: address %s is outside the documentation ranges", at.Addr()))
	}
	inet.mu.Lock()
	defer inet.mu.Unlock()
	if _, taken := inet.endpoints[at]; taken {
		panic(fmt.Sprintf("policytest: %s is already in use", at))
	}
	inet.used[at.Addr()] = true
	inet.endpoints[at] = e
}

// Dial connects to a host of this internet, given by address or by name. It has
// the signature of net.Dialer.DialContext; the network is "tcp", "tcp4" or
// "tcp6". A connection to an address or port without a server is refused. Dial
// never connects to anything outside this internet. LocalAddr and RemoteAddr of
// the connection return addresses of this internet. Dial is safe for concurrent
// use.
func (inet *Internet) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
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
		if c, err = inet.connect(ctx, target); err == nil {
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

// connect dials the loopback listener that belongs to target.
func (inet *Internet) connect(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	inet.mu.Lock()
	e, ok := inet.endpoints[target]
	inet.mu.Unlock()
	if !ok {
		return nil, refused
	}
	switch b := e.server.behaviour(); {
	case b.refuse:
		return nil, refused
	case b.blackhole:
		inet.wait(ctx)
		return nil, cause(ctx)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", e.real.String())
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, local: client(target.Addr(), c), remote: net.TCPAddrFromAddrPort(target)}, nil
}

// wait returns when the context ends or the internet is closed.
func (inet *Internet) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-inet.closing:
	}
}

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

// client returns the address of the client, which is the last address of a
// range.
func client(server netip.Addr, c net.Conn) net.Addr {
	addr := netip.MustParseAddr("203.0.113.255")
	if server.Is6() {
		addr = netip.MustParseAddr("2001:db8:ffff::ffff")
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(c.LocalAddr().(*net.TCPAddr).Port)))
}

// named is the address in the error of a failed dial.
type named string

func (named) Network() string  { return "tcp" }
func (n named) String() string { return string(n) }
