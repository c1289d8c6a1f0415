package special

import "net/netip"

// IsNAT64 reports whether a NAT64 can have the prefix (RFC 6052 section 2.2). The bits
// after the prefix must be zero, and so must octet 8.
func IsNAT64(prefix netip.Prefix) bool {
	if !prefix.IsValid() || !prefix.Addr().Is6() || prefix.Addr().Is4In6() || prefix.Masked() != prefix || prefix.Addr().As16()[8] != 0 {
		return false
	}
	switch prefix.Bits() {
	case 32, 40, 48, 56, 64, 96:
		return true
	default:
		return false
	}
}

// IsWellKnownNAT64 reports whether only NAT64s have the prefix, whatever the network: it is
// that of RFC 6052 section 2.1, or one in the network of RFC 8215.
func IsWellKnownNAT64(prefix netip.Prefix) bool {
	return IsNAT64(prefix) && (prefix == prefixNAT64 || prefix.Bits() >= prefixLocalNAT64.Bits() && prefixLocalNAT64.Contains(prefix.Addr()))
}

// Translate returns the IPv6 address by which the NAT64 with the prefix reaches an IPv4
// address. It returns false if there is none: the well-known prefix must not be used
// for addresses that are not global (RFC 6052 section 3.1).
func Translate(prefix netip.Prefix, addr netip.Addr) (netip.Addr, bool) {
	if !IsNAT64(prefix) || !addr.Is4() || prefix == prefixNAT64 && Is(addr) {
		return netip.Addr{}, false
	}
	octets := prefix.Addr().As16()
	for i, at := range nat64Octets(prefix) {
		octets[at] = addr.As4()[i]
	}
	return netip.AddrFrom16(octets), true
}

// Destination returns the IPv4 address that packets to addr end up at, if addr is in the
// prefix of the NAT64, and otherwise addr. What follows the IPv4 address does not count,
// because a NAT64 may ignore it. The zero Prefix means that there is no NAT64.
func Destination(prefix netip.Prefix, addr netip.Addr) netip.Addr {
	if !IsNAT64(prefix) || !prefix.Contains(addr.WithZone("")) {
		return addr
	}
	var carried [4]byte
	for i, at := range nat64Octets(prefix) {
		carried[i] = addr.As16()[at]
	}
	return netip.AddrFrom4(carried)
}

// nat64Octets returns which octets have the IPv4 address. It passes over octet 8.
func nat64Octets(prefix netip.Prefix) (at [4]int) {
	next := prefix.Bits() / 8
	for i := range at {
		if next == 8 {
			next++
		}
		at[i] = next
		next++
	}
	return at
}

// NAT64Of returns the prefix of the NAT64 that a resolver makes addresses for, if it says
// so, and otherwise the zero Prefix.
func NAT64Of(resolver any) netip.Prefix {
	if r, ok := resolver.(interface{ NAT64() netip.Prefix }); ok {
		return r.NAT64()
	}
	return netip.Prefix{}
}
