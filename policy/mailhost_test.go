package policy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/policydns"
)

// dialed records the addresses that a Resolver connects to, and connects to none.
type dialed struct{ addrs []string }

func (d *dialed) dial(_ context.Context, _, addr string) (net.Conn, error) {
	d.addrs = append(d.addrs, addr)
	return nil, errors.New("connection refused")
}

// addressRecord is an A or AAAA record for a name.
func addressRecord(name, addr string) string {
	if strings.Contains(addr, ":") {
		return name + ". AAAA " + addr
	}
	return name + ". A " + addr
}

// S10: an address of the sender itself is not dialed, however it is written and
// however the host was found, unless the configuration permits it.
func TestS10SpecialAddressesAreNotDialed(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{
		"0.0.0.0", "127.0.0.1", "127.255.255.255", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "fec0::1", "ff02::1", "100::1",
		"::127.0.0.1", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::127.0.0.1",
		"64:ff9b:1:7f00:0:100::", "2002:7f00:1::1", "2001:db8::5efe:127.0.0.1", "2001:db8::200:5efe:127.0.0.1",
	} {
		record := addressRecord("mx.example.org", addr)
		implicit := addressRecord("implicit.example", addr)
		literal := "[" + addr + "]"
		if strings.Contains(addr, ":") {
			literal = "[IPv6:" + addr + "]"
		}
		for _, status := range []dnssec.Status{dnssec.Secure, dnssec.Insecure} {
			f := newFakeDNS()
			for _, domain := range []string{"example.org", "relay.example"} {
				f.add(t, status, domain+". MX 1 mx.example.org.")
			}
			f.deny(status, "implicit.example", dnssec.TypeMX, false)
			for _, name := range []string{"mx.example.org", "implicit.example"} {
				f.deny(status, name, dnssec.TypeA, false)
				f.deny(status, name, dnssec.TypeAAAA, false)
			}
			f.add(t, status, record)
			f.add(t, status, implicit)
			overrides := map[string]Override{
				"by-mx.example":   {NextHop: "relay.example"},
				"by-name.example": {NextHop: "[mx.example.org]"},
				"by-addr.example": {NextHop: literal},
			}
			var to dialed
			// The policy does not list implicit.example, but that is not what refuses it.
			strict := f.newResolver(t, Config{
				Dial: to.dial, Overrides: overrides, AllowMailHost: netip.Addr.IsPrivate, Store: oneEntry{mode: mtasts.Enforce},
			})
			open := f.newResolver(t, Config{Dial: to.dial, Overrides: overrides, AllowMailHost: func(asked netip.Addr) bool {
				return asked == netip.MustParseAddr(addr).Unmap()
			}})
			for _, test := range []struct {
				domain  string
				options []Option
				exempt  bool
				status  string // of the refusal
			}{
				{domain: "example.org", status: "4.4.4"},
				{domain: "example.org", options: []Option{TLSOptional()}, status: "4.4.4"},
				{domain: "implicit.example", status: "4.4.4"},
				{domain: "by-mx.example", status: "4.4.4"},
				{domain: literal, status: "5.1.2"},
				{domain: "by-name.example", exempt: true},
				{domain: "by-addr.example", exempt: true},
			} {
				plan, err := strict.Resolve(t.Context(), test.domain, test.options...)
				if err != nil {
					t.Fatal(err)
				}
				host := plan.Hosts[0]
				if (host.Level == Refused) == test.exempt || (len(host.Addrs) == 1) != test.exempt {
					t.Errorf("%s by %s, %v: %v at %v", addr, test.domain, status, host.Level, host.Addrs)
				}
				if failure := host.Refusal; !test.exempt && (!errors.Is(failure, ErrSpecialAddress) || failure.Status != test.status ||
					failure.Permanent != (test.status[0] == '5') || !strings.Contains(failure.Error(), "AllowMailHost")) {
					t.Errorf("%s by %s, %v: %v", addr, test.domain, status, failure)
				}
				if session, failure := host.Attempted(NotConnected, nil, nil); len(session.Outcomes) != 0 || !test.exempt && failure != host.Refusal {
					t.Errorf("%s by %s, %v: %v, and a report: %+v", addr, test.domain, status, failure, session)
				}
				// A plan that was changed does not lead to such an address either.
				altered := *host
				altered.Level, altered.Addrs = Opportunistic, []netip.Addr{netip.MustParseAddr(addr)}
				to.addrs = nil
				_, byName := altered.DialContext(t.Context(), "tcp", altered.Addr())
				_, byAddr := altered.DialAddr(t.Context(), altered.Addrs[0])
				if byName == nil || byAddr == nil || (len(to.addrs) != 0) != test.exempt || errors.Is(byName, ErrSpecialAddress) == test.exempt {
					t.Errorf("%s by %s, %v: dialed %v: %v, %v", addr, test.domain, status, to.addrs, byName, byAddr)
				}

				plan, err = open.Resolve(t.Context(), test.domain, test.options...)
				if err != nil || plan.Err() != nil || len(plan.Hosts[0].Addrs) != 1 {
					t.Fatalf("%s by %s, permitted: %v, %v", addr, test.domain, plan, err)
				}
				to.addrs = nil
				if plan.Hosts[0].DialContext(t.Context(), "tcp", plan.Hosts[0].Addr()); len(to.addrs) != 1 {
					t.Errorf("%s by %s, permitted: dialed %v", addr, test.domain, to.addrs)
				}
			}
		}
	}
}

// S10: no other notation of an address in a recipient's domain is understood, so none
// leads to a connection. Names are looked up only in the DNS.
func TestS10OtherNotationsLeadNowhere(t *testing.T) {
	t.Parallel()
	for _, domain := range []string{
		"127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "017700000001", "::1", "127.0.0.1.", "１２７.0.0.1", "127。0。0。1",
		"[127.1]", "[2130706433]", "[0x7f000001]", "[0x7f.0.0.1]", "[0177.0.0.1]", "[127.0.0.01]", "[127.0.0.1.]", "[127.0.0.1]:25", "[127.0.0.1", "127.0.0.1]",
		"[ 127.0.0.1]", "[127.0.0.1 ]", "[[127.0.0.1]]", "[]", "[IPv4:127.0.0.1]", "[IPv6:127.0.0.1]", "[IPv6:]", "[IPv6:::1%lo]", "[::1%lo]", "[IPv6:[::1]]",
		"[localhost]", "[tag:127.0.0.1]", "[127.0.0.1\x00]", "[127.0.0.1\r\n]",
		"0x7f000001", "0x7f.1", "localhost", "localhost.", "loopback",
	} {
		var to dialed
		plan, err := newFakeDNS().newResolver(t, Config{Dial: to.dial}).Resolve(t.Context(), domain)
		if err == nil {
			err = plan.Err()
		}
		var failure *Error
		if !errors.As(err, &failure) || !failure.Permanent || failure.Status[:4] != "5.1." && failure.Status != "5.4.4" || len(to.addrs) > 0 {
			t.Errorf("%q: %v; dialed %v", domain, err, to.addrs)
		}
	}
}

// S10: only the special addresses of a host are left out, and only hosts that have no
// other address are refused.
func TestS10OtherAddressesAreKept(t *testing.T) {
	t.Parallel()
	f := newFakeDNS()
	f.add(t, dnssec.Insecure, "example.org. MX 1 local.example.org.", "example.org. MX 2 mixed.example.org.", "example.org. MX 3 private.example.org.")
	f.add(t, dnssec.Insecure, "local.example.org. A 127.0.0.1", "local.example.org. A 127.0.0.2")
	f.add(t, dnssec.Insecure, "local.example.org. AAAA ::1")
	f.add(t, dnssec.Insecure, "mixed.example.org. A 127.0.0.1", "mixed.example.org. A 192.0.2.1", "mixed.example.org. A 0.0.0.0")
	f.add(t, dnssec.Insecure, "mixed.example.org. AAAA ::1", "mixed.example.org. AAAA 2001:db8::1")
	f.add(t, dnssec.Insecure, "private.example.org. A 10.0.0.1", "private.example.org. A 100.64.0.1")
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil || plan.Err() != nil {
		t.Fatal(plan, err)
	}
	for i, want := range []string{"", "192.0.2.1 2001:db8::1", "10.0.0.1 100.64.0.1"} {
		var addrs []string
		for _, addr := range plan.Hosts[i].Addrs {
			addrs = append(addrs, addr.String())
		}
		if got := strings.Join(addrs, " "); got != want || (plan.Hosts[i].Level == Refused) != (want == "") {
			t.Errorf("%s: %v at %q, want %q", plan.Hosts[i].Name, plan.Hosts[i].Level, got, want)
		}
	}
	if _, err := plan.Hosts[1].DialAddr(t.Context(), netip.MustParseAddr("127.0.0.1")); err == nil {
		t.Error("an address that was left out was dialed")
	}
}

// S10: AllowMailHost is asked only about these addresses, without their IPv6 form.
func TestS10AllowMailHostIsAsked(t *testing.T) {
	t.Parallel()
	f := newFakeDNS()
	f.add(t, dnssec.Insecure, "example.org. MX 1 mx.example.org.")
	f.add(t, dnssec.Insecure, "mx.example.org. A 192.0.2.1", "mx.example.org. A 127.0.0.1")
	f.add(t, dnssec.Insecure, "mx.example.org. AAAA 2001:db8::1", "mx.example.org. AAAA ::ffff:127.0.0.2")
	var asked []string
	r := f.newResolver(t, Config{AllowMailHost: func(addr netip.Addr) bool {
		asked = append(asked, addr.String())
		return addr.String() == "127.0.0.2"
	}})
	plan, err := r.Resolve(t.Context(), "example.org")
	if err != nil || len(plan.Hosts[0].Addrs) != 3 {
		t.Fatal(plan, err)
	}
	if !slices.Equal(asked, []string{"127.0.0.1", "127.0.0.2"}) {
		t.Errorf("asked about %v", asked)
	}
}

// nat64DNS is a resolver behind a NAT64.
type nat64DNS struct {
	dnssec.Resolver
	prefix netip.Prefix
}

func (d nat64DNS) NAT64() netip.Prefix { return d.prefix }

// D15: a mail host in the prefix of the NAT64 is judged by the IPv4 address in it, and so
// is a policy host.
func TestD15HostInNAT64IsJudgedByIPv4(t *testing.T) {
	t.Parallel()
	for addr, permitted := range map[string]bool{
		"2001:db8:64::127.0.0.1":       false,
		"2001:db8:64::169.254.169.254": false,
		"2001:db8:64::0.0.0.0":         false,
		"2001:db8:64::192.0.2.1":       true,
		"2001:db8:64::10.0.0.1":        true, // private, as in IPv4
		"2001:db8:65::127.0.0.1":       true, // not the NAT64
	} {
		f := newFakeDNS()
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.deny(dnssec.Secure, "mx.example.org", dnssec.TypeA, false)
		f.add(t, dnssec.Secure, "mx.example.org. AAAA "+addr)
		behind := nat64DNS{f, netip.MustParsePrefix("2001:db8:64::/96")}
		var to dialed
		r, err := New(Config{DNS: behind, Dial: to.dial})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		plan, err := r.Resolve(t.Context(), "example.org")
		if err != nil {
			t.Fatal(err)
		}
		if host := plan.Hosts[0]; (len(host.Addrs) == 1) != permitted {
			t.Errorf("D15 %s: %v at %v: %v", addr, host.Level, host.Addrs, host.Refusal)
		}
		if got := (policydns.Resolver{DNS: behind}).NAT64(); got != behind.prefix {
			t.Errorf("the policy host is judged by the prefix %s", got)
		}
	}
}
