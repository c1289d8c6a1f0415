package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCanonicalDomain(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, test := range []struct {
		in, want string // want empty: an error
	}{
		{"example.org", "example.org"},
		{"Example.ORG.", "example.org"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example.", "xn--bcher-kva.example"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"under_score.example", "under_score.example"},
		{long + ".example", long + ".example"},
		{long + "a.example", ""},
		{strings.Repeat("a.", 127) + "example", ""},
		{"", ""},
		{".", ""},
		{"..", ""},
		{"a..b", ""},
		{".example", ""},
		{"-a.example", ""},
		{"a-.example", ""},
		{"a-", ""},
		{"a b.example", ""},
		{"a\x00b.example", ""},
		{"example.org\r\nRCPT TO:<x>", ""},
		{"192.0.2.1", ""},
		{"1", ""},
		{"[192.0.2.1]", ""},
		{"*.example", ""},
		{"a\u3002b", "a.b"}, // the ideographic full stop is a dot in IDNA
		{"\xff\xfe.example", ""},
	} {
		got, err := canonicalDomain(test.in)
		if got := got; (err == nil) != (test.want != "") || err == nil && got != test.want {
			t.Errorf("canonicalDomain(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestCanonicalDomainCostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := canonicalDomain("mail.example.org"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a name in canonical form", n)
	}
}

func TestParseNextHop(t *testing.T) {
	for _, test := range []struct {
		in   string
		want nextHop // without port: an error
	}{
		{"relay.example.net", nextHop{name: "relay.example.net", port: 25, configured: true}},
		{"relay.example.net:2525", nextHop{name: "relay.example.net", port: 2525, configured: true}},
		{"[Relay.example.net]", nextHop{name: "relay.example.net", port: 25, direct: true, configured: true}},
		{"[relay.example.net]:587", nextHop{name: "relay.example.net", port: 587, direct: true, configured: true}},
		{"[192.0.2.1]", nextHop{addr: netip.MustParseAddr("192.0.2.1"), port: 25, direct: true, configured: true}},
		{"[IPv6:2001:db8::1]:26", nextHop{addr: netip.MustParseAddr("2001:db8::1"), port: 26, direct: true, configured: true}},
		{in: "192.0.2.1"},
		{in: "[relay.example.net"},
		{in: "[relay.example.net]587"},
		{in: "relay.example.net:"},
		{in: "relay.example.net:0"},
		{in: "relay.example.net:65536"},
		{in: "relay.example.net:25:25"},
		{in: "2001:db8::1"},
		{in: "[fe80::1%eth0]"},
		{in: "[]"},
		{in: ""},
	} {
		got, err := parseNextHop(test.in, 25)
		if wantError := test.want.port == 0; wantError != (err != nil) {
			t.Errorf("parseNextHop(%q): error %v", test.in, err)
		} else if !wantError && got != test.want {
			t.Errorf("parseNextHop(%q) = %+v, want %+v", test.in, got, test.want)
		}
	}
}

func FuzzParseNextHop(f *testing.F) {
	for _, seed := range []string{"relay.example.net:25", "[192.0.2.1]:25", "[IPv6:2001:db8::1]", "bücher.example", "]["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		hop, err := parseNextHop(s, 25)
		if err != nil {
			return
		}
		if hop.port == 0 || hop.name == "" && !hop.addr.IsValid() {
			t.Errorf("%q: %+v", s, hop)
		}
		if hop.name != "" {
			if again, err := canonicalDomain(hop.name); err != nil || again != hop.name {
				t.Errorf("%q: %q is not canonical: %q, %v", s, hop.name, again, err)
			}
		}
	})
}
