package nat64

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// D15, RFC 7050 section 3: the well-known addresses show the prefix, whatever its length.
func TestD15Prefixes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what  string
		addrs []netip.Addr
		want  []string
	}{
		{"nothing", nil, nil},
		{"the well-known prefix", addrs("64:ff9b::c000:aa", "64:ff9b::c000:ab"), []string{"64:ff9b::/96"}},
		{"one of the addresses", addrs("64:ff9b::c000:ab"), []string{"64:ff9b::/96"}},
		{"32 bits", addrs("2606:64:c000:aa::"), []string{"2606:64::/32"}},
		{"40 bits", addrs("2606:64:12c0:0:aa::"), []string{"2606:64:1200::/40"}},
		{"48 bits", addrs("2606:64:122:c000:0:aa00::"), []string{"2606:64:122::/48"}},
		{"56 bits", addrs("2606:64:122:3c0:0:aa::"), []string{"2606:64:122:300::/56"}},
		{"64 bits", addrs("2606:64:122:344:c0:0:aa00::"), []string{"2606:64:122:344::/64"}},
		{"96 bits", addrs("2606:64:122:344::c000:aa"), []string{"2606:64:122:344::/96"}},
		{"two prefixes", addrs("64:ff9b::c000:aa", "2606:64::c000:aa"), []string{"64:ff9b::/96", "2606:64::/96"}},
		{"other addresses", addrs("64:ff9b::c000:201", "2606:64::1"), nil},
		{"octet 8 is not zero", addrs("2606:64:122:344:1c0:0:aa00:0", "2606:64:0:0:100::c000:aa"), nil},
		{"IPv4", addrs("192.0.0.170", "::ffff:192.0.0.170"), nil},
		{"two places, decided by the other address", addrs("2606:64:c000:aa::c000:aa", "2606:64:c000:aa::c000:ab"), []string{"2606:64:c000:aa::/96"}},
		{"two places, undecided", addrs("2606:64:c000:aa::c000:aa"), nil},
	} {
		var got []string
		for _, prefix := range Prefixes(tt.addrs) {
			got = append(got, prefix.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("D15 %s: %v, want %v", tt.what, got, tt.want)
		}
	}
}

// D15, RFC 7050 section 3.1: a prefix of the network's own is accepted over a secure channel
// only, and none that leads into a private network.
func TestD15Choose(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what          string
		addrs         []netip.Addr
		authenticated bool
		want          string // empty for an error, "none" for no prefix
	}{
		{"no NAT64", nil, false, "none"},
		{"well-known", addrs("64:ff9b::c000:aa"), false, "64:ff9b::/96"},
		{"for local use", addrs("64:ff9b:1:fffe::c000:aa"), false, "64:ff9b:1:fffe::/96"},
		{"own", addrs("2606:64::c000:aa"), false, ""},
		{"own, authenticated", addrs("2606:64::c000:aa"), true, "2606:64::/96"},
		{"private", addrs("fd00:64::c000:aa"), true, ""},
		{"link-local", addrs("fe80::c000:aa"), true, ""},
		{"loopback", addrs("::c000:aa"), true, ""},
		{"no prefix in it", addrs("2606:64::1"), true, ""},
		{"always the same", addrs("2606:64:2::c000:aa", "2606:64:1::c000:aa"), true, "2606:64:1::/96"},
		{"always the same, turned around", addrs("2606:64:1::c000:aa", "2606:64:2::c000:aa"), true, "2606:64:1::/96"},
	} {
		prefix, err := choose(&Answer{Addrs: tt.addrs, Server: "192.0.2.53:53", Authenticated: tt.authenticated})
		switch {
		case tt.want == "":
			if err == nil || !strings.Contains(err.Error(), "set NAT64 to") || !strings.Contains(err.Error(), "192.0.2.53:53") {
				t.Errorf("D15 %s: %v, %v", tt.what, prefix, err)
			}
		case err != nil, tt.want == "none" && prefix.IsValid(), tt.want != "none" && prefix.String() != tt.want:
			t.Errorf("D15 %s: %v, %v", tt.what, prefix, err)
		}
	}
}

// D15: the prefix is asked for once, and again after the TTL. A failure is not "none".
func TestD15Finder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		answer := &Answer{Addrs: addrs("64:ff9b::c000:aa"), TTL: 10 * time.Minute}
		var failure error
		f := NewFinder(func(context.Context) (*Answer, error) {
			asked++
			<-time.After(time.Second)
			return answer, failure
		}, time.Now, time.Minute)
		expect := func(want string, questions int) {
			t.Helper()
			prefix, err := f.Prefix(t.Context())
			if err != nil || want == "none" && prefix.IsValid() || want != "none" && prefix.String() != want || asked != questions {
				t.Errorf("%v, %v after %d questions; want %s after %d", prefix, err, asked, want, questions)
			}
		}
		if f.Known().IsValid() {
			t.Errorf("%v is known before the first question", f.Known())
		}
		done := make(chan error)
		for range 3 {
			go func() {
				_, err := f.Prefix(t.Context())
				done <- err
			}()
		}
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		expect("64:ff9b::/96", 1)
		<-time.After(9 * time.Minute)
		expect("64:ff9b::/96", 1)
		<-time.After(time.Minute)
		failure = errors.New("no answer")
		if prefix, err := f.Prefix(t.Context()); err == nil || asked != 2 {
			t.Errorf("%v after %d questions", prefix, asked)
		}
		if f.Known().String() != "64:ff9b::/96" {
			t.Errorf("forgot the prefix of addresses that are still in use: %v", f.Known())
		}
		failure, answer = nil, new(Answer)
		expect("none", 3)
		if f.Known().IsValid() {
			t.Errorf("%v is known without NAT64", f.Known())
		}
		<-time.After(minTTL - time.Second)
		expect("none", 3)
		<-time.After(time.Second)
		answer = &Answer{Addrs: addrs("64:ff9b::c000:aa"), TTL: 24 * time.Hour}
		expect("64:ff9b::/96", 4)
		<-time.After(maxTTL)
		expect("64:ff9b::/96", 5)
	})
}
