// Package hostaddr looks up the addresses of hosts as *net.Resolver does.
package hostaddr

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// Lookup is like the method LookupNetIP of *net.Resolver. ask looks up the addresses of host
// of one family, by the type of their records. Both are looked up at once; if one lookup
// fails and the other finds addresses, these are returned.
func Lookup(network, host string, ask func(rtype uint16) ([]netip.Addr, error)) (addrs []netip.Addr, err error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		if network == "ip4" && !addr.Unmap().Is4() || network == "ip6" && addr.Unmap().Is4() {
			return nil, NotFound(addr.String())
		}
		return []netip.Addr{addr}, nil
	}
	var types []uint16
	switch network {
	case "ip":
		types = []uint16{dns.TypeA, dns.TypeAAAA}
	case "ip4":
		types = []uint16{dns.TypeA}
	case "ip6":
		types = []uint16{dns.TypeAAAA}
	default:
		return nil, net.UnknownNetworkError(network)
	}
	type outcome struct {
		addrs []netip.Addr
		err   error
	}
	outcomes := make([]chan outcome, len(types))
	for i, rtype := range types {
		outcomes[i] = make(chan outcome, 1)
		go func() {
			addrs, err := ask(rtype)
			outcomes[i] <- outcome{addrs, err}
		}()
	}
	for _, c := range outcomes {
		o := <-c
		if o.err != nil {
			err = o.err
		}
		addrs = append(addrs, o.addrs...)
	}
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case err != nil:
		return nil, err
	default:
		return nil, NotFound(host)
	}
}

// NotFound is the error for a name without the records asked for.
func NotFound(name string) error {
	return &net.DNSError{Err: "no such host or record", Name: name, IsNotFound: true}
}
