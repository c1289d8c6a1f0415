package policytest

import "net/netip"

// ranges returns the ranges that addresses are taken from, in this order: those
// for documentation (RFC 5737), for benchmarks (RFC 2544), and for documentation in
// IPv6 (RFC 3849).
func ranges() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
}

// Contains reports whether addr is in one of the ranges that this internet takes
// addresses from: 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 198.18.0.0/15 and
// 2001:db8::/32. Use it for settings that permit special-purpose addresses, such
// as policy.Config.AllowPolicyHost.
func (inet *Internet) Contains(addr netip.Addr) bool {
	for _, r := range ranges() {
		if r.Contains(addr) {
			return true
		}
	}
	return false
}

// pool gives out addresses.
type pool struct {
	ranges []netip.Prefix
	next   netip.Addr // in the first range, or the zero value for its first address
	used   map[netip.Addr]bool
}

func newPool() pool { return pool{ranges: ranges(), used: make(map[netip.Addr]bool)} }

// take returns an unused address.
func (p *pool) take() netip.Addr {
	for len(p.ranges) > 0 {
		addr := p.next
		if !addr.IsValid() {
			addr = p.ranges[0].Addr().Next()
		}
		p.next = addr.Next()
		switch {
		case !p.ranges[0].Contains(p.next): // the last address of a range is for broadcasts, or the client
			p.ranges, p.next = p.ranges[1:], netip.Addr{}
		case !p.used[addr]:
			p.used[addr] = true
			return addr
		}
	}
	panic("policytest: out of addresses")
}

// allocate returns an unused address. More than 130,000 are IPv4 addresses; the
// next are IPv6 addresses.
func (inet *Internet) allocate() netip.Addr {
	inet.mu.Lock()
	defer inet.mu.Unlock()
	return inet.pool.take()
}
