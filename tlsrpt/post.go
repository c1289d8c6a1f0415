package tlsrpt

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
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
	maxAddrs          = 8        // of an endpoint that are tried
	connectTimeout    = 10 * time.Second
)

// post sends the report to an https endpoint (RFC 8460 section 5.4). The
// connection is made beforehand, because a Transport lets its dialling go on
// after the request's time is up.
func (r *Reporter) post(ctx context.Context, url string, s *submission) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(s.gzip))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/tlsrpt+gzip")
	request.Header.Set("User-Agent", "mxseal")
	conn, err := r.dialTLS(ctx, request.URL)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A RoundTripper follows no redirects and has no cookies; this one knows no
	// proxy either.
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
func (r *Reporter) dialTLS(ctx context.Context, u *url.URL) (net.Conn, error) {
	conn, err := r.dial(ctx, u.Hostname(), cmp.Or(u.Port(), "443"))
	if err != nil {
		return nil, err
	}
	tlsConn := tls.Client(conn, &tls.Config{
		ServerName:         strings.TrimSuffix(u.Hostname(), "."),
		RootCAs:            r.cfg.RootCAs,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		Time:               r.cfg.Now,
		InsecureSkipVerify: r.cfg.IgnoreCertificates, // RFC 8460 section 3 permits it
	})
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return tlsConn, nil
}

// dial connects to one of the addresses of a host, which must not be inside the
// sender's own network. The address that is dialled is the one that was checked:
// the name is not looked up again.
func (r *Reporter) dial(ctx context.Context, host, port string) (net.Conn, error) {
	addrs, err := r.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, addr := range addrs {
		conn, err := r.dialAddr(ctx, net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = err
	}
	return nil, failed
}

func (r *Reporter) dialAddr(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return r.cfg.Dial(ctx, "tcp", addr)
}

// addrs returns the addresses of host that may be dialled, at least one.
func (r *Reporter) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := r.lookupAddrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	err = errors.New("the endpoint has no address")
	for _, addr := range found {
		addr = addr.Unmap()
		if special.Is(addr) && !r.cfg.AllowAddr(addr) {
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

func (r *Reporter) lookupAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	// The final dot keeps search lists away.
	return r.cfg.Resolver.LookupNetIP(ctx, "ip", strings.TrimSuffix(host, ".")+".")
}
