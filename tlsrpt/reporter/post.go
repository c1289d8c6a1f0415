package reporter

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/special"
)

const (
	maxResponseHeader = 16 << 10 // octets
	maxAddrs          = 8        // addresses of an endpoint that are tried
	connectTimeout    = 10 * time.Second
)

// poster delivers reports to https endpoints.
type poster struct {
	resolver           Resolver
	dial               func(ctx context.Context, network, addr string) (net.Conn, error)
	allowAddr          func(netip.Addr) bool
	roots              *x509.CertPool
	ignoreCertificates bool
	now                func() time.Time
}

// post sends a compressed report (RFC 8460 section 5.4). The connection is
// established first, because a Transport continues to dial after the context of the
// request is done.
func (p *poster) post(ctx context.Context, url string, gzip []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(gzip))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/tlsrpt+gzip")
	request.Header.Set("User-Agent", "mxseal")
	conn, err := p.dialTLS(ctx, request.URL)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A RoundTripper follows no redirects and has no cookies. This one uses no proxy
	// either.
	transport := &http.Transport{
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("HTTP status %d", response.StatusCode)
	}
	return nil
}

// dialTLS connects to the host of a URL.
func (p *poster) dialTLS(ctx context.Context, u *url.URL) (net.Conn, error) {
	conn, err := p.dialHost(ctx, u.Hostname(), cmp.Or(u.Port(), "443"))
	if err != nil {
		return nil, err
	}
	tlsConn := tls.Client(conn, &tls.Config{
		ServerName:         strings.TrimSuffix(u.Hostname(), "."),
		RootCAs:            p.roots,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		Time:               p.now,
		InsecureSkipVerify: p.ignoreCertificates, // RFC 8460 section 3 permits it
	})
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return tlsConn, nil
}

// dialHost connects to one of the addresses of a host, none of which may be inside
// the sender's own network. It dials the address that was checked, and does not look
// the name up again.
func (p *poster) dialHost(ctx context.Context, host, port string) (net.Conn, error) {
	addrs, err := p.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, addr := range addrs {
		conn, err := p.dialAddr(ctx, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = err
	}
	return nil, failed
}

func (p *poster) dialAddr(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return p.dial(ctx, "tcp", addr)
}

// addrs returns the addresses of host that may be dialed, at least one.
func (p *poster) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	var found []netip.Addr
	if addr, err := netip.ParseAddr(host); err == nil {
		found = []netip.Addr{addr}
	} else if found, err = p.resolver.LookupNetIP(ctx, "ip", strings.TrimSuffix(host, ".")+"."); err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	err := errors.New("the endpoint has no address")
	for _, addr := range found {
		addr = addr.Unmap()
		if special.Is(addr) && !p.allowAddr(addr) {
			err = fmt.Errorf("the endpoint has the special-purpose address %s", addr)
		} else if len(addrs) < maxAddrs {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, err
	}
	return addrs, nil
}
