package mtasts

import (
	"bufio"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/flight"
	"github.com/mxseal/mxseal/internal/guarded"
	"github.com/mxseal/mxseal/mtasts/internal/lifetime"
	"github.com/mxseal/mxseal/mtasts/internal/mark"
	"github.com/mxseal/mxseal/mtasts/internal/memory"
	"github.com/mxseal/mxseal/mtasts/internal/turn"
)

const (
	defaultMemory       = 64 << 20
	minMemory           = 1 << 20
	defaultFetchTimeout = time.Minute
	defaultFirstWait    = 15 * time.Second
	defaultRefreshes    = 32
	defaultFetches      = 128
	// These limit the concurrent fetches for one registrable domain, such as
	// example.co.uk, and from one address: the domains of one owner must not use up
	// MaxFetches.
	fetchesPerDomain  = 4
	fetchesPerAddress = 16
)

// Config configures a [Client]. The zero value is ready for use. [New] reads it
// once, and returns an error if a number is negative.
type Config struct {
	// Resolver looks up TXT records and the addresses of policy hosts. nil means
	// net.DefaultResolver. If it has a method LookupTXTUntil, the Client follows
	// the TTLs of records; see [Resolver].
	Resolver Resolver
	// RootCAs are the authorities that certify policy hosts. nil means the
	// system roots; New fails if there are none.
	RootCAs *x509.CertPool
	// Dial connects to a policy host. Its arguments are "tcp" and an IP address
	// with port 443, which has been checked (see AllowPolicyHost). It must return when
	// ctx is done. nil means a [net.Dialer]. Proxy settings are not used.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// AllowPolicyHost permits policy hosts at special-purpose addresses (loopback,
	// private, link-local, multicast, and others). nil means none, so that a DNS record
	// cannot make the sender connect to its own network. AllowPolicyHost is not called
	// for addresses of the public Internet.
	AllowPolicyHost func(netip.Addr) bool
	// Now is the clock. nil means time.Now.
	Now func() time.Time
	// Store keeps policies when the program restarts, and policies for which memory has
	// no room. nil means that nothing is kept: after every restart, an attacker can
	// again hide a policy by forging DNS.
	Store Store
	// StoreKey authenticates the entries of the Store between the Clients that share it:
	// 16 octets or more, secret, and the same for all. An entry that was put without it
	// is not used, and counts like an entry that cannot be read. nil means that the
	// Store is trusted for domains about which memory has nothing: anyone who can write
	// to it chooses their policies. What memory has in force is protected in any case;
	// see [Store].
	StoreKey []byte
	// ProceedUnread lets [Client.Lookup] answer "no policy" for a domain about which
	// the Store could not be read since the Client was made, and for which no policy
	// is found. An attacker who can make the Store fail can then hide policies. False
	// means that such a lookup fails with [ErrStoreUnread], so that mail waits.
	ProceedUnread bool
	// Memory limits what is remembered in memory, in octets. About half a kilobyte is
	// needed for a domain without a policy, and a kilobyte for one with a policy. A
	// policy in force is forgotten last: at most a sixteenth is for domains whose policy
	// could not be fetched, other domains without a policy get what the policies leave,
	// and an eighth at least, and policies of more than 4 KiB get at most a quarter. In
	// each of these groups, approximately the least recently used are forgotten first. If
	// a policy in force is forgotten that no Store has, there is an event
	// [PolicyForgotten]. 0 means 64 MiB; the minimum is 1 MiB.
	Memory int
	// MaxPolicies limits the domains in memory in number as well: this many with a
	// policy, and this many of each other group. 0 means that only Memory limits them.
	MaxPolicies int
	// MaxRefreshes limits the policies that [Client.Run] fetches at the same
	// time, and the domains that [Client.Preload] looks up at the same time. 0
	// means 32.
	MaxRefreshes int
	// MaxFetches limits the concurrent connections to policy hosts. At most 4
	// concurrent fetches are for names under one registrable domain, and at most 16
	// from one address. A lookup for which there is no turn within a few seconds finds
	// no policy, and the next one tries again. 0 means 128.
	MaxFetches int
	// FetchTimeout limits the fetch of a policy, from the lookup of the policy
	// host's addresses to the end of the body. 0 means one minute (RFC 8461
	// section 3.3).
	FetchTimeout time.Duration
	// FirstWait limits how long a Lookup waits for the first policy of a domain. A
	// policy host that stalls must not delay mail for as long as a fetch may take. 0
	// means 15 seconds.
	FirstWait time.Duration
	// OnEvent is called with what an operator should know about policies; see
	// [Event]. The lookup or refresh that caused the event waits until OnEvent
	// returns. OnEvent may be called concurrently, and must not call
	// [Client.Close]. nil means that no function is called.
	OnEvent func(Event)
	// Logger gets the events, and each search for a policy that failed. nil means that
	// they are discarded.
	Logger *slog.Logger
}

// withDefaults returns config with the zero fields set.
func (config Config) withDefaults() (Config, error) {
	if config.Memory < 0 || config.MaxPolicies < 0 || config.MaxRefreshes < 0 || config.MaxFetches < 0 || config.FetchTimeout < 0 || config.FirstWait < 0 {
		return config, errors.New("mtasts: Config.Memory, MaxPolicies, MaxRefreshes, MaxFetches, FetchTimeout and FirstWait must not be negative; 0 means the default")
	}
	if config.StoreKey != nil && len(config.StoreKey) < minStoreKey {
		return config, fmt.Errorf("mtasts: Config.StoreKey has %d octets; use %d random octets or more", len(config.StoreKey), minStoreKey)
	}
	if config.RootCAs == nil && !hasSystemRoots() {
		return config, errors.New("mtasts: this system has no CA certificates, so no policy host can be verified and no policy found; install them (package ca-certificates), or set Config.RootCAs")
	}
	if config.Resolver == nil {
		config.Resolver = net.DefaultResolver
	}
	if config.Dial == nil {
		config.Dial = new(net.Dialer).DialContext
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	// The monotonic clock stops while the machine sleeps, and policies would
	// last longer than max_age. So only the wall clock is read.
	clock := config.Now
	config.Now = func() time.Time { return clock().Round(0) }
	config.Memory = cmp.Or(config.Memory, defaultMemory)
	if config.Memory < minMemory {
		return config, fmt.Errorf("mtasts: Config.Memory is %d octets; give %d or more, or 0 for the default", config.Memory, minMemory)
	}
	config.MaxRefreshes = cmp.Or(config.MaxRefreshes, defaultRefreshes)
	config.MaxFetches = cmp.Or(config.MaxFetches, defaultFetches)
	config.FetchTimeout = cmp.Or(config.FetchTimeout, defaultFetchTimeout)
	config.FirstWait = cmp.Or(config.FirstWait, defaultFirstWait)
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return config, nil
}

// hasSystemRoots reports whether crypto/x509 finds authorities to trust.
func hasSystemRoots() bool {
	roots, err := x509.SystemCertPool()
	return err == nil && !roots.Equal(x509.NewCertPool())
}

// Client finds the policies of domains and remembers them. What it remembers is
// the protection: an attacker who forges DNS can hide a policy from a sender
// that never saw it, but not from one that did (RFC 8461 section 10.2). So use
// one Client for all mail, for as long as the program runs, with a Store, and
// call [Client.Run].
//
// A Client is safe for concurrent use. Close it when it is no longer needed.
type Client struct {
	config  Config
	memory  *memory.Memory[*state]
	marks   *mark.Marks
	storage *storage
	fetcher *fetcher
	events  *notifier
	flights flight.Group[string, outcome] // by domain
	running lifetime.Running              // the flights in progress, and Run
	closing context.Context               // done when Close is called
	close   context.CancelFunc
}

// New returns a Client that remembers nothing yet. New uses neither the network
// nor the Store. An error names the fields that are wrong.
func New(config Config) (*Client, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	events := newNotifier(config)
	marks := mark.New()
	c := &Client{
		config:  config,
		marks:   marks,
		memory:  memory.New[*state](config.Memory-config.Memory/absentShare, config.MaxPolicies),
		storage: newStorage(config, events, marks.ChangeAll),
		fetcher: &fetcher{
			dialer: guarded.Dialer{
				Resolver: config.Resolver, Dial: turn.NewDialer(config.Dial, config.MaxFetches, fetchesPerAddress).Dial,
				AllowAddr: config.AllowPolicyHost, RootCAs: config.RootCAs, Now: config.Now,
			},
			turns:   turn.New(fetchesPerDomain),
			now:     config.Now,
			timeout: config.FetchTimeout,
			events:  events,
		},
		events: events,
	}
	c.closing, c.close = context.WithCancel(context.Background())
	return c, nil
}

// Close ends [Client.Run] and the lookups that are still running, and returns
// when they have ended. A lookup that was ended does not count as a failure of
// its domain. After Close, a Lookup that memory can answer still succeeds, and
// any other returns [ErrClosed]. Close the Store after the Client. Close may be
// called several times, and always returns nil.
func (c *Client) Close() error {
	c.running.Close()
	c.close()
	c.running.Wait()
	return nil
}

// Preload looks up domains that the sender will probably write to, MaxRefreshes
// at a time, so that their policies are known before an attacker can hide them.
// Each is a [Client.Lookup] that waits for the policy, so a domain whose policy is in
// force costs little. A policy that is not used afterwards expires like any other: call
// Preload once a day to keep the policies.
//
// The returned error joins the errors of the domains: each an [*Error], or an
// error that wraps [ErrDomain]. The other domains are looked up all the same. A
// domain that has no policy is not an error. Preload stops when ctx is done.
func (c *Client) Preload(ctx context.Context, domains ...string) error {
	errs := make([]error, len(domains))
	var wg sync.WaitGroup
	slots := make(chan struct{}, c.config.MaxRefreshes)
	for i, domain := range domains {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return errors.Join(append(errs, ctx.Err())...)
		}
		wg.Go(func() {
			defer func() { <-slots }()
			r, err := c.lookup(ctx, domain, false)
			errs[i] = errors.Join(err, r.Err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// PreloadFile calls [Client.Preload] with the domains in a file: one on each
// line, in A-labels or in U-labels (UTF-8). Empty lines are ignored, and so is
// everything after a "#".
func (c *Client) PreloadFile(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("mtasts: cannot read the domains to preload: %w", err)
	}
	defer f.Close()
	domains, err := readDomains(f)
	if err != nil {
		return fmt.Errorf("mtasts: cannot read the domains to preload from %s: %w", name, err)
	}
	return c.Preload(ctx, domains...)
}

// readDomains returns the domains in r, one on each line.
func readDomains(r io.Reader) ([]string, error) {
	var domains []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			domains = append(domains, line)
		}
	}
	return domains, lines.Err()
}
