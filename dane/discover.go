package dane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// Host is what DNS says about one mail host (RFC 7672 sections 2.2.2 and
// 2.2.3).
type Host struct {
	// Name is the name that was asked for, in A-labels and lower case,
	// without final dot. So is BaseDomain.
	Name string
	// Addrs are the addresses to connect to, IPv4 first: at least one, and at
	// most 16 of each family. Looking them up again would undo what was found here.
	Addrs []netip.Addr
	// AddrStatus is the security of the addresses, aliases included.
	AddrStatus dnssec.Status
	// Aliases lead from Name to the name that has the addresses.
	Aliases []dnssec.Alias

	// BaseDomain is the TLSA base domain: the name that has the secure TLSA
	// RRset. It goes into SNI and is the first of the [ReferenceNames]. Empty
	// if there is no such RRset: then DANE does not apply to the host.
	BaseDomain string
	// Records is the secure TLSA RRset, all of it. A single record, even an
	// unusable one, commits the host to TLS.
	Records []Record
	// Usable is what [Select] leaves of Records.
	Usable []Record

	// Lookups are the DNS lookups that were made, in order, one of which may
	// have failed: see [Discover].
	Lookups []Lookup
	// Expires is when the first of the answers does, including those that
	// deny something.
	Expires time.Time
}

// Lookup is one DNS lookup on the way to a Host: either Answer or Err is set.
type Lookup struct {
	Name   string      // with final dot
	Type   dnssec.Type // TypeA, TypeAAAA or TypeTLSA
	Answer *dnssec.Answer
	Err    error
}

// ErrAddressLiteral is the error for a host that is an IP address and not a
// name. DANE does not apply to it (RFC 7672 section 2.2), and it must not be
// looked up.
var ErrAddressLiteral = errors.New("dane: the host is an IP address; DANE does not apply")

// Discover finds the addresses of a mail host and, if they are secure, its TLSA
// records for a TCP port. Host may be an MX exchange, a configured relay, or a
// domain without MX records.
//
// The A and the AAAA records are looked up at once and judged apart. A family
// whose lookup failed gives no addresses; the host can then be used if the
// other family gave secure ones. Otherwise the lookup has failed: without a
// proof that the host is in an unsigned zone, what did not fail might be the
// half that an attacker left. When the two families disagree on aliases or
// security, which takes a change of the zone in between, the one that lets DANE
// do more gives all addresses, IPv4 if there is no difference.
//
// TLSA records are asked for only where they can be secure (RFC 7672 section
// 2.2.2): if the addresses are, at the name that all aliases lead to, and then
// at the name given; if the addresses are not but the first alias is, at the
// name given; else not at all, because many name servers in unsigned zones fail
// on the question. The first name with a secure RRset is the base domain.
//
// All errors mean that the host must not be used now. They are
// [ErrAddressLiteral], a [*NoAddressError], a [*LookupError], the context's
// error, or one about a malformed name.
func Discover(ctx context.Context, resolver dnssec.Resolver, host string, port uint16) (*Host, error) {
	name, err := hostName(host)
	if err != nil {
		return nil, err
	}
	d := &discovery{ctx: ctx, resolver: resolver, host: &Host{Name: canonical(name)}}
	if err := d.addresses(name, securelyAddressed); err != nil {
		return nil, err
	}
	for _, candidate := range d.host.candidates(name) {
		if _, ok := dns.IsDomainName(RecordName(candidate, port)); !ok {
			continue // too long a name for there to be a TLSA record of it
		}
		found, err := d.records(candidate, port)
		if err != nil {
			return nil, err
		}
		if found {
			break
		}
	}
	return d.host, nil
}

// hostName returns a name in A-labels with final dot.
func hostName(host string) (string, error) {
	literal := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(host, "."), "["), "]")
	if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
		literal = literal[5:]
	}
	if _, err := netip.ParseAddr(literal); err == nil {
		return "", ErrAddressLiteral
	}
	name := host
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		var err error
		if name, err = idna.Lookup.ToASCII(host); err != nil || !utf8.ValidString(host) {
			return "", fmt.Errorf("dane: host %.64q is not an internationalized name", host)
		}
	}
	if _, ok := dns.IsDomainName(name); !ok || canonical(name) == "" {
		return "", fmt.Errorf("dane: host %.64q is not a domain name", host)
	}
	return dns.CanonicalName(name), nil
}

// discovery fills a Host.
type discovery struct {
	ctx      context.Context
	resolver dnssec.Resolver
	host     *Host
}

// lookup asks one question. An answer that claims to be none of what a Resolver
// may return is a failure, so that it is not taken for "no records".
func (d *discovery) lookup(name string, t dnssec.Type) Lookup {
	answer, err := d.resolver.Lookup(d.ctx, name, t)
	switch {
	case err != nil:
	case answer == nil:
		err = errors.New("dane: the resolver returned no answer and no error")
	case answer.Status != dnssec.Secure && answer.Status != dnssec.Insecure:
		err = fmt.Errorf("dane: the resolver returned an answer that is %v", answer.Status)
	}
	if err != nil {
		return Lookup{Name: name, Type: t, Err: err}
	}
	return Lookup{Name: name, Type: t, Answer: answer}
}

// note takes down a lookup that is over, and how long its answer is good for.
func (d *discovery) note(l Lookup) {
	h := d.host
	h.Lookups = append(h.Lookups, l)
	if l.Answer != nil && (h.Expires.IsZero() || l.Answer.Expires.Before(h.Expires)) {
		h.Expires = l.Answer.Expires
	}
}

// failed is the error for a lookup that must not fail.
func (d *discovery) failed(err error) error {
	if d.ctx.Err() != nil {
		return fmt.Errorf("dane: lookup of host %.64q: %w", d.host.Name, d.ctx.Err())
	}
	return &LookupError{Host: d.host.Name, Lookups: d.host.Lookups, Err: err}
}

// addresses looks up A and AAAA and decides which of them count. enough is what
// one family has to give when the lookup of the other failed.
func (d *discovery) addresses(name string, enough rank) error {
	var lookups [2]Lookup
	var wait sync.WaitGroup
	for i, t := range []dnssec.Type{dnssec.TypeA, dnssec.TypeAAAA} {
		wait.Go(func() { lookups[i] = d.lookup(name, t) })
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
	case failure != nil && lead.rank() < enough:
		return d.failed(failure)
	case lead.rank() == notAddressed:
		return &NoAddressError{Host: d.host.Name, Lookups: d.host.Lookups, Expires: d.host.Expires}
	}
	d.host.AddrStatus = lead.answer.Status
	d.host.Aliases = lead.answer.Aliases
	for _, f := range families {
		if f.agrees(lead) {
			d.host.Addrs = append(d.host.Addrs, f.addrs...)
		}
	}
	return nil
}

// candidates returns the candidate TLSA base domains of RFC 7672 section 2.2.2,
// with final dot.
func (h *Host) candidates(name string) []string {
	switch rankOf(h.AddrStatus, h.Aliases) {
	case securelyAddressed:
		if len(h.Aliases) > 0 {
			return []string{dns.CanonicalName(h.Aliases[len(h.Aliases)-1].Target), name} // "Secure CNAME"
		}
		return []string{name} // "Non-CNAME"
	case securelyAliased:
		return []string{name} // "Insecure CNAME", the first one secure
	default:
		return nil
	}
}

// records looks up the TLSA records at one candidate and reports whether it is
// the base domain (RFC 7672 section 2.2.3). An alias at the TLSA name does not
// change the base domain.
func (d *discovery) records(candidate string, port uint16) (bool, error) {
	l := d.lookup(RecordName(candidate, port), dnssec.TypeTLSA)
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
	d.host.BaseDomain = canonical(candidate)
	d.host.Records = records
	d.host.Usable = Select(records)
	return true, nil
}

// recordsOf returns the content of a TLSA RRset.
func recordsOf(answer *dnssec.Answer) ([]Record, error) {
	var records []Record
	for _, record := range answer.Records {
		tlsa, ok := record.TLSA()
		if !ok {
			return nil, errors.New("dane: the resolver returned a record that is not TLSA, or a malformed one")
		}
		records = append(records, FromTLSA(tlsa))
	}
	return records, nil
}
