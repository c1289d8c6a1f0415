package special

import (
	"net/netip"
	"testing"
)

// D15: the examples of RFC 6052 section 2.4, there and back.
func TestD15TranslateThereAndBack(t *testing.T) {
	t.Parallel()
	v4 := netip.MustParseAddr("192.0.2.33")
	for prefix, want := range map[string]string{
		"2001:db8::/32":           "2001:db8:c000:221::",
		"2001:db8:100::/40":       "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":       "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56":   "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64":   "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96":   "2001:db8:122:344::192.0.2.33",
		"64:ff9b:1::/48":          "64:ff9b:1:c000:2:2100::",
		"64:ff9b:1:fffe::/96":     "64:ff9b:1:fffe::192.0.2.33",
		"fd00:0:0:64:0:1234::/96": "fd00:0:0:64:0:1234:192.0.2.33",
	} {
		p := netip.MustParsePrefix(prefix)
		got, ok := Translate(p, v4)
		if !ok || got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s, %v, want %s", prefix, got, ok, want)
		}
		if back := Destination(p, got); back != v4 {
			t.Errorf("%s: %s leads to %s", prefix, got, back)
		}
		if next := p.Addr().Prev(); Destination(p, next) != next {
			t.Errorf("%s: %s is not in it", prefix, next)
		}
	}
	wellKnown := netip.MustParsePrefix("64:ff9b::/96")
	for addr, ok := range map[string]bool{"8.8.8.8": true, "10.0.0.1": false, "127.0.0.1": false, "192.0.2.33": false, "2001:db8::1": false} {
		if _, got := Translate(wellKnown, netip.MustParseAddr(addr)); got != ok {
			t.Errorf("%s with the well-known prefix: %v", addr, got)
		}
	}
	if v := netip.MustParseAddr("2001:db8::1"); Destination(netip.Prefix{}, v) != v {
		t.Error("without a NAT64, an address leads elsewhere")
	}
}

// D15: prefixes of a NAT64.
func TestD15IsNAT64(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{
		"64:ff9b::/96": true, "2001:db8::/32": true, "2001:db8:1::/64": true,
		"2001:db8::/33": false, "::/0": false, "2001:db8::1/96": false, "2001:db8::/128": false,
		"10.0.0.0/8": false, "::ffff:0:0/96": false, "2001:db8:0:0:100::/96": false,
	} {
		if got := IsNAT64(netip.MustParsePrefix(prefix)); got != ok {
			t.Errorf("%s: %v", prefix, got)
		}
	}
	if IsNAT64(netip.Prefix{}) {
		t.Error("the zero prefix is one")
	}
}

// D15: two networks belong to NAT64s alone.
func TestD15WellKnownNetworks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"64:ff9b::/96": true, "64:ff9b:1::/48": true, "64:ff9b:1:ff00::/56": true, "64:ff9b:1:2:103:4::/96": false, "64:ff9b:1:2::/96": true,
		"64:ff9b::/64": false, "64:ff9b::/32": false, "64:ff9b:2::/96": false, "2606:64::/96": false, "fd00::/96": false,
	} {
		if got := IsWellKnownNAT64(netip.MustParsePrefix(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	if IsWellKnownNAT64(netip.Prefix{}) {
		t.Error("the zero Prefix is well known")
	}
}
