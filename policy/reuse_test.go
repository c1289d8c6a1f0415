package policy_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// What a pool of sessions needs (decision "Pool"): Host.Verify of the present plan
// judges a session that was established before, by what holds now. Nothing of the old
// verdict counts.
func TestVerifyJudgesAnOldSessionByThePresentPlan(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	old := func(change func(*tls.ConnectionState)) func(*reuse) { return func(r *reuse) { change(&r.state) } }
	configured := func(change func(*policy.Config)) func(*reuse) { return func(r *reuse) { r.change = change } }
	for name, test := range map[string]struct {
		tlsa, enforced bool
		change         func(*reuse) // between the two messages
		want           bool         // the session is good for the second
	}{
		"DANE, nothing changed":           {tlsa: true, change: func(*reuse) {}, want: true},
		"MTA-STS, nothing changed":        {enforced: true, change: func(*reuse) {}, want: true},
		"no policy, nothing changed":      {change: func(*reuse) {}, want: true},
		"the key was rolled":              {tlsa: true, change: func(r *reuse) { r.host.Break(policytest.OtherKey); r.host.PublishTLSA("3 1 1 " + zeros) }},
		"DANE was published":              {change: func(r *reuse) { r.host.PublishTLSA("3 1 1 " + zeros) }},
		"DANE-EE, the certificate ended":  {tlsa: true, change: func(r *reuse) { r.inet.Advance(3 * day) }, want: true},
		"web PKI, the certificate ended":  {enforced: true, change: func(r *reuse) { r.inet.Advance(3 * day) }},
		"a policy was published":          {change: func(r *reuse) { r.domain.Policy("enforce", "mx.provider.example") }, want: true},
		"a policy without the host":       {change: func(r *reuse) { r.domain.Policy("enforce", "mx.b.example") }},
		"the authority is not trusted":    {enforced: true, change: distrust},
		"a pin was added":                 {change: configured(func(c *policy.Config) { c.Overrides = pinned(t, "a.example") })},
		"a pin of the host was added":     {change: configured(func(c *policy.Config) { c.HostOverrides = pinnedHost(t, "mx.provider.example") })},
		"a floor, and the right name":     {change: configured(func(c *policy.Config) { c.Floor = policy.Authenticated }), want: true},
		"a route, and the wrong name":     {change: configured(func(c *policy.Config) { c.RequireRoute = true })},
		"an old version at Opportunistic": {change: old(func(s *tls.ConnectionState) { s.Version = tls.VersionTLS11 }), want: true},
		"an old version at DANE":          {tlsa: true, change: old(func(s *tls.ConnectionState) { s.Version = tls.VersionTLS11 })},
		"an old version at MTA-STS":       {enforced: true, change: old(func(s *tls.ConnectionState) { s.Version = tls.VersionTLS11 })},
		"no certificates":                 {tlsa: true, change: old(func(s *tls.ConnectionState) { s.PeerCertificates = nil })},
		"no session":                      {change: old(func(s *tls.ConnectionState) { *s = tls.ConnectionState{} })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &reuse{t: t, inet: policytest.New(t), change: func(*policy.Config) {}}
			r.domain = r.inet.Domain("a.example", policytest.Unsigned).MX("mx.provider.example")
			r.inet.Domain("provider.example")
			options := []policytest.Option{policytest.Certificate(func(c *x509.Certificate) { c.NotAfter = r.inet.Now().Add(2 * day) })}
			if test.tlsa {
				options = append(options, policytest.TLSA("3 1 1"))
			}
			if test.enforced {
				r.domain.Policy("enforce", "mx.provider.example")
			}
			r.host = r.inet.Host("mx.provider.example", options...)
			r.state = session(r.host)
			before := onlyHost(t, resolver(t, r.inet), "a.example")
			if err := before.Verify(r.state); err != nil {
				t.Fatal(err)
			}
			test.change(r)
			now := onlyHost(t, resolver(t, r.inet, r.change), "a.example")
			if err := now.Verify(r.state); (err == nil) != test.want {
				t.Errorf("%v by %v: %v, want a session that is good: %v", now.Level, now.By, err, test.want)
			}
		})
	}
}

// reuse is a session and what may change before it is used again.
type reuse struct {
	t      *testing.T
	inet   *policytest.Internet
	domain *policytest.Domain
	host   *policytest.Host
	state  tls.ConnectionState
	change func(*policy.Config)
}

// distrust trusts no authority for mail hosts.
func distrust(r *reuse) {
	r.change = func(c *policy.Config) {
		client, err := mtasts.New(r.inet.MTASTSConfig())
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { client.Close() })
		c.MTASTS, c.RootCAs = client, x509.NewCertPool()
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func otherKey(t *testing.T) []dane.Record {
	t.Helper()
	r, err := dane.ParseRecord("3 1 1 " + zeros)
	if err != nil {
		t.Fatal(err)
	}
	return []dane.Record{r}
}

func pinned(t *testing.T, domain string) map[string]policy.Override {
	return map[string]policy.Override{domain: {Pin: otherKey(t)}}
}

func pinnedHost(t *testing.T, host string) map[string]policy.HostOverride {
	return map[string]policy.HostOverride{host: {Pin: otherKey(t)}}
}
