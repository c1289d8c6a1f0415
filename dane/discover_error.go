package dane

import (
	"errors"
	"fmt"
	"time"
)

// NoAddressError says that a host has no address records, beyond doubt. No TLSA
// record was asked for.
type NoAddressError struct {
	Host    string
	Lookups []Lookup
	// Expires is until when that is known.
	Expires time.Time
}

// Error names the host.
func (e *NoAddressError) Error() string {
	return fmt.Sprintf("dane: host %.64q has no address", e.Host)
}

// LookupError says that a lookup failed that must not fail if the host is to be
// used: the address lookups or one for TLSA records, which is then not the same
// as there being none (RFC 7672 section 2.1.2). It is temporary.
type LookupError struct {
	Host string
	// Lookups are all that were made.
	Lookups []Lookup
	// Err is what the resolver said, usually a *dnssec.Error.
	Err error
}

// Error names the host and says what failed.
func (e *LookupError) Error() string {
	return fmt.Sprintf("dane: lookup for host %.64q failed: %v", e.Host, e.Err)
}

// Unwrap returns what the resolver said.
func (e *LookupError) Unwrap() error { return e.Err }

// Temporary returns true.
func (e *LookupError) Temporary() bool { return true }

// TLSReport returns the result type of RFC 8460 section 4.3.2.1, dnssec-invalid,
// with the reason code of the resolver's error if that has one.
func (e *LookupError) TLSReport() (resultType, reasonCode string) {
	var reported interface {
		TLSReport() (resultType, reasonCode string)
	}
	if errors.As(e.Err, &reported) {
		_, reasonCode = reported.TLSReport()
		return "dnssec-invalid", reasonCode
	}
	return "dnssec-invalid", "lookup-failed"
}
