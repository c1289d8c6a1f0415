package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/internal/special"
)

const (
	policyPort = "443"
	// maxAddrs bounds the addresses of a policy host that are tried, half of
	// them for each address family.
	maxAddrs = 8
	// connectTimeout bounds one of these tries.
	connectTimeout = 10 * time.Second
)

// dialer connects to policy hosts, and to nothing inside the sender's own
// network.
type dialer struct {
	resolver  Resolver
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	allowAddr func(netip.Addr) bool
	roots     *x509.CertPool
	now       func() time.Time
}

// dialTLS connects to a policy host and authenticates it. The certificate must
// be valid for that very name, also if the name is an alias of another (RFC
// 8461 sections 3.3 and 8.2).
func (d *dialer) dialTLS(ctx context.Context, host string) (net.Conn, error) {
	conn, err := d.connect(ctx, host)
	if err != nil {
		return nil, err
	}
	tlsConn := tls.Client(unendingConn{conn}, &tls.Config{
		ServerName: host,
		RootCAs:    d.roots,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		Time:       d.now,
	})
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, handshakeError(ctx, err, d.now())
	}
	return hastyConn{tlsConn, conn}, nil
}

// errTruncated says that the connection ended before TLS did.
var errTruncated = errors.New("the connection ended without the close_notify of TLS")

// unendingConn has no end but an error. crypto/tls takes the end of the
// connection for the end of the data if it comes between two records, and so
// whoever sits in between could cut a policy short.
type unendingConn struct{ net.Conn }

func (c unendingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == io.EOF {
		err = errTruncated
	}
	return n, err
}

// hastyConn closes without the farewell of TLS, for which a host that does not
// listen could make it wait.
type hastyConn struct {
	*tls.Conn
	raw net.Conn
}

func (c hastyConn) Close() error { return c.raw.Close() }

// connect dials the addresses of host one after the other. The address that is
// dialled is the one that was checked: the name is not looked up again.
func (d *dialer) connect(ctx context.Context, host string) (net.Conn, error) {
	addrs, err := d.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, addr := range addrs {
		conn, err := d.dialAddr(ctx, net.JoinHostPort(addr.String(), policyPort))
		if err == nil {
			return conn, nil
		}
		failed = err
		if ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil || isTimeout(failed) {
		return nil, &Error{Kind: KindFetch, ReasonCode: "timeout", Err: failed}
	}
	return nil, &Error{Kind: KindFetch, ReasonCode: "connect", Err: failed}
}

func (d *dialer) dialAddr(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return d.dial(ctx, "tcp", addr)
}

// addrs returns the addresses of host that may be dialled, at least one.
func (d *dialer) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := d.resolver.LookupNetIP(ctx, "ip", rooted(host))
	if err != nil {
		return nil, &Error{Kind: KindFetch, ReasonCode: dnsReason(err), Err: err}
	}
	if len(found) == 0 {
		return nil, failf(KindFetch, "dns-not-found", "the policy host has no address")
	}
	var addrs []netip.Addr
	var refused netip.Addr
	room := map[bool]int{true: maxAddrs / 2, false: maxAddrs / 2}
	for _, addr := range found {
		addr = addr.Unmap()
		switch {
		case special.Is(addr) && !d.allowAddr(addr):
			refused = addr
		case room[addr.Is4()] > 0:
			room[addr.Is4()]--
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, failf(KindFetch, "address-refused", "the policy host has the special-purpose address %s", refused)
	}
	return addrs, nil
}

// handshakeError tells a certificate that is not valid, of which RFC 8460
// section 4.3.2.2 has a result type, from a handshake that failed otherwise.
func handshakeError(ctx context.Context, err error, now time.Time) error {
	var invalid *tls.CertificateVerificationError
	var roots x509.SystemRootsError
	kind, reason := KindFetch, "tls-handshake"
	switch {
	case errors.As(err, &roots):
		reason = "no-system-roots"
	case errors.As(err, &invalid):
		err = invalid.Err
		kind, reason = KindCertificate, certificateReason(err, now)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	// The text alone is kept: an error may hold the whole chain, which a server
	// can make large, and errors are remembered.
	return failf(kind, reason, "%s", printable(err.Error()))
}

// certificateReason names what is wrong with a certificate.
func certificateReason(err error, now time.Time) string {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &name):
		return "x509-name-mismatch"
	case errors.As(err, &unknown):
		return "x509-unknown-authority"
	case !errors.As(err, &invalid):
		return "x509-invalid"
	}
	switch invalid.Reason {
	case x509.Expired:
		if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			return "x509-not-yet-valid"
		}
		return "x509-expired"
	case x509.IncompatibleUsage:
		return "x509-key-usage"
	case x509.CANotAuthorizedForThisName:
		return "x509-name-constraints"
	default:
		return "x509-invalid"
	}
}
