package dane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/names"
)

// Discover looks up the addresses of a mail host and, if they are secure, its
// TLSA records for a TCP port. The host is an MX exchange, a configured relay, or
// a domain without MX records. Its name may have U-labels and a final dot.
//
// The A and AAAA records are looked up concurrently, and each family is judged by
// its own status. A family whose lookup failed gives no addresses; if the other
// family has none either, the lookup of the host has failed. If the families differ
// in aliases or security, because the zone changed between the lookups, the
// family for which DANE can do more gives all addresses; IPv4 does if there is no
// difference.
//
// TLSA records count only where they can be secure (RFC 7672 section 2.2.2):
//
//   - If the addresses are secure, at the name that all aliases lead to, and then
//     at the host's own name.
//   - If the addresses are insecure behind a secure first alias, at the host's own
//     name.
//   - Otherwise not at all. Many name servers of unsigned zones fail on TLSA
//     queries.
//
// They are looked up after the addresses, with one exception to the order of that
// section. If the resolver has the method LookupAhead of [dnssec.Validator], and as
// far as it knows the host's own name is in a signed zone, the TLSA records at that
// name are looked up together with the addresses. This saves a round trip. Discover
// waits for them, and their failure counts, only if the rules above require the
// lookup.
//
// The first name with a secure RRset is the TLSA base domain.
//
// Every error is an [*Error] and means that the host must not be used now:
// [ErrDomain], [ErrAddressLiteral], [ErrNoAddress], [ErrLookupFailed], or the error
// of ctx.
func Discover(ctx context.Context, resolver dnssec.Resolver, host string, port uint16) (*Discovery, error) {
	name, err := hostName(host)
	if err != nil {
		return nil, err
	}
	d := &discoverer{ctx: ctx, resolver: resolver, found: &Discovery{Name: name}}
	stop := d.lookAhead(port)
	defer stop()
	if err := d.addresses(); err != nil {
		return nil, err
	}
	candidates := d.found.candidates()
	d.found.State = NoRecords
	if len(candidates) == 0 {
		d.found.State = NotApplicable
	}
	for _, candidate := range candidates {
		if !isRecordName(candidate, port) {
			continue
		}
		found, err := d.records(candidate, port)
		if err != nil {
			return nil, err
		}
		if found {
			break
		}
	}
	return d.found, nil
}

// Addresses looks up the addresses of a mail host and no TLSA records. It is for
// hosts to which the sender does not apply DANE. The State of the result is
// Unknown. The errors are those of [Discover].
func Addresses(ctx context.Context, resolver dnssec.Resolver, host string) (*Discovery, error) {
	name, err := hostName(host)
	if err != nil {
		return nil, err
	}
	d := &discoverer{ctx: ctx, resolver: resolver, found: &Discovery{Name: name}}
	if err := d.addresses(); err != nil {
		return nil, err
	}
	return d.found, nil
}

// hostName returns the name of a host in A-labels and lower case, without final
// dot.
func hostName(host string) (string, error) {
	literal := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(host, "."), "["), "]")
	if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
		literal = literal[5:]
	}
	if _, err := netip.ParseAddr(literal); err == nil {
		return "", &Error{Host: host, kind: ErrAddressLiteral}
	}
	name, err := names.Canonical(host)
	if err != nil {
		return "", &Error{Host: host, Err: err, kind: ErrDomain}
	}
	return name, nil
}

// discoverer fills a Discovery.
type discoverer struct {
	ctx      context.Context
	resolver dnssec.Resolver
	found    *Discovery
	// ahead waits for the TLSA records at the host's own name; nil if they are not
	// being looked up.
	ahead func() (*dnssec.Answer, error)
}

// lookAhead starts the lookup of the TLSA records at the host's own name, if the
// resolver can tell that the host seems to be in a signed zone. The caller calls
// stop when the answer is no longer of use.
func (d *discoverer) lookAhead(port uint16) (stop func()) {
	resolver, ok := d.resolver.(interface {
		LookupAhead(ctx context.Context, of dnssec.Resolver, name string, t dnssec.Type) func() (*dnssec.Answer, error)
	})
	if !ok || !isRecordName(d.found.Name, port) {
		return func() {}
	}
	ctx, stop := context.WithCancel(d.ctx)
	d.ahead = resolver.LookupAhead(ctx, d.resolver, RecordName(d.found.Name, port), dnssec.TypeTLSA)
	return stop
}

// isRecordName reports whether the name of the TLSA records is not too long.
func isRecordName(host string, port uint16) bool {
	const maxName = 255 // octets (RFC 1035 section 2.3.4); IsDomainName permits two more
	_, err := dns.PackDomainName(RecordName(host, port), make([]byte, maxName), 0, nil, false)
	return err == nil
}

// lookup makes one query.
func (d *discoverer) lookup(name string, t dnssec.Type) Lookup {
	answer, err := d.resolver.Lookup(d.ctx, name, t)
	return newLookup(name, t, answer, err)
}

// newLookup returns what a Resolver returned. An answer that no Resolver may return is
// a failure, so that it does not count as "no records".
func newLookup(name string, t dnssec.Type, answer *dnssec.Answer, err error) Lookup {
	switch {
	case err != nil:
	case answer == nil:
		err = errors.New("the resolver returned no answer and no error")
	case answer.Status != dnssec.Secure && answer.Status != dnssec.Insecure:
		err = fmt.Errorf("the resolver returned an answer that is %v", answer.Status)
	}
	if err != nil {
		return Lookup{Name: name, Type: t, Err: err}
	}
	return Lookup{Name: name, Type: t, Answer: answer}
}

// note adds a lookup and the expiry of its answer to the result.
func (d *discoverer) note(l Lookup) {
	d.found.Lookups = append(d.found.Lookups, l.shortened(maxAddresses))
	if l.Answer != nil && (d.found.Expires.IsZero() || l.Answer.Expires.Before(d.found.Expires)) {
		d.found.Expires = l.Answer.Expires
	}
}

// failed returns the error for a lookup that is required. The end of the caller's
// context is not a failure of the domain.
func (d *discoverer) failed(err error) error {
	if d.ctx.Err() != nil {
		return &Error{Host: d.found.Name, Lookups: d.withoutRecords(), Err: d.ctx.Err()}
	}
	return &Error{Host: d.found.Name, Lookups: d.withoutRecords(), Err: err, kind: ErrLookupFailed}
}

// withoutRecords returns the lookups for an error. Errors are kept for days, in queues,
// and an answer may have thousands of records.
func (d *discoverer) withoutRecords() []Lookup {
	lookups := make([]Lookup, len(d.found.Lookups))
	for i, l := range d.found.Lookups {
		lookups[i] = l.shortened(0)
	}
	return lookups
}

// addresses looks up A and AAAA and decides which of them count.
func (d *discoverer) addresses() error {
	var lookups [2]Lookup
	var wait sync.WaitGroup
	for i, t := range []dnssec.Type{dnssec.TypeA, dnssec.TypeAAAA} {
		wait.Go(func() { lookups[i] = d.lookup(d.found.Name+".", t) })
	}
	wait.Wait()

	var failure error
	var lead family
	families := make([]family, 0, len(lookups))
	for _, l := range lookups {
		d.note(l)
		if l.Err != nil {
			failure = errors.Join(failure, l.Err)
			continue
		}
		f := newFamily(l)
		families = append(families, f)
		if f.rank() > lead.rank() {
			lead = f
		}
	}
	switch {
	case lead.rank() != notAddressed:
	case failure != nil:
		return d.failed(failure)
	default:
		return &Error{Host: d.found.Name, Lookups: d.found.Lookups, Expires: d.found.Expires, kind: ErrNoAddress}
	}
	d.found.AddrStatus = lead.answer.Status
	d.found.Aliases = lead.answer.Aliases
	for _, f := range families {
		if f.agrees(lead) {
			d.found.Addrs = append(d.found.Addrs, f.addrs...)
		}
	}
	return nil
}

// candidates returns the candidate TLSA base domains of RFC 7672 section 2.2.2,
// in lower case, without final dot.
func (d *Discovery) candidates() []string {
	switch rankOf(d.AddrStatus, d.Aliases) {
	case securelyAddressed:
		if len(d.Aliases) > 0 {
			return []string{names.Fold(d.Aliases[len(d.Aliases)-1].Target), d.Name} // "Secure CNAME"
		}
		return []string{d.Name} // "Non-CNAME"
	case securelyAliased:
		return []string{d.Name} // "Insecure CNAME", the first one secure
	default:
		return nil
	}
}

// records looks up the TLSA records at one candidate and reports whether it is
// the base domain (RFC 7672 section 2.2.3). An alias at the TLSA name does not
// change the base domain.
func (d *discoverer) records(candidate string, port uint16) (bool, error) {
	l := d.recordLookup(candidate, port)
	var records []Record
	if l.Err == nil {
		records, l.Err = recordsOf(l.Answer)
	}
	if l.Err != nil {
		l.Answer = nil
		d.note(l)
		return false, d.failed(l.Err)
	}
	d.note(l)
	if l.Answer.Status != dnssec.Secure || len(records) == 0 {
		return false, nil
	}
	d.found.BaseDomain = candidate
	d.found.Records = records
	d.found.Usable = Select(records)
	d.found.State = Usable
	if len(d.found.Usable) == 0 {
		d.found.State = Unusable
	}
	return true, nil
}

// recordLookup returns the lookup of the TLSA records, which may be under way. If that
// one failed, the records are looked up once more, and that result counts.
func (d *discoverer) recordLookup(candidate string, port uint16) Lookup {
	name := RecordName(candidate, port)
	if d.ahead != nil && candidate == d.found.Name {
		if answer, err := d.ahead(); err == nil {
			return newLookup(name, dnssec.TypeTLSA, answer, nil)
		}
	}
	return d.lookup(name, dnssec.TypeTLSA)
}

// recordsOf returns the content of a TLSA RRset.
func recordsOf(answer *dnssec.Answer) ([]Record, error) {
	var records []Record
	for _, record := range answer.Records {
		tlsa, ok := record.TLSA()
		if !ok {
			return nil, errors.New("the resolver returned a malformed TLSA record, or one of another type")
		}
		records = append(records, FromTLSA(tlsa))
	}
	return records, nil
}
