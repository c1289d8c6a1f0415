package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/collector"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/examples/mxseal/internal/maps"
	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/metrics"
	"github.com/mxseal/mxseal/tlsrpt"
)

// defaultGrace is how long the daemon waits at its end for answers and deliveries that have begun. An answer
// has a deadline of 15 seconds. A delivery that is interrupted stays with the client.
const defaultGrace = 20 * time.Second

// daemon is a running "mxseal serve".
type daemon struct {
	file     string
	settings *config.Config
	env      *cli.Env
	log      *slog.Logger
	hangup   <-chan os.Signal
	grace    time.Duration

	// live is the configuration of the last reload.
	live     atomic.Pointer[config.Config]
	resolver *policy.Resolver
	reports  *reports
	metrics  *metrics.Metrics
	maps     *maps.Maps
	policies *socketmap.Server
	// answering are all servers of socketmaps.
	answering []*socketmap.Server
	received  *collector.Collector // nil without reports
	noted     noted
}

// check returns the errors in a configuration that show without a connection.
func check(env *cli.Env, settings *config.Config) error {
	d := daemon{settings: settings, env: env, log: slog.New(slog.DiscardHandler)}
	validator, err := d.validator()
	if err != nil {
		return err
	}
	defer validator.Close()
	if err := d.tryOverrides(validator, settings); err != nil {
		return err
	}
	if settings.Reports.DKIMKey != "" {
		_, err = newSigner(settings.Reports)
	}
	return err
}

// run starts everything, and ends it in the opposite order when ctx is done.
func (d *daemon) run(ctx context.Context) (err error) {
	d.live.Store(d.settings)
	deliveries := d.log // a line for each message would leave no room for events
	d.log = slog.New(d.noted.events.Handler(d.log.Handler()))
	stores, err := openStores(d.settings.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.close()) }()
	validator, err := d.validator()
	if err != nil {
		return err
	}
	defer validator.Close()
	if err := d.tryOverrides(validator, d.settings); err != nil {
		return err
	}
	if d.resolver, err = policy.New(d.policyConfig(validator, stores)); err != nil {
		return err
	}
	defer d.resolver.Close()
	if d.reports, err = newReports(d.settings, d.policyConfig(validator, stores), validator, stores.reports, d.resolver, d.log, d.reported); err != nil {
		return err
	}
	if d.metrics, err = d.newMetrics(); err != nil {
		return err
	}
	relaying, err := d.newRelaying(deliveries)
	if err != nil {
		return err
	}
	d.maps = maps.New(maps.Config{Resolver: d.resolver, Settings: d.mapSettings, Answered: d.answered, Logger: d.log, Now: time.Now})
	page, err := d.newPage(relaying.pool.Dialer)
	if err != nil {
		return err
	}
	sockets, err := openSockets(d.settings)
	if err != nil {
		return err
	}
	defer sockets.close()
	return d.serve(ctx, sockets, relaying, page)
}

// reported counts an attempt to deliver a report. No report is delivered before there are metrics.
func (d *daemon) reported(endpoint tlsrpt.Endpoint, err error) { d.metrics.Reported(endpoint, err) }

func (d *daemon) validator() (*dnssec.Validator, error) {
	dns := d.env.DNS
	if d.settings.DNS.Servers != nil {
		dns.Servers = d.settings.DNS.Servers
	}
	if d.settings.DNS.AnchorFile != "" {
		dns.AnchorFile = d.settings.DNS.AnchorFile
	}
	return dnssec.New(dns)
}

// policyConfig is the configuration of the Resolver. The Resolver asks for the settings of each domain, so that
// a reload can change them.
func (d *daemon) policyConfig(validator *dnssec.Validator, stores *stores) policy.Config {
	c := d.env.Policy
	d.settings.Demand(&c)
	c.DNS, c.Store, c.Logger = validator, stores.policies, d.log
	c.OverrideFor = func(domain string) (policy.Override, bool) {
		return d.live.Load().Override(domain)
	}
	return c
}

// tryOverrides returns the error for settings of domains that cannot be used.
func (d *daemon) tryOverrides(validator *dnssec.Validator, settings *config.Config) error {
	c := d.env.Policy
	settings.Demand(&c)
	c.DNS, c.Overrides = validator, settings.Overrides()
	resolver, err := policy.New(c)
	if err != nil {
		return err
	}
	return resolver.Close()
}

// serve runs the listeners until ctx is done or one of them fails.
func (d *daemon) serve(ctx context.Context, sockets *sockets, relaying *relaying, page *http.Server) error {
	failed := make(chan error, 1)
	fail := func(err error) {
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running, listening sync.WaitGroup
	running.Go(func() { d.resolver.Run(background) })
	running.Go(func() { d.reports.run(background) })

	answers := d.maps.All()
	if d.settings.Socketmap.AnyMap {
		answers["*"] = answers["QUERY"]
	}
	d.policies = socketmap.New(answers, d.log)
	d.answering = []*socketmap.Server{d.policies, relaying.answers}
	if d.reports != nil {
		d.received = collector.New(d.metrics.Recorder(metrics.Postfix, d.reports.recorder), d.log, time.Now)
	}
	for _, l := range sockets.policies {
		listening.Go(func() { fail(d.policies.Serve(l)) })
	}
	cleaning, endCleaning := context.WithCancel(background)
	defer endCleaning()
	relaying.start(cleaning, sockets, &listening, fail)
	for _, l := range sockets.pages {
		listening.Go(func() {
			if err := page.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				fail(err)
			}
		})
	}
	collecting, endCollecting := context.WithCancel(background)
	defer endCollecting()
	if len(sockets.datagrams) > 0 {
		listening.Go(func() { d.received.Run(collecting, sockets.datagrams...) })
	}

	d.log.Info("ready", "listeners", sockets.names())
	err := d.watch(ctx, failed)
	tell(stopping)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.grace)
	defer cancel()
	relaying.relay.Shutdown(ending)
	relaying.answers.Shutdown(ending)
	d.policies.Shutdown(ending)
	_ = page.Shutdown(ending)
	endCollecting()
	endCleaning()
	listening.Wait()
	_ = relaying.pool.Close(ending)
	stop() // the last sessions are counted and stored
	running.Wait()
	d.log.Info("ended")
	return err
}

// watch reloads the configuration when it is told to, until ctx is done or something has failed.
func (d *daemon) watch(ctx context.Context, failed <-chan error) error {
	tell(ready)
	tick, end := watchdog()
	defer end()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-tick:
			tell(alive)
		case <-d.hangup:
			tell(reloading)
			if err := d.reload(); err != nil {
				d.log.Error("the configuration was not reloaded; the old one stays", "error", err)
			}
			tell(ready)
		}
	}
}

// reload reads the file again. It changes the domains and the options of the socketmap; other changes need a
// restart.
func (d *daemon) reload() error {
	fresh, err := config.Read(d.file)
	if err != nil {
		return err
	}
	old := d.live.Load()
	next := *d.settings
	next.Domains, next.Socketmap = fresh.Domains, fresh.Socketmap
	next.Socketmap.Listen, next.Socketmap.AnyMap = d.settings.Socketmap.Listen, d.settings.Socketmap.AnyMap
	validator, err := d.validator()
	if err != nil {
		return err
	}
	defer validator.Close()
	if err := d.tryOverrides(validator, &next); err != nil {
		return err
	}
	d.live.Store(&next)
	changed := 0
	for _, set := range []map[string]config.Domain{old.Domains, next.Domains} {
		for name := range set {
			before, had := old.Domains[name]
			after, has := next.Domains[name]
			if had != has || !reflect.DeepEqual(before, after) {
				d.resolver.Forget(name)
				changed++
			}
		}
	}
	d.log.Info("the configuration was reloaded", "domains_changed", changed)
	if !reflect.DeepEqual(*fresh, next) {
		d.log.Warn("the configuration has other changes, which need a restart")
	}
	return nil
}

func (d *daemon) mapSettings() maps.Settings {
	s := d.live.Load().Socketmap
	return maps.Settings{Fingerprints: s.Fingerprints, DeferInsecureMX: s.DeferInsecureMX, TestingReports: s.TestingReports, NextHops: s.NextHops}
}

// sockets are what the daemon listens at.
type sockets struct {
	policies, lmtp, smtp, transports, pages []net.Listener
	datagrams                               []net.PacketConn
}

func openSockets(settings *config.Config) (s *sockets, err error) {
	s = new(sockets)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	passed := activated()
	defer passed.close()
	for _, each := range []struct {
		key       string
		addresses []config.Address
		listeners *[]net.Listener
	}{
		{"socketmap.listen", settings.Socketmap.Listen, &s.policies},
		{"relay.lmtp", settings.Relay.LMTP, &s.lmtp},
		{"relay.smtp", settings.Relay.SMTP, &s.smtp},
		{"relay.transport", settings.Relay.Transport, &s.transports},
		{"http.listen", settings.HTTP.Listen, &s.pages},
	} {
		for _, a := range each.addresses {
			if *each.listeners, err = listen(*each.listeners, a, passed); err != nil {
				return s, fmt.Errorf("%s: %w", each.key, err)
			}
		}
	}
	for _, a := range settings.Collector.Listen {
		if s.datagrams, err = listenPacket(s.datagrams, a, passed); err != nil {
			return s, fmt.Errorf("tlsrpt-collector.listen: %w", err)
		}
	}
	if len(s.all())+len(s.datagrams) == 0 {
		return s, errors.New("the configuration has no listener: set socketmap.listen, for example")
	}
	return s, nil
}

func (s *sockets) all() []net.Listener {
	return slices.Concat(s.policies, s.lmtp, s.smtp, s.transports, s.pages)
}

func (s *sockets) close() {
	for _, l := range s.all() {
		l.Close()
	}
	for _, c := range s.datagrams {
		c.Close()
	}
}

// names returns the addresses for the log.
func (s *sockets) names() (all []string) {
	for _, l := range s.all() {
		all = append(all, l.Addr().String())
	}
	for _, c := range s.datagrams {
		all = append(all, c.LocalAddr().String())
	}
	return all
}
