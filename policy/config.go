package policy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// Config configures New. The zero Config is secure: it validates DNSSEC itself
// through the servers in /etc/resolv.conf, trusts the system's roots for MTA-STS,
// and keeps policies in memory. New reads a Config once, and returns an error if a
// number is negative.
type Config struct {
	// Servers are the DNS servers to query, in the form of dnssec.Config. They
	// are not trusted. Empty means those in /etc/resolv.conf.
	Servers []string

	// DNS answers all DNS queries, including those of MTA-STS. nil means a
	// dnssec.Validator over Servers. A dnssec.Trusting trusts a resolver that
	// you operate.
	DNS dnssec.Resolver

	// Store keeps MTA-STS policies when the program ends; package boltstore has one.
	// nil means that they are kept in memory only: after each restart an attacker who
	// forges DNS can hide a policy again.
	Store mtasts.Store

	// StoreKey authenticates the entries of a Store that several senders share; see
	// mtasts.Config. nil means that anyone who can write to the Store is trusted with
	// the policies of domains that a sender does not have in memory.
	StoreKey []byte

	// ProceedUnread lets mail to a domain proceed without a policy while the Store
	// cannot be read, if the Store has given no answer about the domain since New.
	// False means that the mail waits, unless DANE decides: the Store may have a policy
	// that an attacker hides.
	ProceedUnread bool

	// MTASTS looks up and remembers MTA-STS policies. nil means a client
	// made from DNS, Store, StoreKey, ProceedUnread, RootCAs, Dial, AllowPolicyHost,
	// Memory, MaxPlans, MaxFetches, MaxRefreshes, FetchTimeout, Timeout, Now, OnEvent and
	// Logger.
	MTASTS *mtasts.Client

	// RootCAs are the roots of the web PKI, for MTA-STS policy hosts and for the
	// mail hosts that a policy lists. nil means the system's roots. If there are none,
	// New fails unless NoMTASTS is set. DANE does not use them.
	RootCAs *x509.CertPool

	// Dial connects to mail hosts and policy hosts; addr is always an IP
	// address and a port. nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// AllowPolicyHost permits MTA-STS policy hosts at special-purpose addresses
	// (loopback, private, documentation and so on). They are refused otherwise,
	// so that a recipient domain cannot direct the fetch to an internal machine.
	// nil permits none.
	AllowPolicyHost func(netip.Addr) bool

	// AllowMailHost permits mail hosts at addresses to which mail is not sent
	// otherwise: those of the sender itself, of its link and of groups of hosts, and
	// reserved ones (0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/4,
	// 240.0.0.0/4, ::, ::1, fe80::/10, fec0::/10, ff00::/8 and 100::/64, and IPv6
	// addresses that carry such an IPv4 address). A recipient domain with such an
	// address in its records would direct the sender to a loop or to services that
	// trust its own machine. The function is called for these addresses only, with
	// IPv4 addresses in their IPv4 form, when a plan is made and again when an
	// address is dialed. Private addresses are always permitted, and so are all
	// addresses of an Override.NextHop in brackets. nil permits no others.
	AllowMailHost func(netip.Addr) bool

	// Port is the SMTP port of mail hosts found by MX records, and the port of
	// their TLSA records. 0 means 25.
	Port uint16

	// Self are the names of the sending host in MX records. A host list ends
	// before the first of them, so that a backup MX never sends mail to itself
	// or to a host of worse preference (RFC 5321 section 5.1).
	Self []string

	// Floor is the minimum level of every session, whatever the recipient publishes.
	// The zero value means no floor; Opportunistic adds nothing either. Authenticated
	// requires a certificate of the web PKI for the MX host name from hosts without a
	// policy. A forged MX record may name such a host; see Host.RouteAuthenticated and
	// RequireRoute.
	Floor Level

	// RequireRoute requires, for every domain, a session with an authenticated
	// host and an authenticated route to it: the MX records are secure, an enforced
	// MTA-STS policy lists the host, or the operator configured it (Override.NextHop
	// in brackets, or Override.Pin). Otherwise the host must have a certificate of
	// the web PKI for the next-hop domain; its own name does not count then.
	RequireRoute bool

	// RequireDANE makes DANE mandatory for every domain (RFC 7672 section 6):
	// mail waits unless the MX records are secure and the host is authenticated
	// by a usable TLSA record.
	RequireDANE bool

	// Precedence says which standard decides if both apply. The zero value is
	// DANEFirst.
	Precedence Precedence

	// NoDANEForInsecureMX switches off DANE for hosts found by MX records
	// that are not secure (RFC 7672 section 2.2.1 leaves the choice).
	NoDANEForInsecureMX bool

	// NoDANE and NoMTASTS switch off a standard for every domain.
	NoDANE, NoMTASTS bool

	// Overrides are settings for single recipient domains. The key is a domain
	// name in A-labels or U-labels; it does not cover subdomains.
	Overrides map[string]Override

	// OverrideFor returns the settings for a recipient domain, or false. It is asked
	// for domains that are not in Overrides when a plan is made, with the domain in
	// A-labels and lower case, never for an address literal. It must be a pure
	// function of the domain, because plans are kept: after a change,
	// Resolver.Forget drops the plans of a domain. If the Override is not valid,
	// the mail waits: Resolve returns ErrConfig. The function must not block, and is
	// called by several goroutines at the same time. nil means that there are only
	// the Overrides.
	OverrideFor func(domain string) (Override, bool)

	// HostOverrides are settings for single mail hosts, whatever domain's mail they
	// get. The key is the name in the MX record or in the next hop, in A-labels or
	// U-labels, or an address in brackets. It does not cover other names of the
	// same host.
	HostOverrides map[string]HostOverride

	// OpportunisticMinVersion is the minimum TLS version where no policy
	// applies. 0 means TLS 1.0, which protects more than the cleartext that
	// is permitted there. Wherever a policy applies, the minimum is TLS 1.2.
	OpportunisticMinVersion uint16

	// Memory bounds what is remembered in memory, in octets. Eleven sixteenths are for plans
	// and their hosts, three for MTA-STS policies (see mtasts.Config.Memory), and two for DNS
	// answers. The last two shares are not used with Config.MTASTS and Config.DNS, which have
	// bounds of their own. A plan with one host takes about a kilobyte, and less if other
	// plans have the same host. Plans that are used again stay longer, so that a run over more
	// domains than fit does not displace them. What lookups under way hold comes on top: see
	// DNSBounds and MaxFetches. 0 means 256 MiB, which is enough for 100,000 domains; the
	// minimum is 8 MiB.
	Memory int

	// MaxPlans bounds the plans in memory in number as well, and the domains of which an
	// MTA-STS policy is remembered; see mtasts.Config.MaxPolicies. 0 means that only Memory
	// bounds them.
	MaxPlans int

	// MaxFetches bounds the concurrent connections to MTA-STS policy hosts, and
	// MaxRefreshes the policies that Run fetches concurrently. 0 means 128 and 32.
	MaxFetches, MaxRefreshes int

	// FetchTimeout bounds the fetch of a policy. 0 means one minute.
	FetchTimeout time.Duration

	// DNSLimits bounds the work of one lookup of the validator that New makes, and
	// DNSBounds what all its lookups under way hold together. The zero values mean the
	// defaults of package dnssec.
	DNSLimits dnssec.Limits
	DNSBounds dnssec.Bounds

	// Timeout bounds the lookups for one plan. A quarter of it, and at most 15 seconds,
	// is for the first MTA-STS policy of a domain. If it is not there then, the plan is
	// made without it (RFC 8461 section 3.3), and made again as soon as it is. 0 means
	// two minutes.
	Timeout time.Duration

	// Now is the clock. nil means time.Now.
	Now func() time.Time

	// OnEvent is called when the protection of a domain changes: an MTA-STS policy appears,
	// changes, weakens, expires, is forgotten or cannot be refreshed, no policy host can be
	// reached, the Store fails, DANE appears, weakens or disappears, or all hosts of a domain
	// are refused for long. The lookup that caused the event waits until OnEvent returns.
	// It may be called concurrently, and must not call the Resolver. With Config.MTASTS,
	// the events of that client are its own. nil means that no function is called.
	OnEvent func(Event)

	// Logger gets events that the operator should see. nil means that nothing is
	// logged.
	Logger *slog.Logger
}

// check returns an error that names the fields that are wrong by themselves or together.
func (config *Config) check() error {
	switch {
	case config.Memory < 0 || config.MaxPlans < 0 || config.MaxFetches < 0 || config.MaxRefreshes < 0 || config.FetchTimeout < 0 || config.Timeout < 0:
		return errors.New("policy: Config.Memory, MaxPlans, MaxFetches, MaxRefreshes, FetchTimeout and Timeout must not be negative; 0 means the default")
	case config.Memory != 0 && config.Memory < minMemory:
		return fmt.Errorf("policy: Config.Memory is %d octets; give %d or more, or 0 for the default", config.Memory, minMemory)
	case config.NoDANE && config.RequireDANE:
		return errors.New("policy: Config.NoDANE and Config.RequireDANE exclude each other; set only one")
	case config.Floor > Authenticated:
		return errors.New("policy: Config.Floor is not a Level; use one of the constants")
	case config.DNS != nil && (len(config.Servers) > 0 || config.DNSLimits != (dnssec.Limits{}) || config.DNSBounds != (dnssec.Bounds{})):
		return errors.New("policy: Config.Servers, DNSLimits and DNSBounds exclude Config.DNS; set them in the Config of that resolver")
	case config.MTASTS != nil && (config.Store != nil || config.StoreKey != nil || config.ProceedUnread ||
		config.MaxFetches != 0 || config.MaxRefreshes != 0 || config.FetchTimeout != 0):
		return errors.New("policy: Config.Store, StoreKey, ProceedUnread, MaxFetches, MaxRefreshes and FetchTimeout exclude Config.MTASTS; set them in the Config of the MTA-STS client")
	}
	return nil
}

// Precedence says which standard decides about a host found by secure MX records
// that has usable TLSA records and is also covered by an MTA-STS policy.
type Precedence uint8

const (
	// DANEFirst lets DANE alone decide (RFC 8461 section 2). The MTA-STS policy
	// is not looked up.
	DANEFirst Precedence = iota
	// RequireBoth requires both: DANE, and the allow-list and the web PKI of an
	// enforced policy.
	RequireBoth
)
