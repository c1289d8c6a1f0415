// Package guarded connects over TLS to hosts that untrusted parties name, such as
// the policy host of a recipient domain or the endpoint for its reports, and
// keeps those parties from using the connection against the sender's own network
// (server-side request forgery).
package guarded

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/special"
)

const (
	// maxAddrs bounds the addresses of a host that are tried, for each of the two
	// address families.
	maxAddrs = 4
	// connectTimeout bounds the connection to one address.
	connectTimeout = 10 * time.Second
)

// Resolver looks up the addresses of a host. A *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer connects to hosts that untrusted parties name. Resolver and Dial are
// required. A Dialer is not changed once it is in use, and is then safe for
// concurrent use.
type Dialer struct {
	// If Resolver has a method NAT64, which returns a prefix (RFC 6052), addresses in it
	// are judged by the IPv4 addresses that they carry.
	Resolver Resolver
	// Dial connects to an address and port, both in numbers.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// AllowAddr permits special-purpose addresses. nil means none. IPv4 addresses are
	// not passed in their IPv6 form.
	AllowAddr func(netip.Addr) bool
	// RootCAs has the authorities that are trusted. nil means those of the system.
	RootCAs *x509.CertPool
	// Now is the clock for certificates. nil means time.Now.
	Now func() time.Time
	// IgnoreCertificates accepts any certificate (RFC 8460 section 3).
	IgnoreCertificates bool
}

// Step is how far a connection got.
type Step uint8

// A connection takes these steps, one after the other.
const (
	Resolve   Step = iota + 1 // the addresses of the host are looked up and checked
	Connect                   // they are dialed
	Handshake                 // TLS is negotiated, and the certificate is checked
)

// Error is the type of all errors of DialTLS.
type Error struct {
	// Step is the step that failed.
	Step Step
	// Host is the host as given to DialTLS.
	Host string
	// Err is the error of the resolver, of the last address that could be dialed, or of
	// package tls; or it is or wraps ErrNoAddress or ErrSpecialAddress. It can hold
	// a chain of certificates, which the host can make large.
	Err error
}

// maxText bounds what an error repeats from a host, in octets.
const maxText = 256

// Error returns the host and the cause in one printable line.
func (e *Error) Error() string {
	return "host " + names.Printable(e.Host, maxText) + ": " + names.Printable(e.Err.Error(), maxText)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

var (
	// ErrNoAddress says that the host has no address.
	ErrNoAddress = errors.New("the host has no address")
	// ErrSpecialAddress says that all addresses of the host are special-purpose
	// addresses, such as private ones, and not permitted. The address follows.
	ErrSpecialAddress = errors.New("the host has the special-purpose address")
	// ErrTruncated is the error of a Read when the connection ended and TLS did
	// not: what was read until then may be cut short by a third party.
	ErrTruncated = errors.New("the connection ended without the close_notify of TLS")
)

// DialTLS connects to a port of a host, which is a name or an IP address, and
// negotiates TLS 1.2 or later for HTTP/1.1. The certificate must be valid for host,
// even if that is an alias. A final dot of host does not matter. The error is an
// *Error.
//
// Special-purpose addresses are skipped unless AllowAddr permits them. What is
// dialed is the address that was checked: the name is not looked up again. The
// addresses are tried in the order of the resolver. ctx bounds all steps and has
// no effect on the connection.
//
// A Read of the connection returns ErrTruncated if the connection ends before TLS
// does. Close does not send close_notify, since a host that does not read would
// delay it.
func (d *Dialer) DialTLS(ctx context.Context, host, port string) (net.Conn, error) {
	name := strings.TrimSuffix(host, ".")
	addrs, err := d.addrs(ctx, name)
	if err != nil {
		return nil, &Error{Resolve, host, err}
	}
	raw, err := d.connect(ctx, addrs, port)
	if err != nil {
		return nil, &Error{Connect, host, err}
	}
	conn := tls.Client(endlessConn{raw}, &tls.Config{
		ServerName:         name,
		RootCAs:            d.RootCAs,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		Time:               d.Now,
		InsecureSkipVerify: d.IgnoreCertificates,
	})
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, &Error{Handshake, host, err}
	}
	return abruptConn{conn, raw}, nil
}

// addrs returns the addresses of a host to be tried, at least one.
func (d *Dialer) addrs(ctx context.Context, name string) ([]netip.Addr, error) {
	found, err := d.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	var refused netip.Addr
	nat64 := special.NAT64Of(d.Resolver)
	room := map[bool]int{true: maxAddrs, false: maxAddrs}
	for _, addr := range found {
		addr = addr.Unmap()
		switch {
		case special.Is(special.Destination(nat64, addr)) && (d.AllowAddr == nil || !d.AllowAddr(addr)):
			refused = addr
		case room[addr.Is4()] > 0:
			room[addr.Is4()]--
			addrs = append(addrs, addr)
		}
	}
	switch {
	case len(found) == 0:
		return nil, ErrNoAddress
	case len(addrs) == 0:
		return nil, fmt.Errorf("%w %s", ErrSpecialAddress, refused)
	}
	return addrs, nil
}

func (d *Dialer) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{addr}, nil
	}
	// The final dot prevents the use of a search list.
	return d.Resolver.LookupNetIP(ctx, "ip", name+".")
}

// connect dials addrs one after the other. The error is that of the last one; one that says
// that this host has no address of the family counts only if there is no other.
func (d *Dialer) connect(ctx context.Context, addrs []netip.Addr, port string) (net.Conn, error) {
	var last error
	for _, addr := range addrs {
		conn, err := d.dial(ctx, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		if last == nil || !errors.Is(err, syscall.EADDRNOTAVAIL) {
			last = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

func (d *Dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return d.Dial(ctx, "tcp", addr)
}

// endlessConn turns the end of the connection into an error. crypto/tls would
// take it for the end of the data if it comes between two records.
type endlessConn struct{ net.Conn }

func (c endlessConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF {
		err = ErrTruncated
	}
	return n, err
}

// abruptConn closes the connection under TLS.
type abruptConn struct {
	*tls.Conn
	raw net.Conn
}

func (c abruptConn) Close() error { return c.raw.Close() }
