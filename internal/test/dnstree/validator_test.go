package dnstree

import (
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// A validator returns the status for which each zone of the tree was built.
// Therefore the proofs are complete, and no insufficient proof is accepted.
func TestValidatorAgrees(t *testing.T) {
	t.Parallel()
	tree := newTestTree()
	kinds := map[string]Option{
		"rsa": Algorithm(dns.RSASHA256), "rsa512": Algorithm(dns.RSASHA512), "p384": Algorithm(dns.ECDSAP384SHA384),
		"ed25519": Algorithm(dns.ED25519), "unknown": Algorithm(200), "both": Algorithm(200, dns.ECDSAP256SHA256),
		"sha384": Digest(dns.SHA384), "island": WithoutDS, "nsec3plain": NSEC3(0, "", false),
	}
	zones := []string{"unsigned.test.", "nsec.test.", "nsec3.test.", "optout.test."}
	for name, option := range kinds {
		zones = append(zones, fill(tree.Zone(name+".test", option)).Name())
	}
	tree.Zone("optout", NSEC3(0, "", true))
	for name, option := range map[string]Option{"a.b.optout": Unsigned, "c.d.optout": NSEC3(1, "", false)} {
		zones = append(zones, fill(tree.Zone(name, option)).Name())
	}
	start(t, tree)
	for _, zone := range zones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			v, err := dnssec.New(dnssec.Config{Servers: []string{tree.Addr()}, Anchors: tree.Anchors()})
			if err != nil {
				t.Fatal(err)
			}
			for _, test := range answerTests() {
				if test.qtype != dns.TypeANY {
					agree(t, tree, v, strings.ReplaceAll(test.name, "$", zone), test)
				}
			}
		})
	}
}

func agree(t *testing.T, tree *Tree, v *dnssec.Validator, name string, test answerTest) {
	t.Helper()
	tree.mu.Lock()
	want := dnssec.Insecure
	if tree.resolve(name, test.qtype).secure {
		want = dnssec.Secure
	}
	tree.mu.Unlock()
	answer, err := v.Lookup(t.Context(), name, dnssec.Type(test.qtype))
	if test.rcode == dns.RcodeServerFailure || test.rcode == dns.RcodeYXDomain || strings.HasPrefix(test.name, "loop.") {
		var failed *dnssec.Error
		if !errors.As(err, &failed) {
			t.Errorf("%s %s: %v, want an error", name, dns.TypeToString[test.qtype], err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s %s: %v", name, dns.TypeToString[test.qtype], err)
		return
	}
	if answer.Status != want || answer.NXDomain != (test.rcode == dns.RcodeNameError) {
		t.Errorf("%s %s: %s, NXDOMAIN %t, want %s %s", name, dns.TypeToString[test.qtype], answer.Status,
			answer.NXDomain, want, dns.RcodeToString[test.rcode])
	}
}
