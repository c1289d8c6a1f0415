package mtasts

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	defaultMaxPolicies  = 16384
	defaultFetchTimeout = time.Minute
	defaultRefreshes    = 32
)

// Config says how a [Client] reaches DNS and policy hosts. The zero value is
// fit for use.
type Config struct {
	// Resolver looks up TXT records and the addresses of policy hosts. nil is
	// net.DefaultResolver. One that implements LookupTXTUntil lets the Client
	// follow TTLs; see [Resolver].
	Resolver Resolver
	// RootCAs are the authorities that certify policy hosts. nil is the roots
	// of the system.
	RootCAs *x509.CertPool
	// Dial connects to a policy host. It gets "tcp" and an IP address with port
	// 443, after the address was checked, and must return when ctx is done. nil
	// is a [net.Dialer]. Neither proxy settings nor another resolver come between.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// AllowAddr permits policy hosts at special-purpose addresses (loopback,
	// private, link-local, multicast, and so on). nil permits none, so nobody
	// can have the sender talk to machines of its own network by an entry in
	// DNS. Addresses of the public Internet are not asked about.
	AllowAddr func(netip.Addr) bool
	// Now is the clock. nil is time.Now.
	Now func() time.Time
	// Store keeps policies beyond the life of the Client, and those for which
	// there is no room in memory. nil keeps nothing: every restart opens the gap
	// again that MTA-STS is to close.
	Store Store
	// MaxPolicies bounds the domains in memory: so many with a policy, and as
	// many without. About the least recently used go first. 0 means 16384.
	MaxPolicies int
	// MaxRefreshes bounds the policies that [Client.Run] and [Client.Preload]
	// each fetch at the same time. 0 means 32.
	MaxRefreshes int
	// FetchTimeout bounds the fetch of a policy, from the lookup of the policy
	// host to the end of the body. 0 means a minute (RFC 8461 section 3.3).
	FetchTimeout time.Duration
	// OnEvent gets what an operator should know about policies; see [Event]. It
	// is called by whoever does the work and holds that up, perhaps by several
	// at the same time. nil tells nobody.
	OnEvent func(Event)
	// Logger gets the events, and each search for a policy that failed. nil logs
	// nothing.
	Logger *slog.Logger
}

// withDefaults returns cfg with the zero fields set.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.MaxPolicies < 0 || cfg.MaxRefreshes < 0 || cfg.FetchTimeout < 0 {
		return cfg, errors.New("mtasts: MaxPolicies, MaxRefreshes and FetchTimeout must not be negative")
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	if cfg.AllowAddr == nil {
		cfg.AllowAddr = func(netip.Addr) bool { return false }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxPolicies == 0 {
		cfg.MaxPolicies = defaultMaxPolicies
	}
	if cfg.MaxRefreshes == 0 {
		cfg.MaxRefreshes = defaultRefreshes
	}
	if cfg.FetchTimeout == 0 {
		cfg.FetchTimeout = defaultFetchTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

// Client finds the policies of domains and remembers them. The memory is what
// protects: whoever can forge DNS can hide a policy from a sender that never
// saw it, but not from one that did (RFC 8461 section 10.2). So use one Client
// for all mail, for as long as the program runs, with a Store, and Run it.
//
// A Client is safe for concurrent use.
type Client struct {
	cfg     Config
	fetcher *fetcher
	cache   *cache
	flights flights

	storeMu   sync.Mutex
	storeTold time.Time // when a failure of the store was told last
}

// NewClient returns a Client that has nothing in memory yet. It does not touch
// the network nor the Store.
func NewClient(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	dialer := &dialer{
		resolver:  cfg.Resolver,
		dial:      cfg.Dial,
		allowAddr: cfg.AllowAddr,
		roots:     cfg.RootCAs,
		now:       cfg.Now,
	}
	return &Client{
		cfg:     cfg,
		fetcher: &fetcher{dialer, cfg.FetchTimeout},
		cache:   newCache(cfg.MaxPolicies),
		flights: flights{domains: make(map[string]*flight)},
	}, nil
}

// Lookup returns the policy in force for domain, the domain of the recipient or
// a smart host's (RFC 8461 section 3.4); not that of a mail host, and never a
// parent's. It may be in U-labels, and end in a dot.
//
// From memory the answer costs no query. When the TTL of the TXT record has
// passed, Lookup asks DNS for the id, and if that has changed or the policy has
// expired, it fetches the policy; equal lookups at the same time do this once.
// A policy in force stays so, whatever fails, until its time runs out or
// another one takes its place, and Lookup waits no longer than some seconds for
// that. A fetch that failed is not made again for five minutes, except, while no
// policy is in force, for a new id, of which there can be three in that time.
//
// The error is that of ctx, or wraps [ErrDomain]. A lookup that was begun goes
// on without the caller whose ctx is done, for the sake of others and of the
// next one; it ends in FetchTimeout and some seconds.
func (c *Client) Lookup(ctx context.Context, domain string) (r Result, err error) {
	// Names in the cache are canonical, so the usual hit needs no conversion.
	s := c.fresh(domain)
	if s == nil {
		s, err = c.lookup(ctx, domain)
	}
	if err == nil {
		s.report(&r)
	}
	return r, err
}

// lookup is the way of a Lookup that does not hit.
func (c *Client) lookup(ctx context.Context, domain string) (*state, error) {
	domain, err := canonicalDomain(domain)
	if err != nil {
		return nil, err
	}
	if s := c.fresh(domain); s != nil {
		return s, nil
	}
	return c.join(ctx, domain, lookUp)
}

// Recheck looks the id up again now, whatever the Client remembers, though a
// cache inside the Resolver may answer, and fetches the policy if the id has
// changed. changed tells that the policy in force is another than before.
//
// A sender must call it, or Lookup after NextCheck, before a message that an
// enforced policy kept from delivery is bounced (RFC 8461 sections 5 and 5.1);
// if the policy changed, the message is to be tried again.
func (c *Client) Recheck(ctx context.Context, domain string) (r Result, changed bool, err error) {
	domain, err = canonicalDomain(domain)
	if err != nil {
		return Result{}, false, err
	}
	var before *Policy
	if s := c.cache.get(domain); s != nil {
		before = s.at(c.now()).policy
	}
	s, err := c.join(ctx, domain, recheck)
	if err != nil {
		return Result{}, false, err
	}
	s.report(&r)
	return r, s.policy != before, nil
}

// fresh returns what is remembered of domain if nothing is to be done about it,
// or nil.
func (c *Client) fresh(domain string) *state {
	if s := c.cache.get(domain); s != nil && s.used && s.isFresh(c.now()) {
		return s
	}
	return nil
}

// now returns the time on the wall clock. A monotonic one would stand still
// while the machine sleeps, and policies would last longer.
func (c *Client) now() time.Time { return c.cfg.Now().Round(0) }
