// Package boltstore stores MTA-STS policies and the sums of TLS reports in a
// file, for a mail sender on one machine. Cached policies (RFC 8461 section
// 3.3) and the counts for reports (RFC 8460) survive restarts and crashes, and
// policies need not fit in memory.
//
//	store, err := boltstore.Open("/var/lib/mail/policies.db", boltstore.Config{})
//	...
//	defer store.Close()
//	resolver, err := policy.New(policy.Config{Store: store})
//	...
//	defer resolver.Close() // before the store
//	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store.Reports()})
//
// # Guarantees
//
// Only one process at a time can open the file. Only its owner can read it.
//
// Policies are written in batches in the background, within one second. A crash
// loses at most the changes of that second. Each record has a checksum; a
// damaged record is reported as an error and dropped.
//
// The methods of [Reports] return when the change is on disk. An Aggregator
// writes twice a second: one batch of sums, with two syncs, into a journal. When the journal
// is full, it is added to the sums of each domain. After a crash, no session is counted
// twice.
//
// If the disk is full or read-only, only new changes are at risk. They are kept
// in memory, up to a limit, and retried. Until they are written, each Put
// returns the error, and package mtasts reports it to the operator. An existing
// file on a disk that has become read-only can still be opened and read.
//
// Open returns an error that names the file if the file is damaged; see
// [Config.MoveDamaged]. Nothing else may change the file while it is open.
//
// The file has a version. Open upgrades a file of an older version, which older releases
// can then no longer open. A file of a later version is an error that names it, and is left
// as it is.
//
// No list of free pages is written, so a change of one policy among a million writes 24
// KiB. The file is a bbolt database (go.etcd.io/bbolt), so the tools of bbolt can be
// used on it.
package boltstore
