package special

import "net/netip"

// notMailHosts are the networks in which no mail host of another domain is: the
// sender itself, its own link, groups of hosts, and what is reserved or discarded.
// :: and ::1 are not in the list because ::/96 carries IPv4 addresses, and theirs
// are in 0.0.0.0/8.
var notMailHosts = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // this network
	netip.MustParsePrefix("127.0.0.0/8"),    // loopback
	netip.MustParsePrefix("169.254.0.0/16"), // link-local
	netip.MustParsePrefix("224.0.0.0/4"),    // multicast
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved, limited broadcast
	netip.MustParsePrefix("100::/64"),       // discard-only
	netip.MustParsePrefix("fe80::/10"),      // link-local
	netip.MustParsePrefix("fec0::/10"),      // site-local, deprecated
	netip.MustParsePrefix("ff00::/8"),       // multicast
}

// The IPv6 networks whose addresses carry an IPv4 address, besides 2002::/16 and
// 64:ff9b::/96.
var (
	prefixCompatible = netip.MustParsePrefix("::/96")           // RFC 4291 section 2.5.5.1, deprecated
	prefixTranslated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 7915, SIIT
	prefixLocalNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	thisNetwork      = netip.MustParsePrefix("0.0.0.0/8")       // no destination
)

// IsNoMailHost reports whether addr is one to which no mail of another domain goes, in
// whatever notation. A domain whose records have it would make the sender connect to
// itself, to services that trust its own machine or link, or to many hosts. Unlike in
// Is, private and shared addresses are mail hosts, because domains of the sender's own
// network have them. IsNoMailHost is true for the zero Addr.
func IsNoMailHost(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || isIn(notMailHosts[:], addr) {
		return true
	}
	for _, carried := range carriedIPv4(addr) {
		if isIn(notMailHosts[:], carried) {
			return true
		}
	}
	return false
}

// carriedIPv4 returns the IPv4 addresses that an IPv6 address carries. Packets to
// it end up at one of them.
func carriedIPv4(addr netip.Addr) []netip.Addr {
	if addr.Is4() {
		return nil
	}
	const last = 12 // the offset of the last four octets
	var carried []netip.Addr
	switch {
	case prefix6to4.Contains(addr):
		carried = append(carried, embedded(addr, 2))
	case prefixLocalNAT64.Contains(addr):
		carried = append(carried, localNAT64(addr)...)
	case prefixNAT64.Contains(addr), prefixCompatible.Contains(addr), prefixTranslated.Contains(addr):
		carried = append(carried, embedded(addr, last))
	}
	// An ISATAP interface identifier (RFC 5214 section 6.1) may follow any prefix.
	octets := addr.As16()
	if octets[8]&^2 == 0 && [3]byte(octets[9:12]) == [3]byte{0x00, 0x5e, 0xfe} {
		carried = append(carried, embedded(addr, last))
	}
	return carried
}

// localNAT64 returns the IPv4 addresses that an address in 64:ff9b:1::/48 may carry. A
// network chooses a prefix in it of 48, 56, 64 or 96 bits. After the shorter ones, the
// IPv4 address passes over octet 8, and zeros follow it (RFC 6052 section 2.2). A
// prefix that gives an address in 0.0.0.0/8 is not the one in use, unless all give one.
func localNAT64(addr netip.Addr) []netip.Addr {
	b := addr.As16()
	possible := []netip.Addr{embedded(addr, 12)}
	if [4]byte(b[12:]) == [4]byte{} && b[11] == 0 {
		possible = append(possible, netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}))
	}
	if [4]byte(b[12:]) == [4]byte{} {
		possible = append(possible, netip.AddrFrom4([4]byte{b[7], b[9], b[10], b[11]}))
	}
	if [3]byte(b[13:]) == [3]byte{} {
		possible = append(possible, netip.AddrFrom4([4]byte(b[9:13])))
	}
	var likely []netip.Addr
	for _, carried := range possible {
		if !thisNetwork.Contains(carried) {
			likely = append(likely, carried)
		}
	}
	if len(likely) == 0 {
		return possible
	}
	return likely
}
