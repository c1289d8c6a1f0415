package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/tlsrpt"
)

// reports sends TLS reports to recipient domains. nil sends none.
type reports struct {
	recorder *tlsrpt.Aggregator
	reporter *tlsrpt.Reporter
}

func newReports(s settings, d deps, stores *stores, resolver *policy.Resolver, dns *dnssec.Validator, logger *slog.Logger) (*reports, error) {
	if s.contact == "" {
		return nil, nil
	}
	cfg := tlsrpt.ReporterConfig{
		Store:        stores.reports,
		Organization: s.organization,
		Contact:      s.contact,
		Resolver:     dns,
		Dial:         d.policy.Dial,
		AllowAddr:    d.policy.AllowPolicyHost,
		RootCAs:      d.policy.RootCAs,
		Now:          d.policy.Now,
		Logger:       logger,
	}
	if s.dkimKey != "" {
		signer, err := newSigner(s)
		if err != nil {
			return nil, err
		}
		cfg.Signer = signer
		cfg.Mailer = mailer(delivery.Dialer{Resolver: resolver, LocalName: s.name, Logger: logger})
	}
	reporter, err := tlsrpt.NewReporter(cfg)
	if err != nil {
		return nil, err
	}
	return &reports{
		recorder: tlsrpt.NewAggregator(tlsrpt.AggregatorConfig{Store: stores.reports, Now: d.policy.Now, Logger: logger}),
		reporter: reporter,
	}, nil
}

// mailer sends reports by a Dialer without Recorder, so that reports are not
// reported on. They say "TLS-Required: No", which takes them past failures of DANE
// and MTA-STS (RFC 8460 section 3). A report that does not go out is sent again by
// the Reporter.
func mailer(d delivery.Dialer) tlsrpt.Mailer {
	return tlsrpt.MailerFunc(func(ctx context.Context, from string, to []string, message []byte) error {
		return d.SendMail(ctx, from, to, message)
	})
}

// run counts and reports until ctx is done, and stores what was counted last.
func (r *reports) run(ctx context.Context) {
	if r == nil {
		return
	}
	var running sync.WaitGroup
	running.Go(func() { r.recorder.Run(ctx) })
	running.Go(func() { r.reporter.Run(ctx) })
	running.Wait()
}
