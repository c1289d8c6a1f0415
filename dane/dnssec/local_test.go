package dnssec

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec/internal/nat64"
	"github.com/mxseal/mxseal/internal/test/dnsdata"
)

// dns64 makes the servers answer for the name by which a NAT64 is discovered. The records are
// made only for clients that do not validate.
func (w *world) dns64(t *testing.T, rcode int, addrs ...string) {
	honest := w.mangle
	w.mangle = func(server, network string, m *dns.Msg) *dns.Msg {
		if m.Question[0].Name != nat64.Name {
			if honest != nil {
				return honest(server, network, m)
			}
			return m
		}
		m.Rcode, m.Ns = rcode, nil
		m.Answer = []dns.RR{dnsdata.RR(t, "other.arpa. 600 IN AAAA 2606:1::c000:aa")} // not asked for
		for _, addr := range addrs {
			if !m.CheckingDisabled {
				m.Answer = append(m.Answer, dnsdata.RR(t, nat64.Name+" 600 IN AAAA "+addr))
			}
		}
		return m
	}
}

func addrsOf(a *Answer) (addrs []string) {
	for _, record := range a.Records {
		addr, _ := record.Addr()
		addrs = append(addrs, addr.String())
	}
	return addrs
}

// D15, RFC 7050: the prefix is discovered, from servers that may say so. What is made keeps
// the status of the A records, and leads to public addresses only.
func TestD15PrefixIsDiscovered(t *testing.T) {
	t.Parallel()
	const public, own = "64:ff9b::c000:aa", "2606:64::c000:aa"
	for _, tt := range []struct {
		what, server, name string
		rcode              int
		made               []string // for ipv4only.arpa
		want               string   // the address, or "none", or "" for an error
		status             Status
	}{
		{"the well-known prefix", "192.0.2.53", "public.example.com", 0, []string{public}, "64:ff9b::101:101", Secure},
		{"an unsigned zone", "192.0.2.53", "public.plain.com", 0, []string{public}, "64:ff9b::101:102", Insecure},
		{"an own prefix", "192.0.2.53", "public.example.com", 0, []string{own}, "", Indeterminate},
		{"an own prefix from this host", "127.0.0.1", "public.example.com", 0, []string{own}, "2606:64::101:101", Secure},
		{"an own prefix from systemd-resolved", "127.0.0.53", "public.example.com", 0, []string{own}, "", Indeterminate},
		{"an own prefix from Docker", "127.0.0.11", "public.example.com", 0, []string{own}, "", Indeterminate},
		{"a private address", "127.0.0.1", "private.example.com", 0, []string{own}, "none", Secure},
		{"no NAT64", "192.0.2.53", "public.example.com", 0, nil, "none", Secure},
		{"no such name", "192.0.2.53", "public.example.com", dns.RcodeNameError, nil, "none", Secure},
		{"a failure", "192.0.2.53", "public.example.com", dns.RcodeServerFailure, nil, "", Indeterminate},
	} {
		t.Run("D15 "+tt.what, func(t *testing.T) {
			t.Parallel()
			w := mail(t)
			w.zones["example.com."].add(t, "public.example.com. 60 IN A 1.1.1.1")
			w.zones["example.com."].add(t, "private.example.com. 60 IN A 10.1.1.1")
			w.zones["plain.com."].add(t, "public.plain.com. 60 IN A 1.1.1.2")
			w.dns64(t, tt.rcode, tt.made...)
			v := w.validator(func(c *Config) { c.Servers, c.DiscoverNAT64 = []string{tt.server}, true })
			if v.NAT64().IsValid() {
				t.Errorf("%v is known before the first question", v.NAT64())
			}
			a, err := v.Lookup(t.Context(), tt.name, TypeAAAA)
			w.settle()
			if tt.want == "" {
				var e *Error
				if !errors.As(err, &e) || e.Reason != NAT64Unknown || e.Status != Indeterminate || v.NAT64().IsValid() {
					t.Fatalf("%+v, %v, %v", a, err, v.NAT64())
				}
				mentions(t, err, tt.server+":53", "set NAT64")
				return
			}
			if err != nil || a.Status != tt.status || tt.want == "none" && len(a.Records) > 0 || tt.want != "none" && !slices.Equal(addrsOf(a), []string{tt.want}) {
				t.Errorf("%+v, %v; want %s", a, err, tt.want)
			}
			if tt.want != "none" && !v.NAT64().Contains(netip.MustParseAddr(tt.want)) {
				t.Errorf("NAT64 is %v", v.NAT64())
			}
			// Names with AAAA records of their own, and other types, do not depend on it.
			if w.asked["ipv4only.arpa. AAAA"] != 1 {
				t.Errorf("asked %d times", w.asked["ipv4only.arpa. AAAA"])
			}
		})
	}
}

// D15: a Trusting has a NAT64 too, given or discovered.
func TestD15TrustingHasNAT64(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what   string
		config func(*TrustingConfig)
		want   string
	}{
		{"given", func(c *TrustingConfig) { c.NAT64 = netip.MustParsePrefix("2001:db8:64::/96") }, "2001:db8:64::101:101"},
		{"discovered", func(c *TrustingConfig) { c.DiscoverNAT64 = true }, "2606:64::101:101"},
		{"none", func(*TrustingConfig) {}, ""},
	} {
		w := mail(t)
		w.zones["example.com."].add(t, "public.example.com. 60 IN A 1.1.1.1")
		validating(w, func(dns.Question) bool { return true })
		w.dns64(t, 0, "2606:64::c000:aa")
		config := TrustingConfig{Servers: []string{"127.0.0.1"}, Dial: w.dial, Now: func() time.Time { return w.now }}
		tt.config(&config)
		r, err := NewTrusting(config)
		if err != nil {
			t.Fatal(err)
		}
		a, err := r.Lookup(t.Context(), "public.example.com", TypeAAAA)
		w.settle()
		if err != nil || a.Status != Secure || tt.want == "" && len(a.Records) > 0 || tt.want != "" && !slices.Equal(addrsOf(a), []string{tt.want}) {
			t.Errorf("D15 %s: %+v, %v", tt.what, a, err)
		}
		if known := r.NAT64(); known.IsValid() != (tt.want != "") || known.IsValid() && !known.Contains(netip.MustParseAddr(tt.want)) {
			t.Errorf("D15 %s: NAT64 is %v", tt.what, known)
		}
	}
}

// The hosts file decides the addresses of the names in it, if the operator says so, for both
// families and without a question. It decides nothing else.
func TestHostsFileDecidesAddressesOnly(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("192.0.2.77 MX.example.com relay\n2001:db8::77 six.example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		rtype  Type
		status Status
		addrs  []string // "TLSA" for records that are not addresses
		asks   bool
	}{
		{"mx.example.com", TypeA, Insecure, []string{"192.0.2.77"}, false},
		{"mx.example.com", TypeAAAA, Insecure, []string{"2001:db8:64::c000:24d"}, false},
		{"relay", TypeA, Insecure, []string{"192.0.2.77"}, false},
		{"six.example.com", TypeA, Insecure, nil, false},
		{"six.example.com", TypeAAAA, Insecure, []string{"2001:db8::77"}, false},
		{"_25._tcp.mx.example.com", TypeTLSA, Secure, []string{"invalid IP"}, true},
		{"alias.example.com", TypeA, Secure, []string{"192.0.2.1"}, true}, // leads to mx.example.com
	} {
		for _, kind := range []string{"Validator", "Trusting"} {
			w := mail(t)
			var r Resolver = w.validator(func(c *Config) { c.HostsFile, c.NAT64 = file, netip.MustParsePrefix("2001:db8:64::/96") })
			if kind == "Trusting" {
				validating(w, func(dns.Question) bool { return true })
				trusting, err := NewTrusting(TrustingConfig{Servers: []string{"127.0.0.1"}, Dial: w.dial, Now: func() time.Time { return w.now },
					HostsFile: file, NAT64: netip.MustParsePrefix("2001:db8:64::/96")})
				if err != nil {
					t.Fatal(err)
				}
				r = trusting
			}
			a, err := r.Lookup(t.Context(), tt.name, tt.rtype)
			w.settle()
			if err != nil || a.Status != tt.status || !slices.Equal(addrsOf(a), tt.addrs) || a.NXDomain {
				t.Errorf("%s, %s %s: %+v, %v", kind, tt.name, tt.rtype, a, err)
			}
			if asked := len(w.asked) > 0; asked != tt.asks {
				t.Errorf("%s, %s %s: %d questions", kind, tt.name, tt.rtype, len(w.asked))
			}
		}
	}
	w := mail(t)
	if a, err := w.validator().Lookup(t.Context(), "mx.example.com", TypeA); err != nil || a.Status != Secure || len(w.asked) == 0 {
		t.Errorf("the file counts without being asked for: %+v, %v", a, err)
	}
	w.settle()
}

// New refuses a NAT64 prefix that is not valid, and a hosts file that it cannot read.
func TestUnusableHostSettingsAreRefused(t *testing.T) {
	t.Parallel()
	for what, config := range map[string]Config{
		"not a prefix of RFC 6052": {NAT64: netip.MustParsePrefix("2001:db8::/33")},
		"set one of them":          {NAT64: netip.MustParsePrefix("64:ff9b::/96"), DiscoverNAT64: true},
		"no such file":             {HostsFile: filepath.Join(t.TempDir(), "none")},
	} {
		config.Servers = []string{"127.0.0.1"}
		_, err := New(config)
		mentions(t, err, what)
		_, err = NewTrusting(TrustingConfig{Servers: config.Servers, NAT64: config.NAT64, DiscoverNAT64: config.DiscoverNAT64, HostsFile: config.HostsFile})
		mentions(t, err, what)
	}
}
