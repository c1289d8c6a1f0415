// Package survey finds out what DNS says about the mail hosts of a domain: their
// addresses, and their TLSA records.
package survey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy/internal/decision"
)

// atOnce bounds the hosts that are looked up concurrently in one call of [Ask].
const atOnce = 8

// ErrNotAHost means that the exchange of an MX record is an address or not a
// name. No connection is made to it (RFC 5321 section 5.1, RFC 7672 section 2.2).
var ErrNotAHost = errors.New("the MX record does not name a host")

// Host says what to look up about one mail host.
type Host struct {
	Name      string
	Malformed bool // Name is not that of a host
	Port      uint16
	// Addr is the address of a host that is given by its address. Nothing is looked up.
	Addr netip.Addr
	// Pinned means that the operator has pinned TLSA records for all hosts.
	Pinned bool
	// NoTLSA means that only addresses are looked up.
	NoTLSA bool
}

// Facts are the results of the lookups for one host. The zero value is a failed lookup.
type Facts struct {
	// DANE has the answers; nil if the lookup failed or was not made.
	DANE *dane.Discovery
	// Addrs are those of DANE that are dialed.
	Addrs []netip.Addr
	TLSA  decision.TLSA
	// Err is why there are no addresses or no TLSA answer.
	Err error
}

// Ask looks up all hosts, and returns what it found in their order.
func Ask(ctx context.Context, resolver dnssec.Resolver, hosts []Host) []Facts {
	found := make([]Facts, len(hosts))
	places := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	for i, host := range hosts {
		places <- struct{}{}
		group.Go(func() {
			found[i] = host.ask(ctx, resolver)
			<-places
		})
	}
	group.Wait()
	return found
}

func (h Host) ask(ctx context.Context, resolver dnssec.Resolver) Facts {
	without := decision.TLSANone
	if h.Pinned {
		without = decision.TLSAUsable
	}
	switch {
	case h.Addr.IsValid():
		literal := &dane.Discovery{Name: h.Name, Addrs: []netip.Addr{h.Addr}, State: dane.NotApplicable}
		return Facts{TLSA: without, DANE: literal, Addrs: literal.Addrs}
	case h.Malformed:
		return Facts{Err: ErrNotAHost}
	case h.NoTLSA:
		addresses, err := dane.Addresses(ctx, resolver, h.Name)
		if err != nil {
			return Facts{Err: err}
		}
		return Facts{TLSA: without, DANE: addresses, Addrs: addresses.Addrs}
	}
	discovered, err := dane.Discover(ctx, resolver, h.Name, h.Port)
	if err != nil {
		return Facts{Err: err}
	}
	return Facts{TLSA: outcome(discovered.State), DANE: discovered, Addrs: discovered.Addrs}
}

// outcome returns the state of a discovery as a column of the decision table. A state
// that it does not know is a failure.
func outcome(state dane.State) decision.TLSA {
	switch state {
	case dane.Usable:
		return decision.TLSAUsable
	case dane.Unusable:
		return decision.TLSAUnusable
	case dane.NoRecords, dane.NotApplicable:
		return decision.TLSANone
	default:
		return decision.TLSAFailed
	}
}

// LeaveOut leaves out the addresses that are not permitted. If that leaves none, why
// is the reason.
func (f *Facts) LeaveOut(permitted func(netip.Addr) bool, why error) {
	all := f.Addrs
	f.Addrs = nil
	for _, addr := range all {
		if permitted(addr) {
			f.Addrs = append(f.Addrs, addr)
		}
	}
	if len(all) > 0 && len(f.Addrs) == 0 {
		f.Err = fmt.Errorf("%w %s", why, all[0])
	}
}

// Size estimates the memory in octets that a discovery takes, with its answers; 0 for nil.
func Size(d *dane.Discovery) int {
	if d == nil {
		return 0
	}
	size := 24 * len(d.Addrs)
	for _, record := range d.Records {
		size += 2 * (40 + len(record.Data))
	}
	for _, lookup := range d.Lookups {
		if lookup.Answer != nil {
			size += 200 + 150*(len(lookup.Answer.Records)+len(lookup.Answer.Aliases))
		}
	}
	return size
}
