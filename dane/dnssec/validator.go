package dnssec

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/anchor"
	"github.com/mxseal/mxseal/dane/dnssec/internal/private"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/flight"
)

// Config configures a Validator. The zero value asks the servers of
// /etc/resolv.conf and trusts the root keys that IANA publishes.
type Config struct {
	// Servers are recursive DNS servers in the form "192.0.2.1", "192.0.2.1:53" or
	// "[2001:db8::1]:53", or "tls://192.0.2.1#dns.example" for DNS over TLS. They
	// need not be trusted or validate, but must return DNSSEC records. They are asked in
	// this order. If one fails, or has not replied in 150 to 400 ms, the next is asked too,
	// but no plaintext one while one on this host or over TLS may still reply. One that is
	// silent for 1.3 s counts as dead until a check finds it back. While all are dead,
	// lookups fail within 2 s.
	Servers []string
	// ResolvConf is read if Servers is empty, and read again when it changes. Empty
	// means /etc/resolv.conf, which Windows does not have: set Servers there. A
	// nameserver line without an IP address is skipped, and errors of lookups and of
	// Probe say so. If New finds no nameserver line, the server at 127.0.0.1 is asked,
	// as resolv.conf(5) says. If the file later names no usable server, the old servers
	// are kept, and errors say so. Of the options, timeout (at most 30), attempts (at most
	// 5), rotate and use-vc count; Timeout takes precedence.
	ResolvConf string
	// Anchors are the trust anchors, for the root or any other zone: DS or
	// DNSKEY records in zone-file syntax, with absolute names, one in a line.
	// Other records and revoked keys are errors. If Anchors and AnchorFile are
	// empty, the root keys that IANA publishes are trusted.
	Anchors string
	// AnchorFile names a file of DS or DNSKEY records in zone-file syntax, such
	// as Debian's /usr/share/dns/root.key. Other records and revoked keys in it
	// are ignored. Its keys are trusted in addition to Anchors.
	AnchorFile string
	// PrivateZones are zones that exist only in a private network, or have other
	// contents there, such as "cluster.local". Answers from them are Insecure, whether
	// they are signed or not.
	PrivateZones []PrivateZone
	// NAT64 is the prefix by which a host without IPv4 reaches IPv4 addresses (RFC 6052),
	// such as 64:ff9b::/96. Names without AAAA records then have those that the NAT64
	// translates to their A records, with the status of these. Packages mtasts and policy
	// treat addresses in the prefix like the IPv4 addresses in them. The zero value means
	// that there is none.
	NAT64 netip.Prefix
	// DiscoverNAT64 asks the servers for the prefix (RFC 7050), when it is first needed and
	// again after its TTL. A prefix other than 64:ff9b::/96 and those in 64:ff9b:1::/48
	// counts only from servers over TLS or at loopback addresses, except for 127.0.0.11,
	// 127.0.0.53 and 127.0.0.54, which pass on what others say (section 3.1). It must be
	// public, and only public IPv4 addresses are translated. In a network with another
	// prefix, set NAT64: the validation by DNSSEC (section 3.1), which needs a list of trusted
	// domains, is not implemented. Lookups that need the prefix fail while it is not known.
	DiscoverNAT64 bool
	// HostsFile names a file in the form of hosts(5), such as /etc/hosts, and is read again
	// when it changes. The addresses that it gives to a name are all that the name has. They
	// are Insecure, so TLSA records of these hosts are not used: list only hosts of your own.
	// The file is not used for names that aliases lead to, nor for types other than A and
	// AAAA. Empty means that no file is read.
	HostsFile string
	// Dial connects to a server. The network is "udp" or "tcp"; over "udp", each Read
	// must return one message. nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is a template for connections to "tls://" servers, for example to set
	// RootCAs. The name in the certificate is that in Servers. nil means the roots of
	// the system.
	TLS *tls.Config
	// Now is the clock for signatures and TTLs. nil means time.Now.
	Now func() time.Time
	// Timeout bounds one attempt at one server. 0 means 3 seconds.
	Timeout time.Duration
	// CacheBytes is the approximate bound on the memory of the cache. 0 means 16 MiB.
	CacheBytes int
	// Limits bounds the work of one lookup.
	Limits Limits
	// Bounds bounds what all lookups hold together.
	Bounds Bounds
	// Skew is the tolerance for clocks. By default, signatures are accepted 10 seconds
	// before their inception, and never after their expiration. It is at most a day.
	Skew Skew
	// SHA1 enables the signature algorithms 5 and 7. By default they are disabled, and
	// zones that are signed only with them are insecure (RFC 9905 section 2).
	SHA1 bool
}

// PrivateZone is a zone that is outside the chain of trust because the operator says so
// (RFC 7646). Nothing in it is validated, so an attacker who can forge the answers of its
// servers can forge its data, and DANE does not apply to its hosts.
//
// Only the names in the zone are concerned. If an alias leads out of the zone, its target
// is looked up like any other name, but no answer that depends on an alias in the zone is
// better than Insecure. Where private zones are nested, the one with the longest name
// counts. DS records at the apex of the zone belong to the zone above.
type PrivateZone struct {
	// Zone is the name of the zone. It covers all names below it. It is neither the root
	// nor special-use (see Validator.Lookup), and has no trust anchor in it.
	Zone string
	// Servers are asked about names in the zone, and about no others. They are in the
	// form of Config.Servers. Empty means the servers that are asked about all names.
	Servers []string
}

// Validator is a Resolver that validates each answer itself, from the trust anchors
// down. It is safe for concurrent use. Use one Validator for all lookups, because it
// has the cache.
type Validator struct {
	front
	anchors anchor.Set
	limits  Limits
	skew    Skew
	sha1    bool
	local   bool // special-use names are answered without a server
	private private.Zones
	host    *local // nil if it says nothing

	exchanges flight.Group[exchangeKey, *outcome]
}

// New returns a Validator. It sends nothing. It returns an error if there is no DNS
// server or no trust anchor to work with.
func New(config Config) (*Validator, error) {
	if err := config.Limits.check(); err != nil {
		return nil, err
	}
	limits := config.Limits.withDefaults()
	front, err := newFront(upstream.Config{
		Servers:    config.Servers,
		ResolvConf: config.ResolvConf,
		Dial:       config.Dial,
		TLS:        config.TLS,
		Options:    upstream.Options{Timeout: config.Timeout},
		Records:    limits.Records,
		Bounds:     upstream.Bounds(config.Bounds),
	}, config.Now, config.CacheBytes, limits.Duration)
	if err != nil {
		return nil, err
	}
	anchors, err := anchor.New(config.Anchors, config.AnchorFile, config.SHA1)
	if err != nil {
		return nil, fmt.Errorf("dnssec: %w", err)
	}
	host, err := newLocal(&front, config.HostsFile, config.NAT64, config.DiscoverNAT64, (*upstream.Server).HasSecureChannel)
	if err != nil {
		return nil, err
	}
	zones := make(private.Zones)
	for _, zone := range config.PrivateZones {
		if err := zones.Add(zone.Zone, zone.Servers, anchors); err != nil {
			return nil, fmt.Errorf("dnssec: %w", err)
		}
	}
	return &Validator{
		front:   front,
		anchors: anchors,
		limits:  limits,
		skew:    config.Skew.withDefaults(),
		sha1:    config.SHA1,
		local:   anchors.OfIANA(),
		private: zones,
		host:    host,
	}, nil
}

// Close closes the connections over TLS to the servers. Later lookups that need a
// server return an *Error that wraps net.ErrClosed. Close may be called more than once.
func (v *Validator) Close() error { return v.client.Close() }

// Stats returns what the lookups did so far, and what they hold now.
func (v *Validator) Stats() Stats { return v.front.stats(v.private) }

// Lookup returns the records of the type at name, or their proven absence. The error
// is an *[Error]. It never means that there are no records.
//
// If a root key of IANA is trusted, no server is asked about special-use names, not
// even if an alias leads to one: localhost and the names below it are this host, and
// nothing exists at and below invalid and onion. These answers are Insecure. Other
// trust anchors may belong to a private root, which defines the meaning of all names.
func (v *Validator) Lookup(ctx context.Context, name string, t Type) (*Answer, error) {
	q, err := newQuestion(name, t)
	if err != nil {
		return nil, err
	}
	if v.host == nil {
		return v.lookup(ctx, q, false)
	}
	return v.host.lookup(ctx, q, func(q question) (*Answer, error) { return v.lookup(ctx, q, false) })
}

// NAT64 returns Config.NAT64, or the prefix that was discovered last. The zero Prefix means
// that there is none, or none yet.
func (v *Validator) NAT64() netip.Prefix { return v.host.known() }

// Recall is Lookup from the cache alone: it asks nobody and never waits. of is the Resolver in use: a
// type that embeds v may have its own Lookup. ok is false, and nothing is known, if of is not v, if the
// cache has neither a valid answer nor a failure, and for addresses if there is a hosts file or NAT64.
func (v *Validator) Recall(of Resolver, name string, t Type) (a *Answer, ok bool, err error) {
	q, err := newQuestion(name, t)
	if err != nil || of != Resolver(v) || v.host != nil && (t == TypeA || t == TypeAAAA) {
		return nil, false, nil
	}
	a, err = v.cached(q)
	return a, a != nil || err != nil, err
}

// LookupAhead starts a lookup that may turn out not to be needed, and returns a
// function that waits for it. It returns nil, and sends nothing, unless name is in a
// signed zone as far as is known: records of the zone were validated before, and no
// zone cut is known between the zone and name. Name servers of unsigned zones may fail
// on questions for some types. This knowledge only decides whether to ask early; the
// answer is validated like any other. It also returns nil while a quarter of one of the
// Bounds, or less, is free, or if of, whose lookup it is, is not v.
//
// The lookup ends with ctx. If it fails, no server is counted as failing. A caller
// that needs the answer then calls Lookup.
func (v *Validator) LookupAhead(ctx context.Context, of Resolver, name string, t Type) (wait func() (*Answer, error)) {
	q, err := newQuestion(name, t)
	if err != nil || of != Resolver(v) || !v.client.Room.HasSpare() || v.private.Of(q.home()) != nil || !isInSignedZone(v.cache, q.home(), v.now()) {
		return nil
	}
	var a *Answer
	done := make(chan struct{})
	go func() {
		defer close(done)
		a, err = v.lookup(ctx, q, true)
	}()
	return func() (*Answer, error) {
		<-done
		return a, err
	}
}

// lookup is Lookup. ahead means that the answer may turn out not to be needed.
func (v *Validator) lookup(ctx context.Context, q question, ahead bool) (*Answer, error) {
	if a, err := v.cached(q); a != nil || err != nil {
		return a, err
	}
	return v.front.lookup(ctx, q, func(ctx context.Context, lease *upstream.Lease) (*Answer, error) {
		l := v.newLookup(ctx)
		l.session.lease, l.session.ahead = lease, ahead
		return l.run(q)
	})
}

// LookupTXT is like the method of *net.Resolver, over validated answers.
func (v *Validator) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txts, _, err := LookupTXT(ctx, v, name)
	return txts, err
}

// LookupTXTUntil is [LookupTXT] with this Resolver.
func (v *Validator) LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error) {
	return LookupTXT(ctx, v, name)
}

// LookupNetIP is like the method of *net.Resolver, over validated answers.
func (v *Validator) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return LookupNetIP(ctx, v, network, host)
}
