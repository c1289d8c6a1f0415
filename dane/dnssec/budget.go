package dnssec

import (
	"cmp"
	"errors"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
)

// Limits bounds the work of one Lookup, including all questions about aliases, keys
// and delegations that it causes. 0 means the default, and a negative field is an error.
//
// A lookup that reaches a limit fails, and its answer is never called insecure. The
// reason is [WorkLimit], but [AliasLoop] for Aliases and [Timeout] for Duration.
//
// NSEC3Iterations is a threshold, not such a limit. If a zone uses more iterations, its
// proofs are not computed, and the answers that depend on them are insecure (RFC 9276
// section 3.2). An attacker cannot cause that, because the number is signed.
type Limits struct {
	KeysPerTag         int           // DNSKEYs tried of one tag and algorithm (CVE-2023-50387); 0 means 4
	SignaturesPerRRset int           // RRSIGs tried of one RRset; 0 means 8
	Verifications      int           // public-key operations; 0 means 64
	NSEC3Hashes        int           // names hashed for NSEC3 proofs (CVE-2023-50868); 0 means 64
	NSEC3Iterations    int           // additional iterations of such a hash; 0 means 100; more is insecure
	Aliases            int           // CNAME and DNAME steps; 0 means 16
	Queries            int           // questions sent, to all servers; 0 means 128
	Duration           time.Duration // wall-clock time; 0 means 30 s
	KeysPerZone        int           // DNSKEYs of a zone, and DS records of a delegation; 0 means 32
	DenialRecords      int           // NSEC or NSEC3 RRsets of one reply; 0 means 12
	Digests            int           // digests of DNSKEYs computed to compare them with DS records; 0 means 128
	Records            int           // records of one reply, in all sections; 0 means 512
	Octets             int           // octets of all replies; then no more questions are sent; 0 means 1 MiB
	Memory             int           // octets of memory for all replies, also those not needed, and half of it for one; 0 means 1 MiB
}

// check returns an error if a field is negative.
func (l Limits) check() error {
	if l.Duration < 0 || min(l.KeysPerTag, l.SignaturesPerRRset, l.Verifications, l.NSEC3Hashes, l.NSEC3Iterations, l.Aliases,
		l.Queries, l.KeysPerZone, l.DenialRecords, l.Digests, l.Records, l.Octets, l.Memory) < 0 {
		return errors.New("dnssec: Config.Limits must not be negative; 0 means the default")
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, standard int) { *v = cmp.Or(*v, standard) }
	set(&l.KeysPerTag, 4)
	set(&l.SignaturesPerRRset, 8)
	set(&l.Verifications, 64)
	set(&l.NSEC3Hashes, 64)
	set(&l.NSEC3Iterations, 100)
	set(&l.Aliases, 16)
	set(&l.Queries, 128)
	set(&l.KeysPerZone, 32)
	set(&l.DenialRecords, 12)
	set(&l.Digests, 128)
	set(&l.Records, 512)
	set(&l.Octets, 1<<20)
	set(&l.Memory, 1<<20)
	l.Duration = cmp.Or(l.Duration, 30*time.Second)
	return l
}

// Bounds bounds what all lookups of a Validator or a Trusting hold together, in addition to
// the Limits of each. 0 means the default, and a negative field is an error.
//
// A lookup that needs a server, and finds no memory left, waits until there is some, for
// the time of its context and of Limits.Duration. A question waits for a socket for the time
// of Config.Timeout. Then the lookup fails with [Busy]. While less than a quarter is free,
// questions that may turn out not to be needed are not sent, so lookups take fewer
// questions and more round trips. Answers from the cache need none of this.
//
// If this host lacks files, ports or memory for a socket, a lookup waits in the same way, or
// fails with Busy. Such failures are not remembered, and not held against a server.
type Bounds struct {
	// Sockets is how many are open to servers. Each question over UDP or TCP has one of
	// its own. A server that is reached over TLS has one for all questions. Not counted
	// are at most six for each server that seems to be down, to find out whether it is.
	// 0 means 384.
	Sockets int
	// Exchanges is how many questions wait for their replies. 0 means 1024.
	Exchanges int
	// Memory is what all lookups under way hold, in octets: 64 KiB each, and the replies
	// that do not fit in there. The cache is not included. 0 means 32 MiB. At least one
	// lookup is always possible.
	Memory int
}

// Skew is the difference that is tolerated between the clocks of a zone's signer and of
// this host. Durations are rounded down to seconds.
type Skew struct {
	// Early is how long before its inception a signature is accepted. 0 means 10
	// seconds, negative not at all.
	Early time.Duration
	// Late is how long after its expiration a signature is accepted. 0 means not at
	// all: an attacker can replay records that the zone has replaced.
	Late time.Duration
}

// maxSkew bounds both fields.
const maxSkew = 24 * time.Hour

func (s Skew) withDefaults() Skew {
	if s.Early == 0 {
		s.Early = 10 * time.Second
	}
	return Skew{Early: min(max(s.Early, 0), maxSkew), Late: min(max(s.Late, 0), maxSkew)}
}

// budget is what is left of the Limits of one top-level lookup.
type budget struct {
	limits  Limits
	proofs  *proof.Budget
	queries atomic.Int64 // also spent by races
	octets  int
	memory  int
}

func newBudget(l Limits, skew Skew, memory proof.Memory) *budget {
	b := &budget{
		limits: l,
		proofs: proof.NewBudget(proof.Limits{
			KeysPerTag:         l.KeysPerTag,
			SignaturesPerRRset: l.SignaturesPerRRset,
			KeysPerZone:        l.KeysPerZone,
			DenialRecords:      l.DenialRecords,
			NSEC3Iterations:    l.NSEC3Iterations,
			Verifications:      l.Verifications,
			NSEC3Hashes:        l.NSEC3Hashes,
			Digests:            l.Digests,
			Early:              skew.Early,
			Late:               skew.Late,
		}),
		octets: l.Octets,
		memory: l.Memory,
	}
	b.queries.Store(int64(l.Queries))
	b.proofs.Memory = memory
	return b
}

func (b *budget) query() error {
	if b.queries.Add(-1) < 0 {
		return &proof.LimitError{What: "queries", Limit: b.limits.Queries, Total: true}
	}
	return nil
}

func (b *budget) read(r *reply) error {
	if err := proof.Spend(&b.octets, r.octets, b.limits.Octets, "octets of replies"); err != nil {
		return err
	}
	return proof.Spend(&b.memory, r.memory, b.limits.Memory, "octets of memory for replies")
}

// received checks the octets and the memory of all replies that have arrived, read or
// not.
func (b *budget) received(octets, memory int64) error {
	switch {
	case octets > int64(b.limits.Octets):
		return &proof.LimitError{What: "octets of replies", Limit: b.limits.Octets, Total: true}
	case memory > int64(b.limits.Memory):
		return &proof.LimitError{What: "octets of memory for replies", Limit: b.limits.Memory, Total: true}
	}
	return nil
}
