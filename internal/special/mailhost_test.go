package special

import (
	"net/netip"
	"testing"
)

// S10: the networks in which no mail host is, each at both bounds and one address
// outside of them.
func TestS10NetworksWithoutMailHosts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		before, first, last, after string // before and after may be empty
	}{
		{"", "0.0.0.0", "0.255.255.255", "1.0.0.0"},
		{"126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
		{"169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
		{"223.255.255.255", "224.0.0.0", "239.255.255.255", ""},
		{"", "240.0.0.0", "255.255.255.255", ""},
		{"", "::", "::1", "::1:0:0:0:1"},
		{"ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::"},
		{"fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
		{"", "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
		{"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
	} {
		for _, inside := range []string{test.first, test.last} {
			if !IsNoMailHost(netip.MustParseAddr(inside)) {
				t.Errorf("%s would be dialed", inside)
			}
		}
		for _, outside := range []string{test.before, test.after} {
			if outside != "" && IsNoMailHost(netip.MustParseAddr(outside)) {
				t.Errorf("%s is not dialed", outside)
			}
		}
	}
	for _, s := range []string{
		"10.0.0.1", "100.64.0.1", "172.16.0.1", "192.168.1.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
		"fc00::1", "fd12:3456::1", "2001:db8::1", "3fff::1", "2001:db8::7f00:1", "2606:4700::1111", "1.1.1.1",
	} {
		if IsNoMailHost(netip.MustParseAddr(s)) {
			t.Errorf("%s is not dialed", s)
		}
	}
	for _, s := range []string{"fe80::1%eth0", "::1%lo", "::ffff:127.0.0.1%eth0"} {
		if !IsNoMailHost(netip.MustParseAddr(s)) {
			t.Errorf("%s would be dialed", s)
		}
	}
	if !IsNoMailHost(netip.Addr{}) {
		t.Error("the zero address would be dialed")
	}
}

// S10: every IPv6 notation of an IPv4 address is judged like the address itself.
func TestS10NotationsOfIPv4Addresses(t *testing.T) {
	t.Parallel()
	notations := map[string]func(v4 [4]byte) []byte{
		"plain":              func(v4 [4]byte) []byte { return v4[:] },
		"compatible":         behind("::"),
		"mapped":             behind("::ffff:0:0"),
		"translated":         behind("::ffff:0:0:0"),
		"NAT64":              behind("64:ff9b::"),
		"local NAT64":        behind("64:ff9b:1::"),
		"local NAT64, other": behind("64:ff9b:1:fffe::"),
		"local NAT64 of 48 bits": func(v4 [4]byte) []byte {
			b := octets("64:ff9b:1::")
			b[6], b[7], b[9], b[10] = v4[0], v4[1], v4[2], v4[3]
			return b
		},
		"local NAT64 of 56 bits": func(v4 [4]byte) []byte {
			b := octets("64:ff9b:1:100::")
			b[7], b[9], b[10], b[11] = v4[0], v4[1], v4[2], v4[3]
			return b
		},
		"local NAT64 of 64 bits": func(v4 [4]byte) []byte {
			b := octets("64:ff9b:1:1::")
			copy(b[9:], v4[:])
			return b
		},
		"6to4": func(v4 [4]byte) []byte {
			b := octets("2002::1")
			copy(b[2:], v4[:])
			return b
		},
		"ISATAP":               behind("2001:db8::5efe:0:0"),
		"ISATAP, universal":    behind("2001:db8::200:5efe:0:0"),
		"ISATAP, private":      behind("fd00::5efe:0:0"),
		"ISATAP behind NAT64":  behind("64:ff9b:0:1::5efe:0:0"),
		"ISATAP behind 6to4":   behind("2002:c000:201::5efe:0:0"),
		"ISATAP, no prefix":    behind("::5efe:0:0"),
		"ISATAP, no prefix, u": behind("::200:5efe:0:0"),
	}
	for name, notation := range notations {
		for v4, refused := range map[[4]byte]bool{
			{127, 0, 0, 0}: true, {127, 0, 0, 1}: true, {127, 1, 2, 3}: true, {127, 255, 255, 255}: true, {169, 254, 169, 254}: true,
			{224, 0, 0, 1}: true, {240, 0, 0, 1}: true, {255, 255, 255, 255}: true,
			{192, 0, 2, 1}: false, {10, 1, 2, 3}: false, {100, 64, 1, 1}: false, {203, 0, 113, 9}: false, {128, 9, 9, 9}: false,
		} {
			addr, ok := netip.AddrFromSlice(notation(v4))
			if !ok {
				t.Fatal(name)
			}
			if IsNoMailHost(addr) != refused {
				t.Errorf("%s of %v: %s: refused %v, want %v", name, v4, addr, !refused, refused)
			}
		}
	}
	for _, name := range []string{"plain", "compatible", "mapped", "translated", "NAT64", "local NAT64", "local NAT64 of 48 bits", "6to4", "ISATAP"} {
		if zero, _ := netip.AddrFromSlice(notations[name]([4]byte{})); !IsNoMailHost(zero) {
			t.Errorf("%s of 0.0.0.0: %s would be dialed", name, zero)
		}
	}
	for _, outside := range []string{
		"::1:0:7f00:1", "::fffe:7f00:1", "::ffff:1:7f00:1", "64:ff9b:0:0:1::7f00:1", "64:ff9b:2::7f00:1", "2001:7f00:1::",
		"2003:7f00:1::", "2001:db8::5eff:7f00:1", "2001:db8::100:5efe:7f00:1", "2001:db8::1:5efe:7f00:1",
	} {
		if IsNoMailHost(netip.MustParseAddr(outside)) {
			t.Errorf("%s is not dialed", outside)
		}
	}
}

// behind returns the notation that puts the IPv4 address into the last four octets.
func behind(prefix string) func(v4 [4]byte) []byte {
	return func(v4 [4]byte) []byte {
		b := octets(prefix)
		copy(b[12:], v4[:])
		return b
	}
}

func octets(s string) []byte {
	b := netip.MustParseAddr(s).As16()
	return b[:]
}
