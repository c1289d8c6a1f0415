package names_test

import (
	"net/netip"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
)

func TestIsLiteral(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]bool{
		"[192.0.2.1]": true, "[x]": true, "[]": false, "[": false, "": false, "192.0.2.1": false, "[192.0.2.1": false, "192.0.2.1]": false,
	} {
		if names.IsLiteral(domain) != want {
			t.Errorf("IsLiteral(%q) is not %v", domain, want)
		}
	}
}

// RFC 5321 section 4.1.3. The tag of IPv6 addresses is often left out.
func TestParseLiteral(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for s, want := range map[string]netip.Addr{
		"192.0.2.1": v4, "IPv6:2001:db8::1": v6, "ipv6:2001:DB8::1": v6, "2001:db8::1": v6,
		"": {}, "IPv6:": {}, "192.0.2": {}, "192.0.2.01": {}, "x": {}, "fe80::1%eth0": {}, "IPv6:fe80::1%1": {}, "[192.0.2.1]": {}, " 192.0.2.1": {},
		"IPv6:192.0.2.1": {}, "ipv6:127.0.0.1": {}, "IPv6:::ffff:192.0.2.1": netip.MustParseAddr("::ffff:192.0.2.1"), "IPv6: ::1": {}, "IPv6:IPv6:::1": {},
		"2130706433": {}, "127.1": {}, "0x7f000001": {}, "0177.0.0.1": {}, "IPv4:192.0.2.1": {}, "192.0.2.1.": {}, "192.0.2.256": {},
	} {
		got, err := names.ParseLiteral(s)
		if got != want || (err == nil) != want.IsValid() {
			t.Errorf("ParseLiteral(%q) = %v, %v, want %v", s, got, err, want)
		}
		if err != nil {
			continue
		}
		text := names.Literal(got)
		if again, err := names.ParseLiteral(text[1 : len(text)-1]); !names.IsLiteral(text) || again != got || err != nil {
			t.Errorf("Literal(%v) = %q, which is %v, %v", got, text, again, err)
		}
	}
}
