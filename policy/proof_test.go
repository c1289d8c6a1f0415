package policy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/policy/internal/decision"
)

// oneHost returns the mail host of a domain without policies.
func oneHost(t *testing.T, config Config) *Host {
	t.Helper()
	f := newFakeDNS()
	f.add(t, dnssec.Insecure, "example.org. MX 1 mx.example.org.")
	f.addHost(t, dnssec.Insecure, "mx.example.org")
	f.deny(dnssec.Insecure, "_mta-sts.example.org", dnssec.TypeTXT, true)
	plan, err := f.newResolver(t, config).Resolve(t.Context(), "example.org")
	if err != nil || len(plan.Hosts) != 1 {
		t.Fatalf("%+v, %v", plan, err)
	}
	return plan.Hosts[0]
}

// P9: a client that cannot use TLSConfig calls Verify after its handshake. Versions below the
// minimum are refused there too: TLS 1.2 wherever a policy applies, and what the operator
// permits elsewhere.
func TestP9VerifyRefusesOldVersions(t *testing.T) {
	t.Parallel()
	for _, least := range []uint16{0, tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		host := oneHost(t, Config{OpportunisticMinVersion: least})
		for _, level := range []Level{Refused, Opportunistic, Encrypted, Authenticated} {
			altered := *host
			altered.Level, altered.demands = level, decision.Demands{}
			want := uint16(tls.VersionTLS12)
			if level == Opportunistic {
				want = max(least, tls.VersionTLS10)
			}
			for _, version := range []uint16{0, 0x0300, tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
				err := altered.Verify(tls.ConnectionState{Version: version})
				if good := level != Refused && version >= want; (err == nil) != good {
					t.Errorf("least %#x, %v, version %#x: %v", least, level, version, err)
				}
				if e := new(Error); err != nil && (!errors.As(err, &e) || level != Refused && e.ReasonCode != "tls-version") {
					t.Errorf("least %#x, %v, version %#x: %v", least, level, version, err)
				}
			}
			if got := altered.TLSConfig().MinVersion; got != want {
				t.Errorf("least %#x, %v: the configuration has %#x, want %#x", least, level, got, want)
			}
		}
	}
	// A host that no Resolver made permits nothing.
	for _, host := range []*Host{{}, {Level: Opportunistic}} {
		err := host.Verify(tls.ConnectionState{Version: tls.VersionTLS11})
		if e := new(Error); !errors.As(err, &e) {
			t.Errorf("%v: %v", host.Level, err)
		}
	}
	err := new(Host).Verify(tls.ConnectionState{Version: tls.VersionTLS13})
	if e := new(Error); !errors.As(err, &e) || e.Permanent || errors.Is(err, ErrLookupFailed) || !strings.HasPrefix(e.Status, "4.") {
		t.Errorf("the zero Host: %v", err)
	}
	if _, err := new(Host).DialAddr(t.Context(), netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Error("the zero Host dials")
	}
}

// In addition to P9: each demand is checked, whatever the others are, and also without certificates.
func TestP9EachDemandIsVerified(t *testing.T) {
	t.Parallel()
	root, stranger := testpki.Root(t, "Root"), testpki.Root(t, "Stranger")
	both := root.Server(t, []string{"mx.example.org", "example.org"})
	forHost, forDomain := root.Server(t, []string{"mx.example.org"}), root.Server(t, []string{"example.org"})
	unknown := stranger.Server(t, []string{"mx.example.org", "example.org"})
	roots := x509.NewCertPool()
	roots.AddCert(root.Cert)
	host := oneHost(t, Config{RootCAs: roots, Now: func() time.Time { return testpki.Now }})
	record, err := dane.NewRecord(both.Cert, dane.DANEEE, dane.SPKI, dane.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for bits := range 8 {
		needs := decision.Demands{DANE: bits&1 != 0, WebPKI: bits&2 != 0, NextHop: bits&4 != 0}
		for what, tt := range map[string]struct {
			sent                  []*testpki.Entity
			dane, webPKI, nextHop bool // what it meets
		}{
			"nothing":         {nil, false, false, false},
			"all":             {[]*testpki.Entity{both}, true, true, true},
			"with the root":   {[]*testpki.Entity{both, root}, true, true, true},
			"the host's":      {[]*testpki.Entity{forHost}, false, true, false},
			"the next hop's":  {[]*testpki.Entity{forDomain}, false, false, true},
			"a stranger's":    {[]*testpki.Entity{unknown, stranger}, false, false, false},
			"the second's":    {[]*testpki.Entity{unknown, both}, false, false, false},
			"the root's only": {[]*testpki.Entity{root}, false, false, false},
		} {
			altered := *host
			altered.Level, altered.demands, altered.TLSA, altered.ReferenceNames = Authenticated, needs, []dane.Record{record}, []string{"mx.example.org"}
			err := altered.Verify(tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: testpki.Chain(tt.sent...)})
			good := (!needs.DANE || tt.dane) && (!needs.WebPKI || tt.webPKI) && (!needs.NextHop || tt.nextHop)
			if (err == nil) != good {
				t.Errorf("%+v, %s: %v", needs, what, err)
			}
		}
	}
	// Without TLSA records, no certificate matches.
	altered := *host
	altered.Level, altered.demands = Authenticated, decision.Demands{DANE: true}
	if err := altered.Verify(tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: testpki.Chain(both)}); err == nil {
		t.Error("DANE without records is met")
	}
}

// P10: only the addresses whose DNSSEC status was used for the decision are dialed, by any
// method, at any level and in any form.
func TestP10OnlyPinnedAddressesAreDialed(t *testing.T) {
	t.Parallel()
	var to dialed
	host := oneHost(t, Config{Dial: to.dial})
	pinned := netip.MustParseAddr("192.0.2.1")
	if !slices.Equal(host.Addrs, []netip.Addr{pinned}) {
		t.Fatalf("addresses %v", host.Addrs)
	}
	for _, level := range []Level{Refused, Opportunistic, Encrypted, Authenticated} {
		altered := *host
		altered.Level = level
		for _, addr := range []string{"192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1", "2001:db8::1", "127.0.0.1", ""} {
			ip, _ := netip.ParseAddr(addr)
			to.addrs = nil
			_, err := altered.DialAddr(t.Context(), ip)
			_, err2 := altered.DialFrom(t.Context(), netip.Addr{}, ip)
			want := 0
			if level != Refused && ip == pinned {
				want = 2
			}
			if len(to.addrs) != want || err == nil || err2 == nil {
				t.Errorf("%v, %s: dialed %v: %v, %v", level, addr, to.addrs, err, err2)
			}
			if e := new(Error); want > 0 != errors.As(err, &e) && level != Refused {
				t.Errorf("%v, %s: %v", level, addr, err)
			}
		}
		for _, addr := range []string{
			"mx.example.org:25", "MX.example.org.:25", "mx.example.org:26", "mx.example.org:65561", "mx.example.org:smtp", "mx.example.org:-1", "mx.example.org:",
			"mx.example.org", "other.example.org:25", "192.0.2.1:25", "192.0.2.2:25", ":25", "", "mx.example.org:25:25",
		} {
			to.addrs = nil
			_, err := altered.DialContext(t.Context(), "tcp", addr)
			isIt := addr == "mx.example.org:25" || addr == "MX.example.org.:25"
			if good := level != Refused && isIt; (len(to.addrs) == 1) != good || err == nil {
				t.Errorf("%v, %q: dialed %v: %v", level, addr, to.addrs, err)
			}
			if level != Refused && !strings.Contains(addr, ":") && !strings.Contains(err.Error(), "name:port") {
				t.Errorf("%q: %v", addr, err)
			}
		}
	}
	// Config.Dial chooses the local address.
	to.addrs = nil
	if _, err := host.DialFrom(t.Context(), netip.MustParseAddr("192.0.2.9"), pinned); !errors.Is(err, ErrConfig) || len(to.addrs) != 0 {
		t.Errorf("dialed %v from a local address: %v", to.addrs, err)
	}
}

// In addition to P10: which of several addresses DialContext tries.
func TestP10DialContextTriesFourAddresses(t *testing.T) {
	t.Parallel()
	var to dialed
	host := *oneHost(t, Config{Dial: to.dial})
	host.Addrs = nil
	for i := range 6 {
		host.Addrs = append(host.Addrs, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i+1)), netip.MustParseAddr(fmt.Sprintf("2600::%d", i+1)))
	}
	for network, want := range map[string][]string{
		"tcp":  {"192.0.2.1:25", "[2600::1]:25", "192.0.2.2:25", "[2600::2]:25"},
		"tcp4": {"192.0.2.1:25", "192.0.2.2:25", "192.0.2.3:25", "192.0.2.4:25"},
		"tcp6": {"[2600::1]:25", "[2600::2]:25", "[2600::3]:25", "[2600::4]:25"},
	} {
		to.addrs = nil
		_, err := host.DialContext(t.Context(), network, host.Addr())
		if !slices.Equal(to.addrs, want) {
			t.Errorf("%s: dialed %v, want %v", network, to.addrs, want)
		}
		e := new(Error)
		if !errors.As(err, &e) || e.Status != "4.4.1" || e.Permanent || e.Host != "mx.example.org" {
			t.Errorf("%s: %v", network, err)
		}
	}
	// A caller who gives up ends it.
	ctx, cancel := context.WithCancel(t.Context())
	tried := 0
	host.trust = &trust{dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		tried++
		if _, limited := ctx.Deadline(); !limited {
			t.Error("an attempt has no time limit")
		}
		cancel()
		return nil, ctx.Err()
	}, now: time.Now, dns: newFakeDNS()}
	if _, err := host.DialContext(ctx, "tcp", host.Addr()); err == nil || tried != 1 {
		t.Errorf("%d attempts, %v", tried, err)
	}
}

// In addition to P10: without Config.Dial, the system connects, from the local address that is asked
// for.
func TestP10SystemDialsFromLocalAddress(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	at := listener.Addr().(*net.TCPAddr).AddrPort()
	host := *oneHost(t, Config{})
	host.Addrs, host.Port = []netip.Addr{at.Addr()}, at.Port()
	if _, err := host.DialAddr(t.Context(), at.Addr()); !errors.Is(err, ErrSpecialAddress) {
		t.Errorf("a host that DNS names, at a loopback address: %v", err)
	}
	host.exempt = true // as if the operator had configured it
	for _, local := range []netip.Addr{{}, at.Addr()} {
		conn, err := host.DialFrom(t.Context(), local, at.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if conn.RemoteAddr().String() != at.String() {
			t.Errorf("connected to %s, want %s", conn.RemoteAddr(), at)
		}
		conn.Close()
	}
	// An address that this host does not have.
	if conn, err := host.DialFrom(t.Context(), netip.MustParseAddr("192.0.2.9"), at.Addr()); err == nil {
		t.Errorf("connected from %s", conn.LocalAddr())
		conn.Close()
	}
}
