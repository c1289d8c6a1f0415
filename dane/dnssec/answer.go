package dnssec

import (
	"context"
	"time"
)

// Status is the DNSSEC state of an answer (RFC 4035 section 4.3). It is never
// reduced to a bool: an answer that could not be judged is not the same as one
// proven to be unsigned. The zero value is the weakest.
type Status uint8

const (
	// Indeterminate means that nothing is known. No answer that a Resolver
	// returns without an error has it.
	Indeterminate Status = iota
	// Bogus means that a chain of trust should exist and does not hold.
	Bogus
	// Insecure means that an authenticated denial proves that the data is in
	// a zone outside any chain of trust.
	Insecure
	// Secure means that every link of the chain of trust was verified.
	Secure
)

// String returns the lower-case name of the status as in RFC 4035.
func (s Status) String() string {
	switch s {
	case Secure:
		return "secure"
	case Insecure:
		return "insecure"
	case Bogus:
		return "bogus"
	default:
		return "indeterminate"
	}
}

// MarshalText returns the name of the status.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Alias is one step of a CNAME or DNAME chain. Each step has its own status,
// because RFC 7672 section 2.2.2 asks whether the first one was secure.
type Alias struct {
	Name   string // the name that was asked for, canonical, with final dot
	Target string // the name that it stands for, canonical, with final dot
	// DNAME is true when the step was synthesized from a DNAME record at an
	// ancestor of Name; Status is then that of the DNAME record.
	DNAME  bool
	Status Status
}

// Answer is the result of a lookup that did not fail. An answer without
// records is a denial: the name does not exist if NXDomain is set, otherwise it
// has no records of the type. Status says whether the denial was proven.
//
// An Answer may be shared by several callers and is read-only.
type Answer struct {
	// Name is the canonical name (lower case, final dot) that has the records,
	// or does not have them: the end of the Aliases.
	Name string
	// Aliases are the CNAME and DNAME steps from the name asked for to Name.
	Aliases []Alias
	// Records is the RRset of the asked type at Name, without signatures and
	// aliases. Empty if the answer is a denial.
	Records []Record
	// NXDomain is true if Name does not exist (RFC 8020); Records is then empty.
	NXDomain bool
	// Status is that of the whole chain, the weakest link: Secure or Insecure.
	Status Status
	// Expires is when the answer must not be used any longer: the earliest of
	// all TTLs and signature lifetimes that went into it.
	Expires time.Time
}

// Resolver looks up an RRset and says how well it is authenticated. The name
// need not be canonical. Bogus and malformed answers and unreachable servers
// are errors, of type *Error, never an empty Answer.
//
// Implementations are safe for concurrent use.
type Resolver interface {
	Lookup(ctx context.Context, name string, t Type) (*Answer, error)
}
