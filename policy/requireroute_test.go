package policy_test

import (
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// RequireRoute: an authenticated host that a forged MX record names does not get
// the mail, unless its certificate is for the domain that the mail is for.
func TestRequireRouteRefusesHostsOfForgedMX(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	unsigned := func(domain, host string, options ...policytest.Option) *policytest.Host {
		inet.Domain(domain, policytest.Unsigned).MX(host)
		return inet.Host(host, options...)
	}
	unsigned("plain.example", "mx.plain.example")
	unsigned("named.example", "mx.named.example", policytest.WrongName("named.example"))
	unsigned("self.example", "mx.self.example", policytest.WrongName("self.example"), policytest.SelfSigned)
	inet.Domain("provider.example").MX("mx.provider.example")
	inet.Host("mx.provider.example", policytest.TLSA("3 1 1"))
	inet.Domain("hosted.example", policytest.Unsigned).MX("mx.provider.example")
	inet.Domain("signed.example").MX("mx.signed.example")
	inet.Host("mx.signed.example")
	inet.Domain("enforce.example", policytest.Unsigned).MX("mx.enforce.example").Policy("enforce", "mx.enforce.example")
	inet.Host("mx.enforce.example")
	inet.Domain("testing.example", policytest.Unsigned).MX("mx.testing.example").Policy("testing", "mx.testing.example")
	inet.Host("mx.testing.example")
	pinned := unsigned("pinned.example", "mx.pinned.example", policytest.SelfSigned)
	inet.Domain("relayed.example", policytest.Unsigned)
	overrides := map[string]policy.Override{
		"pinned.example":  {Pin: []dane.Record{record(t, pinned, dane.DANEEE)}},
		"relayed.example": {NextHop: "[mx.signed.example]"},
	}
	for _, test := range []struct {
		domain        string
		host, session bool // with the floor alone, and with RequireRoute
	}{
		{"plain.example", true, false},
		{"named.example", false, true},
		{"self.example", false, false},
		{"hosted.example", true, false},
		{"signed.example", true, true},
		{"enforce.example", true, true},
		{"testing.example", true, false},
		{"pinned.example", true, true},
		{"relayed.example", true, true},
	} {
		for _, options := range [][]policy.Option{nil, {policy.TLSOptional()}} {
			single := map[string]policy.Override{test.domain: overrides[test.domain]}
			wish := single[test.domain]
			wish.RequireRoute = true
			single[test.domain] = wish
			for _, change := range []struct {
				name   string
				config func(*policy.Config)
				want   bool
			}{
				{"floor", func(c *policy.Config) { c.Floor, c.Overrides = policy.Authenticated, overrides }, test.host},
				{"for all", func(c *policy.Config) { c.RequireRoute, c.Overrides = true, overrides }, test.session},
				{"for one", func(c *policy.Config) { c.Overrides = single }, test.session},
			} {
				if options != nil && (test.domain == "enforce.example" || test.domain == "hosted.example") {
					continue // their policy does not count then
				}
				r := resolver(t, inet, change.config)
				plan, err := r.Resolve(t.Context(), test.domain, options...)
				if err != nil {
					t.Fatal(err)
				}
				host := plan.Hosts[0]
				_, err = handshake(t, host)
				if (err == nil) != change.want || host.Level != policy.Authenticated {
					t.Errorf("%s, %s: %v (%s): %v, want a session: %v", test.domain, change.name, host.Level, host.Why, err, change.want)
				}
				if err != nil && !strings.Contains(host.Why, "next-hop domain") && change.want != test.host {
					t.Errorf("%s, %s: %s", test.domain, change.name, host.Why)
				}
				if want := plan.MXStatus == dnssec.Secure || plan.MTASTS.Policy != nil; host.RouteAuthenticated != want {
					t.Errorf("%s, %s: route authenticated: %v, want %v", test.domain, change.name, !want, want)
				}
				r.Close()
			}
		}
	}
}
