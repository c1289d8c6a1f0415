package dnssec

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/hosts"
	"github.com/mxseal/mxseal/dane/dnssec/internal/nat64"
	"github.com/mxseal/mxseal/dane/dnssec/internal/proof"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/internal/special"
)

// local is what the host and its network say about addresses, besides the DNS. The zero
// value says nothing.
type local struct {
	hosts  *hosts.File
	prefix netip.Prefix // of the NAT64
	finder *nat64.Finder
	now    func() time.Time
}

// newLocal returns nil if nothing is configured. isSecure reports whether a prefix that is
// not well known may come from a server.
func newLocal(f *front, file string, prefix netip.Prefix, discover bool, isSecure func(*upstream.Server) bool) (*local, error) {
	if file == "" && !prefix.IsValid() && !discover {
		return nil, nil
	}
	l := &local{prefix: prefix, now: f.now}
	switch {
	case prefix.IsValid() && !special.IsNAT64(prefix):
		return nil, fmt.Errorf("dnssec: NAT64 prefix %s is not a prefix of RFC 6052: give an IPv6 network of 32, 40, 48, 56, 64 or 96 bits", prefix)
	case prefix.IsValid() && discover:
		return nil, fmt.Errorf("dnssec: NAT64 is %s and DiscoverNAT64 is set: set one of them", prefix)
	case discover:
		l.finder = nat64.NewFinder(nat64.Asker{Client: f.client, IsSecure: isSecure}.Ask, f.now, f.lookups.Limit)
	}
	if file != "" {
		var err error
		if l.hosts, err = hosts.Open(file, f.now); err != nil {
			return nil, fmt.Errorf("dnssec: %w", err)
		}
	}
	return l, nil
}

// lookup answers q by what the host says, or else by ask. A name that the hosts file has,
// in either family, has no other addresses. A name without AAAA records has those that the
// NAT64 translates to its A records (RFC 6147 section 5.1.7).
func (l *local) lookup(ctx context.Context, q question, ask func(question) (*Answer, error)) (*Answer, error) {
	known := func(q question) (*Answer, error) {
		if a := l.fromFile(q); a != nil {
			return a, nil
		}
		return ask(q)
	}
	a, err := known(q)
	if err != nil || Type(q.rtype) != TypeAAAA || len(a.Records) > 0 || a.NXDomain {
		return a, err
	}
	prefix, err := l.nat64(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, interrupted(q, ctx.Err())
	case err != nil:
		return nil, failure(q, NAT64Unknown, "%s", names.Printable(err.Error(), 300))
	case !prefix.IsValid():
		return a, nil
	}
	v4, err := known(question{q.name, uint16(TypeA)})
	if err != nil {
		return nil, err
	}
	return l.translated(v4, a, prefix), nil
}

// nat64 returns the prefix, or the zero Prefix if there is no NAT64.
func (l *local) nat64(ctx context.Context) (netip.Prefix, error) {
	if l.finder == nil {
		return l.prefix, nil
	}
	return l.finder.Prefix(ctx)
}

// translated returns the AAAA records for the A records of v4. Without any, it returns absent.
// A prefix that was discovered leads to public addresses only.
func (l *local) translated(v4, absent *Answer, prefix netip.Prefix) *Answer {
	made := *v4
	made.Records, made.Expires = nil, earliest(v4.Expires, absent.Expires)
	for _, record := range v4.Records {
		addr, _ := record.Addr()
		if l.finder != nil && special.Is(addr) {
			continue
		}
		if translated, ok := special.Translate(prefix, addr); ok {
			record.Type, record.Data = TypeAAAA, translated.AsSlice()
			made.Records = append(made.Records, record)
		}
	}
	if len(made.Records) == 0 {
		return absent
	}
	return &made
}

// known returns the prefix of the NAT64, as far as it is known.
func (l *local) known() netip.Prefix {
	switch {
	case l == nil:
		return netip.Prefix{}
	case l.finder != nil:
		return l.finder.Known()
	default:
		return l.prefix
	}
}

// fileTTL is how long an answer from the hosts file is kept by those who ask.
const fileTTL = time.Minute

// fromFile returns nil if the hosts file says nothing about q.
func (l *local) fromFile(q question) *Answer {
	if l.hosts == nil || Type(q.rtype) != TypeA && Type(q.rtype) != TypeAAAA {
		return nil
	}
	addrs, ok := l.hosts.Lookup(q.name)
	if !ok {
		return nil
	}
	return hostAnswer(q, addrs, fileTTL, l.now())
}

// hostAnswer is an answer with those of the addresses that have the family of q. It is
// insecure, because it is not signed.
func hostAnswer(q question, addrs []netip.Addr, ttl time.Duration, now time.Time) *Answer {
	a := &Answer{Name: q.name, Status: Insecure, Expires: now.Add(ttl)}
	for _, addr := range addrs {
		if Type(q.rtype) == TypeA && addr.Is4() || Type(q.rtype) == TypeAAAA && addr.Is6() {
			a.Records = append(a.Records, Record{Name: q.name, Type: Type(q.rtype), TTL: ttl, Data: addr.AsSlice()})
		}
	}
	return a
}

// specialUseAnswer answers a question for a special-use name: localhost is this host, and
// nothing exists below the others.
func specialUseAnswer(q question, now time.Time) *Answer {
	if proof.Within(q.name, "localhost.") {
		return hostAnswer(q, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, proof.MaxTTL*time.Second, now)
	}
	a := hostAnswer(q, nil, proof.MaxTTL*time.Second, now)
	a.NXDomain = true
	return a
}
