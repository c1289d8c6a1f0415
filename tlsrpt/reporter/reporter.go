package reporter

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

	"github.com/mxseal/mxseal/internal/guarded"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/internal/syntax"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter/internal/pacing"
)

// Resolver looks up TLSRPT records and the addresses of https endpoints.
// [*net.Resolver] implements it, and so do the resolvers of package dnssec. Names
// are passed with a final dot, so that no search list applies to them.
//
// LookupTXT returns one string for each record, with its character-strings joined
// without spaces. If the name has no such records, the error is a [*net.DNSError]
// with IsNotFound set. After any other error the lookup is made again later.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config configures a [Reporter]. Store, Organization and Contact are required. New
// reads a Config once, and returns an error if a number is negative.
type Config struct {
	// Store has the sums to report.
	Store Store
	// Organization is the name of the reporting organization, as free text.
	Organization string
	// Contact is the mail address of the person or team responsible for the
	// reports, and the sender address of reports by mail. Its domain signs them.
	Contact string
	// Instance distinguishes Reporters of one organization that do not share a
	// Store, because each of them reports its own sessions, under report IDs of its own. It
	// consists of letters and digits and must not change. Empty means the ID of the Store, if
	// that is an [Identifier], as the Stores of this module are, and otherwise none.
	Instance string

	// Resolver finds the endpoints. nil means net.DefaultResolver.
	Resolver Resolver

	// Mailer and Signer deliver reports by mail. If both are nil, reports are sent
	// to https endpoints only. Setting only one of them is an error.
	Mailer Mailer
	Signer Signer

	// Dial connects to https endpoints; addr is an IP address and a port. nil
	// means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// AllowEndpoint permits special-purpose addresses, such as loopback and private
	// ones, for https endpoints. nil permits none, because any domain could
	// otherwise direct reports into the sender's own network.
	AllowEndpoint func(netip.Addr) bool
	// RootCAs are the trusted authorities for https endpoints. nil means
	// those of the system.
	RootCAs *x509.CertPool
	// IgnoreCertificates sends reports to https endpoints even if their
	// certificates are not valid, which RFC 8460 section 3 permits.
	IgnoreCertificates bool

	// MaxSize limits the size of a report before compression, in octets. 0 means
	// ten million, a common limit of receivers (RFC 8460 section 5.2). The minimum
	// is 256 KiB.
	MaxSize int
	// Interval is the time between two deliveries. 0 means 50 milliseconds.
	Interval time.Duration
	// EndpointInterval is the time between the beginnings of two deliveries to https
	// hosts and mail domains of one owner, that is, of one registrable domain, whatever
	// domains they are about. Any domain can name any endpoint, so this protects third
	// parties. Reporters that share a Store keep to it together. 0 means one second.
	EndpointInterval time.Duration

	// Endpoints chooses where the reports to a domain go. found are the endpoints of the
	// domain's record, in order, and belong to the function. It may leave out, replace and
	// add endpoints, at most eight in all, for example to send nothing to an owner who
	// complained, or to redirect an address that does not exist. Without any, the domain gets no
	// report and its sums are deleted. An endpoint that a record could not have is an error:
	// the report waits and the error is logged. It is called once for each attempt,
	// concurrently. nil means the endpoints of the record.
	Endpoints func(domain string, found []tlsrpt.Endpoint) []tlsrpt.Endpoint

	// Attempted is called after each attempt to deliver a report to an endpoint: with nil if the
	// endpoint has accepted it, and otherwise with the reason. It is for metrics, must not block,
	// and is called concurrently. nil means that no function is called.
	Attempted func(endpoint tlsrpt.Endpoint, err error)

	// Now is the clock, which says what day it is. nil means time.Now. All waits are
	// measured by time.Now.
	Now func() time.Time
	// Logger logs the result of each attempt to report. nil means that nothing is
	// logged.
	Logger *slog.Logger
}

const (
	defaultMaxSize          = 10_000_000
	minMaxSize              = 256 << 10 // enough for the totals of all policies
	defaultInterval         = 50 * time.Millisecond
	defaultEndpointInterval = time.Second
)

// Reporter sends reports: one for each recipient domain and UTC day, to the domains
// that ask for it. Its methods are safe for concurrent use. It holds resources
// only while Run is running.
type Reporter struct {
	config   Config
	builder  builder
	instance instance
	scanner  scanner
	queue    queue
	lanes    pacing.Lanes
	slow     pacing.SlowOwners
	pace     *pacing.Pace
	https    poster
	mail     mailSender
}

// New returns a Reporter. It sends nothing until Run is called. An error names the
// field of the Config that is wrong.
func New(config Config) (*Reporter, error) {
	submitter, err := syntax.MailDomain(config.Contact)
	switch {
	case config.Store == nil:
		return nil, errors.New("reporter: Config.Store is required")
	case config.Organization == "":
		return nil, errors.New("reporter: Config.Organization is required")
	case err != nil:
		return nil, fmt.Errorf("reporter: Config.Contact: %w", err)
	case config.Instance != "" && !names.IsAlphanumeric(config.Instance):
		return nil, fmt.Errorf("reporter: Config.Instance %q does not consist of letters and digits", config.Instance)
	case (config.Mailer == nil) != (config.Signer == nil):
		return nil, errors.New("reporter: Config.Mailer and Signer require each other, because reports by mail are signed (RFC 8460 section 3)")
	case config.MaxSize != 0 && config.MaxSize < minMaxSize:
		return nil, fmt.Errorf("reporter: Config.MaxSize is less than %d; 0 means the default", minMaxSize)
	case config.Interval < 0 || config.EndpointInterval < 0:
		return nil, errors.New("reporter: Config.Interval and EndpointInterval must not be negative; 0 means the default")
	}
	config.Contact = config.Contact[:strings.LastIndexByte(config.Contact, '@')+1] + submitter
	config.setDefaults()
	return &Reporter{
		config: config,
		builder: builder{
			organization: config.Organization, contact: config.Contact, submitter: submitter,
			maxSize: config.MaxSize,
		},
		scanner:  scanner{store: config.Store, logger: config.Logger, seed: maphash.MakeSeed()},
		instance: instance{chosen: config.Instance, store: config.Store},
		queue:    newQueue(),
		lanes:    pacing.NewLanes(),
		pace:     pacing.NewPace(config.Interval, config.EndpointInterval),
		https: poster{guarded.Dialer{
			Resolver: config.Resolver, Dial: config.Dial, AllowAddr: config.AllowEndpoint,
			RootCAs: config.RootCAs, IgnoreCertificates: config.IgnoreCertificates, Now: config.Now,
		}},
		mail: mailSender{mailer: config.Mailer, signer: config.Signer, from: config.Contact, submitter: submitter, now: config.Now},
	}, nil
}

func (c *Config) setDefaults() {
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
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

// Run sends reports until ctx is done. The reports of a day begin at a random time
// within four hours after its end. A report that no endpoint accepts is sent again
// for 24 hours, at growing intervals (RFC 8460 section 5.5). If DNS fails, the
// record of the domain is looked up again for a week, because a domain whose DNSSEC is
// broken gets a report about that when it is repaired. After a time in which Run was not
// running, the last seven days are reported.
//
// Sums are deleted after they were reported, if their domain asks for no reports, and
// after a week. Nothing is deleted or reported because of a single reading of the clock:
// two of them, ten minutes apart, must agree.
//
// Run an [Aggregator] that fills the Store at the same time. Call Run only once.
func (r *Reporter) Run(ctx context.Context) {
	var attempts sync.WaitGroup
	defer r.queue.clear()
	defer attempts.Wait()
	defer r.scanner.end()
	var nextScan time.Time
	for ctx.Err() == nil {
		if time.Until(nextScan) <= 0 {
			nextScan = time.Now().Add(r.scanner.scan(ctx, r.config.Now(), &r.queue))
		}
		more := r.scanner.fill(ctx, &r.queue)
		r.beginDue(ctx, time.Now().Add(scanEvery), more, &attempts)
		if !r.scanner.hasMore() {
			r.queue.wait(ctx, nextScan)
		}
	}
}

// beginDue begins one attempt at each job that is due. Attempts that cannot begin before
// the time until wait for the next call, which has a new order. So do those that would
// come after most others, if the Store has more jobs, which may come before them.
func (r *Reporter) beginDue(ctx context.Context, until time.Time, more bool, attempts *sync.WaitGroup) {
	next := make(chan begun) // to a goroutine whose attempt has ended: its stack has grown already
	defer close(next)
	for _, p := range r.queue.due(time.Now()) {
		slot := r.lanes.Enter(ctx)
		if slot == nil {
			return
		}
		if time.Until(until) <= 0 || more && r.queue.isHalfEmpty() {
			slot.Leave()
			return
		}
		if !r.queue.begin(p) {
			slot.Leave()
			continue
		}
		select {
		case next <- begun{p, slot}:
		default:
			attempts.Go(func() {
				for a, ok := (begun{p, slot}), true; ok; a, ok = <-next {
					r.attempt(ctx, a.slot, a.job, a.progress)
					a.slot.Leave()
					r.queue.end(a.progress)
				}
			})
		}
	}
}

// begun is an attempt that has a place in a lane.
type begun struct {
	*progress
	slot *pacing.Slot
}

// sleep waits until a time, or until ctx is done.
func sleep(ctx context.Context, at time.Time) {
	if time.Until(at) <= 0 {
		return
	}
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Preview returns the report that a domain would get for a day, which need not be
// over. It returns nil if there is nothing to report. It sends nothing.
func (r *Reporter) Preview(ctx context.Context, domain string, day report.Day) (*report.Report, error) {
	name, err := names.Canonical(domain)
	if err != nil {
		return nil, fmt.Errorf("reporter: %.255q is not a domain name: %w", domain, err)
	}
	part, err := r.config.Store.Sums(ctx, day, name)
	if err != nil || part.Number == 0 {
		return nil, err
	}
	built, err := r.build(ctx, job{day, name}, part)
	if err != nil {
		return nil, err
	}
	return built.report, nil
}
