package policy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/flight"
	"github.com/mxseal/mxseal/mtasts"
)

const (
	defaultPort     = 25
	defaultMaxPlans = 10000
	defaultTimeout  = 2 * time.Minute

	// maxPlanSize is the memory, in octets, that a plan may take to be kept.
	// Usual ones take about two thousand; those that a hostile domain blows up
	// are made anew each time.
	maxPlanSize = 16 << 10

	// maxPlanAge ends plans that nothing else ends, such as those of address
	// literals.
	maxPlanAge = time.Hour
	// failedPlanAge ends plans in which a lookup failed: long enough not to
	// hammer a broken domain, short enough to see it mended.
	failedPlanAge = 30 * time.Second
)

// Resolver makes plans and remembers them. Make one with New and share it: it
// is safe for concurrent use, and its memory is what protects.
type Resolver struct {
	dns       dnssec.Resolver
	mtasts    *mtasts.Client
	trust     *trust
	port      uint16
	self      map[string]bool
	general   wishes
	noDANE    bool
	noMTASTS  bool
	mxSecure  bool // DANE only for hosts of secure MX records
	overrides map[string]override
	now       func() time.Time
	logger    *slog.Logger

	plans    *lru.Cache[request, *Plan]
	inFlight flight.Group[request, *Plan]
}

// override is an Override, read.
type override struct {
	Override
	hop *nextHop // nil: the domain itself
}

// New makes a Resolver. It makes no network traffic. An error names the field
// of the Config that is wrong, and what to do about it.
func New(config Config) (*Resolver, error) {
	resolver := &Resolver{
		dns:       config.DNS,
		port:      cmp.Or(config.Port, defaultPort),
		self:      make(map[string]bool, len(config.Self)),
		noDANE:    config.NoDANE,
		noMTASTS:  config.NoMTASTS,
		mxSecure:  config.NoDANEForInsecureMX,
		overrides: make(map[string]override, len(config.Overrides)),
		inFlight:  flight.Group[request, *Plan]{Limit: positive(config.Timeout, defaultTimeout)},
		now:       config.Now,
		logger:    config.Logger,
		general: wishes{
			floor:       config.Floor,
			requireDANE: config.RequireDANE,
			requireBoth: config.Precedence == RequireBoth,
		},
	}
	if resolver.now == nil {
		resolver.now = time.Now
	}
	if resolver.logger == nil {
		resolver.logger = slog.New(slog.DiscardHandler)
	}
	dial := config.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	resolver.trust = &trust{
		roots:      config.RootCAs,
		now:        resolver.now,
		dial:       dial,
		minVersion: cmp.Or(config.OpportunisticMinVersion, tls.VersionTLS10),
	}
	if config.NoDANE && config.RequireDANE {
		return nil, errors.New("policy: Config asks for NoDANE and RequireDANE, which exclude each other")
	}
	if config.Floor > Authenticated {
		return nil, errors.New("policy: Config.Floor is none of the levels")
	}
	for _, name := range config.Self {
		own, err := asciiDomain(name)
		if err != nil {
			return nil, fmt.Errorf("policy: Config.Self: %q: %w", name, err)
		}
		resolver.self[own] = true
	}
	for domain, wish := range config.Overrides {
		if err := resolver.addOverride(domain, wish); err != nil {
			return nil, fmt.Errorf("policy: Config.Overrides: %q: %w", domain, err)
		}
	}
	plans, err := lru.New[request, *Plan](cmp.Or(config.MaxPlans, defaultMaxPlans))
	if err != nil {
		return nil, fmt.Errorf("policy: Config.MaxPlans: %w", err)
	}
	resolver.plans = plans
	return resolver, resolver.addSources(config)
}

// addSources makes what the configuration leaves out: the validator, and the
// MTA-STS client.
func (r *Resolver) addSources(config Config) error {
	if r.dns != nil && len(config.Servers) > 0 {
		return errors.New("policy: Config has Servers and DNS; only one of them can be asked")
	}
	if r.dns == nil {
		validator, err := dnssec.New(dnssec.Config{Servers: config.Servers, Now: config.Now})
		if err != nil {
			return fmt.Errorf("policy: Config.DNS is nil, and a validator cannot be made: %w", err)
		}
		r.dns = validator
	}
	if config.MTASTS != nil && config.Store != nil {
		return errors.New("policy: Config has Store and MTASTS; the client has a store of its own")
	}
	r.mtasts = config.MTASTS
	if r.mtasts == nil {
		client, err := mtasts.New(mtasts.Config{
			Resolver:  names{r.dns},
			RootCAs:   config.RootCAs,
			Dial:      config.Dial,
			AllowAddr: config.AllowPolicyHost,
			Now:       config.Now,
			Store:     config.Store,
			Logger:    config.Logger,
		})
		if err != nil {
			return fmt.Errorf("policy: %w", err)
		}
		r.mtasts = client
	}
	return nil
}

// MTASTS returns the client that looks up and remembers policies: the one of the
// Config, or the one made in its place, for mtasts.Client.Preload.
func (r *Resolver) MTASTS() *mtasts.Client { return r.mtasts }

// Run keeps the MTA-STS policies of domains in use fresh until ctx is done: see
// mtasts.Client.Run. A program that runs for longer than a day calls it in a
// goroutine of its own.
func (r *Resolver) Run(ctx context.Context) { r.mtasts.Run(ctx) }

func (r *Resolver) addOverride(domain string, wish Override) error {
	name, err := asciiDomain(domain)
	if err != nil {
		return err
	}
	if _, again := r.overrides[name]; again {
		return fmt.Errorf("there are two for %s", name)
	}
	if (wish.NoDANE || r.noDANE) && (wish.RequireDANE || r.general.requireDANE) {
		return errors.New("the wishes NoDANE and RequireDANE exclude each other, in Config as well")
	}
	if wish.Floor > Authenticated {
		return errors.New("the field Floor is none of the levels")
	}
	read := override{Override: wish}
	read.Pin = dane.Select(cloneRecords(wish.Pin))
	if len(wish.Pin) > 0 && len(read.Pin) == 0 {
		return errors.New("the field Pin has no usable record")
	}
	if wish.NextHop != "" {
		hop, err := parseNextHop(wish.NextHop, r.port)
		if err != nil {
			return fmt.Errorf("the field NextHop %q: %w", wish.NextHop, err)
		}
		read.hop = &hop
	}
	r.overrides[name] = read
	return nil
}

// cloneRecords keeps the caller from changing what was read.
func cloneRecords(records []dane.Record) []dane.Record {
	cloned := slices.Clone(records)
	for i := range cloned {
		cloned[i].Data = slices.Clone(cloned[i].Data)
	}
	return cloned
}

// Resolve returns the plan for a recipient domain: a name in A-labels or
// U-labels, or an address literal such as "[192.0.2.1]". A plan is kept until
// the first of the records, policies and signatures that it was made of
// expires. Equal calls at the same time share the work; a caller whose context
// ends leaves it to the others.
//
// A plan is returned even when every host in it is refused: see Plan.Err. The
// error is an *Error: permanent for a domain that accepts no mail or does not
// exist, temporary when the MX records could not be had or the context ended.
func (r *Resolver) Resolve(ctx context.Context, domain string, options ...Option) (*Plan, error) {
	asked, err := newRequest(domain, options)
	if err != nil {
		return nil, err
	}
	if plan, found := r.plans.Get(asked); found && plan.holds(r.now()) {
		return plan, nil
	}
	return r.share(ctx, asked)
}

func newRequest(domain string, options []Option) (request, error) {
	asked := request{domain: domain}
	if !isLiteral(domain) {
		name, err := asciiDomain(domain)
		if err != nil {
			return request{}, &Error{Domain: domain, Permanent: true, Status: "5.1.2", Err: err}
		}
		asked.domain = name
	}
	if len(options) > 0 {
		asked = asked.with(options)
	}
	return asked, nil
}

// with returns the request with the wishes of options. It is apart so that a
// request without any stays off the heap.
func (q request) with(options []Option) request {
	for _, option := range options {
		option(&q)
	}
	return q
}

// share makes a plan once for all that ask for it at the same time. The work
// goes on while anybody waits for it, bounded by Config.Timeout.
func (r *Resolver) share(ctx context.Context, asked request) (*Plan, error) {
	work := r.inFlight.Join(ctx, asked, func(ctx context.Context) (*Plan, error) {
		plan, failure := r.makePlan(ctx, asked)
		if failure != nil {
			failure.Domain = asked.domain
			return nil, failure
		}
		if plan.size() <= maxPlanSize {
			r.plans.Add(asked, plan)
		}
		return plan, nil
	})
	defer r.inFlight.Leave(asked, work)
	plan, err := work.Wait(ctx)
	if ctx.Err() != nil {
		return nil, &Error{Domain: asked.domain, Status: "4.4.7", Detail: "the caller did not wait", Err: ctx.Err()}
	}
	return plan, err
}

// Recheck looks up again the id of the MTA-STS policy that a plan was made by,
// and returns a fresh plan, of the same options, when the policy is another one
// now. Mail that a policy kept from being delivered must not be given up before
// (RFC 8461 sections 5 and 5.1), nor when Recheck fails: then nobody knows. For a
// plan that MTA-STS was not asked for it does nothing.
func (r *Resolver) Recheck(ctx context.Context, plan *Plan) (fresh *Plan, changed bool, err error) {
	if !plan.MTASTS.Asked || plan.MTASTS.off {
		return plan, false, nil
	}
	result, _, err := r.mtasts.Recheck(ctx, plan.NextHop)
	if err == nil && result.Policy == plan.MTASTS.Policy {
		return plan, false, unknownPolicy(result)
	}
	if err != nil {
		return plan, false, err
	}
	r.forget(plan.asked.domain)
	fresh, err = r.share(ctx, plan.asked)
	if err != nil {
		return plan, false, err
	}
	return fresh, true, nil
}

// unknownPolicy is why it is not known whether there is another policy. A
// record that is gone or malformed is a definite answer.
func unknownPolicy(result mtasts.Result) error {
	var failure *mtasts.Error
	if errors.As(result.Err, &failure) && failure.Kind != mtasts.KindRecord {
		return failure
	}
	return nil
}

// forget drops the plans of a domain, whatever their options, and lets nobody
// join one that is being made.
func (r *Resolver) forget(domain string) {
	for _, requireTLS := range []bool{false, true} {
		for _, tlsOptional := range []bool{false, true} {
			asked := request{domain, requireTLS, tlsOptional}
			r.plans.Remove(asked)
			r.inFlight.Forget(asked)
		}
	}
}
