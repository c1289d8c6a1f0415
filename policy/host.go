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
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/certcode"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/special"
	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/survey"
	"github.com/mxseal/mxseal/policy/internal/wording"
)

const (
	// connectTimeout bounds the connection to one address in DialContext.
	connectTimeout = 30 * time.Second
	// addressesPerHost bounds the addresses that DialContext tries. RFC 5321
	// section 5.1 asks for two at least.
	addressesPerHost = 4
)

// Host is one mail host of a Plan. It is shared and read-only. Its methods are
// safe for concurrent use.
type Host struct {
	// Name is the MX exchange in A-labels, without final dot, as in the MX
	// record, even if it is an alias. For an address literal it is the address.
	Name string
	// Preference is that of the MX record; 0 if there is none.
	Preference uint16
	// Port is the TCP port.
	Port uint16
	// Addrs are the addresses whose DNSSEC status was used for the decision, in
	// the order in which to try them: the resolver's, with IPv4 and IPv6 in
	// turn. Those that Config.AllowMailHost does not permit are left out. Connect
	// to no other address. The argument of DialContext is Host.Addr.
	Addrs []netip.Addr
	// Level is what a session must prove.
	Level Level
	// Floor is the level that the operator demands, also of a refused host.
	Floor Level
	// By is the set of mechanisms that decided the level.
	By Mechanism
	// Why says in one sentence why the host has this level.
	Why string
	// RouteAuthenticated is true if the owner of the domain named this host, by
	// secure MX records or by the allow-list of an MTA-STS policy. If it is
	// false, an authenticated session is with the named host, which a forged MX
	// record may have named (RFC 7672 section 2.2.1). With Config.RequireRoute, the
	// certificate of the session has to authenticate the route then.
	RouteAuthenticated bool
	// Refusal is why a Refused host is refused; nil for other hosts. errors.Is
	// finds the reason in it, such as ErrNotListed.
	Refusal *Error
	// ServerName is the name for SNI: the TLSA base domain where DANE decides,
	// the MX host name otherwise (RFC 7672 section 8.1, RFC 8461 section 7.1).
	// It is empty for an address literal.
	ServerName string
	// TLSA are the usable records of a secure RRset, by which DANE
	// authenticates the host. Empty means that DANE does not authenticate it.
	TLSA []dane.Record
	// ReferenceNames are the names that a DANE-TA certificate may be for
	// (RFC 7672 section 3.2.2).
	ReferenceNames []string
	// DANE is the result of the lookup of addresses and TLSA records. It is nil if
	// the lookup failed or was not made. Its State is Unknown if the operator has
	// switched DANE off or pinned the records, so that only the addresses were
	// looked up.
	DANE *dane.Discovery

	demands decision.Demands
	refusal decision.Refusal
	// override is the one of Config.HostOverrides.
	override HostOverride
	exempt   bool          // configured by the operator: all its addresses may be dialed
	found    *survey.Found // where DANE comes from; nil if DANE is nil
	plan     *Plan
	trust    *trust
}

// trust is what sessions need from the Resolver that made the plan.
type trust struct {
	roots         *x509.CertPool
	now           func() time.Time
	dial          func(ctx context.Context, network, addr string) (net.Conn, error) // Config.Dial
	minVersion    uint16                                                            // where no policy applies
	allowMailHost func(netip.Addr) bool                                             // Config.AllowMailHost
	dns           dnssec.Resolver
}

// permits reports whether mail may go to an address of a host that was found in
// DNS or in the address of a recipient.
func (t *trust) permits(addr netip.Addr) bool {
	return !special.IsNoMailHost(special.Destination(special.NAT64Of(t.dns), addr)) || t.allowMailHost != nil && t.allowMailHost(addr.Unmap())
}

// dial connects to one address of the host. It checks the address again, so that no
// caller can connect to what the plan left out.
func (h *Host) dial(ctx context.Context, local, addr netip.Addr) (net.Conn, error) {
	if !h.exempt && !h.trust.permits(addr) {
		return nil, fmt.Errorf("%w %s", ErrSpecialAddress, addr)
	}
	dial := h.trust.dial
	switch {
	case dial == nil && local.IsValid():
		dial = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: local.AsSlice(), Zone: local.Zone()}}).DialContext
	case dial == nil:
		dial = new(net.Dialer).DialContext
	case local.IsValid():
		return nil, fmt.Errorf("%w: Config.Dial chooses the local address; leave one of them out", ErrConfig)
	}
	return dial(ctx, "tcp", netip.AddrPortFrom(addr, h.Port).String())
}

// Addr returns the name and the port of the host as "name:port", for
// DialContext. The addresses to connect to are in Addrs.
func (h *Host) Addr() string { return net.JoinHostPort(h.Name, strconv.Itoa(int(h.Port))) }

// DialContext connects to one of the host's addresses: the first of at most four
// that answers within half a minute. addr is Addr(); any other host or port is
// refused, because the plan is only for this one (RFC 6698 section 4). The method
// has the form of net.Dialer's, for SMTP clients that take a dial function.
//
// The error is an *Error if the host is refused (RFC 7672 section 2.1.2) or does
// not answer.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if h.Level == Refused {
		return nil, h.refused()
	}
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("policy: %q is not of the form name:port; use Host.Addr: %w", addr, err)
	}
	if !names.Equal(name, h.Name) {
		return nil, fmt.Errorf("policy: %q is not the mail host %s of this plan; use Host.Addr", name, names.Printable(h.Name, maxText))
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || uint16(port) != h.Port {
		return nil, fmt.Errorf("policy: the plan is for port %d of %s and not for %q; use Host.Addr", h.Port, names.Printable(h.Name, maxText), service)
	}
	addrs := slices.DeleteFunc(slices.Clone(h.Addrs), func(ip netip.Addr) bool {
		return network == "tcp4" && !ip.Is4() || network == "tcp6" && ip.Is4()
	})
	var failures []error
	for _, ip := range addrs[:min(len(addrs), addressesPerHost)] {
		connecting, cancel := context.WithTimeout(ctx, connectTimeout)
		conn, err := h.dial(connecting, netip.Addr{}, ip)
		cancel()
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, h.failure(wording.NotConnected.Wording(nil, false), errors.Join(failures...))
}

// DialAddr connects to one of the host's addresses, as a pool of connections or
// a diagnosis does. An address that is not in Addrs is refused. Only ctx bounds
// the time. The error is an *Error if the host is refused or does not answer.
func (h *Host) DialAddr(ctx context.Context, addr netip.Addr) (net.Conn, error) {
	return h.DialFrom(ctx, netip.Addr{}, addr)
}

// DialFrom is DialAddr from a local address of the same family; the zero Addr means
// that the system chooses one. Config.Dial chooses it alone: with that, a local
// address is an error.
func (h *Host) DialFrom(ctx context.Context, local, addr netip.Addr) (net.Conn, error) {
	switch {
	case h.Level == Refused:
		return nil, h.refused()
	case !slices.Contains(h.Addrs, addr):
		return nil, fmt.Errorf("policy: %s is not an address of the mail host %s; use one of Host.Addrs", addr, names.Printable(h.Name, maxText))
	}
	conn, err := h.dial(ctx, local, addr)
	if err != nil {
		return nil, h.failure(wording.NoConnection(addr), err)
	}
	return conn, nil
}

// TLSConfig returns a new configuration for a session with the host. It verifies
// the server inside the handshake, before the client sends anything, and in
// resumed sessions too. InsecureSkipVerify only replaces Go's verification by
// VerifyConnection, which verifies what the plan demands. Before that, crypto/tls refuses
// certificates that crypto/x509 cannot parse, even if TLSA records name them: for a
// negative serial number, GODEBUG=x509negativeserial=1 permits them.
//
// The caller may change the configuration, for example to add a client
// certificate, except for ServerName, InsecureSkipVerify and VerifyConnection.
// For a refused host the handshake always fails.
func (h *Host) TLSConfig() *tls.Config {
	return &tls.Config{
		ServerName:         h.ServerName,
		MinVersion:         h.minVersion(),
		InsecureSkipVerify: true,
		VerifyConnection:   h.Verify,
	}
}

// minVersion is TLS 1.2 wherever a policy applies. A policy in testing mode must
// not make a handshake fail that succeeds without it (RFC 8461 section 5).
func (h *Host) minVersion() uint16 {
	if h.Level == Opportunistic && h.trust != nil {
		return h.trust.minVersion
	}
	return tls.VersionTLS12
}

// Verify checks a session with the host against what the plan demands. Its error
// is an *Error. TLSConfig calls it in the handshake; a program that cannot use
// that configuration calls it after the handshake, before it sends anything.
func (h *Host) Verify(state tls.ConnectionState) error {
	switch {
	case h.Level == Refused:
		return h.refused()
	case state.Version < h.minVersion():
		return h.failure(wording.OldTLS(tls.VersionName(state.Version)), nil)
	}
	if h.demands.DANE {
		if err := h.verifyDANE(state.PeerCertificates); err != nil {
			return h.failure(wording.NotVerified("DANE verification failed"+h.skippedMatch(state.PeerCertificates), err), err)
		}
	}
	if h.demands.WebPKI {
		if err := h.verifyWebPKI(state.PeerCertificates, h.Name); err != nil {
			return h.failure(wording.NotVerified("the certificate is not valid for the mail host", err), err)
		}
	}
	if h.demands.NextHop {
		if err := h.verifyWebPKI(state.PeerCertificates, h.plan.NextHop); err != nil {
			return h.failure(wording.NotVerified("the certificate is not valid for the next-hop domain", err), err)
		}
	}
	return nil
}

// WebPKINames returns the names that the server's certificate must be valid for in the web
// PKI, besides what TLSA demands: the name of the host, or with RequireRoute the next-hop
// domain. It returns nil if none is demanded, or if the host is refused. It is for programs
// that hand the plan to another mail server.
func (h *Host) WebPKINames() (names []string) {
	if h.Level != Refused && h.demands.WebPKI {
		names = append(names, h.Name)
	}
	if h.Level != Refused && h.demands.NextHop {
		names = append(names, h.plan.NextHop)
	}
	return names
}

// refused returns the refusal of a refused host. A zero Host has none of its own.
func (h *Host) refused() *Error {
	if h.Refusal == nil {
		return h.failure(wording.OfRefusal(decision.NotRefused, nil, true), nil)
	}
	return h.Refusal
}

// verifyDANE checks the certificates by the TLSA records (RFC 7672 section 3).
func (h *Host) verifyDANE(chain []*x509.Certificate) error {
	_, err := dane.Verify(chain, h.TLSA, h.ReferenceNames, h.trust.now())
	return err
}

// skippedMatch names a TLSA record that would match the chain but is not used, so that
// its owner can correct it. It returns "" if there is none.
func (h *Host) skippedMatch(chain []*x509.Certificate) string {
	if h.DANE == nil || len(h.override.Pin) > 0 {
		return ""
	}
	skipped := dane.Skipped(h.DANE.Records)
	if at := slices.Index(dane.WouldMatch(skipped, chain, h.ReferenceNames, h.trust.now()), true); at >= 0 {
		return fmt.Sprintf("; the record %s would match, and is not used: %s", skipped[at].Record, skipped[at].Reason)
	}
	return ""
}

// verifyWebPKI checks the certificates by RFC 8461 section 4.2: a chain to a
// trusted root, not expired, with a DNS-ID for name. The common name of the subject
// never counts.
func (h *Host) verifyWebPKI(chain []*x509.Certificate, name string) error {
	if len(chain) == 0 {
		return errors.New("the server sent no certificate")
	}
	options := x509.VerifyOptions{
		Roots:         h.trust.roots,
		DNSName:       name,
		Intermediates: x509.NewCertPool(),
		CurrentTime:   h.trust.now(),
	}
	for _, intermediate := range chain[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	_, err := chain[0].Verify(options)
	return certcode.Bounded(err, chain)
}
