package mtasts

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
	"time"

	"github.com/mxseal/mxseal/internal/fields"
)

// ErrNotStored is returned by [Store.Get] for a domain that has no entry.
var ErrNotStored = errors.New("mtasts: not in the store")

// Store keeps policies for longer than a [Client] lives. Without a Store, an
// attacker who forges DNS can hide policies after each restart (RFC 8461 section
// 10.2). Package policy/boltstore has a Store for a single machine. Most programs
// pass a Store to [Config] and never call its methods.
//
// A Client does not trust its Store: it parses every entry again, checks its
// times against the clock, and deletes an entry that is not valid, unless the Store
// is a [Leaser]. An error of the Store is an event and never means "no policy". What
// the Client has in memory stays in force, and what it does not have it fetches.
//
// An entry replaces a policy in force in memory, without a fetch, only if its policy is
// at least as strong, names the same hosts and expires no earlier, and if it was not
// fetched in the future. If another Client has found a different policy, the Client
// asks DNS and fetches that policy itself. For what is not in memory, the Store is
// trusted, unless there is a [Config.StoreKey].
//
// Domains are in A-labels, in lower case, without a final dot. For one domain, the
// Client calls Put and Delete one at a time. Lookups wait for these calls, so a slow
// Store should write in the background. A Store that several Clients share may also
// be a [Leaser] and a [Watcher].
//
// # Requirements on implementations
//
// The tests of package policy/storetest check these requirements.
//
//   - Get MUST return the entry that was last put, with all fields and with times of
//     at least millisecond precision, until it is deleted. The Store MAY drop an entry a
//     day after its Expires. It MUST NOT do so because the clock of one of several
//     programs says that it has expired.
//   - Get MUST return [ErrNotStored] if and only if there is no entry. A Store that
//     cannot read its data MUST return another error.
//   - Put and Delete MUST be visible to later calls on the same Store, and to those of
//     other programs that hold a lease.
//   - All MUST yield each entry that exists during the whole iteration. It MAY yield
//     an entry twice only if entries change during the iteration. It MUST stop if the
//     caller does. If it cannot read all entries, it MUST yield an error.
//   - Methods MUST be safe for concurrent use, MUST return soon after their context is
//     done, and MUST NOT change or retain their arguments.
//   - Only one caller at a time MUST hold the lease of a domain. A lease MUST end after
//     its duration, and release MUST NOT end a later lease of another caller.
//   - Watch MUST call its function after each change by another program, or once with
//     "" for several changes, and MUST return the error of its context. When it calls
//     the function, Get MUST return the changed entry.
//   - Failures that Clients share MUST be visible to other programs, MUST end after their
//     time, and MUST NOT be returned by Get or All.
type Store interface {
	// Get returns the entry of domain. If there is none, the error must be
	// ErrNotStored. Any other error means that it is not known whether there is
	// an entry.
	Get(ctx context.Context, domain string) (Entry, error)
	// Put adds or replaces the entry of e.Domain.
	Put(ctx context.Context, e Entry) error
	// Delete removes the entry of domain. It does nothing if there is none.
	Delete(ctx context.Context, domain string) error
	// All yields the entries in any order, each as it was at some time during
	// the iteration. The memory that All uses must not grow with their number. An
	// error either concerns one entry, whose Domain is set, or ends the
	// iteration.
	All(ctx context.Context) iter.Seq2[Entry, error]
}

// Leaser is a [Store] with which only one of the Clients that share it fetches a
// policy. The others take what that Client has put.
type Leaser interface {
	// Lease gives the caller the right to fetch the policy of domain, for at most
	// d. ok is false if another Client has the right. If ok, the caller calls
	// release, which is not nil, to give the right back.
	//
	// The domain "*" means the right to go through all entries with All, to find
	// those that are due.
	Lease(ctx context.Context, domain string, d time.Duration) (release func(), ok bool, err error)
}

// FailureSharer is a [Leaser] through which Clients also share that a policy host has just
// answered a first fetch with an error, so that only one of them asks it again. A failure
// only delays the fetch of the policy with the same id, never replaces a policy, and ends
// after five minutes. Without [Config.StoreKey], it delays one fetch.
type FailureSharer interface {
	Leaser
	// PutFailed keeps an entry that has only Domain, one of Failures, and Tag, for about
	// d. It replaces an earlier one of the domain.
	PutFailed(ctx context.Context, e Entry, d time.Duration) error
	// Failed returns what was last put for domain. If there is nothing, or d has passed,
	// the error is ErrNotStored.
	Failed(ctx context.Context, domain string) (Entry, error)
}

// Watcher is a [Store] that reports what other Clients that share it have
// changed.
type Watcher interface {
	// Watch calls changed for each domain whose entry another Client has put or
	// deleted, and with "" if changes may have been missed. It returns when ctx
	// is done or it fails.
	Watch(ctx context.Context, changed func(domain string)) error
}

// Entry is what a [Store] keeps of one domain that has a policy. The policy is
// kept as text only, and parsed again when the entry is read.
//
// MarshalBinary and UnmarshalBinary are for Stores that keep bytes. The binary
// form has a version and a checksum, so that an entry of a later version or a
// damaged entry is detected.
type Entry struct {
	// Domain is the policy domain.
	Domain string
	// ID is the id of the TXT record when the policy was fetched.
	ID string
	// Text is the policy as it was fetched.
	Text string
	// Fetched is when the policy was fetched.
	Fetched time.Time
	// Expires is when the policy expires: Fetched plus max_age. It is for Stores
	// that delete expired entries, which Clients never do. A Client computes it again.
	Expires time.Time
	// NextCheck is when to ask DNS for the id again, as known when the entry was
	// put.
	NextCheck time.Time
	// Used reports whether the domain was looked up since Fetched.
	Used bool
	// Noticed is when a Client whose clock was before Fetched first read the entry;
	// zero for never. For such a clock, the age of the policy counts from then. Fetched
	// stays as it is, because it is not known which clock is wrong.
	Noticed time.Time
	// FailingSince is when the first fetch since Fetched failed; zero if none
	// failed.
	FailingSince time.Time
	// Failed is the number of fetches that have failed since Fetched.
	Failed int
	// Failures are the last of these, at most three, oldest first.
	Failures []Failure
	// Tag shows that a Client with the same [Config.StoreKey] has put the entry. It is
	// empty without that key.
	Tag string
}

// Failure is a failed fetch in an [Entry].
type Failure struct {
	// ID is the id that the TXT record had.
	ID string
	// When is when the fetch ended.
	When time.Time
	// Kind and ReasonCode are those of the [Error]. Detail is the text of its
	// cause.
	Kind       Kind
	ReasonCode string
	Detail     string
}

// The binary form of an entry is
//
//	version   1 octet
//	checksum  4 octets, CRC-32C of everything after it, big-endian
//	fields    in the order of Entry; a string is preceded by its length, a
//	          list by its number of elements, and times are in milliseconds
//	          since 1970.
//
// Numbers are varints of package encoding/binary. In version 1, Noticed and Tag are
// missing; in version 2 they are the last fields. An entry without them is written in
// version 1.
const (
	entryPlain  = 1
	entryTagged = 2
	entryHeader = 5 // octets of version and checksum
)

var errEntryDamaged = errors.New("mtasts: stored entry is damaged")

// MarshalBinary returns e in the form that UnmarshalBinary reads. Times are
// rounded down to milliseconds. The error is always nil.
func (e Entry) MarshalBinary() ([]byte, error) {
	b := make([]byte, entryHeader, entryHeader+len(e.Domain)+len(e.ID)+len(e.Text)+len(e.Tag)+64)
	for _, s := range []string{e.Domain, e.ID, e.Text} {
		b = fields.AppendString(b, s)
	}
	for _, t := range []time.Time{e.Fetched, e.Expires, e.NextCheck, e.FailingSince} {
		b = binary.AppendVarint(b, t.UnixMilli())
	}
	used := uint64(0)
	if e.Used {
		used = 1
	}
	b = binary.AppendUvarint(b, used)
	b = binary.AppendUvarint(b, uint64(max(e.Failed, 0)))
	b = binary.AppendUvarint(b, uint64(len(e.Failures)))
	for _, f := range e.Failures {
		b = binary.AppendVarint(b, f.When.UnixMilli())
		for _, s := range []string{f.ID, string(f.Kind), f.ReasonCode, f.Detail} {
			b = fields.AppendString(b, s)
		}
	}
	b[0] = entryPlain
	if !e.Noticed.IsZero() || e.Tag != "" {
		b[0] = entryTagged
		b = fields.AppendString(binary.AppendVarint(b, e.Noticed.UnixMilli()), e.Tag)
	}
	binary.BigEndian.PutUint32(b[1:], checksum(b[entryHeader:]))
	return b, nil
}

// UnmarshalBinary sets e from data, which it does not keep. It returns an error,
// and leaves e unchanged, if data is damaged or has a later version.
func (e *Entry) UnmarshalBinary(data []byte) error {
	switch {
	case len(data) < entryHeader:
		return errEntryDamaged
	case data[0] != entryPlain && data[0] != entryTagged:
		return fmt.Errorf("mtasts: stored entry has version %d, and this release reads versions %d and %d", data[0], entryPlain, entryTagged)
	case binary.BigEndian.Uint32(data[1:]) != checksum(data[entryHeader:]):
		return errEntryDamaged
	}
	// All strings share one copy of data.
	d := &fields.Decoder{Rest: string(data[entryHeader:])}
	read := Entry{Domain: d.String(), ID: d.String(), Text: d.String()}
	for _, t := range []*time.Time{&read.Fetched, &read.Expires, &read.NextCheck, &read.FailingSince} {
		*t = d.Time()
	}
	read.Used = d.Uint(math.MaxInt32) == 1
	read.Failed = int(d.Uint(math.MaxInt32))
	for n := d.Uint(math.MaxInt32); n > 0 && !d.Damaged; n-- {
		f := Failure{When: d.Time(), ID: d.String(), Kind: Kind(d.String()), ReasonCode: d.String(), Detail: d.String()}
		read.Failures = append(read.Failures, f)
	}
	if data[0] == entryTagged {
		read.Noticed, read.Tag = d.Time(), d.String()
	}
	if !d.IsDone() {
		return errEntryDamaged
	}
	*e = read
	return nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
