package dane

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/names"
)

// These sentinels say what an [*Error] is about. errors.Is finds them in it.
var (
	// ErrDomain means that the host is not a domain name.
	ErrDomain = errors.New("dane: not a domain name")
	// ErrAddressLiteral means that the host is an IP address. DANE does not apply
	// to it (RFC 7672 section 2.2), and nothing is looked up.
	ErrAddressLiteral = errors.New("dane: the host is an IP address; DANE does not apply")
	// ErrNoAddress means that the host has no address: A and AAAA were both
	// denied. No TLSA records were looked up.
	ErrNoAddress = errors.New("dane: the host has no address")
	// ErrLookupFailed means that a required lookup failed: of the addresses, or
	// of the TLSA records, which does not mean that there are none (RFC 7672
	// section 2.1.2).
	ErrLookupFailed = errors.New("dane: lookup failed")
	// ErrMismatch means that no TLSA record authenticates the server.
	ErrMismatch = errors.New("dane: no TLSA record authenticates the server")
	// ErrRecord means that a TLSA record is malformed, or that a record to publish
	// would be unusable.
	ErrRecord = errors.New("dane: malformed or unusable TLSA record")
)

// Error is the error type of this package. Find the sentinel in it with errors.Is.
// If errors.Is finds none of the sentinels, the caller's context ended.
//
// Texts from certificates, names and errors of the resolver in it are printable ASCII of
// limited length.
type Error struct {
	// Host is the host that was looked up. It is empty in errors about records
	// and certificates.
	Host string
	// Lookups are the lookups that were made for the host.
	Lookups []Lookup
	// Expires is the time until which ErrNoAddress holds; zero in other errors.
	Expires time.Time
	// Attempts has one entry for each record given to [Verify], in the same
	// order. It belongs to ErrMismatch.
	Attempts []Attempt
	// Err is the cause: of ErrLookupFailed the error of the resolver, usually a
	// *dnssec.Error. It may be nil.
	Err error

	kind error // the sentinel
}

// Attempt is how one record failed to authenticate a server.
type Attempt struct {
	Record Record
	// Err is the reason. It names the certificate at fault, if there is one.
	Err error
}

// Error returns one line: the host, what happened and the cause.
func (e *Error) Error() string {
	host := names.Quote(e.Host, 64)
	switch e.kind {
	case ErrDomain:
		return fmt.Sprintf("dane: host %s is not a domain name: %v", host, e.Err)
	case ErrAddressLiteral:
		return fmt.Sprintf("dane: host %s is an IP address; DANE does not apply", host)
	case ErrNoAddress:
		return fmt.Sprintf("dane: host %s has no address", host)
	case ErrMismatch:
		return e.mismatch()
	case ErrRecord:
		return fmt.Sprintf("dane: TLSA record: %v", e.Err)
	default:
		return fmt.Sprintf("dane: lookup for host %s failed: %s", host, cause(e.Err))
	}
}

// maxCause bounds the text of an error of the resolver, in octets.
const maxCause = 2048

// cause returns the text of an error of the resolver in one printable line. That of
// joined errors has one line for each.
func cause(err error) string {
	if err == nil {
		return "no cause given"
	}
	return names.Printable(strings.ReplaceAll(err.Error(), "\n", "; "), maxCause)
}

// maxAttemptsShown bounds the text of a mismatch. The records come from the
// network.
const maxAttemptsShown = 4

// mismatch returns the text of ErrMismatch.
func (e *Error) mismatch() string {
	if len(e.Attempts) == 0 {
		return "dane: there is no TLSA record to authenticate the server by"
	}
	var b strings.Builder
	b.WriteString("dane: no TLSA record authenticates the server: ")
	for i, attempt := range e.Attempts {
		if i == maxAttemptsShown {
			fmt.Fprintf(&b, "; and %d more", len(e.Attempts)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %v", abbreviated(attempt.Record), attempt.Err)
	}
	return b.String()
}

// abbreviated returns as much of a record as is needed to recognize it.
func abbreviated(r Record) string {
	const shown = 8
	if len(r.Data) <= shown {
		return r.String()
	}
	return fmt.Sprintf("%d %d %d %s...", r.Usage, r.Selector, r.MatchingType, hex.EncodeToString(r.Data[:shown]))
}

// Is reports whether target is the sentinel of the error.
func (e *Error) Is(target error) bool { return e.kind != nil && e.kind == target }

// Unwrap returns Err and the errors of the attempts.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	for _, attempt := range e.Attempts {
		errs = append(errs, attempt.Err)
	}
	return errs
}

// Temporary reports whether another attempt can help. After a failed lookup or a
// mismatch it can: zones, records and certificates change, so the mail waits.
func (e *Error) Temporary() bool {
	switch e.kind {
	case ErrDomain, ErrAddressLiteral, ErrNoAddress, ErrRecord:
		return false
	}
	return true
}

// TLSReport returns the result type of RFC 8460 section 4.3 and a short reason
// code. For ErrLookupFailed the reason code is that of the resolver, and the type is
// dnssec-invalid if the resolver's error says so, because the answer is bogus, or if the
// lookup of the TLSA records ended in SERVFAIL: after secure addresses, the domain's own
// servers fail it. For ErrMismatch both come from the attempt that got furthest: an
// expired certificate below the right trust anchor says more than a record that
// matches nothing. For all other errors both are empty: reports do not count
// them.
func (e *Error) TLSReport() (resultType, reasonCode string) {
	switch e.kind {
	case ErrLookupFailed:
		return reportedLookup(e.Err)
	case ErrMismatch:
		var furthest *fault
		for i := range e.Attempts {
			var why *fault
			if errors.As(e.Attempts[i].Err, &why) {
				furthest = further(furthest, why)
			}
		}
		if furthest == nil {
			furthest = &fault{reason: noMatch} // there are no records
		}
		return furthest.TLSReport()
	default:
		return "", ""
	}
}

// reportedLookup returns what TLSReport does for the error of a lookup, or for those of
// the lookups of both address families, of which one that is reported decides.
func reportedLookup(err error) (resultType, reasonCode string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, cause := range joined.Unwrap() {
			if resultType, reasonCode = reportedLookup(cause); resultType != "" {
				break
			}
		}
		return resultType, reasonCode
	}
	var reported interface {
		TLSReport() (resultType, reasonCode string)
	}
	if !errors.As(err, &reported) {
		return "", "dns-failure"
	}
	resultType, reasonCode = reported.TLSReport()
	var failed *dnssec.Error
	if errors.As(err, &failed) && failed.Type == dnssec.TypeTLSA && failed.Reason == dnssec.ServerFailure {
		resultType = "dnssec-invalid"
	}
	return resultType, reasonCode
}

// malformed returns the error for a TLSA record.
func malformed(format string, args ...any) *Error {
	return &Error{Err: fmt.Errorf(format, args...), kind: ErrRecord}
}
