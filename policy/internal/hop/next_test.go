package hop_test

import (
	"net/netip"
	"testing"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy/internal/hop"
)

func TestParseNextHop(t *testing.T) {
	for _, test := range []struct {
		in   string
		want hop.Next // without Port: an error
	}{
		{"relay.example.net", hop.Next{Name: "relay.example.net", Port: 25, Configured: true}},
		{"relay.example.net:2525", hop.Next{Name: "relay.example.net", Port: 2525, Configured: true}},
		{"[Relay.example.net]", hop.Next{Name: "relay.example.net", Port: 25, Direct: true, Configured: true}},
		{"[relay.example.net]:587", hop.Next{Name: "relay.example.net", Port: 587, Direct: true, Configured: true}},
		{"[192.0.2.1]", hop.Next{Addr: netip.MustParseAddr("192.0.2.1"), Port: 25, Direct: true, Configured: true}},
		{"[IPv6:2001:db8::1]:26", hop.Next{Addr: netip.MustParseAddr("2001:db8::1"), Port: 26, Direct: true, Configured: true}},
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
		got, err := hop.Parse(test.in, 25)
		if wantError := test.want.Port == 0; wantError != (err != nil) {
			t.Errorf("hop.Parse(%q): error %v", test.in, err)
		} else if !wantError && got != test.want {
			t.Errorf("hop.Parse(%q) = %+v, want %+v", test.in, got, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"relay.example.net:25", "[192.0.2.1]:25", "[IPv6:2001:db8::1]", "bücher.example", "]["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		next, err := hop.Parse(s, 25)
		if err != nil {
			return
		}
		if next.Port == 0 || next.Name == "" && !next.Addr.IsValid() {
			t.Errorf("%q: %+v", s, next)
		}
		if next.Name != "" {
			if again, err := names.Canonical(next.Name); err != nil || again != next.Name {
				t.Errorf("%q: %q is not canonical: %q, %v", s, next.Name, again, err)
			}
		}
	})
}
