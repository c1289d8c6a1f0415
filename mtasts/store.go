package mtasts

import (
	"context"
	"errors"
	"iter"
	"time"
)

// ErrNotStored is what [Store.Get] returns for a domain that it has nothing of.
var ErrNotStored = errors.New("mtasts: not in the store")

// Store keeps policies for longer than a [Client] lives: without one, each
// restart opens the gap again in which whoever forges DNS can hide a policy
// (RFC 8461 section 10.2). Package policy/boltstore has one for a single
// machine. Most programs only pass it to [Config] and never call it.
//
// A Store is a memory and no authority. What it gives back is parsed again and
// its times are held against the clock, and what is not in order is dropped. Its
// errors are told as events and never read as "no policy": what the Client has
// in memory stays in force, and what it has not it fetches.
//
// Domains are in A-labels, lower case, without final dot. Methods are safe for
// concurrent use and return soon after ctx is done. The Client has one Put or
// Delete under way for a domain at a time, and calls them while a lookup waits,
// so a slow Store writes behind.
//
// A Store that several Clients share may also be a [Leaser] and a [Watcher].
type Store interface {
	// Get returns the entry of domain. If there is none the error is
	// ErrNotStored; any other one means that it is not known.
	Get(ctx context.Context, domain string) (Entry, error)
	// Put replaces the entry of e.Domain.
	Put(ctx context.Context, e Entry) error
	// Delete removes the entry of domain, and does nothing if there is none.
	Delete(ctx context.Context, domain string) error
	// All yields the entries in any order, each as it was at some time during
	// the iteration. The memory it takes does not grow with their number. An
	// error concerns one entry, whose Domain is set, or ends the iteration.
	All(ctx context.Context) iter.Seq2[Entry, error]
}

// Leaser is a [Store] that sees to it that of all Clients that share it one
// fetches a policy, and the others take what that one has put.
type Leaser interface {
	// Lease gives the right to fetch the policy of domain for at most d. ok is
	// false if another Client has it. release, not nil if ok, gives it back.
	Lease(ctx context.Context, domain string, d time.Duration) (release func(), ok bool, err error)
}

// Watcher is a [Store] that tells what other Clients that share it have changed.
type Watcher interface {
	// Watch calls changed for each domain of which another Client has put or
	// deleted the entry, and with "" if some may have been missed, until ctx is
	// done or the error.
	Watch(ctx context.Context, changed func(domain string)) error
}

// Entry is what a [Store] keeps of one domain that has a policy. Its text is
// what counts; everything that follows from it is not kept.
//
// MarshalBinary and UnmarshalBinary are for Stores that keep octets. The form
// has a version and a checksum, so that neither a later form nor a damaged one
// is taken for something else.
type Entry struct {
	// Domain is the policy domain.
	Domain string
	// ID is the id that the TXT record had when the policy was fetched.
	ID string
	// Text is the policy as it was fetched.
	Text string
	// Fetched is when that was.
	Fetched time.Time
	// Expires is when the policy ceases to be in force: Fetched and max_age. It
	// is for Stores that can forget by themselves; a Client works it out anew.
	Expires time.Time
	// NextCheck is when DNS is to be asked for the id again, as known when the
	// entry was put.
	NextCheck time.Time
	// Used is whether the domain was asked for since Fetched.
	Used bool
	// FailingSince is when the first fetch since Fetched failed; zero if none.
	FailingSince time.Time
	// Failed counts the fetches that have failed since.
	Failed int
	// Failures are the last of these, at most three, oldest first.
	Failures []Failure
}

// Failure is a fetch that failed, as a [Store] keeps it.
type Failure struct {
	// ID is the id that the TXT record had.
	ID string
	// When is when the fetch ended.
	When time.Time
	// Kind and ReasonCode are those of the [Error], Detail is its cause.
	Kind       Kind
	ReasonCode string
	Detail     string
}
