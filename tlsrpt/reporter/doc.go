// Package reporter counts the TLS sessions of a mail sender and sends the daily
// TLS reports (RFC 8460) to the domains that ask for them.
//
// An [Aggregator] is the [tlsrpt.Recorder] that counts sessions, by day, recipient
// domain and policy. It passes its sums to a [Store]. A [Reporter] builds reports
// from the sums of each day that is over, and sends them by https or by mail. The
// two run side by side:
//
//	store := new(reporter.MemoryStore)
//	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store})
//	...
//	r, err := reporter.New(reporter.Config{
//		Store:        store,
//		Organization: "Example Inc.",
//		Contact:      "tls-reports@example.net",
//		Mailer:       mailer, // without Mailer and Signer, reports go
//		Signer:       signer, // to https endpoints only
//	})
//	...
//	go recorder.Run(ctx)
//	go r.Run(ctx)
//
// The Aggregator is then the Recorder of the program's delivery.Dialer. Packages
// policy/boltstore and policy/valkeystore have Stores that survive restarts. The
// Store of policy/valkeystore can be shared by several programs, of which one at a
// time reports to a domain.
//
// # Each session is in one report
//
// Each batch of sums has a number, so that a Store recognizes a batch that it
// already has. Sums are sealed before they are reported: sessions that are counted
// later are part of another report, with an ID of its own. The same report, with
// the same ID, is sent again only if the program ended, lost the Store, or did not
// run for longer than its lease, after an endpoint accepted the report and before
// the Store deleted the sums.
package reporter
