package policy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/cache"
	"github.com/mxseal/mxseal/internal/flight"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/policydns"
	"github.com/mxseal/mxseal/policy/internal/source"
	"github.com/mxseal/mxseal/policy/internal/survey"
)

const (
	defaultPort    = 25
	defaultTimeout = 2 * time.Minute
	defaultMemory  = 256 << 20
	minMemory      = 8 << 20
	// The parts of Config.Memory, in sixteenths.
	plansShare    = 10
	hostsShare    = 1
	policiesShare = 3
	answersShare  = 2

	// maxPlanSize bounds the memory in octets of a plan that is kept. Usual plans
	// take about a thousand; larger ones, as of a hostile domain, are made
	// again for each call.
	maxPlanSize = 16 << 10

	// maxPlanAge bounds the age of plans that do not expire otherwise, such as
	// those of address literals.
	maxPlanAge = time.Hour
	// failedPlanAge bounds the age of plans in which a lookup failed: long enough
	// to spare a broken domain, short enough to notice that it works again.
	failedPlanAge = 30 * time.Second
	// firstPolicyWait bounds the wait for the first MTA-STS policy of a domain.
	firstPolicyWait = 15 * time.Second
	// unreadPlanAge bounds the age of plans made while the store could not be read, or
	// while this host had no room for a lookup.
	unreadPlanAge = 5 * time.Second
)

// Resolver makes plans and remembers them. Make one with New and use it for the
// whole program: the MTA-STS policies that it remembers are the protection. Close
// it when the program ends. It is safe for concurrent use.
type Resolver struct {
	dns       dnssec.Resolver
	mtasts    *mtasts.Client
	trust     *trust
	port      uint16
	self      map[string]bool
	general   decision.Wishes
	noDANE    bool
	noMTASTS  bool
	mxSecure  bool // DANE only for hosts of secure MX records
	overrides *overrides
	now       func() time.Time
	events    notifier

	plans    *cache.Cache[request, *Plan]
	hosts    *survey.Table // what is known about hosts
	forgets  atomic.Uint64 // calls of Forget
	inFlight flight.Group[request, *Plan]
	counts   counts
	made     []io.Closer // what New made, in the order in which Close closes it
}

// New makes a Resolver. It causes no network traffic. An error names the field of
// the Config that is wrong, and what to do.
func New(config Config) (*Resolver, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	resolver := &Resolver{
		port:     cmp.Or(config.Port, defaultPort),
		self:     make(map[string]bool, len(config.Self)),
		noDANE:   config.NoDANE,
		noMTASTS: config.NoMTASTS,
		mxSecure: config.NoDANEForInsecureMX,
		inFlight: flight.Group[request, *Plan]{Limit: cmp.Or(config.Timeout, defaultTimeout)},
		now:      config.Now,
		events:   newNotifier(config),
		general: decision.Wishes{
			Floor:        decision.Level(config.Floor),
			RequireDANE:  config.RequireDANE,
			RequireBoth:  config.Precedence == RequireBoth,
			RequireRoute: config.RequireRoute,
		},
	}
	if resolver.now == nil {
		resolver.now = time.Now
	}
	resolver.trust = &trust{
		roots:         config.RootCAs,
		now:           resolver.now,
		dial:          config.Dial,
		minVersion:    cmp.Or(config.OpportunisticMinVersion, tls.VersionTLS10),
		allowMailHost: config.AllowMailHost,
		dns:           config.DNS,
	}
	for _, name := range config.Self {
		own, err := canonicalDomain(name)
		if err != nil {
			return nil, fmt.Errorf("policy: Config.Self: %q: %w", name, err)
		}
		resolver.self[own] = true
	}
	var err error
	if resolver.overrides, err = newOverrides(config, resolver.port); err != nil {
		return nil, err
	}
	memory := cmp.Or(config.Memory, defaultMemory)
	resolver.plans, err = cache.NewSharing(cache.Config{MaxEntries: config.MaxPlans, MaxBytes: memory / 16 * plansShare},
		func(seed maphash.Seed, asked request) uint64 { return maphash.String(seed, asked.domain) }, (*Plan).use)
	if err == nil {
		resolver.hosts, err = survey.NewTable(memory / 16 * hostsShare)
	}
	if err != nil {
		return nil, fmt.Errorf("policy: Config.Memory: %w", err)
	}
	if resolver.dns = config.DNS; resolver.dns == nil {
		validator, err := newValidator(config, memory/16*answersShare)
		if err != nil {
			return nil, err
		}
		resolver.dns = validator
		resolver.made = append(resolver.made, validator)
	}
	if resolver.mtasts = config.MTASTS; resolver.mtasts == nil {
		if resolver.mtasts, err = newClient(config, resolver.dns, memory/16*policiesShare); err != nil {
			return nil, errors.Join(err, resolver.Close())
		}
		resolver.made = append([]io.Closer{resolver.mtasts}, resolver.made...) // the client uses the validator
	}
	return resolver, nil
}

func newValidator(config Config, memory int) (*dnssec.Validator, error) {
	validator, err := dnssec.New(dnssec.Config{
		Servers: config.Servers, Now: config.Now, CacheBytes: memory, Limits: config.DNSLimits, Bounds: config.DNSBounds,
	})
	if err != nil {
		return nil, fmt.Errorf("policy: Config.Servers, DNSLimits or DNSBounds cannot be used, and Config.DNS is nil: %w", err)
	}
	return validator, nil
}

func newClient(config Config, dns dnssec.Resolver, memory int) (*mtasts.Client, error) {
	roots := config.RootCAs
	if roots == nil && config.NoMTASTS {
		// No policy is looked up, so a system without roots is not an error.
		if roots, _ = x509.SystemCertPool(); roots == nil {
			roots = x509.NewCertPool()
		}
	}
	client, err := mtasts.New(mtasts.Config{
		Resolver:        policydns.Resolver{DNS: dns},
		RootCAs:         roots,
		Dial:            config.Dial,
		AllowPolicyHost: config.AllowPolicyHost,
		Now:             config.Now,
		Store:           config.Store,
		StoreKey:        config.StoreKey,
		ProceedUnread:   config.ProceedUnread,
		Memory:          memory,
		MaxPolicies:     config.MaxPlans,
		MaxFetches:      config.MaxFetches,
		MaxRefreshes:    config.MaxRefreshes,
		FetchTimeout:    config.FetchTimeout,
		FirstWait:       min(firstPolicyWait, cmp.Or(config.Timeout, defaultTimeout)/4),
		Logger:          config.Logger,
		OnEvent:         policyEvents(config.OnEvent),
	})
	if err != nil {
		return nil, fmt.Errorf("policy: cannot make an MTA-STS client; correct Config.Store, StoreKey or RootCAs, or set NoMTASTS: %w", err)
	}
	return client, nil
}

// Close ends Run and the lookups of MTA-STS policies that are still running, and
// closes the connections to DNS servers. It closes only what New made: Config.DNS,
// Config.MTASTS and Config.Store stay open, and the Store has to be closed after
// the Resolver. After Close, Resolve may fail with a temporary error for any domain.
// Close may be called more than once.
func (r *Resolver) Close() error {
	var failures []error
	for _, closer := range r.made {
		failures = append(failures, closer.Close())
	}
	return errors.Join(failures...)
}

// MTASTS returns the client that looks up and remembers policies: Config.MTASTS, or
// the one that New made. It is for mtasts.Client.Preload.
func (r *Resolver) MTASTS() *mtasts.Client { return r.mtasts }

// Run refreshes the MTA-STS policies of domains in use until ctx is done or the Resolver is
// closed; see mtasts.Client.Run. A program that runs for more than a day calls it in a
// goroutine of its own.
func (r *Resolver) Run(ctx context.Context) { r.mtasts.Run(ctx) }

// Resolve returns the plan for a recipient domain: a name in A-labels or
// U-labels, or an address literal such as "[192.0.2.1]". A plan is kept until the
// first of the records, policies and signatures that it was made from expires.
// Concurrent calls with equal arguments share the work, which goes on if one of
// their contexts ends.
//
// A plan is returned even if every host in it is refused; see Plan.Err. The error
// is an *Error: permanent for a domain that accepts no mail or does not exist
// (ErrNullMX, ErrNoDomain, ErrDomain, ErrLoop), temporary if the MX lookup
// failed or ctx ended. A DNS answer that is not secure makes ErrNullMX, ErrNoDomain
// and ErrLoop temporary while DANE is mandatory, also by a pin, an enforced MTA-STS policy is in
// force, or the store of policies cannot be read: the answer may be forged. They are
// temporary too for an Override.NextHop or the option Via, which the operator can
// correct, and so is ErrConfig.
func (r *Resolver) Resolve(ctx context.Context, domain string, options ...Option) (*Plan, error) {
	if len(options) == 0 {
		// What is kept has canonical names. So the usual hit needs no conversion.
		if plan := r.kept(request{domain: domain}); plan != nil {
			return plan, nil
		}
	}
	asked, failure := newRequest(domain)
	if failure == nil && len(options) > 0 {
		asked, failure = asked.with(options, Level(r.general.Floor), r.port)
	}
	if failure != nil {
		failure.Floor = Level(r.general.Least())
		return nil, failure
	}
	if len(options) > 0 || asked != (request{domain: domain}) {
		if plan := r.kept(asked); plan != nil {
			return plan, nil
		}
	}
	return r.share(ctx, asked)
}

// kept returns a plan from memory that holds, or nil.
func (r *Resolver) kept(asked request) *Plan {
	now := r.now()
	// A plan of the future was made before the wall clock was set back.
	plan, found := r.plans.Get(asked, now)
	switch {
	case found && !now.Before(plan.made) && plan.MTASTS.isCurrent(r.mtasts):
		return plan
	case found:
		r.counts.stale.Add(1)
	}
	return nil
}

// share makes a plan once for all concurrent callers. The work goes on while one
// of them waits for it, bounded by Config.Timeout.
func (r *Resolver) share(ctx context.Context, asked request) (*Plan, error) {
	began := time.Now()
	work := r.inFlight.JoinAtOnce(ctx, asked, &making{Resolver: r, asked: asked})
	defer r.inFlight.Leave(asked, work)
	plan, err := work.Wait(ctx)
	if ctx.Err() != nil {
		return nil, abandoned(ctx, asked.domain)
	}
	r.counts.ended(began, plan, err)
	return plan, err
}

// making is the work on one plan: a flight.Work.
type making struct {
	*Resolver
	asked    request
	forgets  uint64 // calls of Forget before the operator was asked
	question question
	complete bool // question is set
	memory   source.Memory
}

// AtOnce makes the plan from memory alone. It returns false if memory does not have all
// facts, or if the dnssec.Resolver is no source.Recaller.
func (m *making) AtOnce() (*Plan, bool, error) {
	m.memory = source.Memory{MTASTS: m.mtasts, Hosts: m.hosts, Now: m.now}
	if m.memory.DNS, _ = m.dns.(source.Recaller); m.memory.DNS == nil {
		return nil, false, nil
	}
	plan, failure := m.make(context.Background(), &m.memory)
	if m.memory.Missed() {
		return nil, false, nil
	}
	plan, err := m.keep(context.Background(), plan, failure)
	return plan, true, err
}

// Do makes the plan by lookups.
func (m *making) Do(ctx context.Context) (*Plan, error) {
	plan, failure := m.make(ctx, &source.Lookups{DNS: m.dns, MTASTS: m.mtasts, Hosts: m.hosts, Now: m.now})
	return m.keep(ctx, plan, failure)
}

// make makes the plan. It asks the operator only once.
func (m *making) make(ctx context.Context, from knowledge) (plan *Plan, failure *Error) {
	if !m.complete {
		m.forgets = m.Resolver.forgets.Load()
		if m.question, failure = m.Resolver.question(m.asked); failure != nil {
			return nil, failure
		}
		m.complete = true
	}
	return m.makePlan(ctx, from, m.question)
}

// keep counts and keeps the plan, and tells the operator what it changes.
func (m *making) keep(ctx context.Context, plan *Plan, failure *Error) (*Plan, error) {
	if failure != nil {
		failure.Domain = m.asked.domain
		return nil, failure
	}
	m.counts.made(plan)
	if ctx.Err() != nil {
		return plan, nil // lookups that were interrupted say nothing about the domain
	}
	old, found := m.plans.Last(m.asked)
	if m.asked == (request{domain: m.asked.domain}) {
		m.events.compare(old, plan)
	}
	// One of the future was made before the clock was set back, and can no longer be
	// used.
	now := m.now()
	isNewer := found && old.made.After(plan.made) && !old.made.After(now)
	if own, shared := plan.size(); own+shared <= maxPlanSize && !isNewer {
		m.plans.Put(m.asked, plan, own, plan.Expires, now)
		if m.Resolver.forgets.Load() != m.forgets {
			m.plans.Remove(m.asked) // perhaps it was this one
		}
	}
	return plan, nil
}

// Holds reports whether a plan may still be used, by the clock of the Resolver. A plan
// that Resolve returns holds at that moment. A caller that keeps plans asks before each
// session, and resolves the domain again instead of using one that does not hold.
func (r *Resolver) Holds(plan *Plan) bool {
	// Both clocks must agree: the monotonic one stands still while the machine is
	// suspended, and the wall clock may be set back to before the plan was made.
	now := r.now()
	wall := now.Round(0)
	return now.Before(plan.Expires) && wall.Before(plan.Expires) && !wall.Before(plan.made) && plan.MTASTS.isCurrent(r.mtasts)
}

// Recheck looks up the MTA-STS policy of a plan again. If the policy has changed, it
// returns a new plan with the same options and true. Mail that a policy prevented
// from being delivered must not be bounced before Recheck (RFC 8461 sections 5 and
// 5.1), nor if Recheck fails. For a plan made without MTA-STS it does nothing.
func (r *Resolver) Recheck(ctx context.Context, plan *Plan) (fresh *Plan, changed bool, err error) {
	if !plan.MTASTS.Asked || plan.MTASTS.off {
		return plan, false, nil
	}
	result, _, err := r.mtasts.Recheck(ctx, plan.NextHop)
	if err != nil {
		return plan, false, err
	}
	if plan.MTASTS.isCurrent(r.mtasts) {
		return plan, false, unknownPolicy(result)
	}
	r.Forget(plan.asked.domain)
	fresh, err = r.share(ctx, plan.asked)
	if err != nil {
		return plan, false, err
	}
	return fresh, true, nil
}

// unknownPolicy returns why it is not known whether the policy has changed. A
// record that is absent or malformed is a definite answer.
func unknownPolicy(result mtasts.Result) error {
	var failure *mtasts.Error
	if errors.As(result.Err, &failure) && failure.Kind != mtasts.KindRecord {
		return failure
	}
	return nil
}

// Forget drops the plans of a recipient domain, whatever their options, and those
// that are being made, so that the next call makes a new one. It is for a change of
// what Config.OverrideFor returns. Remembered MTA-STS policies and DNS answers stay:
// nothing that protects the domain is forgotten.
func (r *Resolver) Forget(domain string) {
	asked, failure := newRequest(domain)
	if failure != nil {
		return // there is no plan
	}
	ofDomain := func(other request) bool { return other.domain == asked.domain }
	r.forgets.Add(1)
	r.plans.RemoveFunc(asked, ofDomain)
	r.inFlight.ForgetFunc(ofDomain)
}
