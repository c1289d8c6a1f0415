package policy_test

import (
	"errors"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// S11: an enforced policy that is found only now contradicts a denial that may be
// forged, as a remembered one does. A policy in testing mode does not.
func TestS11PolicyFoundNow(t *testing.T) {
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
