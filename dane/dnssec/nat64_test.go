package dnssec

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// D15: a name without AAAA records has those that the NAT64 translates to its A records,
// with the status and the aliases of these. Real AAAA records, names that do not exist and
// failed lookups stay what they are.
func TestD15AddressesAreTranslated(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what, name string
		prefix     string // empty means no NAT64
		bend       func(m *dns.Msg)
		status     Status
		addrs      []string
		aliases    int
		nxdomain   bool
		fails      bool
	}{
		{what: "secure", name: "mx.example.com", prefix: "2001:db8:64::/96", status: Secure, addrs: []string{"2001:db8:64::c000:201"}},
		{what: "another length", name: "mx.example.com", prefix: "2001:db8:122::/48", status: Secure, addrs: []string{"2001:db8:122:c000:2:100::"}},
		{what: "insecure", name: "mx.plain.com", prefix: "2001:db8:64::/96", status: Insecure, addrs: []string{"2001:db8:64::c000:204"}},
		{what: "behind an alias", name: "alias.example.com", prefix: "2001:db8:64::/96", status: Secure, addrs: []string{"2001:db8:64::c000:201"}, aliases: 1},
		{what: "behind an alias into an unsigned zone", name: "away.example.com", prefix: "2001:db8:64::/96", status: Insecure, addrs: []string{"2001:db8:64::c000:204"}, aliases: 1},
		{what: "real AAAA records", name: "six.example.com", prefix: "2001:db8:64::/96", status: Secure, addrs: []string{"2001:db8::6"}},
		{what: "no addresses", name: "example.com", prefix: "2001:db8:64::/96", status: Secure},
		{what: "no such name", name: "none.example.com", prefix: "2001:db8:64::/96", status: Secure, nxdomain: true},
		{what: "a local address and the well-known prefix", name: "mx.example.com", prefix: "64:ff9b::/96", status: Secure},
		{what: "no NAT64", name: "mx.example.com", status: Secure},
		{what: "forged A records", name: "mx.example.com", prefix: "2001:db8:64::/96", fails: true, bend: func(m *dns.Msg) {
			if m.Question[0].Qtype == dns.TypeA {
				m.Answer[0].(*dns.A).A[3]++
			}
		}},
		{what: "no A answer", name: "mx.example.com", prefix: "2001:db8:64::/96", fails: true, bend: func(m *dns.Msg) {
			if m.Question[0].Qtype == dns.TypeA {
				m.Rcode = dns.RcodeServerFailure
			}
		}},
		{what: "no AAAA answer", name: "mx.example.com", prefix: "2001:db8:64::/96", fails: true, bend: func(m *dns.Msg) {
			if m.Question[0].Qtype == dns.TypeAAAA {
				m.Rcode = dns.RcodeServerFailure
			}
		}},
	} {
		t.Run("D15 "+tt.what, func(t *testing.T) {
			t.Parallel()
			w := mail(t)
			w.zones["example.com."].add(t, "six.example.com. 60 IN AAAA 2001:db8::6")
			w.zones["example.com."].add(t, "six.example.com. 60 IN A 192.0.2.6")
			if tt.bend != nil {
				w.mangle = func(_, _ string, m *dns.Msg) *dns.Msg {
					if m.Question[0].Name == dns.Fqdn(tt.name) {
						tt.bend(m)
					}
					return m
				}
			}
			a, err := w.lookup(tt.name, dns.TypeAAAA, func(c *Config) {
				if tt.prefix != "" {
					c.NAT64 = netip.MustParsePrefix(tt.prefix)
				}
			})
			if tt.nxdomain && w.asked[dns.Fqdn(tt.name)+" A"] > 0 {
				t.Error("asked for the A records of a name that does not exist")
			}
			if err != nil || tt.fails {
				if (err != nil) != tt.fails {
					t.Errorf("%+v, %v", a, err)
				}
				return
			}
			var addrs []string
			for _, record := range a.Records {
				addr, ok := record.Addr()
				if !ok || record.Type != TypeAAAA {
					t.Errorf("record %v", record)
				}
				addrs = append(addrs, addr.String())
			}
			if a.Status != tt.status || !slices.Equal(addrs, tt.addrs) || len(a.Aliases) != tt.aliases || a.NXDomain != tt.nxdomain {
				t.Errorf("%+v, addresses %v, want %+v", a, addrs, tt)
			}
		})
	}
}

// D15: New refuses a prefix that no NAT64 can have.
func TestD15WrongPrefixIsRefused(t *testing.T) {
	t.Parallel()
	for prefix, ok := range map[string]bool{"64:ff9b::/96": true, "2001:db8::/33": false, "10.0.0.0/8": false} {
		v, err := New(Config{Servers: []string{"192.0.2.53"}, NAT64: netip.MustParsePrefix(prefix)})
		if (err == nil) != ok || ok && v.NAT64() != netip.MustParsePrefix(prefix) {
			t.Errorf("D15 %s: %v", prefix, err)
		}
		if err != nil {
			mentions(t, err, prefix, "RFC 6052")
		}
	}
}
