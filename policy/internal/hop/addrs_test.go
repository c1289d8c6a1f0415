package hop_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy/internal/hop"
)

func TestFamilyOfAddress(t *testing.T) {
	t.Parallel()
	for addr, v4 := range map[string]bool{"192.0.2.1": true, "::ffff:192.0.2.1": true, "2001:db8::1": false} {
		a := netip.MustParseAddr(addr)
		if hop.IPv4.Has(a) != v4 || hop.IPv6.Has(a) == v4 {
			t.Errorf("%s", addr)
		}
	}
}

// NMX-12: the addresses of a host in the resolver's order, at least two of
// them, and of both families.
func TestAddressesOfAHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ addrs, want string }{
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.2 192.0.2.1", "192.0.2.2 192.0.2.1"},
		{"192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5", "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4"},
		{"2001:db8::1 2001:db8::2 2001:db8::3 2001:db8::4 2001:db8::5 192.0.2.1", "2001:db8::1 192.0.2.1 2001:db8::2 2001:db8::3"},
		{"192.0.2.1 192.0.2.2 2001:db8::1 2001:db8::2", "192.0.2.1 2001:db8::1 192.0.2.2 2001:db8::2"},
	} {
		var parsed []netip.Addr
		for _, addr := range strings.Fields(test.addrs) {
			parsed = append(parsed, netip.MustParseAddr(addr))
		}
		var got []string
		order := hop.InTurn(parsed)
		for _, addr := range order[:min(len(order), 4)] { // Host.DialContext tries four
			got = append(got, addr.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("of %s: %q, want %s", test.addrs, got, test.want)
		}
	}
}
