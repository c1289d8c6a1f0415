// Package survey finds out what DNS says about the mail hosts of a domain: their
// addresses, and their TLSA records.
package survey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy/internal/decision"
	"github.com/mxseal/mxseal/policy/internal/hop"
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
	// Found has the answers; nil if the lookup failed or was not made.
	Found *Found
	// Addrs are those of Found that are dialed.
	Addrs []netip.Addr
	TLSA  decision.TLSA
	// Err is why there are no addresses or no TLSA answer.
	Err error
}

// Known returns what can be said about the hosts without a lookup, in their order. ok is
// false, and the facts are of no use, if one of them needs a lookup.
func Known(table *Table, hosts []Host, now time.Time) (facts []Facts, ok bool) {
	facts = make([]Facts, len(hosts))
	for i, host := range hosts {
		if facts[i], ok = host.known(table, now); !ok {
			return facts, false
		}
	}
	return facts, true
}

// Ask returns what is found at the hosts, in their order: in the table, or else by lookups.
// It calls meanwhile while these are under way.
func Ask(ctx context.Context, resolver dnssec.Resolver, table *Table, hosts []Host, clock func() time.Time, meanwhile func()) []Facts {
	facts := make([]Facts, len(hosts))
	var places chan struct{}
	var group sync.WaitGroup
	for i, host := range hosts {
		if known, ok := host.known(table, clock()); ok {
			facts[i] = known
			continue
		}
		if places == nil {
			places = make(chan struct{}, atOnce)
		}
		group.Go(func() {
			places <- struct{}{}
			facts[i] = host.ask(ctx, resolver, table, clock)
			<-places
		})
	}
	meanwhile()
	group.Wait()
	return facts
}

// known returns what can be said about the host without a lookup.
func (h Host) known(table *Table, now time.Time) (facts Facts, ok bool) {
	switch {
	case h.Addr.IsValid():
		literal := &dane.Discovery{Name: h.Name, Addrs: []netip.Addr{h.Addr}, State: dane.NotApplicable}
		return h.facts(newFound(literal, now)), true
	case h.Malformed:
		return Facts{Err: ErrNotAHost}, true
	}
	found := table.get(h, now)
	if found == nil {
		return Facts{}, false
	}
	return h.facts(found), true
}

func (h Host) ask(ctx context.Context, resolver dnssec.Resolver, table *Table, clock func() time.Time) Facts {
	began := clock()
	lookup := func() (*dane.Discovery, error) { return dane.Discover(ctx, resolver, h.Name, h.Port) }
	if h.NoTLSA {
		lookup = func() (*dane.Discovery, error) { return dane.Addresses(ctx, resolver, h.Name) }
	}
	discovered, err := lookup()
	if err != nil {
		return Facts{Err: err}
	}
	found := newFound(discovered, began)
	table.put(h, found, clock())
	return h.facts(found)
}

func (h Host) facts(found *Found) Facts {
	facts := Facts{Found: found, Addrs: found.Addrs, TLSA: outcome(found.State)}
	if h.NoTLSA || h.Addr.IsValid() {
		facts.TLSA = decision.TLSANone
		if h.Pinned {
			facts.TLSA = decision.TLSAUsable
		}
	}
	return facts
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

// Denied reports whether the route leads to no host that has an address, and no
// lookup failed. status is the weakest one of the answers that say so. A list that
// was cut short has hosts of which nothing is known.
func Denied(route hop.Route, found []Facts) (status dnssec.Status, denied bool) {
	if route.Omitted > 0 || route.Backup {
		return 0, false
	}
	status = route.Status
	for _, facts := range found {
		if facts.Err == nil {
			return 0, false
		}
		var failure *dane.Error
		switch {
		case errors.Is(facts.Err, ErrNotAHost):
			continue // only the MX record says so
		case !errors.Is(facts.Err, dane.ErrNoAddress) || !errors.As(facts.Err, &failure):
			return 0, false
		}
		for _, lookup := range failure.Lookups {
			if lookup.Answer == nil || lookup.Answer.Status != dnssec.Secure {
				status = dnssec.Insecure
			}
		}
	}
	return status, true
}

// InTurn returns the addresses in the order in which they are tried.
func (f *Facts) InTurn() []netip.Addr {
	if f.Found != nil && len(f.Addrs) == len(f.Found.inTurn) {
		return f.Found.inTurn
	}
	return hop.InTurn(f.Addrs)
}

// LeaveOut leaves out the addresses that are not permitted. If none is left, Err wraps
// why.
func (f *Facts) LeaveOut(permitted func(netip.Addr) bool, why error) {
	refused := func(addr netip.Addr) bool { return !permitted(addr) }
	first := slices.IndexFunc(f.Addrs, refused)
	if first < 0 {
		return
	}
	all := f.Addrs // which other plans share
	f.Addrs = append(all[:first:first], slices.DeleteFunc(slices.Clone(all[first+1:]), refused)...)
	if len(f.Addrs) == 0 {
		f.Err = fmt.Errorf("%w %s", why, all[0])
	}
}
