package proof

import "fmt"

// Fault is what is wrong with an RRset, a signature, or a denial.
type Fault uint8

// These are the faults of an Error.
const (
	SignatureMissing     Fault = iota + 1 // no RRSIG of the zone
	SignatureExpired                      // the RRSIG's expiration is in the past
	SignatureNotYetValid                  // the RRSIG's inception is in the future
	SignatureInvalid                      // the RRSIG does not verify, or cannot be valid
	KeyMissing                            // no key of the zone matches the RRSIG
	DenialMissing                         // absence is not proven
	AliasInvalid                          // a CNAME or DNAME is contradictory or malformed
	Malformed                             // a record has no canonical form
)

// Error reports that an RRset is not authentic, or that a denial proves nothing.
type Error struct {
	Name   string // of the RRset, or of the question that is not denied; canonical
	Type   uint16
	Fault  Fault
	Detail string
}

// Error returns the detail.
func (e *Error) Error() string { return e.Detail }

func (set *RRset) fault(fault Fault, format string, args ...any) *Error {
	return &Error{set.Name, set.Type, fault, fmt.Sprintf(format, args...)}
}
