package policy_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/testpki"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// explained returns the explanation of the plan for a domain, or the error.
func explained(t *testing.T, r *policy.Resolver, domain string) string {
	t.Helper()
	plan, err := r.Resolve(t.Context(), domain)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	if err := plan.Explain(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// X: what an explanation says.
func TestXExplanationSaysWhatWasFound(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	zeros := func(n int) string { return strings.Repeat("00", n) }

	inet.Domain("skipped.test").MX("mx.skipped.test")
	inet.Host("mx.skipped.test", policytest.TLSA("3 1 1", "3 1 2 "+zeros(64), "1 1 1", "3 1 1 0011"))
	inet.Domain("alias.test").MX("mx.alias.test").Add("mx CNAME host")
	inet.Host("host.alias.test", policytest.TLSA("2 1 1"))
	inet.Domain("empty.test")
	inet.Domain("to.alias.test").Add("@ CNAME skipped.test.")
	inet.Domain("family.test", policytest.Unsigned).MX("mx.family.test")
	inet.Host("mx.family.test", policytest.Addrs("192.0.2.200", "2001:db8::200"))
	inet.BreakDNS(policytest.ServFail, "mx.family.test", dnssec.TypeAAAA)
	inet.Domain("neither.test").MX("mx.neither.test")
	inet.Host("mx.neither.test", policytest.Addrs("192.0.2.201", "2001:db8::201"))
	inet.BreakDNS(policytest.ServFail, "mx.neither.test", dnssec.TypeA, dnssec.TypeAAAA)
	inet.Domain("none.test", policytest.Unsigned).MX("mx.plain.test").Policy("none", "mx.plain.test")
	inet.Domain("plain.test", policytest.Unsigned).MX("mx.plain.test")
	inet.Host("mx.plain.test")
	inet.Domain("signed.test").MX("mx.signed.test")
	inet.Host("mx.signed.test")
	inet.Domain("failed.test", policytest.Unsigned).MX("mx.plain.test").Policy("enforce", "mx.plain.test").Break(policytest.Refuse)
	inet.Domain("badweb.test", policytest.Unsigned).MX("mx.plain.test").Policy("enforce", "mx.plain.test").Break(policytest.Expired)
	inet.Domain("dnsfailed.test", policytest.Unsigned).MX("mx.plain.test")
	inet.BreakDNS(policytest.ServFail, "_mta-sts.dnsfailed.test", dnssec.TypeTXT)
	inet.Domain("testing.test", policytest.Unsigned).MX("mx.skipped.test").Policy("testing", "mx.skipped.test")

	usual, both := inet.Resolver(), func(c *policy.Config) { c.NoDANE, c.NoMTASTS = true, true }
	for _, tt := range []struct {
		name     string
		resolver *policy.Resolver
		domain   string
		want     []string
		not      []string
	}{
		{"X skipped records", usual, "skipped.test", []string{
			": used\n", ": not used: a record with a stronger digest is published", ": not used: unusable: usage PKIX-EE is not for mail",
			": not used: unusable: the data has 2 octets",
		}, []string{"may be for"}}, // DANE-EE has no names
		{"X aliases and the base domain", usual, "alias.test", []string{
			"mx.alias.test. is an alias of host.alias.test. (secure)", "TLSA base domain: host.alias.test, to which the aliases lead",
			"a DANE-TA certificate may be for: host.alias.test",
		}, nil},
		{"X an alias of the domain", usual, "to.alias.test", []string{"an alias of skipped.test, which has the MX records"}, nil},
		{"X a family is missing", usual, "family.test", []string{"only one family of addresses is used, because the lookup of AAAA failed: ", "SERVFAIL"}, nil},
		{"X one line where both families fail", usual, "neither.test", []string{"lookup for host \"mx.neither.test\" failed: ", "A of", "; dnssec: AAAA of"}, nil},
		{"X mode none", usual, "none.test", []string{"mode none, id 1; fetched", "the host's addresses are not signed, so DANE does not apply, and the MTA-STS policy has mode none"}, []string{"mx "}},
		{"X no policy", usual, "plain.test", []string{"so DANE does not apply, and no MTA-STS policy: TLS if"}, []string{"failed"}},
		{"X no records", usual, "signed.test", []string{"no secure TLSA records, and no MTA-STS policy: TLS if"}, nil},
		{"X the fetch failed", usual, "failed.test", []string{"the search for a policy failed, which does not mean that there is none", "and the search for an MTA-STS policy failed: TLS if"}, []string{"no policy"}},
		{"X the lookup failed", usual, "dnsfailed.test", []string{"and the search for an MTA-STS policy failed"}, []string{"no policy"}},
		{"X the policy host's certificate", usual, "badweb.test", []string{"the certificate of the policy host mta-sts.badweb.test is not valid", "expired"}, nil},
		{"X switched off", inet.Resolver(both), "signed.test", []string{"DANE is switched off, and MTA-STS is switched off: TLS if"}, []string{"no policy"}},
		{"X switched off for insecure MX records", inet.Resolver(func(c *policy.Config) { c.NoDANEForInsecureMX = true }), "testing.test", []string{"opportunistic"}, nil},
		{"X switched off for insecure MX records, no policy", inet.Resolver(func(c *policy.Config) { c.NoDANEForInsecureMX = true }), "plain.test",
			[]string{"DANE is switched off for MX records that are not secure, and no MTA-STS policy"}, nil},
		{"X a literal", usual, "[192.0.2.1]", []string{"an address literal, to which no policy applies: TLS if"}, nil},
		{"X encryption is required", inet.Resolver(func(c *policy.Config) { c.Floor = policy.Encrypted }), "signed.test",
			[]string{"no secure TLSA records, and no MTA-STS policy; the operator requires encryption"}, nil},
		{"X a certificate is required", inet.Resolver(func(c *policy.Config) { c.Floor = policy.Authenticated }), "failed.test",
			[]string{"and the search for an MTA-STS policy failed; the operator requires a certificate of the web PKI"}, nil},
		{"X a policy in testing mode does not secure MX records", usual, "testing.test", []string{"found by an MX record that is not secure"}, []string{"found securely"}},
		{"X no address", usual, "empty.test", []string{"MTA-STS: not asked, because no mail host has an address"}, []string{"DANE decides"}},
		{"X DANE decides", usual, "skipped.test", []string{"MTA-STS: not asked, because DANE decides for all hosts"}, nil},
		{"X the empty domain", usual, "", []string{"the domain is empty"}, []string{`""`}},
	} {
		text := explained(t, tt.resolver, tt.domain)
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, text)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q in\n%s", tt.name, not, text)
			}
		}
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "dnssec") || strings.HasPrefix(line, "dane:") {
				t.Errorf("%s: a line that continues another:\n%s", tt.name, text)
			}
		}
	}
}

// X: programs get the same facts.
func TestXPlanInJSONHasTheSameFacts(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("alias.test").MX("mx.alias.test").Add("mx CNAME host")
	inet.Host("host.alias.test", policytest.TLSA("3 1 1", "1 1 1"), policytest.Addrs("192.0.2.200", "2001:db8::200"))
	inet.Domain("to.test").Add("@ CNAME alias.test.")
	inet.Domain("family.test", policytest.Unsigned).MX("mx.family.test")
	inet.Host("mx.family.test")
	inet.BreakDNS(policytest.ServFail, "mx.family.test", dnssec.TypeAAAA)
	for domain, wanted := range map[string][]string{
		"to.test":     {`"mx_alias":"alias.test"`, `"aliases":["host.alias.test."]`, `"tlsa_not_used":["1 1 1 `, `: unusable: usage PKIX-EE is not for mail"]`},
		"family.test": {`"failed_lookups":["dnssec: AAAA of `},
	} {
		plan, err := inet.Resolver().Resolve(t.Context(), domain)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(plan)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wanted {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %s in %s", domain, want, text)
			}
		}
	}
}

// X: errors are one line, also where both families fail.
func TestXErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("neither.test").MX("mx.neither.test")
	inet.Host("mx.neither.test")
	inet.BreakDNS(policytest.ServFail, "mx.neither.test", dnssec.TypeA, dnssec.TypeAAAA)
	plan, err := inet.Resolver().Resolve(t.Context(), "neither.test")
	if err != nil {
		t.Fatal(err)
	}
	refusal := plan.Hosts[0].Refusal
	for err := error(refusal); err != nil; err = errors.Unwrap(err) {
		if text := err.Error(); strings.Contains(text, "\n") && !strings.HasPrefix(text, "dnssec: ") {
			t.Errorf("%T: %q", err, text)
		}
	}
	if text := refusal.Error(); !strings.Contains(text, "A of") || !strings.Contains(text, "AAAA of") {
		t.Errorf("%q", text)
	}
}

// The search for a record that would have matched is bounded, whatever a hostile domain and its
// server say. Each record alone would cost as many signatures as a whole verification.
func TestXSearchForSkippedRecordsIsBounded(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	today := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = inet.Now().Add(-time.Hour), inet.Now().Add(time.Hour)
	}
	var chain []*x509.Certificate
	var authority *testpki.Entity
	mismatch := "3 1 1 " + strings.Repeat("00", 32)
	records := []string{mismatch}
	for range 31 {
		authority = testpki.Root(t, "X", today)
		chain = append(chain, authority.Cert)
		records = append(records, policytest.TLSARecord(authority.Cert, "0 0 1"))
	}
	matching := policytest.TLSARecord(authority.Cert, "0 1 1")
	names := []string{"mx.few.test", "mx.many.test"}
	chain = append([]*x509.Certificate{authority.Server(t, names, today).Cert}, chain...)
	for domain, published := range map[string][]string{
		"few.test": {mismatch, matching}, "many.test": append(records[:len(records)-1:len(records)-1], matching),
	} {
		inet.Domain(domain).MX("mx." + domain)
		inet.Host("mx."+domain, policytest.TLSA(published...))
		err := onlyHost(t, inet.Resolver(), domain).Verify(tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: chain})
		if err == nil || strings.Contains(err.Error(), " would match, and is not used: ") != (domain == "few.test") {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

// X: the error says that a record would have matched that is not used.
func TestXSkippedRecordWouldMatch(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	for name, tlsa := range map[string][]string{
		"agile.test":  {"3 1 1", "3 1 2 " + strings.Repeat("00", 64)},
		"usage.test":  {"1 1 1", "3 1 1 " + strings.Repeat("00", 32)},
		"wrong.test":  {"3 1 1 " + strings.Repeat("00", 32)},
		"pinned.test": {"3 1 1", "3 1 2 " + strings.Repeat("00", 64)},
	} {
		inet.Domain(name).MX("mx." + name)
		mx := inet.Host("mx."+name, policytest.TLSA(tlsa...))
		plan, err := inet.Resolver(func(c *policy.Config) {
			c.HostOverrides = map[string]policy.HostOverride{"mx.pinned.test": {Pin: []dane.Record{{Usage: dane.DANEEE, Selector: dane.SPKI, MatchingType: dane.SHA256, Data: make([]byte, 32)}}}}
		}).Resolve(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		err = plan.Hosts[0].Verify(tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: mx.Certificates()})
		if err == nil {
			t.Fatalf("%s: verified", name)
		}
		skipped := name == "agile.test" || name == "usage.test"
		if got := strings.Contains(err.Error(), " would match, and is not used: "); got != skipped {
			t.Errorf("%s: %v", name, err)
		}
	}
}
