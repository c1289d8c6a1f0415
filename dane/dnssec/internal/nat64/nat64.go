// Package nat64 finds the prefix by which a network reaches IPv4 addresses, by the
// addresses that a DNS64 server makes for a name that has none (RFC 7050).
package nat64

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/flight"
	"github.com/mxseal/mxseal/internal/special"
)

// Name is the name whose AAAA records a DNS64 server makes. It has only A records.
const Name = "ipv4only.arpa."

// wellKnown are the addresses in the A records of Name.
var wellKnown = [...]netip.Addr{netip.AddrFrom4([4]byte{192, 0, 0, 170}), netip.AddrFrom4([4]byte{192, 0, 0, 171})}

// Answer is the answer to the question for the AAAA records of Name.
type Answer struct {
	Addrs  []netip.Addr // empty if there is no NAT64
	TTL    time.Duration
	Server string // that answered
	// Authenticated is true if nobody on the network can have forged the answer.
	Authenticated bool
}

// Finder finds the prefix, and keeps it. It is safe for concurrent use.
type Finder struct {
	ask    func(context.Context) (*Answer, error)
	now    func() time.Time
	asking flight.Group[struct{}, netip.Prefix]

	mu      sync.Mutex
	prefix  netip.Prefix // the last one
	expires time.Time
}

// NewFinder returns a Finder. ask looks up Name, with the CD bit clear: a DNS64 server makes
// no addresses for a client that validates (RFC 7050 section 3). A search takes no longer
// than limit.
func NewFinder(ask func(context.Context) (*Answer, error), now func() time.Time, limit time.Duration) *Finder {
	return &Finder{ask: ask, now: now, asking: flight.Group[struct{}, netip.Prefix]{Limit: limit}}
}

// Known returns the prefix that was found last, or the zero Prefix.
func (f *Finder) Known() netip.Prefix {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.prefix
}

// How long what was found is kept. A network changes its prefix rarely, but a host may
// change networks.
const (
	minTTL = time.Minute
	maxTTL = time.Hour
)

// Prefix returns the prefix, or the zero Prefix if the network has no NAT64. It asks if that
// is not known. An error means that nothing is known.
func (f *Finder) Prefix(ctx context.Context) (netip.Prefix, error) {
	f.mu.Lock()
	prefix, fresh := f.prefix, f.now().Before(f.expires)
	f.mu.Unlock()
	if fresh {
		return prefix, nil
	}
	flying := f.asking.Join(ctx, struct{}{}, f.find)
	defer f.asking.Leave(struct{}{}, flying)
	return flying.Wait(ctx)
}

func (f *Finder) find(ctx context.Context) (netip.Prefix, error) {
	a, err := f.ask(ctx)
	if err != nil {
		return netip.Prefix{}, err
	}
	prefix, err := choose(a)
	if err != nil {
		return netip.Prefix{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prefix, f.expires = prefix, f.now().Add(min(max(a.TTL, minTTL), maxTTL))
	return prefix, nil
}

// choose returns the prefix to use: of several always the same one. A prefix decides where
// mail goes, so one of the network's own counts only if it came over a secure channel (RFC
// 7050 section 3.1), and none that leads into a private network. Nothing but a NAT64 is
// behind the well-known prefixes.
func choose(a *Answer) (netip.Prefix, error) {
	found := Prefixes(a.Addrs)
	if len(found) == 0 {
		if len(a.Addrs) > 0 {
			return netip.Prefix{}, fmt.Errorf("DNS server %s gives addresses of %q that show no NAT64 prefix: set NAT64 to the prefix of the network", a.Server, Name)
		}
		return netip.Prefix{}, nil
	}
	prefix := slices.MinFunc(found, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	switch {
	case special.IsWellKnownNAT64(prefix):
		return prefix, nil
	case !a.Authenticated:
		return netip.Prefix{}, fmt.Errorf("DNS server %s gives the NAT64 prefix %s, which anyone on the network can forge: "+
			"set NAT64 to it if it is right, or use a server over TLS", a.Server, prefix)
	case special.Is(prefix.Addr()):
		return netip.Prefix{}, fmt.Errorf("DNS server %s gives the NAT64 prefix %s, which is not public: set NAT64 to it if it is right", a.Server, prefix)
	default:
		return prefix, nil
	}
}

// Prefixes returns the prefixes in which the addresses carry a well-known IPv4 address (RFC
// 7050 section 3). If an address carries one in several places, those count in which
// another address carries the other one.
func Prefixes(addrs []netip.Addr) []netip.Prefix {
	carried := make(map[netip.Prefix][]netip.Addr)
	var candidates [][]netip.Prefix // of each address
	for _, addr := range addrs {
		var of []netip.Prefix
		for _, bits := range []int{32, 40, 48, 56, 64, 96} {
			prefix, err := addr.Prefix(bits)
			if err != nil || !special.IsNAT64(prefix) || addr.As16()[8] != 0 {
				continue
			}
			if v4 := special.Destination(prefix, addr); slices.Contains(wellKnown[:], v4) {
				of = append(of, prefix)
				carried[prefix] = append(carried[prefix], v4)
			}
		}
		candidates = append(candidates, of)
	}
	var found []netip.Prefix
	for _, of := range candidates {
		for _, prefix := range of {
			both := slices.Contains(carried[prefix], wellKnown[0]) && slices.Contains(carried[prefix], wellKnown[1])
			if (len(of) == 1 || both) && !slices.Contains(found, prefix) {
				found = append(found, prefix)
			}
		}
	}
	return found
}
