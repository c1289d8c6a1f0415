package dnssec

import (
	"fmt"
	"time"
)

// Limits bounds the work of one top-level Lookup, with all the questions about
// aliases, keys and delegations that it leads to. A zero field has the
// default. A lookup that reaches a limit fails; it is never called insecure.
type Limits struct {
	KeysPerTag         int           // DNSKEYs of one tag and algorithm tried (CVE-2023-50387); default 4
	SignaturesPerRRset int           // RRSIGs of one RRset tried; default 8
	Verifications      int           // public-key operations; default 64
	NSEC3Hashes        int           // names hashed for NSEC3 (CVE-2023-50868); default 64
	NSEC3Iterations    int           // additional iterations of such a hash; default 100. More is insecure (RFC 9276 section 3.2)
	Aliases            int           // CNAME and DNAME steps; default 16
	Queries            int           // questions sent, to all servers; default 128
	Duration           time.Duration // wall-clock time; default 30 s
	KeysPerZone        int           // DNSKEYs of a zone, and DS records of a delegation; default 32
	DenialRecords      int           // NSEC or NSEC3 RRsets of one reply; default 12
	Digests            int           // digests of DNSKEYs compared with DS records; default 128
	Records            int           // records of one reply, of all sections; default 512
	Octets             int           // octets of replies; nothing more is asked after that many; default 1 MiB
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
	limits        Limits
	verifications int
	hashes        int
	queries       int
	digests       int
	octets        int
}

func newBudget(l Limits) *budget {
	return &budget{
		limits:        l,
		verifications: l.Verifications,
		hashes:        l.NSEC3Hashes,
		queries:       l.Queries,
		digests:       l.Digests,
		octets:        l.Octets,
	}
}

// limitError says which limit was reached. Whoever knows the question turns it
// into an *Error.
type limitError struct {
	what  string
	limit int
	total bool // a limit of the whole lookup, and not of one reply
}

func (e *limitError) Error() string { return fmt.Sprintf("more than %d %s", e.limit, e.what) }

func spend(left *int, n, limit int, what string) error {
	if *left < n {
		return &limitError{what, limit, true}
	}
	*left -= n
	return nil
}

func (b *budget) verification() error {
	return spend(&b.verifications, 1, b.limits.Verifications, "signature verifications")
}

func (b *budget) hash() error {
	return spend(&b.hashes, 1, b.limits.NSEC3Hashes, "NSEC3 name hashes")
}

func (b *budget) query() error {
	return spend(&b.queries, 1, b.limits.Queries, "queries")
}

func (b *budget) digest() error {
	return spend(&b.digests, 1, b.limits.Digests, "DNSKEY digests")
}

func (b *budget) read(octets int) error {
	return spend(&b.octets, octets, b.limits.Octets, "octets of replies")
}

// hold checks the octets that have come in, whether or not they are read.
func (b *budget) hold(octets int64) error {
	if octets > int64(b.limits.Octets) {
		return &limitError{"octets of replies", b.limits.Octets, true}
	}
	return nil
}
