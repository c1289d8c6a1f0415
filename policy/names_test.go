package policy_test

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// The name in SNI: the TLSA base domain under DANE, the MX host name under
// MTA-STS. STS-90, STS-92, DANE-106, OPS-4, OPS-20, OPS-32, field note 25.
func TestServerNameFollowsThePolicy(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Domain("alias.example").MX("mx.alias.example").Add("mx CNAME mx.dane.example.")
	inet.Domain("kept.example").MX("mx.kept.example").Add("mx CNAME mx.bare.example.")
	inet.Domain("bare.example").MX("mx.bare.example")
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Add("mx CNAME mx.bare.example.").
		Policy("enforce", "mx.sts.example")
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	dane := inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	bare := inet.Host("mx.bare.example")
	plain := inet.Host("mx.plain.example")
	// TLSA at the alias itself, for the key of the host that it leads to: the
	// expanded name has none.
	inet.Domain("elsewhere.example")
	keyed := inet.Host("mx.elsewhere.example", policytest.TLSA("3 1 1"))
	tlsa, err := lookupTLSA(t, inet, "_25._tcp.mx.elsewhere.example")
	if err != nil {
		t.Fatal(err)
	}
	keyed.PublishTLSA()
	inet.Domain("original.example").MX("mx.original.example").
		Add("mx CNAME mx.elsewhere.example.", "_25._tcp.mx TLSA "+tlsa)

	r := resolver(t, inet)
	for _, test := range []struct {
		clause, domain string
		host           *policytest.Host
		want           string
		level          policy.Level
	}{
		{"DANE, no alias", "dane.example", dane, "mx.dane.example", policy.Authenticated},
		{"DANE-60 DANE, TLSA at the end of the alias", "alias.example", dane, "mx.dane.example", policy.Authenticated},
		{"DANE-72 DANE, TLSA at the alias", "original.example", keyed, "mx.original.example", policy.Authenticated},
		{"no TLSA at either", "kept.example", bare, "mx.kept.example", policy.Opportunistic},
		{"opportunistic", "plain.example", plain, "mx.plain.example", policy.Opportunistic},
	} {
		plan, err := r.Resolve(t.Context(), test.domain)
		if err != nil {
			t.Fatal(err)
		}
		h := plan.Hosts[0]
		if h.Level != test.level || h.ServerName != test.want {
			t.Errorf("%s: %v, SNI %q, want %v, %q", test.clause, h.Level, h.ServerName, test.level, test.want)
		}
		before := len(test.host.Sessions())
		if _, err := handshake(t, h); err != nil {
			t.Errorf("%s: %v", test.clause, err)
		}
		sessions := test.host.Sessions()
		if len(sessions) != before+1 || sessions[before].TLS == nil || sessions[before].TLS.ServerName != test.want {
			t.Errorf("%s: the server saw %+v", test.clause, sessions)
		}
	}
	plan, err := r.Resolve(t.Context(), "sts.example")
	if err != nil || plan.Hosts[0].ServerName != "mx.sts.example" {
		t.Errorf("STS-92: %+v, %v", plan, err)
	}
}

// lookupTLSA returns the data of the one TLSA record at a name.
func lookupTLSA(t *testing.T, inet *policytest.Internet, name string) (string, error) {
	t.Helper()
	answer, err := inet.DNS().Lookup(t.Context(), name, dnssec.TypeTLSA)
	if err != nil {
		return "", err
	}
	return answer.Records[0].Content(), nil
}

// MTA-STS matches the policy's patterns with the exchange as the MX record names it
// (STS-66), or with the domain itself if there is no MX record (STS-67). It matches
// the certificate with the host, and never with the patterns (STS-71).
func TestMTASTSMatchesExchangeAndHost(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").
		Add("mx CNAME mx.provider.example.").Policy("enforce", "*.sts.example")
	inet.Domain("target.example", policytest.Unsigned).MX("mx.target.example").
		Add("mx CNAME mx.provider.example.").Policy("enforce", "mx.provider.example")
	inet.Domain("provider.example", policytest.Unsigned)
	provider := inet.Host("mx.provider.example", policytest.WrongName("mx.sts.example"))
	inet.Domain("implicit.example", policytest.Unsigned).Policy("enforce", "implicit.example")
	inet.Host("implicit.example")
	inet.Domain("unlisted.example", policytest.Unsigned).Policy("enforce", "mx.unlisted.example")
	inet.Host("unlisted.example")
	r := resolver(t, inet)
	for domain, want := range map[string]policy.Level{
		"sts.example": policy.Authenticated, "target.example": policy.Refused,
		"implicit.example": policy.Authenticated, "unlisted.example": policy.Refused,
	} {
		plan, err := r.Resolve(t.Context(), domain)
		if err != nil || plan.Hosts[0].Level != want {
			t.Errorf("%s: %+v, %v; want %v", domain, plan, err, want)
		}
	}
	plan, err := r.Resolve(t.Context(), "sts.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, plan.Hosts[0]); err != nil {
		t.Errorf("the certificate is for the exchange as the MX record names it: %v", err)
	}
	defer provider.Break(policytest.WrongName("other.sts.example"))()
	if _, err := handshake(t, plan.Hosts[0]); tlsrpt.Classify(err).Type != tlsrpt.CertificateHostMismatch {
		t.Errorf("a certificate that matches a pattern and not the host: %v", err)
	}
}

// OPS-3, DANE-107, DANE-109, OPS-12, STS-93: what is offered in the handshake.
// crypto/tls has no anonymous suites, raw public keys or SSLv2 to leave out.
func TestTLSConfigHasMinVersionOfLevel(t *testing.T) {
	t.Parallel()
	inet := twoDomains(t)
	for _, test := range []struct {
		domain string
		min    uint16 // Config.OpportunisticMinVersion
		want   uint16
	}{
		{"dane.example", 0, tls.VersionTLS12},
		{"dane.example", tls.VersionTLS10, tls.VersionTLS12},
		{"plain.example", 0, tls.VersionTLS10},
		{"plain.example", tls.VersionTLS13, tls.VersionTLS13},
	} {
		r := resolver(t, inet, func(c *policy.Config) { c.OpportunisticMinVersion = test.min })
		plan, err := r.Resolve(t.Context(), test.domain)
		if err != nil {
			t.Fatal(err)
		}
		first, second := plan.Hosts[0].TLSConfig(), plan.Hosts[0].TLSConfig()
		if first == second || first.MinVersion != test.want || first.MaxVersion != 0 || first.CipherSuites != nil || first.VerifyConnection == nil {
			t.Errorf("%s: %+v", test.domain, first)
		}
	}
}

// Field notes 29 and 66: sessions with one host share nothing that the check
// writes to, and it has one result.
func TestSessionsShareNothing(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	mx := inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	plan, err := resolver(t, inet).Resolve(t.Context(), "dane.example")
	if err != nil {
		t.Fatal(err)
	}
	good := mx.Certificates()
	defer mx.Break(policytest.Impostor)()
	var sessions sync.WaitGroup
	for range 8 {
		sessions.Go(func() {
			if _, err := handshake(t, plan.Hosts[0]); err == nil {
				t.Error("an impostor was verified")
			}
			state := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: good}
			if err := plan.Hosts[0].Verify(state); err != nil {
				t.Error(err)
			}
		})
	}
	sessions.Wait()
}

// OPS-39: a TLSA RRset that is too large for a datagram is looked up over TCP.
func TestLargeTLSASetIsLookedUpOverTCP(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	records := []string{"3 1 1"}
	for i := range 60 {
		records = append(records, fmt.Sprintf("3 1 1 %064x", i))
	}
	inet.Host("mx.dane.example", policytest.TLSA(records...))
	plan, err := resolver(t, inet).Resolve(t.Context(), "dane.example")
	if err != nil || len(plan.Hosts[0].TLSA) != 61 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if _, err := handshake(t, plan.Hosts[0]); err != nil {
		t.Error(err)
	}
}

// Field notes 64 and 65: a Config is left as it was given, and nothing global is
// touched; with a nil Logger nothing is written anywhere, which the race
// detector and the silence of this test show.
func TestConfigIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	config := inet.Config()
	config.Self = []string{"B.example.", "a.example"}
	config.Overrides = map[string]policy.Override{"X.example.": {Floor: policy.Encrypted}}
	r, err := policy.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Self, []string{"B.example.", "a.example"}) || len(config.Overrides) != 1 || config.MTASTS != nil || config.Port != 0 && config.Port != 25 {
		t.Errorf("%+v", config)
	}
	config.Self[0], config.Overrides["dane.example"] = "mx.dane.example", policy.Override{NoDANE: true}
	plan, err := r.Resolve(t.Context(), "dane.example")
	if err != nil || plan.Hosts[0].By != policy.ByDANE {
		t.Errorf("the configuration was read after New: %+v, %v", plan, err)
	}
}

// Field note 67: a domain without a policy is distinguished from one whose policy
// cannot be fetched, so that the latter can be reported.
func TestNoPolicyIsNotAFailure(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("none.example", policytest.Unsigned).MX("mx.none.example")
	inet.Host("mx.none.example")
	hidden := inet.Domain("hidden.example", policytest.Unsigned).MX("mx.hidden.example").Policy("enforce", "mx.hidden.example")
	inet.Host("mx.hidden.example")
	hidden.Break(policytest.Refuse)
	r := resolver(t, inet)
	for domain, failed := range map[string]bool{"none.example": false, "hidden.example": true} {
		plan, err := r.Resolve(t.Context(), domain)
		if err != nil {
			t.Fatal(err)
		}
		if (plan.MTASTS.Err != nil) != failed || plan.MTASTS.Policy != nil {
			t.Errorf("%s: %+v", domain, plan.MTASTS)
		}
		session := attempted(plan.Hosts[0], &tls.ConnectionState{}, nil)
		want := tlsrpt.NoPolicyFound
		if failed {
			want = tlsrpt.STS
		}
		if len(session.Outcomes) != 1 || session.Outcomes[0].Policy.Type != want || (len(session.Outcomes[0].Failures) > 0) != failed {
			t.Errorf("%s: %+v", domain, session)
		}
		var b strings.Builder
		plan.Explain(&b)
		if strings.Contains(b.String(), "fetch") != failed {
			t.Errorf("%s:\n%s", domain, b.String())
		}
	}
}
