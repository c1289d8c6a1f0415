package proof

import (
	"fmt"
	"time"
)

// Limits bounds the work of proofs.
type Limits struct {
	KeysPerTag         int // keys of one tag and algorithm that are tried
	SignaturesPerRRset int // signatures of one RRset that are tried
	KeysPerZone        int // DS records of one delegation
	DenialRecords      int // NSEC or NSEC3 RRsets of one reply
	NSEC3Iterations    int // additional iterations of a hash; more is insecure
	Verifications      int // public-key operations, in total
	NSEC3Hashes        int // names hashed for NSEC3, in total
	Digests            int // digests of keys compared with DS records, in total
	// Early and Late are how long before its inception, and after its expiration, a
	// signature is accepted, in whole seconds.
	Early, Late time.Duration
}

// Memory remembers which signatures were verified. Its methods are called with a digest
// of all that the verification depends on, except for the time.
type Memory interface {
	Has(digest [32]byte) bool
	Add(digest [32]byte, ttl uint32)
}

// Budget is what is left of the Limits during one lookup. It is not safe for
// concurrent use.
type Budget struct {
	Limits Limits
	// Verifications, NSEC3Hashes and Digests are how many are left.
	Verifications, NSEC3Hashes, Digests int
	// Memory, if it is not nil, saves verifications of records that many proofs of one
	// zone share.
	Memory Memory
}

// NewBudget returns a Budget of which nothing has been spent.
func NewBudget(l Limits) *Budget {
	return &Budget{Limits: l, Verifications: l.Verifications, NSEC3Hashes: l.NSEC3Hashes, Digests: l.Digests}
}

// LimitError reports that a limit was reached.
type LimitError struct {
	What  string
	Limit int
	Total bool // the limit of the whole lookup, not of one reply
}

// Error names the limit.
func (e *LimitError) Error() string { return fmt.Sprintf("more than %d %s", e.Limit, e.What) }

// Spend takes n from what is left of limit, or returns a LimitError.
func Spend(left *int, n, limit int, what string) error {
	if *left < n {
		return &LimitError{what, limit, true}
	}
	*left -= n
	return nil
}

func (b *Budget) verification() error {
	return Spend(&b.Verifications, 1, b.Limits.Verifications, "signature verifications")
}

func (b *Budget) hash() error {
	return Spend(&b.NSEC3Hashes, 1, b.Limits.NSEC3Hashes, "NSEC3 name hashes")
}

func (b *Budget) digest() error {
	return Spend(&b.Digests, 1, b.Limits.Digests, "DNSKEY digests")
}
