package dnssec

import (
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
)

// Limits bounds the work of one Lookup, including all questions about aliases, keys
// and delegations that it causes. A zero or negative field means the default.
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
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
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
	if l.Duration <= 0 {
		l.Duration = 30 * time.Second
	}
	return l
}

// budget is what is left of the Limits of one top-level lookup.
type budget struct {
	limits  Limits
	proofs  *proof.Budget
	queries int
	octets  int
}

func newBudget(l Limits) *budget {
	return &budget{
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
		}),
		queries: l.Queries,
		octets:  l.Octets,
	}
}

func (b *budget) query() error {
	return proof.Spend(&b.queries, 1, b.limits.Queries, "queries")
}

func (b *budget) read(octets int) error {
	return proof.Spend(&b.octets, octets, b.limits.Octets, "octets of replies")
}

// received checks the octets of all replies that have arrived, read or not.
func (b *budget) received(octets int64) error {
	if octets > int64(b.limits.Octets) {
		return &proof.LimitError{What: "octets of replies", Limit: b.limits.Octets, Total: true}
	}
	return nil
}
