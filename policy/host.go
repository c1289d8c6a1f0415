package policy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/tlsrpt"
)

// trust is what sessions need of the Resolver that made the plan.
type trust struct {
	roots      *x509.CertPool
	now        func() time.Time
	dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	minVersion uint16 // where no policy applies
}

// TLSConfig returns a fresh configuration for a session with the host. The
// check is made inside the handshake, before the client sends anything, and in
// resumed sessions too: VerifyConnection runs in both. The configuration may be
// cloned and changed, as for a client certificate, but for ServerName,
// InsecureSkipVerify and VerifyConnection, which belong together:
// InsecureSkipVerify only replaces Go's check by the one that the plan demands.
//
// For a refused host the handshake always fails.
func (h *Host) TLSConfig() *tls.Config {
	return &tls.Config{
		ServerName:         h.ServerName,
		MinVersion:         h.minVersion(),
		InsecureSkipVerify: true,
		VerifyConnection:   h.Verify,
	}
}

// minVersion is TLS 1.2 wherever a policy applies. One in testing mode must not
// make a handshake fail that would succeed without it.
func (h *Host) minVersion() uint16 {
	if h.Level == Opportunistic && h.trust != nil {
		return h.trust.minVersion
	}
	return tls.VersionTLS12
}

// Verify checks a session with the host against what the plan demands. Its
// error is an *Error. TLSConfig calls it; one who cannot use that configuration
// calls it after the handshake and before sending anything.
func (h *Host) Verify(state tls.ConnectionState) error {
	switch {
	case h.Level == Refused:
		return h.refused()
	case state.Version < h.minVersion():
		return h.failure(tlsrpt.ValidationFailure, "tls-version", "4.7.5",
			fmt.Sprintf("the server speaks %s only", tls.VersionName(state.Version)), nil)
	}
	if h.demands.dane {
		if err := h.verifyDANE(state.PeerCertificates); err != nil {
			return h.unverified("DANE verification failed", err)
		}
	}
	if h.demands.webPKI {
		if err := h.verifyWebPKI(state.PeerCertificates); err != nil {
			return h.unverified("the certificate is not valid for the mail host", err)
		}
	}
	return nil
}

// refused is the error for a session that must not be.
func (h *Host) refused() error {
	if h.Refusal == nil {
		return h.failure("", "", "4.7.5", "the host is refused", nil)
	}
	return h.Refusal
}

// verifyDANE checks the certificates by the TLSA records (RFC 7672 section 3).
func (h *Host) verifyDANE(chain []*x509.Certificate) error {
	_, err := dane.Verify(chain, h.TLSA, h.ReferenceNames, h.trust.now())
	return err
}

// verifyWebPKI checks the certificates as RFC 8461 section 4.2 has it: a chain
// to a trusted root, in date, and a DNS-ID for the MX host name. The subject's
// common name never counts.
func (h *Host) verifyWebPKI(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the server sent no certificate")
	}
	options := x509.VerifyOptions{
		Roots:         h.trust.roots,
		DNSName:       h.Name,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   h.trust.now(),
	}
	for _, intermediate := range chain[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	_, err := chain[0].Verify(options)
	return err
}

func (h *Host) unverified(detail string, err error) *Error {
	failure := tlsrpt.Classify(err)
	return h.failure(failure.Type, failure.ReasonCode, "4.7.5", detail, err)
}

func (h *Host) failure(reason tlsrpt.ResultType, code, status, detail string, err error) *Error {
	e := &Error{Host: h.Name, By: h.By, Reason: reason, Code: code, Status: status, Detail: detail, Err: err}
	if h.plan != nil {
		e.Domain = h.plan.Domain
	}
	return e
}

// DialContext connects to one of the host's pinned addresses: to the first that
// answers within half a minute, of at most four. addr is what a net.Dialer would be given, "host:port",
// and must name this host and its port: the plan speaks of no other (RFC 6698
// section 4). It has the form of net.Dialer's method, for SMTP clients that
// take a dial function.
//
// A refused host is not dialled: RFC 7672 section 2.1.2 has it treated as
// unreachable.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if h.Level == Refused {
		return nil, h.refused()
	}
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if !sameName(name, h.Name) {
		return nil, fmt.Errorf("policy: %q is not the mail host %s that this function dials", name, printable(h.Name))
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || uint16(port) != h.Port {
		return nil, fmt.Errorf("policy: the plan is for port %d of %s and not for %q", h.Port, printable(h.Name), service)
	}
	var failures []error
	for _, ip := range bothFamilies(h.addrs(network)) {
		conn, err := h.dialFor(ctx, defaultConnectTimeout, ip)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, h.failure("", "", "4.4.1", "no address answers", errors.Join(failures...))
}

// addrs returns the addresses of a network in the manner of package net.
func (h *Host) addrs(network string) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(h.Addrs), func(ip netip.Addr) bool {
		return network == "tcp4" && !ip.Is4() || network == "tcp6" && ip.Is4()
	})
}

// dialFor connects to one address, or gives up after a time.
func (h *Host) dialFor(ctx context.Context, timeout time.Duration, ip netip.Addr) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return h.dial(ctx, netip.AddrPortFrom(ip, h.Port))
}

// DialAddr connects to one of the host's pinned addresses, as for a pool of
// connections or a diagnosis. Any other address is refused.
func (h *Host) DialAddr(ctx context.Context, addr netip.Addr) (net.Conn, error) {
	switch {
	case h.Level == Refused:
		return nil, h.refused()
	case !slices.Contains(h.Addrs, addr):
		return nil, fmt.Errorf("policy: %s is no address of the mail host %s", addr, printable(h.Name))
	}
	return h.dial(ctx, netip.AddrPortFrom(addr, h.Port))
}

// dial connects to one address.
func (h *Host) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return h.trust.dial(ctx, "tcp", to.String())
}
