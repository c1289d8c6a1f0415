package mtasts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	policyHostLabel = "mta-sts."
	policyPath      = "/.well-known/mta-sts.txt"

	// maxHeader bounds the header of the response, in octets.
	maxHeader = 16 << 10
	// maxAddrs bounds the addresses of a policy host that are tried, half of
	// them for each address family.
	maxAddrs = 8
	// connectTimeout bounds one of these tries.
	connectTimeout = 10 * time.Second
)

// fetcher gets policies from policy hosts. It trusts a policy host with
// nothing: it bounds what is read and how long it takes, and talks to no
// address inside the sender's own network.
type fetcher struct {
	resolver  Resolver
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	allowAddr func(netip.Addr) bool
	roots     *x509.CertPool
	now       func() time.Time
	timeout   time.Duration
	transport http.RoundTripper
}

func newFetcher(cfg *Config) *fetcher {
	f := &fetcher{
		resolver:  cfg.Resolver,
		dial:      cfg.Dial,
		allowAddr: cfg.AllowAddr,
		roots:     cfg.RootCAs,
		now:       cfg.Now,
		timeout:   cfg.FetchTimeout,
	}
	f.transport = &http.Transport{
		DialTLSContext:         f.dialTLS,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	return f
}

// fetch gets the policy of domain (RFC 8461 section 3.3). The error is an
// *Error; text is what was received if it is no valid policy.
func (f *fetcher) fetch(ctx context.Context, domain string) (p *Policy, text string, err *Error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	text, fail := f.get(ctx, domain)
	if fail != nil {
		return nil, "", fetchError(ctx, domain, fail)
	}
	p, fail = ParsePolicy(text)
	if errors.As(fail, &err) {
		err.Domain = domain
		return nil, text, err
	}
	return p, "", nil
}

// get requests the policy and returns its text. It uses a RoundTripper, not an
// http.Client, for that follows no redirects and keeps no cookies; this one
// knows neither proxies nor an HTTP cache.
func (f *fetcher) get(ctx context.Context, domain string) (string, error) {
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: "https", Host: policyHostLabel + domain, Path: policyPath},
		Header: http.Header{"User-Agent": {"mxseal"}, "Accept": {"text/plain"}},
	}).WithContext(ctx)
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if err := checkHeader(resp); err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxPolicySize+1))
	if err != nil {
		return "", err
	}
	// A policy is never used in part: what was cut off may be the mx that counts.
	if len(body) > MaxPolicySize {
		return "", failf(KindFetch, "too-large", "the policy has more than %d octets", MaxPolicySize)
	}
	return string(body), nil
}

// checkHeader accepts nothing but status 200, which rules out redirects, and
// the media type text/plain, whatever its parameters.
func checkHeader(resp *http.Response) error {
	if resp.StatusCode/100 == 3 && resp.StatusCode != http.StatusNotModified {
		return failf(KindFetch, "redirect", "HTTP status %d to %s", resp.StatusCode, quote(resp.Header.Get("Location")))
	}
	if resp.StatusCode != http.StatusOK {
		return failf(KindFetch, "http-status-"+strconv.Itoa(resp.StatusCode), "HTTP status %d", resp.StatusCode)
	}
	contentType := resp.Header.Get("Content-Type")
	mediaType, _, _ := strings.Cut(contentType, ";")
	if !equalFold(strings.Trim(mediaType, wsp), "text/plain") {
		return failf(KindFetch, "media-type", "Content-Type %s", quote(contentType))
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !equalFold(coding, "identity") {
		return failf(KindFetch, "content-encoding", "Content-Encoding %s was not asked for", quote(coding))
	}
	return nil
}

// dialTLS connects to the policy host at addr and authenticates it. The
// certificate must be valid for that very name, also if the name is an alias
// of another (RFC 8461 sections 3.3 and 8.2).
func (f *fetcher) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	conn, err := f.connect(ctx, host, port)
	if err != nil {
		return nil, err
	}
	tlsConn := tls.Client(conn, &tls.Config{
		ServerName: host,
		RootCAs:    f.roots,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		Time:       f.now,
	})
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, handshakeError(ctx, err, f.now())
	}
	return tlsConn, nil
}

// connect dials the addresses of host one after the other. The address that is
// dialled is the one that was checked: the name is not looked up again.
func (f *fetcher) connect(ctx context.Context, host, port string) (net.Conn, error) {
	addrs, err := f.addrs(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, addr := range addrs {
		conn, err := f.dialAddr(ctx, net.JoinHostPort(addr.String(), port))
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

func (f *fetcher) dialAddr(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return f.dial(ctx, "tcp", addr)
}

// addrs returns the addresses of host that may be dialled, at least one.
func (f *fetcher) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := f.resolver.LookupNetIP(ctx, "ip", rooted(host))
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
		case isSpecial(addr) && (f.allowAddr == nil || !f.allowAddr(addr)):
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
	var cert *tls.CertificateVerificationError
	var local x509.SystemRootsError
	switch {
	case errors.As(err, &local):
		return &Error{Kind: KindFetch, ReasonCode: "no-system-roots", Err: err}
	case errors.As(err, &cert):
		// The text alone is kept. The error itself holds the whole chain, which
		// a server may make large, and errors are remembered.
		return failf(KindCertificate, certificateReason(err, now), "%s", printable(cert.Err.Error()))
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return &Error{Kind: KindFetch, ReasonCode: "tls-handshake", Err: err}
	}
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

// fetchError makes an *Error of whatever ended a fetch.
func fetchError(ctx context.Context, domain string, err error) *Error {
	var fail *Error
	switch {
	case errors.As(err, &fail):
	case ctx.Err() != nil || isTimeout(err):
		fail = &Error{Kind: KindFetch, ReasonCode: "timeout", Err: err}
	default:
		fail = &Error{Kind: KindFetch, ReasonCode: "http", Err: err}
	}
	fail.Domain = domain
	return fail
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func failf(kind Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: kind, ReasonCode: reason, Err: fmt.Errorf(format, args...)}
}
