package tlsrpt

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Store keeps the sums of the days until they are reported. [MemoryStore] is
// one; packages policy/boltstore and policy/valkeystore have one that outlives
// restarts and one for a fleet. Most programs only pass it on and never call it.
//
// Domains are recipient domains in A-labels, lower case, without final dot.
// Methods are safe for concurrent use, also by several programs if the Store is
// shared, and return soon after ctx is done. An error means that nothing is
// known, never that there is nothing.
//
// A Store that several Reporters share must also be a [Leaser], or else each of
// them sends the reports.
type Store interface {
	// Add adds a batch, all of it or nothing. A batch that is added again, because
	// it was not known whether it had been, changes nothing. Additions by several
	// programs are all counted. After [ErrStoreFull] nothing was added, and will
	// not be.
	Add(ctx context.Context, b *Batch) error
	// Domains yields the domains that have sums on a day, in any order. An error
	// ends the iteration. The sums of a domain may be deleted meanwhile.
	Domains(ctx context.Context, day Day) iter.Seq2[string, error]
	// Sums returns what Seal would return, and changes nothing.
	Sums(ctx context.Context, day Day, domain string) (Part, error)
	// Seal returns the part of the sums of a domain and day that is to be reported
	// next, and ends it: what is added later goes to the part after it. It returns
	// the same Part until that is deleted, whoever asks.
	Seal(ctx context.Context, day Day, domain string) (Part, error)
	// Delete removes the part with a number, which was sealed. One that is not
	// there is not an error.
	Delete(ctx context.Context, day Day, domain string, number int) error
	// DeleteBefore removes all that belongs to the days before day.
	DeleteBefore(ctx context.Context, day Day) error
}

// Batch is what an [Aggregator] adds to a [Store] at once.
type Batch struct {
	// Writer tells Aggregators apart: no two have the same, ever.
	Writer string
	// Number is greater than that of the batch before it by the same Writer,
	// which does not begin with a batch before the last one was added. So a Store
	// tells by the last Number of each Writer whether it has the batch already.
	// It must remember that for two days.
	Number int64
	Sums   []DomainSums
}

// DomainSums is what is to be added to the sums of a domain and day.
type DomainSums struct {
	Day     Day
	Domain  string
	Results []PolicyResult
}

// Part is a part of the sums of a domain and day, which makes one report. Mostly
// it is all of them. What is counted only after the report began, by a relay
// that could not reach the Store for hours, makes another: each session is in
// one of them.
type Part struct {
	// Number is 1 for the first part of a domain and day. It is greater by one for
	// each that is sealed after that, also if those before it were deleted. 0 is
	// that of no part at all: there is nothing to report.
	Number int
	Sums   []PolicyResult
}

// Leaser is a [Store] that sees to it that of all Reporters that share it one
// sends the reports.
type Leaser interface {
	// Lease gives the right to report on a day to a domain for at most d. ok is
	// false if another Reporter has it. release, not nil if ok, gives it back.
	Lease(ctx context.Context, day Day, domain string, d time.Duration) (release func(), ok bool, err error)
}

// ErrStoreFull says that a [Store] takes no more domains.
var ErrStoreFull = errors.New("tlsrpt: the store is full")
