// Package tlsrpt is SMTP TLS reporting (RFC 8460): what a sender notes of its
// TLS sessions, and the reports that domains get of them.
//
// # The idea
//
// A domain that asks for TLS on its mail, by DANE or by MTA-STS, does not see
// the senders that fail to get it: their mail just stays away. So it publishes
// an address for reports,
//
//	_smtp._tls.example.com. TXT "v=TLSRPTv1; rua=mailto:tls@example.com"
//
// and once a day each sender tells it how many sessions met its policy, how
// many did not, and why.
//
// [SelectRecord] finds that record among what DNS has there.
//
// # The words
//
// A sender describes each attempt to deliver as a [Session], which has one
// [Outcome] for each [Policy] that applied, and gives it to a [Recorder]. An
// Outcome without failures is a success, and successes count as well: a domain
// takes comfort in a report that says that nothing failed. A [Failure] has one
// of the eleven registered [ResultType] values.
//
// [Classify] makes the Failure from the error that ended a session. Errors of
// other packages have a say in that by the method
//
//	TLSReport() (resultType, reasonCode string)
//
// which needs no import of this package.
//
// # Reporting
//
// An [Aggregator] is the Recorder that counts: by day, recipient domain and
// policy. It hands its sums to a [Store]. A [Reporter] makes reports of the sums
// of each day that is over, and sends them to those that ask for them, by https
// or by mail. The two run side by side:
//
//	store := new(tlsrpt.MemoryStore)
//	recorder := tlsrpt.NewAggregator(tlsrpt.AggregatorConfig{Store: store})
//	reporter, err := tlsrpt.NewReporter(tlsrpt.ReporterConfig{
//		Store: store, Organization: "Example Inc.", Contact: "tls-reports@example.net",
//		Mailer: mailer, Signer: signer, // without them: https alone
//	})
//	...
//	go recorder.Run(ctx)
//	go reporter.Run(ctx)
//
// and recorder is what a policy.Dialer is given as its Recorder. Packages
// policy/boltstore and policy/valkeystore have Stores that outlive restarts, and
// that a fleet shares; there one Reporter at a time reports to a domain.
//
// Each session is in one report. What is added is numbered, so that a Store tells
// what it has already; what is reported is sealed first, so that what comes later
// makes a report of its own, with an ID of its own. A report goes out again, the
// same with the same ID, only if the process died, or lost the Store, or stood
// still for longer than its lease, after an endpoint had accepted it and before
// that was noted.
//
// # Reports
//
// A [Report] is written by its method MarshalJSON, to the letter of RFC 8460
// section 4, and read by [ParseReport], which takes what others really send.
package tlsrpt
