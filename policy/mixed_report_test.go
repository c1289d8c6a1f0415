package policy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/tlsrpt"
)

// R2: if one host of a domain has DANE and another has not, a session is reported under
// the MTA-STS policy only if it had to meet that policy, or observed it in testing mode.
func TestR2MixedDomainIsReportedByHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		mode         mtasts.Mode
		mx           dnssec.Status
		precedence   Precedence
		dane, webPKI []tlsrpt.PolicyType // of the sessions with the two hosts
	}{
		{"DANE decides", mtasts.Enforce, dnssec.Secure, DANEFirst, policyTypes("tlsa"), policyTypes("sts")},
		{"DANE decides, testing", mtasts.Testing, dnssec.Secure, DANEFirst, policyTypes("tlsa"), policyTypes("sts")},
		{"both are required", mtasts.Enforce, dnssec.Secure, RequireBoth, policyTypes("tlsa", "sts"), policyTypes("sts")},
		{"both are required, testing", mtasts.Testing, dnssec.Secure, RequireBoth, policyTypes("tlsa", "sts"), policyTypes("sts")},
		{"insecure MX", mtasts.Enforce, dnssec.Insecure, DANEFirst, policyTypes("tlsa", "sts"), policyTypes("sts")},
		{"insecure MX, testing", mtasts.Testing, dnssec.Insecure, DANEFirst, policyTypes("tlsa", "sts"), policyTypes("sts")},
		{"no policy", mtasts.None, dnssec.Secure, DANEFirst, policyTypes("tlsa"), policyTypes("no-policy-found")},
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

// R2, RPT-29: while the refresh of the policy fails, a session with the host about which DANE
// decides says so too. It counts as a success under the policy if it met it in fact, and
// what it lacks is no failure under a policy that was not applied.
func TestR2MixedDomainWhileRefreshFails(t *testing.T) {
	t.Parallel()
	root := testpki.Root(t, "root")
	roots := x509.NewCertPool()
	roots.AddCert(root.Cert)
	valid := root.Server(t, []string{"dane.example.org"}).Cert
	invalid := testpki.Root(t, "strange root").Server(t, []string{"dane.example.org"}).Cert
	for _, test := range []struct {
		name      string
		presented *x509.Certificate
		pattern   string
		step      Step
		failed    bool
	}{
		{"met", valid, "*.example.org", Done, false},
		{"another authority", invalid, "*.example.org", Done, true},
		{"not listed", valid, "web.example.org", Done, true},
		{"no TLS", nil, "*.example.org", NotOffered, true},
	} {
		f := newFakeDNS()
		f.now = func() time.Time { return testpki.Now }
		f.add(t, dnssec.Secure, "example.org. MX 1 dane.example.org.", "example.org. MX 2 web.example.org.")
		key := sha256.Sum256(valid.RawSubjectPublicKeyInfo)
		var state *tls.ConnectionState
		if test.presented != nil {
			key = sha256.Sum256(test.presented.RawSubjectPublicKeyInfo)
			state = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: []*x509.Certificate{test.presented}}
		}
		f.addHost(t, dnssec.Secure, "dane.example.org", "3 1 1 "+hex.EncodeToString(key[:]))
		f.addHost(t, dnssec.Secure, "web.example.org")
		store := new(changingStore)
		store.set(mtasts.Enforce, test.pattern)
		store.entry.Fetched, store.entry.Expires, store.entry.NextCheck = testpki.Now, testpki.Now.Add(7*24*time.Hour), testpki.Now.Add(time.Hour)
		store.failRefresh(testpki.Now.Add(-time.Minute))
		plan := resolve(t, f.newResolver(t, Config{Store: store, RootCAs: roots, Now: f.now}), "example.org")
		session, _ := plan.Hosts[0].Attempted(test.step, state, nil)
		if len(session.Outcomes) != 2 {
			t.Fatalf("%s: %+v", test.name, session.Outcomes)
		}
		sts := session.Outcomes[1]
		if sts.Failed() != test.failed || len(sts.Failures) != 1 || sts.Failures[0] != (tlsrpt.Failure{Type: tlsrpt.STSPolicyFetchError, ReasonCode: "http-timeout"}) {
			t.Errorf("%s: %+v", test.name, sts)
		}
	}
}

func policyTypes(list ...tlsrpt.PolicyType) []tlsrpt.PolicyType { return list }
