package policy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/boltstore"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// resolver makes a Resolver for an internet.
func resolver(t testing.TB, inet *policytest.Internet, change ...func(*policy.Config)) *policy.Resolver {
	t.Helper()
	return inet.Resolver(change...)
}

// twoDomains returns an internet with dane.example, which has DANE, and plain.example,
// which is unsigned and has no policy.
func twoDomains(t *testing.T) *policytest.Internet {
	t.Helper()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	inet.Host("mx.plain.example")
	return inet
}

// movingDomain returns an internet with moved.example, whose MX record and enforced
// policy name old.moved.example; new.moved.example exists as well.
func movingDomain(t *testing.T) (*policytest.Internet, *policytest.Domain, *policytest.PolicyHost) {
	t.Helper()
	inet := policytest.New(t)
	domain := inet.Domain("moved.example", policytest.Unsigned).MX("old.moved.example")
	inet.Host("old.moved.example")
	inet.Host("new.moved.example")
	return inet, domain, domain.Policy("enforce", "old.moved.example")
}

// handshake makes a TLS session with a host by its plan, as an SMTP client of
// the user's own would, and returns what VerifyConnection saw and said.
func handshake(t testing.TB, h *policy.Host) (*tls.ConnectionState, error) {
	t.Helper()
	conn, err := h.DialContext(t.Context(), "tcp", h.Addr())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for _, command := range []string{"", "EHLO client.example\r\n", "STARTTLS\r\n"} {
		if _, err := conn.Write([]byte(command)); err != nil {
			return nil, err
		}
		var reply [4096]byte
		n, err := conn.Read(reply[:])
		if err != nil {
			return nil, err
		}
		if command == "STARTTLS\r\n" && !strings.HasPrefix(string(reply[:n]), "220") {
			return nil, nil
		}
	}
	config := h.TLSConfig()
	verify := config.VerifyConnection
	var seen *tls.ConnectionState
	config.VerifyConnection = func(state tls.ConnectionState) error {
		seen = &state
		return verify(state)
	}
	session := tls.Client(conn, config)
	if err := session.HandshakeContext(t.Context()); err != nil {
		return seen, err
	}
	// Only with its next reply has the server finished the handshake as well.
	if _, err := session.Write([]byte("NOOP\r\n")); err != nil {
		return seen, err
	}
	_, err = session.Read(make([]byte, 100))
	return seen, err
}

// attempted returns the report of an attempt: without a state, of a server that
// does not offer STARTTLS.
func attempted(h *policy.Host, state *tls.ConnectionState, err error) tlsrpt.Session {
	step := policy.Done
	switch {
	case err != nil:
		step = policy.Handshake
	case state == nil:
		step = policy.NotOffered
	}
	session, _ := h.Attempted(step, state, err)
	return session
}

// The rows of the decision table, each by a real internet: what is published,
// and what a session must prove. STS-63, STS-74, STS-76, DANE-27 to DANE-31,
// DANE-45, DANE-46, DANE-49, OPS-6, OPS-35.
func TestDecisionTableOnAnInternet(t *testing.T) {
	const unusable = "0 0 1 0000000000000000000000000000000000000000000000000000000000000000"
	dane, sts := policy.ByDANE, policy.ByMTASTS
	for _, test := range []struct {
		name     string
		unsigned bool   // the domain; its MX host is in a signed one
		host     string // of a signed or an unsigned domain
		tlsa     string
		mode     string // of the MTA-STS policy
		level    policy.Level
		by       policy.Mechanism
		route    bool
		asked    bool // MTA-STS
	}{
		{"secure usable none", false, "mx.signed.example", "3 1 1", "", policy.Authenticated, dane, true, false},
		{"secure usable enforce", false, "mx.signed.example", "2 0 1", "enforce", policy.Authenticated, dane, true, false},
		{"secure unusable none", false, "mx.signed.example", unusable, "", policy.Encrypted, dane, true, true},
		{"secure unusable enforce", false, "mx.signed.example", unusable, "enforce", policy.Authenticated, sts, true, true},
		{"secure none enforce", false, "mx.unsigned.example", "", "enforce", policy.Authenticated, sts, true, true},
		{"insecure none enforce", true, "mx.signed.example", "", "enforce", policy.Authenticated, sts, true, true},
		{"secure none testing", false, "mx.signed.example", "", "testing", policy.Opportunistic, 0, true, true},
		{"insecure none testing", true, "mx.unsigned.example", "", "testing", policy.Opportunistic, 0, true, true},
		{"secure none none", false, "mx.signed.example", "", "none", policy.Opportunistic, 0, true, true},
		{"insecure none none", true, "mx.unsigned.example", "", "", policy.Opportunistic, 0, false, true},
		{"insecure usable none", true, "mx.signed.example", "3 0 2", "", policy.Authenticated, dane, false, true},
		{"insecure usable enforce", true, "mx.signed.example", "3 1 1", "enforce", policy.Authenticated, dane | sts, true, true},
		{"insecure unusable none", true, "mx.signed.example", unusable, "", policy.Encrypted, dane, false, true},
		{"insecure unusable enforce", true, "mx.signed.example", unusable, "enforce", policy.Authenticated, sts, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inet := policytest.New(t)
			inet.Domain("signed.example")
			inet.Domain("unsigned.example", policytest.Unsigned)
			var options []policytest.DomainOption
			if test.unsigned {
				options = append(options, policytest.Unsigned)
			}
			domain := inet.Domain("recipient.example", options...).MX(test.host)
			var published []policytest.Option
			if test.tlsa != "" {
				published = append(published, policytest.TLSA(test.tlsa))
			}
			inet.Host(test.host, published...)
			if test.mode != "" {
				domain.Policy(test.mode, test.host)
			}
			plan, err := resolver(t, inet).Resolve(t.Context(), "recipient.example")
			if err != nil {
				t.Fatal(err)
			}
			h := plan.Hosts[0]
			if h.Level != test.level || h.By != test.by || h.RouteAuthenticated != test.route {
				t.Errorf("%v by %v, route %v: %s", h.Level, h.By, h.RouteAuthenticated, h.Why)
			}
			// C11: the TXT record may be queried early, but is not used.
			fetched := inet.Questions("mta-sts.recipient.example", dnssec.TypeA) > 0
			if asked := plan.MTASTS.Asked; asked != test.asked || fetched && !asked {
				t.Errorf("MTA-STS asked: %v, fetched: %v; want %v", asked, fetched, test.asked)
			}
			if _, err := handshake(t, h); err != nil {
				t.Errorf("the host as published: %v", err)
			}
		})
	}
}

// STS-63, STS-74: a host that the enforced policy does not list gets no mail, whatever
// certificate it has.
func TestHostNotInPolicyGetsNoMail(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("listed.example", policytest.Unsigned)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example", "mx.listed.example").Policy("enforce", "mx.listed.example")
	inet.Host("mx.listed.example")
	inet.Host("mx.sts.example")
	plan, err := resolver(t, inet).Resolve(t.Context(), "sts.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range plan.Hosts {
		_, err := handshake(t, h)
		if listed := h.Name == "mx.listed.example"; listed != (err == nil) || listed != (h.Level == policy.Authenticated) || !listed && !errors.Is(err, policy.ErrNotListed) {
			t.Errorf("%s: %v by %v, %v", h.Name, h.Level, h.By, err)
		}
	}
}

// An attacker in the place of the host gets no session that a policy protects. It gets
// one if nothing is published. STS-88, DANE-85, DANE-111, OPS-3, TLSA-22.
func TestImpostorGetsNoProtectedMail(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "*.sts.example")
	inet.Domain("testing.example", policytest.Unsigned).MX("mx.testing.example").Policy("testing", "mx.testing.example")
	inet.Domain("bare.example", policytest.Unsigned).MX("mx.bare.example")
	hosts := map[string]*policytest.Host{
		"dane.example":    inet.Host("mx.dane.example", policytest.TLSA("3 1 1")),
		"sts.example":     inet.Host("mx.sts.example"),
		"testing.example": inet.Host("mx.testing.example"),
		"bare.example":    inet.Host("mx.bare.example"),
	}
	r := resolver(t, inet)
	for _, test := range []struct {
		domain string
		fault  policytest.Option
		want   tlsrpt.ResultType // of the handshake; empty: it succeeds
	}{
		{"dane.example", policytest.Impostor, tlsrpt.TLSAInvalid},
		{"dane.example", policytest.OtherKey, tlsrpt.TLSAInvalid},
		{"dane.example", policytest.WrongName("elsewhere.example"), ""}, // DANE-75
		{"dane.example", policytest.Expired, ""},                        // DANE-76
		{"dane.example", policytest.MaxTLS(tls.VersionTLS11), tlsrpt.ValidationFailure},
		{"sts.example", policytest.SelfSigned, tlsrpt.CertificateNotTrusted},                       // STS-69
		{"sts.example", policytest.UntrustedCA, tlsrpt.CertificateNotTrusted},                      // STS-69
		{"sts.example", policytest.Expired, tlsrpt.CertificateExpired},                             // STS-68
		{"sts.example", policytest.WrongName("elsewhere.example"), tlsrpt.CertificateHostMismatch}, // STS-70
		{"sts.example", policytest.WrongName("*.sts.example"), ""},                                 // STS-72
		{"sts.example", policytest.WrongName("*.example"), tlsrpt.CertificateHostMismatch},         // STS-72
		{"sts.example", policytest.WrongName(), tlsrpt.CertificateHostMismatch},                    // STS-70: CN only
		{"sts.example", policytest.MaxTLS(tls.VersionTLS11), tlsrpt.ValidationFailure},             // STS-93
		{"testing.example", policytest.Impostor, ""},                                               // STS-75
		{"bare.example", policytest.Impostor, ""},
	} {
		plan, err := r.Resolve(t.Context(), test.domain)
		if err != nil {
			t.Fatal(err)
		}
		h := plan.Hosts[0]
		restore := hosts[test.domain].Break(test.fault)
		state, err := handshake(t, h)
		restore()
		var got tlsrpt.ResultType
		if err != nil {
			got = tlsrpt.Classify(err).Type
		}
		if got != test.want {
			t.Errorf("%s: %q (%v), want %q", test.domain, got, err, test.want)
		}
		session := attempted(h, state, err)
		checkOutcomes(t, test.domain, session, test.want)
	}
}

// checkOutcomes checks a session's outcomes against how the handshake ended.
func checkOutcomes(t *testing.T, domain string, session tlsrpt.Session, want tlsrpt.ResultType) {
	t.Helper()
	if len(session.Outcomes) != 1 || session.Domain != domain {
		t.Errorf("%s: %+v", domain, session)
		return
	}
	outcome := session.Outcomes[0]
	wantType := map[string]tlsrpt.PolicyType{
		"dane.example": tlsrpt.TLSA, "sts.example": tlsrpt.STS, "testing.example": tlsrpt.STS, "bare.example": tlsrpt.NoPolicyFound,
	}[domain]
	if domain == "testing.example" && want == "" {
		want = tlsrpt.CertificateNotTrusted // what enforce would have done, STS-75
	}
	if outcome.Policy.Type != wantType {
		t.Errorf("%s: filed under %q, want %q (field note 59)", domain, outcome.Policy.Type, wantType)
	}
	switch {
	case want == "" && len(outcome.Failures) != 0:
		t.Errorf("%s: a good session counts as %+v", domain, outcome.Failures)
	case want != "" && (len(outcome.Failures) == 0 || outcome.Failures[0].Type != want):
		t.Errorf("%s: %+v, want %q", domain, outcome.Failures, want)
	}
}

// RFC 8460 section 4.4: what the report says of the policies.
func TestSessionNamesItsPolicies(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("signed.example")
	both := inet.Domain("both.example", policytest.Unsigned).MX("mx.signed.example")
	both.Policy("enforce", "mx.signed.example")
	inet.Host("mx.signed.example", policytest.TLSA("3 1 1"))
	plan, err := resolver(t, inet).Resolve(t.Context(), "both.example")
	if err != nil {
		t.Fatal(err)
	}
	session := attempted(plan.Hosts[0], nil, nil)
	if len(session.Outcomes) != 2 {
		t.Fatalf("RPT-24: %+v", session)
	}
	tlsa, sts := session.Outcomes[0], session.Outcomes[1]
	if tlsa.Policy.Type != tlsrpt.TLSA || tlsa.Policy.Domain != "mx.signed.example" || !strings.HasPrefix(tlsa.Policy.Strings[0], "3 1 1 ") {
		t.Errorf("RPT-48, RPT-50: %+v", tlsa.Policy)
	}
	if sts.Policy.Type != tlsrpt.STS || sts.Policy.Domain != "both.example" ||
		!slices.Contains(sts.Policy.Strings, "mode: enforce") || !slices.Equal(sts.Policy.MXHosts, []string{"mx.signed.example"}) {
		t.Errorf("RPT-38, RPT-49, RPT-50: %+v", sts.Policy)
	}
	for _, outcome := range session.Outcomes {
		if len(outcome.Failures) != 1 || outcome.Failures[0].Type != tlsrpt.STARTTLSNotSupported {
			t.Errorf("RPT-53: %+v", outcome.Failures)
		}
	}
}

// Field note 60, STS-86: a policy that is announced and broken is reported, with
// its own lines, and mail goes out as though there were none (STS-54).
func TestBrokenPolicyIsReported(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	broken := inet.Domain("broken.example", policytest.Unsigned).MX("mx.broken.example").Policy("enforce", "mx.broken.example")
	inet.Host("mx.broken.example")
	broken.Publish("version: STSv1\nmode: enforced\nmx: mx.broken.example\nmax_age: 1000\n")
	plan, err := resolver(t, inet).Resolve(t.Context(), "broken.example")
	if err != nil {
		t.Fatal(err)
	}
	h := plan.Hosts[0]
	if h.Level != policy.Opportunistic {
		t.Errorf("%v: %s", h.Level, h.Why)
	}
	state, err := handshake(t, h)
	session := attempted(h, state, err)
	if len(session.Outcomes) != 1 || session.Outcomes[0].Policy.Type != tlsrpt.STS || len(session.Outcomes[0].Failures) != 1 ||
		session.Outcomes[0].Failures[0].Type != tlsrpt.STSPolicyInvalid ||
		!slices.Contains(session.Outcomes[0].Policy.Strings, "mode: enforced") {
		t.Errorf("%+v", session)
	}
}

// A policy that was seen once protects while an attacker blocks, hides, spoofs or
// forges everything that is not signed: STS-55, field notes 8, 45 and 55. Plans made
// during the attack are no weaker than the one before it.
func TestRememberedPolicyProtectsUnderAttack(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	domain := inet.Domain("recipient.example", policytest.Unsigned).MX("mx.recipient.example")
	host := domain.Policy("enforce", "mx.recipient.example")
	inet.Host("mx.recipient.example")
	inet.Domain("attacker.example").MX("mx.attacker.example")
	inet.Host("mx.attacker.example", policytest.TLSA("3 1 1"))
	r := resolver(t, inet)
	before, err := r.Resolve(t.Context(), "recipient.example")
	if err != nil || before.Hosts[0].By != policy.ByMTASTS {
		t.Fatalf("%+v, %v", before, err)
	}
	for _, attack := range []struct {
		name  string
		begin func() (restore func())
		level policy.Level
	}{
		{"the TXT record is hidden", func() func() {
			return inet.BreakDNS(policytest.Forge(), "_mta-sts.recipient.example", dnssec.TypeTXT)
		}, policy.Authenticated},
		{"the TXT record is dropped", func() func() {
			return inet.BreakDNS(policytest.ServFail, "_mta-sts.recipient.example", dnssec.TypeTXT)
		}, policy.Authenticated},
		{"a new id and the policy host blocked", func() func() {
			restore := host.Break(policytest.Refuse)
			host.Announce("spoofed")
			return restore
		}, policy.Authenticated},
		{"a new id and a redirect", func() func() {
			host.Announce("spoofed2")
			return host.Break(policytest.Redirect("https://mta-sts.attacker.example/.well-known/mta-sts.txt"))
		}, policy.Authenticated},
		{"a new id and an impostor as policy host", func() func() {
			host.Announce("spoofed3")
			return host.Break(policytest.SelfSigned)
		}, policy.Authenticated},
		{"the MX record names the attacker's host", func() func() {
			return inet.BreakDNS(policytest.Forge("recipient.example. 300 MX 1 mx.attacker.example."), "recipient.example", dnssec.TypeMX)
		}, policy.Refused},
	} {
		inet.Advance(25 * time.Hour) // past all TTLs
		restore := attack.begin()
		plan, err := r.Resolve(t.Context(), "recipient.example")
		restore()
		if err != nil {
			t.Errorf("%s: %v", attack.name, err)
			continue
		}
		if h := plan.Hosts[0]; h.Level != attack.level || !h.By.Has(policy.ByMTASTS) {
			t.Errorf("%s: %s is %v by %v: %s", attack.name, h.Name, h.Level, h.By, h.Why)
		}
	}
	// The policy's week is over, and no fetch renewed it.
	inet.Advance(8 * 24 * time.Hour)
	defer host.Break(policytest.Refuse)()
	plan, err := r.Resolve(t.Context(), "recipient.example")
	if err != nil || plan.Hosts[0].Level != policy.Opportunistic {
		t.Errorf("STS-80, field note 46: after max_age %+v, %v", plan, err)
	}
}

// Whatever happens to signed DNS on its way is an error and never "none":
// DANE-4, DANE-5, DANE-9, DANE-12, DANE-15 to DANE-19, field notes 1, 13 and 36.
func TestAttackOnSignedDNSIsNeverNone(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	const tlsa = "_25._tcp.mx.dane.example"
	for name, fault := range map[string]policytest.DNSFault{
		"SERVFAIL": policytest.ServFail, "bogus": policytest.Bogus, "stripped": policytest.Strip, "denied": policytest.Forge(),
	} {
		for _, at := range []struct {
			name  string
			types []dnssec.Type
		}{
			{"dane.example", []dnssec.Type{dnssec.TypeMX}},
			{"mx.dane.example", []dnssec.Type{dnssec.TypeA, dnssec.TypeAAAA}},
			{tlsa, []dnssec.Type{dnssec.TypeTLSA}},
		} {
			t.Run(name+" "+at.name, func(t *testing.T) {
				restore := inet.BreakDNS(fault, at.name, at.types...)
				defer restore()
				plan, err := resolver(t, inet).Resolve(t.Context(), "dane.example")
				if err == nil {
					err = plan.Err()
				}
				if err == nil {
					t.Fatalf("%v: %s", plan.Hosts[0].Level, plan.Hosts[0].Why)
				}
				// SERVFAIL may be due to the sender's resolver, except behind secure addresses.
				isReported := name != "SERVFAIL" || at.name == tlsa
				if failure := tlsrpt.Classify(err); (failure.Type == tlsrpt.DNSSECInvalid) != isReported || (failure.ReasonCode != "") != isReported {
					t.Errorf("RPT-59: %+v of %v", failure, err)
				}
				if e, ok := err.(*policy.Error); !ok || e.Permanent {
					t.Errorf("field note 15: %v", err)
				}
			})
		}
	}
}

// Field note 2, TLSA-24: name servers of unsigned zones that fail on TLSA delay no
// mail, because they are not asked, and the plan does not say that they were.
func TestBrokenServerOfUnsignedZoneDelaysNoMail(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("recipient.example").MX("mx.provider.example")
	inet.Domain("provider.example", policytest.Unsigned)
	inet.Host("mx.provider.example")
	inet.BreakDNS(policytest.ServFail, "_25._tcp.mx.provider.example")
	plan, err := resolver(t, inet).Resolve(t.Context(), "recipient.example")
	if err != nil || plan.Hosts[0].Level != policy.Opportunistic || plan.Hosts[0].By != 0 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if inet.Questions("_25._tcp.mx.provider.example") != 0 {
		t.Error("TLSA was asked (DANE-55)")
	}
}

// STS-77, STS-79: the id is looked up again, and a new policy counts.
func TestRecheckFindsNewPolicy(t *testing.T) {
	t.Parallel()
	inet, domain, host := movingDomain(t)
	r := resolver(t, inet)
	plan, err := r.Resolve(t.Context(), "moved.example")
	if err != nil {
		t.Fatal(err)
	}
	if same, changed, err := r.Recheck(t.Context(), plan); err != nil || changed || same != plan {
		t.Errorf("nothing changed: %v, %v", changed, err)
	}
	domain.MX("new.moved.example")
	host.Publish("version: STSv1\nmode: enforce\nmx: new.moved.example\nmax_age: 86400\n")
	inet.Advance(24 * time.Hour)
	fresh, changed, err := r.Recheck(t.Context(), plan)
	if err != nil || !changed || !fresh.Allows("new.moved.example") || fresh.Allows("old.moved.example") {
		t.Errorf("%+v, %v, %v", fresh, changed, err)
	}
	host.Publish("version: STSv1\nmode: none\nmax_age: 60\n")
	inet.Advance(24 * time.Hour)
	fresh, changed, err = r.Recheck(t.Context(), fresh)
	if err != nil || !changed || fresh.MTASTS.Mode() != mtasts.None || fresh.Hosts[0].Level != policy.Opportunistic {
		t.Errorf("STS-84, field note 47: %+v, %v, %v", fresh.MTASTS, changed, err)
	}
}

// A recipient domain in U-labels is the one in A-labels, in every lookup.
func TestULabelsAreLookedUpAsALabels(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("xn--bcher-kva.example", policytest.Unsigned).MX("mx.xn--bcher-kva.example").Policy("enforce", "*.xn--bcher-kva.example")
	inet.Host("mx.xn--bcher-kva.example")
	r := resolver(t, inet)
	plan, err := r.Resolve(t.Context(), "Bücher.example")
	if err != nil || plan.Domain != "xn--bcher-kva.example" || plan.Hosts[0].By != policy.ByMTASTS {
		t.Fatalf("%+v, %v", plan, err)
	}
	if _, err := handshake(t, plan.Hosts[0]); err != nil {
		t.Error(err)
	}
	if again, err := r.Resolve(t.Context(), "xn--bcher-kva.EXAMPLE."); err != nil || again != plan {
		t.Errorf("%v, %v: another plan", again, err)
	}
}

// Field note 28, GO-1: a session resumed from a user's cache is verified as
// well, by what the host must prove now.
func TestResumedSessionIsVerified(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	mx := inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	r := resolver(t, inet)
	cache := tls.NewLRUClientSessionCache(8)
	connect := func(h *policy.Host) (resumed bool, err error) {
		conn, err := inet.Dial(t.Context(), "tcp", "mx.dane.example:25")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var reply [4096]byte
		for _, command := range []string{"", "EHLO client.example\r\n", "STARTTLS\r\n"} {
			conn.Write([]byte(command))
			if _, err := conn.Read(reply[:]); err != nil {
				t.Fatal(err)
			}
		}
		config := h.TLSConfig()
		config.ClientSessionCache = cache
		session := tls.Client(conn, config)
		if err := session.Handshake(); err != nil {
			return false, err
		}
		session.Write([]byte("EHLO client.example\r\n"))
		session.Read(reply[:]) // and with it the session ticket
		return session.ConnectionState().DidResume, nil
	}
	plan, err := r.Resolve(t.Context(), "dane.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(plan.Hosts[0]); err != nil {
		t.Fatal(err)
	}
	if resumed, err := connect(plan.Hosts[0]); err != nil || !resumed {
		t.Fatalf("resumed %v, %v: the test shows nothing", resumed, err)
	}
	mx.PublishTLSA("3 1 1 " + strings.Repeat("00", 32))
	inet.Advance(24 * time.Hour)
	plan, err = r.Resolve(t.Context(), "dane.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(plan.Hosts[0]); err == nil {
		t.Error("a resumed session skipped verification")
	}
}

// The TLSA records are known before the first connection (DANE-14). Only the addresses
// of the plan are dialed, and none of a refused host: field note 68, TLSA-11, DANE-113.
func TestDialContextDialsOnlyThePlan(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"), policytest.Addrs("192.0.2.77", "2001:db8::77"))
	var mu sync.Mutex
	var dialed []string
	r := resolver(t, inet, func(c *policy.Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			dialed = append(dialed, addr)
			mu.Unlock()
			return dial(ctx, network, addr)
		}
	})
	plan, err := r.Resolve(t.Context(), "dane.example")
	if err != nil {
		t.Fatal(err)
	}
	h := plan.Hosts[0]
	if len(h.TLSA) != 1 || len(dialed) != 0 {
		t.Errorf("%d records, dialed %v", len(h.TLSA), dialed)
	}
	for _, addr := range []string{"mx.dane.example:26", "elsewhere.example:25", "192.0.2.77:25", "mx.dane.example"} {
		if c, err := h.DialContext(t.Context(), "tcp", addr); err == nil {
			c.Close()
			t.Errorf("%s was dialed", addr)
		}
	}
	for _, network := range []string{"tcp", "tcp4", "tcp6"} {
		c, err := h.DialContext(t.Context(), network, "MX.dane.example.:25")
		if err != nil {
			t.Errorf("%s: %v", network, err)
			continue
		}
		c.Close()
	}
	if !slices.Equal(dialed, []string{"192.0.2.77:25", "192.0.2.77:25", "[2001:db8::77]:25"}) {
		t.Errorf("dialed %v", dialed)
	}
	refused := policy.Host{Name: "mx.dane.example", Port: 25, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.77")}}
	if _, err := refused.DialContext(t.Context(), "tcp", "mx.dane.example:25"); err == nil {
		t.Error("a refused host was dialed")
	}
}

// The plan says how secure each fact is, as the sender's own validation found it
// (DANE-1, DANE-3, TLSA-16, TLSA-29), for logs that must not call an insecure
// route secure (DANE-48).
func TestPlanTellsTheStatus(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("recipient.example", policytest.Unsigned).MX("mx.signed.example")
	inet.Domain("signed.example")
	inet.Host("mx.signed.example", policytest.TLSA("3 1 1"))
	plan, err := resolver(t, inet).Resolve(t.Context(), "recipient.example")
	if err != nil {
		t.Fatal(err)
	}
	if plan.MXStatus != dnssec.Insecure || plan.Hosts[0].DANE.AddrStatus != dnssec.Secure || plan.Hosts[0].RouteAuthenticated {
		t.Errorf("%+v", plan.Hosts[0])
	}
}

// withoutAnchor returns a resolver that has a trust anchor for another tree only.
func withoutAnchor(t *testing.T, inet *policytest.Internet) dnssec.Resolver {
	t.Helper()
	config := inet.DNSConfig()
	config.Anchors = "elsewhere. IN DS 1 13 2 " + strings.Repeat("00", 32)
	v, err := dnssec.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// DANE-47: the name of an insecure MX host is reported as the MX record has it, even if it
// is an alias.
func TestInsecureMXHostsKeepTheirNames(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("recipient.example", policytest.Unsigned).MX("mx.alias.example")
	inet.Domain("alias.example").Add("mx CNAME host.provider.example.")
	inet.Domain("provider.example")
	inet.Host("host.provider.example", policytest.TLSA("3 1 1"))
	plan, err := resolver(t, inet).Resolve(t.Context(), "recipient.example")
	if err != nil {
		t.Fatal(err)
	}
	h := plan.Hosts[0]
	if h.ServerName != "host.provider.example" || plan.MXStatus != dnssec.Insecure {
		t.Fatalf("%s, MX %v", h.ServerName, plan.MXStatus)
	}
	for _, step := range []policy.Step{policy.Greeting, policy.NotOffered} {
		session, failure := h.Attempted(step, nil, nil)
		if session.MXHost != "mx.alias.example" || failure.Host != "mx.alias.example" {
			t.Errorf("%v: a report names %s, the error %s", step, session.MXHost, failure.Host)
		}
	}
}

// DANE-6, DANE-7: insecure answers are treated alike, whether the reason is an unsigned
// delegation, an unknown algorithm, an opt-out span or a missing anchor.
func TestReasonWhyInsecureDoesNotMatter(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("optout.test", policytest.NSEC3OptOut)
	inet.Domain("unsigned.example", policytest.Unsigned).MX("mx.unsigned.example")
	inet.Domain("unknown.example", policytest.UnknownAlgorithm).MX("mx.unknown.example")
	inet.Domain("sub.optout.test", policytest.Unsigned).MX("mx.sub.optout.test")
	inet.Domain("signed.example").MX("mx.signed.example")
	for _, domain := range []string{"unsigned.example", "unknown.example", "sub.optout.test", "signed.example"} {
		inet.Host("mx."+domain, policytest.TLSA("3 1 1"))
		plan, err := resolver(t, inet, func(c *policy.Config) {
			if domain == "signed.example" {
				c.DNS = withoutAnchor(t, inet)
			}
		}).Resolve(t.Context(), domain)
		if err != nil {
			t.Errorf("%s: %v", domain, err)
			continue
		}
		if h := plan.Hosts[0]; plan.MXStatus != dnssec.Insecure || h.Level != policy.Opportunistic || h.By != 0 || h.DANE.AddrStatus != dnssec.Insecure {
			t.Errorf("%s: %v, %v by %v", domain, plan.MXStatus, h.Level, h.By)
		}
	}
}

// STS-56, STS-95, STS-98: what was remembered outlives the Resolver, and Run
// keeps it fresh.
func TestStoredPolicyOutlivesTheResolver(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	host := inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Host("mx.sts.example")
	store, err := boltstore.Open(filepath.Join(t.TempDir(), "policies"), boltstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	stored := func(c *policy.Config) { c.Store = store }
	if _, err := resolver(t, inet, stored).Resolve(t.Context(), "sts.example"); err != nil {
		t.Fatal(err)
	}
	inet.BreakDNS(policytest.Forge(), "_mta-sts.sts.example", dnssec.TypeTXT)
	host.Break(policytest.Refuse)
	for name, want := range map[string]policy.Level{"remembered": policy.Authenticated, "forgotten": policy.Opportunistic} {
		change := stored
		if name == "forgotten" {
			change = func(*policy.Config) {}
		}
		r := resolver(t, inet, change)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		plan, err := r.Resolve(t.Context(), "sts.example")
		if err != nil || plan.Hosts[0].Level != want {
			t.Errorf("%s: %+v, %v", name, plan, err)
		}
		cancel()
		running.Wait()
	}
}
