package postfix_test

import (
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/postfix"
)

// What the operator says about single hosts decides which of several policies is the best.
func TestPolicyUnderSettingsOfHosts(t *testing.T) {
	usable := []string{key("3 1 1", 1)}
	of := func(name string, o policy.HostOverride) policy.Config {
		return policy.Config{HostOverrides: map[string]policy.HostOverride{name: o}}
	}
	pins := policy.HostOverride{Pin: records(t, key("3 1 1", 7))}
	pinnedAndFloor := of(one, pins)
	pinnedAndFloor.HostOverrides[two] = policy.HostOverride{Floor: policy.Authenticated}
	// The plan has 32 hosts. The client finds the last one, too.
	many, manyNamed := world{}, world{insecureMX: true, mode: mtasts.Enforce, listed: []string{"mx0.example.org"}}
	for i := range 33 {
		name := fmt.Sprintf("mx%d.example.org", i)
		many.hosts = append(many.hosts, mx{name: name, tlsa: usable})
		manyNamed.hosts = append(manyNamed.hosts, mx{name: name, insecure: true})
	}
	for _, tt := range []struct {
		name    string
		world   world
		config  policy.Config
		options postfix.Options
		want    string
	}{
		{"the keys of the preferred host come before the name of another", world{hosts: []mx{{name: one}, {name: two}}}, pinnedAndFloor, postfix.Options{}, fingerprint(7)},
		{"of hosts with one preference, the name of one comes before the keys of another", world{hosts: []mx{{name: one, preference: 10}, {name: two, preference: 10}}},
			pinnedAndFloor, postfix.Options{}, secure(two)},
		{"more hosts than the plan has, with DANE", many, policy.Config{}, postfix.Options{}, daneOnly},
		{"more hosts than the plan has, with a policy", manyNamed, policy.Config{}, postfix.Options{}, secure("mx0.example.org")},
		{"the keys in DNS of the preferred host come before the pinned keys of another", world{hosts: []mx{{name: one, tlsa: usable}, {name: two}}},
			of(two, pins), postfix.Options{Fingerprints: true}, fingerprint(1)},
		{"a host that needs TLS and no DANE waits beside DANE", world{hosts: []mx{{name: one, tlsa: usable}, {name: two}}},
			of(two, policy.HostOverride{NoDANE: true, Floor: policy.Encrypted}), postfix.Options{}, daneOnly},
		{"a host without DANE is under the policy of the domain", world{hosts: []mx{{name: one, tlsa: usable}}, mode: mtasts.Enforce, listed: []string{one}},
			of(one, policy.HostOverride{NoDANE: true}), postfix.Options{}, secure(one)},
		{"no host has an address that can be looked up", world{hosts: []mx{{name: one, insecure: true, addrFails: true}}}, policy.Config{}, postfix.Options{}, temp},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := tt.world.resolve(t, tt.config)
			if err != nil {
				t.Fatal(err)
			}
			got := postfix.Policy(plan, nil, tt.options)
			if text := written(got); text != tt.want || (got.Text == "") != (text == notFound) {
				t.Errorf("got  %s\nwant %s\nbecause %s", text, tt.want, got.Text)
			}
		})
	}
}

// In match=, Postfix has words of one label, such as hostname, which means the name of any
// host, and separates names by colons. A name that it would read in another way is not
// written.
func TestNamesThatPostfixReadsInAnotherWay(t *testing.T) {
	for _, name := range []string{"hostname", "nexthop", "dot-nexthop", "mx.example.1", "mx.example.org:hostname", "mx|hostname.example.org", "mx}.example.org"} {
		w := world{insecureMX: true, hosts: []mx{{name: name, insecure: true}}}
		plan, err := w.resolve(t, policy.Config{Floor: policy.Authenticated})
		if err != nil {
			t.Fatal(err)
		}
		if got := postfix.Policy(plan, nil, postfix.Options{}); got.Status != postfix.Temporary {
			t.Errorf("the mail host %s: %+v", name, got)
		}
	}
	for _, next := range []string{"hostname", "nexthop"} {
		answers := fakedns.Answers{}
		answers.Add(t, dnssec.Insecure, next+". MX 10 mx.example.net.")
		answers.Add(t, dnssec.Insecure, "mx.example.net. A 192.0.2.1")
		answers.Deny(dnssec.Insecure, "mx.example.net. AAAA", "_25._tcp.mx.example.net. TLSA")
		resolver, err := policy.New(policy.Config{DNS: answers, NoMTASTS: true, RequireRoute: true, RootCAs: x509.NewCertPool()})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := resolver.Resolve(t.Context(), next)
		resolver.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := postfix.Policy(plan, nil, postfix.Options{}); got.Status != postfix.Temporary || got.Text == "" {
			t.Errorf("the next hop %s: %+v", next, got)
		}
	}
}

// Only digests of SHA2-256 are written as fingerprints, even if a plan has others.
func TestFingerprintsAreSHA256(t *testing.T) {
	for name, record := range map[string]dane.Record{
		"a key":          {Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.Full, Data: make([]byte, 32)},
		"a short digest": {Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: make([]byte, 31)},
		"an authority":   {Usage: dane.DANETA, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: make([]byte, 32)},
	} {
		plan := &policy.Plan{Domain: domain, NextHop: domain, Hosts: []*policy.Host{{Name: one, Level: policy.Authenticated, TLSA: []dane.Record{record}}}}
		if got := postfix.Policy(plan, nil, postfix.Options{Fingerprints: true}); got.Status != postfix.Temporary || got.Text == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
