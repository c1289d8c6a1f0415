package hop

import "net/netip"

// Family is a set of addresses. The zero value is all of them.
type Family uint8

const (
	AnyFamily Family = iota
	IPv4
	IPv6
)

// Has reports whether an address is of the family IPv4 or IPv6. An IPv4 address in IPv6
// form is of the family IPv4.
func (f Family) Has(addr netip.Addr) bool { return addr.Unmap().Is4() == (f == IPv4) }

// InTurn returns addresses in the resolver's order (RFC 5321 section 5.1), with
// the two families in turn, so that a sender without IPv6 does not use up its
// attempts on IPv6.
func InTurn(addrs []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() == addrs[0].Is4() {
			first = append(first, addr)
		} else {
			second = append(second, addr)
		}
	}
	if len(second) == 0 {
		return addrs
	}
	mixed := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		mixed = append(mixed, first[min(i, len(first)):min(i+1, len(first))]...)
		mixed = append(mixed, second[min(i, len(second)):min(i+1, len(second))]...)
	}
	return mixed
}
