package policy_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/boltstore"
	"github.com/mxseal/mxseal/policy/policytest"
)

// S11: an enforced policy that is found only now contradicts a denial that may be
// forged, as a remembered one does. A policy in testing mode does not.
func TestS11PolicyFoundNowContradictsDenial(t *testing.T) {
	t.Parallel()
	const domain, host = "sts.example", "mx.sts.example"
	for _, fault := range []struct {
		name  string
		fault func(*policytest.Internet)
		want  error
	}{
		{"null MX", func(inet *policytest.Internet) {
			inet.BreakDNS(policytest.Forge(domain+". 300 MX 0 ."), domain, dnssec.TypeMX)
		}, policy.ErrNullMX},
		{"loop", func(inet *policytest.Internet) {
			inet.BreakDNS(policytest.Forge(domain+". 300 MX 0 me.example."), domain, dnssec.TypeMX)
		}, policy.ErrLoop},
		{"an exchange that is no host", func(inet *policytest.Internet) {
			inet.BreakDNS(policytest.Forge(domain+". 300 MX 0 192.0.2.1."), domain, dnssec.TypeMX)
		}, policy.ErrUnreachable},
	} {
		for mode, permanent := range map[string]bool{"enforce": false, "testing": true, "none": true} {
			inet := policytest.New(t)
			inet.Domain(domain, policytest.Unsigned).MX(host).Policy(mode, host)
			inet.Host(host)
			fault.fault(inet)
			plan, err := resolver(t, inet, func(c *policy.Config) { c.Self = []string{"me.example"} }).Resolve(t.Context(), domain)
			if err == nil {
				err = plan.Err()
			}
			var failure *policy.Error
			if !errors.As(err, &failure) || !errors.Is(err, fault.want) {
				t.Fatalf("%s, %s: %v", fault.name, mode, err)
			}
			if failure.Permanent != permanent || !permanent && failure.By != policy.ByMTASTS {
				t.Errorf("%s, %s: %v by %v", fault.name, mode, failure, failure.By)
			}
		}
	}
}

// S11: an enforced policy in the store delays a bounce only while the domain has not
// replaced it. The domain is asked before the store: a Resolver that knows the old policy
// from the store alone concludes what the domain says now.
func TestS11ReplacedPolicyDelaysNoBounce(t *testing.T) {
	t.Parallel()
	const domain, host = "sts.example", "mx.sts.example"
	for denied, deny := range map[string]func(*policytest.Internet){
		"null MX": func(inet *policytest.Internet) {
			inet.BreakDNS(policytest.Forge(domain+". 300 MX 0 ."), domain, dnssec.TypeMX)
		},
		"no address": func(inet *policytest.Internet) {
			inet.BreakDNS(policytest.Forge(), host, dnssec.TypeA)
			inet.BreakDNS(policytest.Forge(), host, dnssec.TypeAAAA)
		},
	} {
		for now, test := range map[string]struct {
			change    func(*policytest.Internet, *policytest.PolicyHost)
			permanent bool
		}{
			"none":    {republish("none"), true},
			"testing": {republish("testing"), true},
			"enforce": {republish("enforce"), false},
			"hidden": {func(inet *policytest.Internet, policies *policytest.PolicyHost) {
				inet.BreakDNS(policytest.Forge(), "_mta-sts."+domain, dnssec.TypeTXT)
				policies.Break(policytest.Refuse)
			}, false},
		} {
			t.Run(denied+", "+now, func(t *testing.T) {
				t.Parallel()
				inet := policytest.New(t)
				policies := inet.Domain(domain, policytest.Unsigned).MX(host).Policy("enforce", host)
				inet.Host(host)
				store, err := boltstore.Open(filepath.Join(t.TempDir(), "policies"), boltstore.Config{})
				if err != nil {
					t.Fatal(err)
				}
				defer store.Close()
				stored := func(c *policy.Config) { c.Store = store }
				if plan, err := resolver(t, inet, stored).Resolve(t.Context(), domain); err != nil || plan.Hosts[0].Level != policy.Authenticated {
					t.Fatalf("before: %+v, %v", plan, err)
				}
				test.change(inet, policies)
				inet.Advance(25 * time.Hour) // after which the domain is asked for the id again
				deny(inet)
				plan, err := resolver(t, inet, stored).Resolve(t.Context(), domain)
				if err == nil {
					err = plan.Err()
				}
				var failure *policy.Error
				if !errors.As(err, &failure) || failure.Permanent != test.permanent || !test.permanent && failure.By != policy.ByMTASTS {
					t.Errorf("permanent: want %v, got %v", test.permanent, err)
				}
			})
		}
	}
}

// republish returns a function that replaces the policy of a domain.
func republish(mode string) func(*policytest.Internet, *policytest.PolicyHost) {
	return func(_ *policytest.Internet, policies *policytest.PolicyHost) {
		policies.Publish(fmt.Sprintf("version: STSv1\nmode: %s\nmx: mx.sts.example\nmax_age: 604800\n", mode))
	}
}
