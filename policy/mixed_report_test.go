package policy

import (
	"fmt"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/tlsrpt"
)

// R2: if one host of a domain has DANE and another has not, a session is reported under
// the MTA-STS policy only if it had to meet that policy, or observed it in testing mode.
func TestR2MixedDomain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		mode         mtasts.Mode
		mx           dnssec.Status
		precedence   Precedence
		dane, webPKI []tlsrpt.PolicyType // of the sessions with the two hosts
	}{
		{"DANE decides", mtasts.Enforce, dnssec.Secure, DANEFirst, types("tlsa"), types("sts")},
		{"DANE decides, testing", mtasts.Testing, dnssec.Secure, DANEFirst, types("tlsa"), types("sts")},
		{"both are required", mtasts.Enforce, dnssec.Secure, RequireBoth, types("tlsa", "sts"), types("sts")},
		{"both are required, testing", mtasts.Testing, dnssec.Secure, RequireBoth, types("tlsa", "sts"), types("sts")},
		{"insecure MX", mtasts.Enforce, dnssec.Insecure, DANEFirst, types("tlsa", "sts"), types("sts")},
		{"insecure MX, testing", mtasts.Testing, dnssec.Insecure, DANEFirst, types("tlsa", "sts"), types("sts")},
		{"no policy", mtasts.None, dnssec.Secure, DANEFirst, types("tlsa"), types("no-policy-found")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFakeDNS()
			f.add(t, test.mx, "example.org. MX 1 dane.example.org.", "example.org. MX 2 web.example.org.")
			f.addHost(t, dnssec.Secure, "dane.example.org", someKey)
			f.addHost(t, dnssec.Secure, "web.example.org")
			store := new(changingStore)
			store.set(test.mode, "*.example.org")
			plan := resolve(t, f.newResolver(t, Config{Store: store, Precedence: test.precedence}), "example.org")
			for i, want := range [][]tlsrpt.PolicyType{test.dane, test.webPKI} {
				session, _ := plan.Hosts[i].Attempted(NotOffered, nil, nil)
				var got []tlsrpt.PolicyType
				for _, outcome := range session.Outcomes {
					got = append(got, outcome.Policy.Type)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: outcomes under %v, want %v", plan.Hosts[i].Name, got, want)
				}
			}
		})
	}
}

func types(list ...tlsrpt.PolicyType) []tlsrpt.PolicyType { return list }
