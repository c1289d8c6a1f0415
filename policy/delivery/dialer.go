package delivery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/limits"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Dialer connects to the mail hosts of recipient domains and enforces their plans.
// Only Resolver is required:
//
//	d := &delivery.Dialer{Resolver: r}
//	client, err := d.Dial(ctx, "example.org")
//
// Its methods are safe for concurrent use. It remembers addresses that did not
// answer, for some minutes, and holds no connections or TLS sessions between calls;
// Pool does. A Dialer must not be copied after first use.
type Dialer struct {
	// Resolver makes the plans. It is required.
	Resolver *policy.Resolver

	// Recorder records sessions for TLS-RPT: one for each connection that reached the
	// question of STARTTLS, and one for each host that a policy refused. Network errors
	// are not recorded (RFC 8460 section 4.3.4). nil means that nothing is recorded.
	Recorder tlsrpt.Recorder

	// LocalName is the name for EHLO. Empty means os.Hostname if that is a name in the
	// public DNS, and otherwise the local address as a literal (RFC 5321 section
	// 4.1.4). Many mail hosts expect the name that the sending address resolves to.
	LocalName string

	// LocalIPv4 and LocalIPv6 are the addresses to send from, for each family. The zero
	// Addr means that the system chooses. With policy.Config.Dial, which chooses by
	// itself, an address is an error: no host is reached.
	LocalIPv4, LocalIPv6 netip.Addr

	// SmartHost is the relay that all mail goes to; nil means the mail hosts of the
	// recipients.
	SmartHost *SmartHost

	// CustomizeTLS changes the configuration of TLS for a host, for example to add a client certificate
	// or to choose curves. Only these fields of config are used: Certificates, GetClientCertificate,
	// CurvePreferences, NextProtos, KeyLogWriter, MaxVersion, MinVersion where it is higher, and of
	// CipherSuites those that crypto/tls does not call insecure. All other changes are ignored, so that
	// none weakens what a session must prove. At level Opportunistic, a server that lacks the remaining
	// versions gets the mail in cleartext. The function must be safe for concurrent use, and must not
	// keep config. nil means no changes.
	CustomizeTLS func(host *policy.Host, config *tls.Config)

	// ConnectTimeout bounds the connection to one address; 0 means 30
	// seconds.
	ConnectTimeout time.Duration
	// CommandTimeout bounds each step until Dial returns: the greeting, a
	// command with the whole of its reply, a handshake with the EHLO after it.
	// 0 means five minutes (RFC 5321 section 4.5.3.2.1).
	CommandTimeout time.Duration
	// IdleTimeout bounds each step of the Client: a command with the whole of
	// its reply, or a block of the message. 0 means ten minutes, the
	// longest timeout of RFC 5321 section 4.5.3.2.
	IdleTimeout time.Duration
	// DomainTimeout bounds what Send does for one domain, so that stalling hosts do not delay other
	// domains; 0 means half an hour. Each address has a share of it for its session, and one for each
	// transaction up to the message. It does not bound a message whose octets have begun, which another
	// attempt could deliver twice (RFC 5321 section 4.5.3.2.6).
	DomainTimeout time.Duration
	// MaxConnections bounds the connections of one call to one domain,
	// including a second one to the same address; 0 means 16. At most four
	// addresses of each host are tried.
	MaxConnections int

	// SmallClientHello leaves out the post-quantum key exchange of TLS, which makes
	// the first message of a handshake too large for one packet. Some paths drop
	// such messages: every handshake then times out. At level Opportunistic, a
	// second attempt does so in any case.
	SmallClientHello bool

	// MaxPerDomain bounds what all calls of Send and Dial do for one domain at the
	// same time, so that a domain that stalls does not occupy all workers of the
	// caller. MaxPerHost bounds the sessions with one mail host, which may serve
	// many domains. A Client keeps its places until Quit or Close. A call waits for
	// a place for a few seconds. Then it goes to the next host, or fails temporarily
	// with the status 4.4.5. 0 means 20 and 100.
	MaxPerDomain, MaxPerHost int

	// Delivered is called by Send for each transaction in which a mail host accepted
	// the message, as soon as it did, with what a mail log needs. Calls for several
	// domains are concurrent. nil means that no function is called.
	Delivered func(Delivery)

	// SendingIP is the address that reports give as the sending one (RFC 8460
	// section 4.4), for senders behind a NAT. The zero Addr means the local
	// address of each connection, which is left out if it is private.
	SendingIP netip.Addr

	// Logger gets one line for each host that failed, and one for mail that is sent in
	// cleartext because TLS failed. nil means that nothing is logged.
	Logger *slog.Logger

	stalls  stalls
	domains limits.Limiter // deliveries and Clients by domain
	hosts   limits.Limiter // sessions by host
}

// localNetworks are those, besides private ones, whose addresses mean nothing to others.
var localNetworks = [...]netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT (RFC 6598)
	netip.MustParsePrefix("192.0.0.0/24"),  // hosts with IPv6 only (RFC 7335)
	netip.MustParsePrefix("fec0::/10"),     // site-local, deprecated (RFC 3879)
}

const (
	defaultConnectTimeout = 30 * time.Second
	defaultCommandTimeout = 5 * time.Minute
	defaultIdleTimeout    = 10 * time.Minute
	defaultDomainTimeout  = 30 * time.Minute
	defaultMaxConnections = 16
	defaultMaxPerDomain   = 20
	defaultMaxPerHost     = 100
)

// Dial returns a Client in a session that meets the domain's plan. EHLO is sent, TLS is
// verified if a policy or the operator demands it, and TLS is used whenever the server
// offers it. The caller ends the session with Quit or Close, even after an error: until
// then it counts for MaxPerDomain and MaxPerHost.
//
// The hosts of the plan are tried in order, each at its pinned addresses. If a host
// refuses by a reply at one address, its other addresses are tried after all other
// hosts. A refused host gets no connection. The failure of one host, such as a bad
// certificate or a timeout, does not affect the next. Cleartext is used only with hosts
// of level Opportunistic: if STARTTLS is not offered or refused, and, over a new
// connection, after a failed handshake.
//
// If the plan expires while hosts are tried, the domain is resolved again.
// Before the domain fails because of MTA-STS, the policy is looked up again, and the
// hosts of a changed policy are tried (RFC 8461 section 5.1). A plan with
// RequireTLS also needs the extension REQUIRETLS, offered inside TLS.
//
// The error is a *policy.Error for the domain; errors.As and errors.Is find those
// of the hosts in it. It is permanent if the domain accepts no mail, or with
// RequireTLS if every host lacks what it requires. All other errors are temporary.
//
// ctx bounds Dial and interrupts it at once. If it has no deadline, a domain whose
// hosts all stall takes as long as the timeouts of all steps together; if it has one,
// each host has a share of the time. ctx does not
// bound the Client, whose steps have IdleTimeout. A Client is for one goroutine at
// a time.
//
// Options are those of package policy, and Bounce.
func (d *Dialer) Dial(ctx context.Context, domain string, options ...policy.Option) (*Client, error) {
	w, err := d.walk(ctx, domain, options)
	if err != nil {
		return nil, err
	}
	client, err := w.client(ctx)
	if err != nil {
		w.end()
		return nil, err
	}
	return client, nil
}

// walk takes a place for a domain and resolves it, for a walk along its hosts. The
// caller ends the walk.
func (d *Dialer) walk(ctx context.Context, domain string, options []policy.Option) (*walk, error) {
	if d.Resolver == nil {
		return nil, errNoResolver
	}
	options, err := d.SmartHost.options(options)
	if err != nil {
		return nil, smartHostFailed(domain, err)
	}
	key, err := names.Canonical(domain)
	if err != nil {
		key = domain // an address literal, or Resolve fails
	}
	leave, ok := d.domains.Enter(ctx, key, cmp.Or(max(d.MaxPerDomain, 0), defaultMaxPerDomain))
	switch {
	case ctx.Err() != nil:
		if ok {
			leave()
		}
		return nil, interrupted(domain, ctx.Err())
	case !ok:
		return nil, tooManyDeliveries(domain)
	}
	w := &walk{dialer: d, leaveDomain: leave}
	w.resolve = func(ctx context.Context) (*policy.Plan, error) {
		plan, err := d.Resolver.Resolve(ctx, domain, options...)
		if failure := new(policy.Error); errors.As(err, &failure) {
			session := failure.Session()
			w.record(&session)
		}
		return plan, err
	}
	plan, err := w.resolve(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	w.follow(plan)
	return w, nil
}

// local returns the address to connect from.
func (d *Dialer) local(to netip.Addr) netip.Addr {
	if to.Unmap().Is4() {
		return d.LocalIPv4
	}
	return d.LocalIPv6
}

// localName returns the name for EHLO over a connection.
func (d *Dialer) localName(conn net.Conn) string {
	if d.LocalName != "" {
		return d.LocalName
	}
	hostname, err := os.Hostname()
	if err != nil {
		hostname = ""
	}
	return ehloName(hostname, localAddr(conn))
}

// ehloName returns the name of this host for EHLO. A host name without a dot, or in a
// domain that only the local network has, is not a name in the public DNS; the address
// literal replaces it (RFC 5321 section 4.1.4).
func ehloName(hostname string, local netip.Addr) string {
	name, err := names.Canonical(hostname)
	switch {
	case err == nil && names.IsHostName(name) && isPublicName(name):
		return name
	case local.IsValid():
		return names.Literal(local.WithZone(""))
	}
	return "localhost"
}

// isPublicName reports whether a canonical name may be in the DNS of the Internet
// (RFC 6761, RFC 6762).
func isPublicName(name string) bool {
	switch top := name[strings.LastIndexByte(name, '.')+1:]; top {
	case name, "internal", "invalid", "local", "localdomain", "localhost":
		return false
	}
	return true
}

// sendingIP returns the sending address for reports.
func (d *Dialer) sendingIP(conn net.Conn) netip.Addr {
	if d.SendingIP.IsValid() {
		return d.SendingIP
	}
	return reportedAddr(localAddr(conn))
}

// reportedAddr returns an address if it may be disclosed to third parties, and means
// something to them.
func reportedAddr(local netip.Addr) netip.Addr {
	isIn := func(network netip.Prefix) bool { return network.Contains(local) }
	if !local.IsGlobalUnicast() || local.IsPrivate() || slices.ContainsFunc(localNetworks[:], isIn) {
		return netip.Addr{}
	}
	return local
}

// localAddr returns the local address of a connection, if it has one.
func localAddr(conn net.Conn) netip.Addr {
	if local, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil {
		return local.Addr().Unmap()
	}
	return netip.Addr{}
}

func (d *Dialer) log(ctx context.Context, level slog.Level, message string, attrs ...slog.Attr) {
	if d.Logger != nil {
		d.Logger.LogAttrs(ctx, level, message, attrs...)
	}
}
