package mtasts

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Resolver looks up the TXT record of a domain and the addresses of its policy
// host. [*net.Resolver] is one, and so are the resolvers of package dnssec.
// Names come with a final dot, so that no search list applies to them. The
// methods must return when ctx is done: other lookups for the domain wait.
//
// LookupTXT returns one string for each record, its character-strings joined
// without spaces, and follows aliases. A name without such records is a
// [*net.DNSError] with IsNotFound set; any other error is a failure.
//
// A Resolver that knows how long an answer is good for has one more method,
//
//	LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error)
//
// which is then used in place of LookupTXT. The time counts also for a name
// that is not found.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// For how long what DNS said about a TXT record is taken for true. A TTL is
// kept to within these bounds: one of zero must not cost a query for each
// message, and a forged one of a week must not hide a policy for that long.
const (
	minTTL         = time.Minute
	maxTTL         = 24 * time.Hour
	maxNegativeTTL = time.Hour
	unknownTTL     = 5 * time.Minute // if the Resolver does not tell
	dnsRetry       = time.Minute     // after a failed lookup
)

// dnsTimeout bounds the lookup of a TXT record.
const dnsTimeout = 10 * time.Second

// discovery is what DNS says about a domain's policy.
type discovery struct {
	record Record    // zero unless err is nil
	until  time.Time // when to look again
	err    error     // ErrNoRecord or an *Error
}

// failure returns what is wrong with it for a domain that has a policy in force,
// nil if nothing is.
func (d *discovery) failure(domain string) error {
	if errors.Is(d.err, ErrNoRecord) {
		return &Error{Domain: domain, Kind: KindRecord, ReasonCode: "record-missing", Err: d.err}
	}
	return d.err
}

// discover looks up the MTA-STS record of domain (RFC 8461 section 3.1).
func (c *Client) discover(ctx context.Context, domain string) discovery {
	name := "_mta-sts." + domain
	if len(name) > maxName {
		return discovery{until: c.now().Add(maxNegativeTTL), err: ErrNoRecord}
	}
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	txts, until, err := c.lookupTXT(ctx, rooted(name))
	now := c.now()
	if err != nil && !isNotFound(err) {
		return discovery{
			until: now.Add(dnsRetry),
			err:   &Error{Domain: domain, Kind: KindDNS, ReasonCode: dnsReason(err), Err: err},
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

// clamp returns until, kept between minTTL and longest from now.
func clamp(until, now time.Time, longest time.Duration) time.Time {
	return now.Add(min(max(until.Sub(now), minTTL), longest))
}

// lookupTXT asks the resolver; the time is zero if it does not tell.
func (c *Client) lookupTXT(ctx context.Context, name string) ([]string, time.Time, error) {
	r, ok := c.cfg.Resolver.(interface {
		LookupTXTUntil(ctx context.Context, name string) ([]string, time.Time, error)
	})
	if ok {
		return r.LookupTXTUntil(ctx, name)
	}
	txts, err := c.cfg.Resolver.LookupTXT(ctx, name)
	return txts, time.Time{}, err
}

// rooted returns name with a final dot.
func rooted(name string) string { return name + "." }

func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// dnsReason names a failed lookup, in the words of the resolver if it has any.
func dnsReason(err error) string {
	var reporter interface {
		TLSReport() (resultType, reasonCode string)
	}
	if errors.As(err, &reporter) {
		if _, code := reporter.TLSReport(); code != "" {
			return "dns-" + printable(code)
		}
	}
	switch {
	case isNotFound(err):
		return "dns-not-found"
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return "dns-timeout"
	default:
		return "dns-failure"
	}
}
