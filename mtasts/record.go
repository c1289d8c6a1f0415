package mtasts

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/lack"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/txtrecord"
	"github.com/mxseal/mxseal/mtasts/internal/cause"
)

// Record is the TXT record at _mta-sts.DOMAIN (RFC 8461 section 3.1). It says
// that the domain has a policy, and which one. The policy itself is fetched over
// HTTPS.
type Record struct {
	// ID identifies one version of the policy: 1 to 32 letters and digits. IDs
	// are compared for equality only; they have no order.
	ID string
}

const (
	version = "STSv1"
	maxID   = 32 // octets of an id
)

// Resolver looks up the TXT record of a domain and the addresses of its policy
// host. [*net.Resolver] is a Resolver, and so are the resolvers of package
// dnssec. Names have a final dot, so that no search list applies to them.
// Methods must be safe for concurrent use, and must return when ctx is done,
// because other lookups for the domain wait.
//
// LookupTXT follows aliases. It returns one string for each record, with its
// character-strings joined without spaces. If the name has no such records, the
// error is a [*net.DNSError] with IsNotFound set. Any other error is a failed
// lookup.
//
// A Resolver that knows how long an answer is valid has one more method,
//
//	LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error)
//
// which is then used in place of LookupTXT. The time also applies to a name that
// is not found.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// These limit how long the answer to a TXT query is used. A TTL of zero must not
// cause a query for each message, and a forged TTL of a week must not hide a
// policy for that long.
const (
	minTTL         = time.Minute
	maxTTL         = 24 * time.Hour
	maxNegativeTTL = time.Hour
	unknownTTL     = 5 * time.Minute // if the Resolver does not know TTLs
	dnsRetry       = time.Minute     // after a failed lookup
)

// dnsTimeout limits the lookup of a TXT record.
const dnsTimeout = 10 * time.Second

// discovery is what DNS says about the policy of a domain.
type discovery struct {
	record Record    // zero unless err is nil
	until  time.Time // when to ask again
	err    error     // ErrNoRecord or an *Error
}

// failure returns the error for a domain that has a policy in force, nil if there
// is none.
func (d *discovery) failure(domain string) error {
	if errors.Is(d.err, ErrNoRecord) {
		return &Error{Domain: domain, Kind: KindRecord, ReasonCode: "record-missing", Err: d.err}
	}
	return d.err
}

var errNoAnswer = errors.New("the Resolver returned neither records nor an error; correct it")

// discover looks up the MTA-STS record of domain (RFC 8461 section 3.1).
func discover(ctx context.Context, r Resolver, clock func() time.Time, domain string) discovery {
	name := "_mta-sts." + domain
	if !names.IsDomain(name) { // it is too long
		return discovery{until: clock().Add(maxNegativeTTL), err: ErrNoRecord}
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	txts, until, err := lookupTXT(ctx, r, name+".")
	if err == nil && len(txts) == 0 {
		err = errNoAnswer // which is not a denial
	}
	now := clock()
	if err != nil && !cause.IsNotFound(err) {
		retry := dnsRetry
		if lack.Of(err) {
			retry = soon // the domain's DNS has not failed
		}
		return discovery{
			until: now.Add(retry),
			err:   &Error{Domain: domain, Kind: KindDNS, ReasonCode: printable(cause.DNSReason(err)), Err: err},
		}
	}
	if until.IsZero() {
		until = now.Add(unknownTTL)
	}
	record, err := SelectRecord(txts)
	if err != nil {
		var malformed *Error
		if errors.As(err, &malformed) {
			malformed.Domain = domain
		}
		return discovery{until: clamp(until, now, maxNegativeTTL), err: err}
	}
	return discovery{record: record, until: clamp(until, now, maxTTL)}
}

// clamp returns until, but not before now plus minTTL, nor after now plus longest.
func clamp(until, now time.Time, longest time.Duration) time.Time {
	return now.Add(min(max(until.Sub(now), minTTL), longest))
}

// lookupTXT asks the resolver. The time is zero if it does not know TTLs.
func lookupTXT(ctx context.Context, r Resolver, name string) ([]string, time.Time, error) {
	timed, ok := r.(interface {
		LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error)
	})
	if ok {
		return timed.LookupTXTUntil(ctx, name)
	}
	txts, err := r.LookupTXT(ctx, name)
	return txts, time.Time{}, err
}

// SelectRecord selects the MTA-STS record from the TXT records at
// _mta-sts.DOMAIN and parses it. Each string is one record, with its
// character-strings joined without spaces.
//
// Records that do not begin with "v=STSv1;" are ignored; white space before the
// semicolon is permitted. If no record is left, the error is [ErrNoRecord]. If
// several are left, or the record is malformed, the error is an [*Error] of kind
// [KindRecord], and the domain has no usable record (RFC 8461 section 3.1).
func SelectRecord(txts []string) (Record, error) {
	switch found, count := txtrecord.Select(txts, version); count {
	case 0:
		return Record{}, ErrNoRecord
	case 1:
		return ParseRecord(found)
	default:
		return Record{}, failf(KindRecord, "record-multiple", "there are %d MTA-STS records, not one", count)
	}
}

// ParseRecord parses one TXT record (RFC 8461 section 3.1). Unknown fields that
// match the grammar are ignored, and so is every id after the first. The error is
// an [*Error] of kind [KindRecord].
func ParseRecord(txt string) (Record, error) {
	fields, ok := txtrecord.Parse(txt, version)
	if !ok {
		return Record{}, failf(KindRecord, "record-version", "the record does not begin with \"v=STSv1;\"")
	}
	var rec Record
	for field, ok := fields.Next(); ok; field, ok = fields.Next() {
		if err := rec.addField(field); err != nil {
			return Record{}, err
		}
	}
	if rec.ID == "" {
		return Record{}, failf(KindRecord, "record-id", "the record has no id")
	}
	return rec, nil
}

// addField parses one sts-field.
func (rec *Record) addField(field string) error {
	name, value, _ := strings.Cut(field, "=")
	if name == "id" && rec.ID == "" {
		// A bad id also matches the grammar of an extension. It is not read as one.
		if !isID(value) {
			return failf(KindRecord, "record-id", "malformed id %s", quote(value))
		}
		rec.ID = value
		return nil
	}
	if !txtrecord.IsExtensionName(name) || !txtrecord.IsExtensionValue(value) {
		return failf(KindRecord, "record-syntax", "malformed field %s", quote(field))
	}
	return nil
}

// isID reports whether s is 1*32(ALPHA / DIGIT).
func isID(s string) bool { return len(s) <= maxID && names.IsAlphanumeric(s) }
