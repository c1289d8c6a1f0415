// Package special knows the IP addresses that serve special purposes: those that no
// host on the public Internet has, and those at which no mail host is.
package special

import "net/netip"

// specialIPv4 are the IPv4 networks of the IANA special-purpose address
// registry (RFC 6890) that are not reachable globally, and multicast.
var specialIPv4 = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("10.0.0.0/8"),      // private
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("127.0.0.0/8"),     // loopback
	netip.MustParsePrefix("169.254.0.0/16"),  // link-local
	netip.MustParsePrefix("172.16.0.0/12"),   // private
	netip.MustParsePrefix("192.0.0.0/24"),    // IETF protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays, deprecated
	netip.MustParsePrefix("192.168.0.0/16"),  // private
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarking
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("224.0.0.0/4"),     // multicast
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, limited broadcast
}

// In IPv6 only 2000::/3 is given out for global unicast (RFC 4291 section
// 2.4). What is not in it is special: loopback, link-local, unique-local,
// multicast, and all that is reserved. These are the exceptions inside it.
var (
	globalIPv6  = netip.MustParsePrefix("2000::/3")
	specialIPv6 = [...]netip.Prefix{
		netip.MustParsePrefix("2001::/23"),     // IETF protocol assignments, Teredo
		netip.MustParsePrefix("2001:db8::/32"), // documentation
		netip.MustParsePrefix("3fff::/20"),     // documentation
	}
	// These carry an IPv4 address, which is where the packets end up.
	prefix6to4  = netip.MustParsePrefix("2002::/16")
	prefixNAT64 = netip.MustParsePrefix("64:ff9b::/96")
)

// Is reports whether addr is one that no host on the public Internet can have. A policy
// host, or an endpoint for reports, that claims it would make the sender connect to its
// own network. The zero Addr is special.
func Is(addr netip.Addr) bool {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid() || addr.Zone() != "":
		return true
	case addr.Is4():
		return isIn(specialIPv4[:], addr)
	case prefix6to4.Contains(addr):
		return Is(embedded(addr, 2))
	case prefixNAT64.Contains(addr):
		return Is(embedded(addr, 12))
	default:
		return !globalIPv6.Contains(addr) || isIn(specialIPv6[:], addr)
	}
}

// embedded returns the IPv4 address at offset in an IPv6 address.
func embedded(addr netip.Addr, offset int) netip.Addr {
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[offset : offset+4]))
}

func isIn(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
