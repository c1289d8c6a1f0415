package policy

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// Config is what New makes a Resolver of. The zero Config is the secure one:
// it validates DNSSEC itself over the servers of /etc/resolv.conf, trusts the
// system's roots for MTA-STS, and keeps what it learned in memory. A Config is
// read by New and not looked at again.
type Config struct {
	// Servers are the DNS servers to ask, in the form of dnssec.Config. They are
	// not trusted. Empty stands for those of /etc/resolv.conf.
	Servers []string

	// DNS answers every DNS question, those of MTA-STS included. nil stands
	// for a dnssec.Validator over Servers. A dnssec.Trusting believes a
	// resolver of yours instead.
	DNS dnssec.Resolver

	// Store keeps MTA-STS policies beyond the life of the program, such as one of
	// package boltstore. nil keeps them in memory: every restart then opens the
	// gap again in which whoever forges DNS can hide a policy.
	Store mtasts.Store

	// MTASTS looks up and remembers MTA-STS policies. nil stands for a client
	// made of DNS, Store, RootCAs, Dial, AllowPolicyHost, Now and Logger.
	MTASTS *mtasts.Client

	// RootCAs are the roots of the web PKI, for MTA-STS policy hosts and for
	// the mail hosts that a policy covers. nil stands for the system's roots.
	// DANE does not use them.
	RootCAs *x509.CertPool

	// Dial connects to mail hosts and policy hosts; addr is always an IP
	// address and a port. nil stands for a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// AllowPolicyHost permits MTA-STS policy hosts at special-purpose
	// addresses (loopback, private, documentation and so on), which are
	// refused otherwise, lest a foreign domain aim the fetch at a machine
	// inside. nil permits none.
	AllowPolicyHost func(netip.Addr) bool

	// Port is the SMTP port of mail hosts found by MX records, and with it of
	// their TLSA records. 0 stands for 25.
	Port uint16

	// Self are the names by which the sending host is itself listed in MX
	// records. A host list ends before the first of them, so that a backup MX
	// never sends mail to itself or to a worse one (RFC 5321 section 5.1).
	Self []string

	// Floor is the least that every session must reach, whatever the
	// recipient publishes. Refused, the zero value, and Opportunistic add
	// nothing. Authenticated demands, of a host without a policy, a
	// certificate of the web PKI for the MX host name.
	Floor Level

	// RequireDANE makes DANE mandatory for every domain (RFC 7672 section 6):
	// mail waits unless the MX records are secure and the host authenticates
	// by a usable TLSA record.
	RequireDANE bool

	// Precedence says which standard decides where both apply. The zero value
	// is DANEFirst.
	Precedence Precedence

	// NoDANEForInsecureMX switches off DANE for hosts found by MX records
	// that are not secure (RFC 7672 section 2.2.1 leaves the choice).
	NoDANEForInsecureMX bool

	// NoDANE and NoMTASTS switch a standard off altogether.
	NoDANE, NoMTASTS bool

	// Overrides are the operator's wishes for single domains, by domain.
	Overrides map[string]Override

	// OpportunisticMinVersion is the least TLS version where no policy
	// applies; 0 stands for TLS 1.0, since an old version protects more than
	// the cleartext that is permitted there. Wherever a policy applies it is
	// TLS 1.2.
	OpportunisticMinVersion uint16

	// MaxPlans bounds the plans kept in memory; 0 stands for 10000.
	MaxPlans int

	// Timeout bounds the gathering of facts for one plan; 0 stands for two
	// minutes, since the fetch of an MTA-STS policy alone may take one.
	Timeout time.Duration

	// Now is the clock; nil stands for time.Now.
	Now func() time.Time

	// Logger gets what an operator should see. nil logs nothing.
	Logger *slog.Logger
}

// Precedence says which standard decides for a host found by secure MX records
// that has usable TLSA records and is covered by an MTA-STS policy as well.
type Precedence uint8

const (
	// DANEFirst lets DANE alone decide, as RFC 8461 section 2 expects of
	// senders that do both. MTA-STS is not even asked.
	DANEFirst Precedence = iota
	// RequireBoth asks for both: the allow-list and the web PKI of an enforced
	// policy besides DANE.
	RequireBoth
)

// Override is the operator's wish for one domain. Its zero value changes
// nothing.
type Override struct {
	// NextHop replaces the domain's MX records by a host of the operator's
	// choice: "relay.example.net" has its own MX records looked up,
	// "[relay.example.net]" or "[192.0.2.1]" is the host itself. A port may
	// follow, as in "[relay.example.net]:587". Being configured, the name is
	// secure by definition (RFC 7672 section 2.2.2), and MTA-STS is asked for
	// it and not for the recipient domain (RFC 8461 section 3.4).
	NextHop string

	// Floor raises Config.Floor for this domain.
	Floor Level

	// RequireDANE makes DANE mandatory for this domain (RFC 7672 section 6).
	RequireDANE bool

	// Pin are TLSA records that the operator knows to be right. They stand in
	// place of those in DNS, as though found securely, and are asked for even
	// of mail that says TLS-Required: No. Of a DANE-TA pin (usage 2) the
	// certificate has to be for the domain itself where the MX records are not
	// secure, because the authority vouches for other hosts as well.
	Pin []dane.Record

	// NoDANE and NoMTASTS switch a standard off for this domain, as when its
	// operator is known to have published nonsense (RFC 7672 section 9.1).
	NoDANE, NoMTASTS bool
}
