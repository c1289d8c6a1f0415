package reporter

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

// Store keeps the sums of each day until they are reported. Most programs pass one
// to [NewAggregator] and [New] and never call its methods. [MemoryStore] is a Store
// in memory. Package policy/boltstore has one that survives restarts, and
// policy/valkeystore one for a fleet.
//
// # Requirements on implementations
//
// The tests of package policy/storetest check these requirements.
//
//   - Methods MUST be safe for concurrent use, and by several programs at the same
//     time if the Store is shared.
//   - Methods MUST return soon after ctx is done. They MAY then return the result
//     or ctx.Err(), but MUST NOT return an empty result without an error.
//   - An error MUST mean that the result is unknown. A Store that cannot read its
//     data MUST return an error, not an empty result.
//   - Add MUST be atomic: it adds the whole batch or nothing. A batch that was added
//     before MUST NOT be counted again, even after its sums were deleted.
//   - Additions of different writers MUST all be counted, in any order.
//   - A Store MUST NOT change or retain the arguments of its methods. Results belong
//     to the caller.
//   - Part numbers MUST NOT be used twice for the same day and domain.
//   - The sums of one domain and day MUST be limited in number and in octets without
//     losing sessions; [MergeResults] does this. So MUST all sums: a Store without room
//     SHOULD first count new failures and policies by type, without their text, and only
//     then refuse domains.
//   - A Store that several Reporters share MUST also be a [Leaser]. Otherwise each of
//     them sends every report.
//
// Domains are recipient domains in A-labels, in lower case, without final dot.
type Store interface {
	// Add adds a batch to the open parts of its domains. It MUST do nothing, and
	// return nil, if the Number of the batch is not greater than that of the last
	// batch that was added by the same Writer. It returns ErrStoreFull if the batch
	// was not added and will not be.
	Add(ctx context.Context, b *Batch) error
	// Domains yields the domains that have sums on a day, in any order. It MAY yield
	// a domain more than once. An error ends the iteration. The sums of a domain may
	// be deleted during the iteration, which may take many hours: a Reporter takes the
	// next domains when it has sent the reports to most of the last ones. Domains that
	// get their first sums in that time MAY be left out.
	Domains(ctx context.Context, day report.Day) iter.Seq2[string, error]
	// Sums returns the part that is sealed, or otherwise the one that Seal would seal. It
	// changes nothing. If there is nothing to report, it returns the zero Part.
	Sums(ctx context.Context, day report.Day, domain string) (Part, error)
	// Seal closes the part of the sums of a domain and day that is to be reported next,
	// and returns its number: sums that are added later go to the next part. Until the
	// part is deleted, Seal MUST return its number, and Sums the part, to every caller. If
	// there is nothing to report, Seal returns 0. A Reporter calls Seal and Delete for
	// hundreds of domains at the same time, which a Store can write at once.
	Seal(ctx context.Context, day report.Day, domain string) (number int, err error)
	// Delete removes the sealed part with a number. It MUST NOT remove another part
	// or one that is not sealed, and returns nil if there is no such part.
	Delete(ctx context.Context, day report.Day, domain string, number int) error
	// DeleteBefore removes all sums of the days before day. It is called again and
	// again. It MUST delete only what the call before has asked for too, because a
	// clock can be wrong for a moment.
	DeleteBefore(ctx context.Context, day report.Day) error
}

// Batch is the unit that an [Aggregator] adds to a [Store].
type Batch struct {
	// Writer identifies the Aggregator. It is unique, also across restarts.
	Writer string
	// Number is greater than that of the previous batch of the same Writer, which
	// was added before this one. A Store therefore recognizes a batch that it
	// already has by the last Number of each Writer, which it MUST remember for two
	// days.
	Number int64
	Sums   []DomainSums
}

// DomainSums are sums to be added to those of a domain and day.
type DomainSums struct {
	Day     report.Day
	Domain  string
	Results []report.PolicyResult
}

// Part is the content of one report about a domain and day. Usually it contains all
// sums of the day. Sessions that are counted after the part was sealed, for example
// by a relay that could not reach the Store for hours, go to the next part. So each
// session is in exactly one part.
type Part struct {
	// Number is 1 for the first part of a domain and day, and greater by one for
	// each further part, even after earlier ones were deleted. 0 means that there
	// is nothing to report.
	Number int
	Sums   []report.PolicyResult
}

// Leaser is a [Store] that several Reporters share. Leases ensure that only one of
// them sends a report. They also space the deliveries of all Reporters to one owner of
// endpoints: these leases have the day 0 and the registrable domain or the address of an
// endpoint, last for Config.EndpointInterval, and are never returned.
type Leaser interface {
	// Lease gives the caller the exclusive right to report on a day to a domain for
	// at most d. ok is false if another caller has it. If ok, release is not nil
	// and returns the lease. After the lease has expired, release MUST NOT return a
	// later lease of another caller.
	Lease(ctx context.Context, day report.Day, domain string, d time.Duration) (release func(), ok bool, err error)
}

// endpointDay is the day of the leases for deliveries.
const endpointDay report.Day = 0

// Identifier is a [Store] with an ID. Reporters without Config.Instance use it, so that the
// reports of several Reporters, each with a Store of its own, have different IDs (RFC 8460
// section 4.4).
type Identifier interface {
	// ID returns a random text of at most 32 letters and digits, which the Store chooses
	// once. It MUST return the same ID each time and to every caller, even after a restart
	// if the sums survive it.
	ID(ctx context.Context) (string, error)
}

// BatchLimiter is a [Store] for which a batch of 10,000 domains, the most that an
// [Aggregator] adds at once, is too large.
type BatchLimiter interface {
	// MaxBatch returns the largest number of domains in a batch.
	MaxBatch() int
}

// ErrStoreFull means that a [Store] accepts no more domains.
var ErrStoreFull = errors.New("reporter: the store is full")
