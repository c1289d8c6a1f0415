package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// reports counts sessions and sends TLS reports about them. If nil, it does neither.
type reports struct {
	recorder *reporter.Aggregator
	sender   *reporter.Reporter
}

func newReports(s settings, d deps, stores *stores, resolver *policy.Resolver, dns *dnssec.Validator, logger *slog.Logger) (*reports, error) {
	if s.contact == "" {
		return nil, nil
	}
	cfg := reporter.Config{
		Store:         stores.reports,
		Organization:  s.organization,
		Contact:       s.contact,
		Resolver:      dns,
		Dial:          d.policy.Dial,
		AllowEndpoint: d.policy.AllowPolicyHost,
		RootCAs:       d.policy.RootCAs,
		Now:           d.policy.Now,
		Logger:        logger,
	}
	if s.dkimKey != "" {
		signer, err := newSigner(s)
		if err != nil {
			return nil, err
		}
		cfg.Signer = signer
		cfg.Mailer = mailer(&delivery.Dialer{Resolver: resolver, LocalName: s.name, Logger: logger})
	}
	sender, err := reporter.New(cfg)
	if err != nil {
		return nil, err
	}
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: stores.reports, Now: d.policy.Now, Logger: logger})
	if err != nil {
		return nil, err
	}
	return &reports{recorder: recorder, sender: sender}, nil
}

// mailer sends reports with a Dialer without Recorder, so that these sessions are not
// counted. The messages have "TLS-Required: No", so they are delivered despite failures
// of DANE and MTA-STS (RFC 8460 section 3). The Reporter sends a report again if this
// fails.
func mailer(d *delivery.Dialer) reporter.Mailer {
	return reporter.MailerFunc(func(ctx context.Context, from string, to []string, message []byte) error {
		return d.SendMail(ctx, from, to, message)
	})
}

// run counts and reports until ctx is done. The last sums are then in the store.
func (r *reports) run(ctx context.Context) {
	if r == nil {
		return
	}
	var running sync.WaitGroup
	running.Go(func() { r.recorder.Run(ctx) })
	running.Go(func() { r.sender.Run(ctx) })
	running.Wait()
}
