package policytest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

func TestDNSStatus(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	for name, options := range map[string][]policytest.DomainOption{
		"nsec.example":     nil,
		"nsec3.example":    {policytest.NSEC3},
		"optout.example":   {policytest.NSEC3OptOut},
		"unsigned.example": {policytest.Unsigned},
		"unknown.example":  {policytest.UnknownAlgorithm},
		"bogus.example":    nil,
		"stripped.example": nil,
	} {
		inet.Domain(name, options...).MX("mx." + name)
	}
	inet.BreakDNS(policytest.Bogus, "bogus.example", dnssec.TypeMX)
	inet.BreakDNS(policytest.Strip, "stripped.example", dnssec.TypeMX)
	inet.BreakDNS(policytest.Forge("unsigned.example. MX 0 evil.example."), "unsigned.example", dnssec.TypeMX)
	resolver := inet.DNS()
	for _, test := range []struct {
		name   string
		status dnssec.Status
	}{
		{"nsec.example", dnssec.Secure},
		{"nope.nsec.example", dnssec.Secure},
		{"nsec3.example", dnssec.Secure},
		{"nope.nsec3.example", dnssec.Secure},
		{"optout.example", dnssec.Secure},
		{"nope.optout.example", dnssec.Insecure},
		{"unsigned.example", dnssec.Insecure},
		{"unknown.example", dnssec.Insecure},
		{"bogus.example", dnssec.Bogus},
		{"stripped.example", dnssec.Bogus},
	} {
		status := dnssec.Indeterminate
		answer, err := resolver.Lookup(t.Context(), test.name, dnssec.TypeMX)
		var failed *dnssec.Error
		switch {
		case errors.As(err, &failed):
			status = failed.Status
		case err != nil:
			t.Error(err)
		default:
			status = answer.Status
		}
		if status != test.status {
			t.Errorf("%s: %s (%v), want %s", test.name, status, err, test.status)
		}
	}
}

// A policy that was fetched before an attack is enforced during it
// (field note 45).
func TestMTASTS(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	host := inet.Domain("example.org", policytest.Unsigned).MX("mx.example.org").Policy("enforce", "mx.example.org")
	client, err := mtasts.New(inet.MTASTSConfig())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := client.Lookup(t.Context(), "example.org"); err != nil || r.Policy == nil || !r.Policy.MatchMX("mx.example.org") {
		t.Fatalf("%+v %v", r, err)
	}
	host.Break(policytest.Refuse)
	host.Announce("spoofed")
	inet.Advance(24 * time.Hour)
	if r, err := client.Lookup(t.Context(), "example.org"); err != nil || r.Policy == nil {
		t.Errorf("during the attack: %+v %v", r, err)
	}
	inet.Advance(7 * 24 * time.Hour)
	if r, err := client.Lookup(t.Context(), "example.org"); err != nil || r.Policy != nil {
		t.Errorf("after the end of max_age: %+v %v", r, err)
	}
}

func TestConfigResolvesInInternet(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("example.org").MX("mx.example.org")
	inet.Host("mx.example.org", policytest.TLSA("3 1 1"))
	r, err := policy.New(inet.Config())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := r.Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Hosts) != 1 || plan.Hosts[0].Level != policy.Authenticated || plan.Hosts[0].By != policy.ByDANE {
		t.Errorf("%+v", plan.Hosts)
	}
}

// A domain has one policy host: a second call of Policy is a new policy with a new id.
func TestPolicyIsReplaced(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	domain := inet.Domain("example.org", policytest.Unsigned).MX("mx.example.org")
	inet.Host("mx.example.org")
	first := domain.Policy("enforce", "mx.example.org")
	r := inet.Resolver()
	plan, err := r.Resolve(t.Context(), "example.org")
	if err != nil || !plan.Allows("mx.example.org") {
		t.Fatalf("%v, %v", plan, err)
	}
	if second := domain.Policy("enforce", "other.example.org"); second != first {
		t.Error("there are two policy hosts")
	}
	inet.Advance(2 * time.Hour) // the record is in the cache until then
	fresh, changed, err := r.Recheck(t.Context(), plan)
	if err != nil || !changed || fresh.Allows("mx.example.org") {
		t.Errorf("changed: %v, %v", changed, err)
	}
}

func TestResolverEndsWithInternet(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	inet.Host("mx.plain.example")
	r := inet.Resolver(func(c *policy.Config) { c.Floor = policy.Encrypted })
	if plan, err := r.Resolve(t.Context(), "plain.example"); err != nil || plan.Hosts[0].Level != policy.Encrypted {
		t.Errorf("%+v, %v", plan, err)
	}
	inet.Close()
	if _, err := r.MTASTS().Lookup(t.Context(), "other.example"); !errors.Is(err, mtasts.ErrClosed) {
		t.Errorf("the resolver of a closed internet: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a configuration that is not valid is accepted")
		}
	}()
	inet.Resolver(func(c *policy.Config) { c.MaxPlans = -1 })
}
