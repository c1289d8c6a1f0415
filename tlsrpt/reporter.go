package tlsrpt

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/grammar"
)

// Resolver looks up TLSRPT records and the addresses of https endpoints.
// [*net.Resolver] is one, and so are the resolvers of package dnssec. Names come
// with a final dot, so that no search list applies to them.
//
// LookupTXT returns one string for each record, its character-strings joined
// without spaces. A name without such records is a [*net.DNSError] with
// IsNotFound set; any other error is a failure, after which the lookup is made
// again later.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// ReporterConfig says who reports, and how reports are delivered.
type ReporterConfig struct {
	// Store has the sums. It is required.
	Store Store
	// Organization is the name of the organisation that reports. It is required.
	Organization string
	// Contact is the mail address of who is responsible for the reports, and
	// their sender. It is required. Its domain signs them.
	Contact string
	// Instance tells Reporters of one organisation apart that do not share a
	// Store, since each of them reports on its own sessions. It has letters and
	// digits, and does not change; empty is for a single one.
	Instance string

	// Resolver finds the endpoints; nil stands for net.DefaultResolver.
	Resolver Resolver

	// Mailer and Signer deliver reports by mail. Without both, only https
	// endpoints get reports.
	Mailer Mailer
	Signer Signer

	// Dial connects to https endpoints; addr is an address and a port. nil stands
	// for a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// AllowAddr permits special-purpose addresses for https endpoints, such as
	// loopback and private ones, which any domain could otherwise have its
	// reports sent to. nil permits none.
	AllowAddr func(netip.Addr) bool
	// RootCAs are the authorities for https endpoints; nil stands for those of
	// the system.
	RootCAs *x509.CertPool
	// IgnoreCertificates sends reports also to endpoints that do not prove who
	// they are, which RFC 8460 section 3 permits.
	IgnoreCertificates bool

	// MaxSize bounds a report before compression, in octets; 0 stands for ten
	// million, a common limit of receivers (RFC 8460 section 5.2). Less than
	// 256 KiB is refused.
	MaxSize int
	// Interval is the time between two deliveries, EndpointInterval that between
	// two to the same host or mail domain; 0 stands for 50 milliseconds and for a
	// second.
	Interval, EndpointInterval time.Duration

	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
	// Logger is told what became of each report; nil tells nobody.
	Logger *slog.Logger
}

const (
	defaultMaxSize          = 10_000_000
	minMaxSize              = 256 << 10 // the totals of all policies fit in
	defaultInterval         = 50 * time.Millisecond
	defaultEndpointInterval = time.Second
)

// Reporter tells domains that ask for it how TLS to their mail hosts fared: one
// report for each recipient domain and UTC day. Its methods are safe for
// concurrent use.
type Reporter struct {
	cfg        ReporterConfig
	submitter  string // domain of cfg.Contact
	compressor compressor
	pace       pace
	seed       maphash.Seed

	nextScan time.Time // in use by Run

	mu      sync.Mutex
	pending map[job]*attempts // what there is to do
	scans   int
}

// NewReporter returns a Reporter. It does nothing until Run is called.
func NewReporter(cfg ReporterConfig) (*Reporter, error) {
	submitter, err := submitter(cfg.Contact)
	switch {
	case cfg.Store == nil:
		return nil, errors.New("tlsrpt: a Reporter needs a Store")
	case cfg.Organization == "":
		return nil, errors.New("tlsrpt: a Reporter needs the name of the Organization")
	case err != nil:
		return nil, fmt.Errorf("tlsrpt: Contact: %w", err)
	case strings.ContainsFunc(cfg.Instance, func(c rune) bool { return c > '~' || !grammar.IsAlphanumeric(byte(c)) }):
		return nil, fmt.Errorf("tlsrpt: Instance %q is not made of letters and digits", cfg.Instance)
	case (cfg.Mailer == nil) != (cfg.Signer == nil):
		return nil, errors.New("tlsrpt: Mailer and Signer go together: reports by mail are signed (RFC 8460 section 3)")
	case cfg.MaxSize != 0 && cfg.MaxSize < minMaxSize:
		return nil, fmt.Errorf("tlsrpt: MaxSize is less than %d", minMaxSize)
	case cfg.Interval < 0 || cfg.EndpointInterval < 0:
		return nil, errors.New("tlsrpt: an interval is negative")
	}
	cfg.Contact = cfg.Contact[:strings.LastIndexByte(cfg.Contact, '@')+1] + submitter
	cfg.setDefaults()
	return &Reporter{
		cfg: cfg, submitter: submitter,
		pace:    pace{every: cfg.Interval, everyKey: cfg.EndpointInterval, keys: make(map[string]time.Time)},
		seed:    maphash.MakeSeed(),
		pending: make(map[job]*attempts),
	}, nil
}

func (c *ReporterConfig) setDefaults() {
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.AllowAddr == nil {
		c.AllowAddr = func(netip.Addr) bool { return false }
	}
	if c.MaxSize == 0 {
		c.MaxSize = defaultMaxSize
	}
	if c.Interval == 0 {
		c.Interval = defaultInterval
	}
	if c.EndpointInterval == 0 {
		c.EndpointInterval = defaultEndpointInterval
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Preview returns the report that a domain would get of a day, also of one that
// is not over. nil means that there is nothing to report. It sends nothing.
func (r *Reporter) Preview(ctx context.Context, domain string, day Day) (*Report, error) {
	name := canonicalName(domain)
	if name == "" {
		return nil, fmt.Errorf("tlsrpt: %.255q is not a domain", domain)
	}
	part, err := r.cfg.Store.Sums(ctx, day, name)
	if err != nil || part.Number == 0 {
		return nil, err
	}
	built, err := r.build(name, day, part)
	if err != nil {
		return nil, err
	}
	return built.report, nil
}
