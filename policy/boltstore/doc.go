// Package boltstore keeps MTA-STS policies and the sums of TLS reports in a file,
// for a sender on one machine. The memory that RFC 8461 relies on outlives
// restarts and crashes, and may be larger than what has room in a process; and
// what was counted for the reports of RFC 8460 is not lost.
//
//	store, err := boltstore.Open("/var/lib/mail/policies.db", boltstore.Options{})
//	...
//	defer store.Close()
//	resolver, err := policy.New(policy.Config{Store: store})
//	...
//	defer resolver.Close() // before the store
//	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: store.Reports()})
//
// # What is promised
//
// The file belongs to one process at a time and is readable by its user alone.
// Writes are gathered off the path of mail, and are on disk within a second; a
// crash at any point loses no more than those. What is read back is what was
// written, or is dropped: each record has a checksum. The sums of reports are on
// disk when [Reports] returns; an Aggregator hands them over twice a second, and
// no crash has it count a session twice.
//
// A disk that is full, or read-only, costs the durability of what is new and
// nothing else. The changes that could not be written are kept in memory, up to
// a bound, and tried again; meanwhile each Put returns the error, and package
// mtasts tells the operator. A file that was there is also served from a disk
// that has become read-only.
//
// A file that is not in order is an error that names it; see
// [Options.MoveDamaged]. It is a bbolt database (go.etcd.io/bbolt), with its
// tools.
package boltstore
