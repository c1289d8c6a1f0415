package serve

import (
	"context"
	"log/slog"
	"sync"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// reports counts sessions and sends TLS reports about them. nil means that there are no reports.
type reports struct {
	recorder *reporter.Aggregator
	sender   *reporter.Reporter
	store    reporter.Store
}

// newReports returns nil if the configuration has no contact.
func newReports(settings *config.Config, p policy.Config, dns *dnssec.Validator, store reporter.Store, resolver *policy.Resolver, logger *slog.Logger, attempted func(tlsrpt.Endpoint, error)) (*reports, error) {
	r := settings.Reports
	if r.Contact == "" {
		return nil, nil
	}
	c := reporter.Config{
		Store: store, Organization: r.Organization, Contact: r.Contact, Instance: r.Instance, Resolver: dns,
		Dial: p.Dial, AllowEndpoint: p.AllowPolicyHost, RootCAs: p.RootCAs, Now: p.Now, Logger: logger,
		Attempted: attempted,
	}
	if r.DKIMKey == "" {
		logger.Warn("no TLS reports are sent by mail, as most domains want them: set tlsrpt-reports.dkim-key-file")
	} else {
		signer, err := newSigner(r)
		if err != nil {
			return nil, err
		}
		c.Signer = signer
		// Without Recorder: sessions that carry reports are not counted (RFC 8460 section 3).
		dialer := &delivery.Dialer{Resolver: resolver, LocalName: settings.Name, Logger: logger}
		c.Mailer = reporter.MailerFunc(func(ctx context.Context, from string, to []string, message []byte) error {
			return dialer.SendMail(ctx, from, to, message, policy.Report())
		})
	}
	sender, err := reporter.New(c)
	if err != nil {
		return nil, err
	}
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store, Now: p.Now, Logger: logger})
	if err != nil {
		return nil, err
	}
	return &reports{recorder: recorder, sender: sender, store: store}, nil
}

// run counts and reports until ctx is done. It returns when the last sums are in the store.
func (r *reports) run(ctx context.Context) {
	if r == nil {
		return
	}
	var running sync.WaitGroup
	running.Go(func() { r.recorder.Run(ctx) })
	running.Go(func() { r.sender.Run(ctx) })
	running.Wait()
}
