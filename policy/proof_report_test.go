package policy_test

import (
	"errors"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// STS-2: where DANE applies to a host and fails, MTA-STS does not rescue it, although the host
// is in an enforced policy and has a certificate that the web PKI authenticates.
func TestSTS2MTASTSDoesNotRescueDANE(t *testing.T) {
	t.Parallel()
	for what, options := range map[string][]policytest.DomainOption{"secure MX records": nil, "insecure MX records": {policytest.Unsigned}} {
		inet := policytest.New(t)
		inet.Domain("recipient.example", options...).MX("mx.provider.example").Policy("enforce", "mx.provider.example")
		inet.Domain("provider.example")
		mx := inet.Host("mx.provider.example", policytest.TLSA("3 1 1"))

		if _, err := handshake(t, onlyHost(t, resolver(t, inet), "recipient.example")); err != nil {
			t.Errorf("%s: DANE and the policy are met: %v", what, err)
		}
		mx.PublishTLSA()
		if h := onlyHost(t, resolver(t, inet), "recipient.example"); h.By != policy.ByMTASTS {
			t.Errorf("%s: without TLSA records %v decides", what, h.By)
		} else if _, err := handshake(t, h); err != nil {
			t.Errorf("%s: the policy alone is met: %v", what, err)
		}
		// The records of another key, and nothing else is different.
		mx.PublishTLSA("3 1 1 0000000000000000000000000000000000000000000000000000000000000001")
		h := onlyHost(t, resolver(t, inet), "recipient.example")
		if _, err := handshake(t, h); err == nil || h.Level != policy.Authenticated || !h.By.Has(policy.ByDANE) {
			t.Errorf("%s: the handshake succeeds at %v by %v: %v", what, h.Level, h.By, err)
		}
		for name, fault := range map[string]policytest.DNSFault{"SERVFAIL": policytest.ServFail, "bogus": policytest.Bogus, "stripped": policytest.Strip} {
			restore := inet.BreakDNS(fault, "_25._tcp.mx.provider.example", dnssec.TypeTLSA)
			h := onlyHost(t, resolver(t, inet), "recipient.example")
			if _, err := handshake(t, h); err == nil || h.Level != policy.Refused {
				t.Errorf("%s, TLSA %s: %v: %v", what, name, h.Level, err)
			}
			restore()
		}
	}
}

// RPT-58, RPT-59, RPT-60: what a TLS report says about sessions that DANE refuses, from the
// records in DNS to the failure that is recorded.
func TestRPT58DANEFailuresAreReported(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	mx := inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	inet.Domain("plain.example").MX("mx.plain.example")
	inet.Host("mx.plain.example")
	required := func(c *policy.Config) { c.RequireDANE = true }

	// RPT-58: none of the records matches.
	mx.PublishTLSA("3 1 1 0000000000000000000000000000000000000000000000000000000000000001", "2 0 1 0000000000000000000000000000000000000000000000000000000000000001")
	h := onlyHost(t, resolver(t, inet), "dane.example")
	state, err := handshake(t, h)
	if err == nil {
		t.Fatal("the handshake succeeds")
	}
	expectReported(t, "RPT-58", attempted(h, state, err), tlsrpt.TLSAInvalid)

	// RPT-59: the records are forged, or cannot be looked up.
	for name, fault := range map[string]policytest.DNSFault{"bogus": policytest.Bogus, "stripped": policytest.Strip, "SERVFAIL": policytest.ServFail} {
		restore := inet.BreakDNS(fault, "_25._tcp.mx.dane.example", dnssec.TypeTLSA)
		h := onlyHost(t, resolver(t, inet), "dane.example")
		restore()
		session, refused := h.Attempted(policy.NotConnected, nil, nil)
		expectReported(t, "RPT-59 "+name, session, tlsrpt.DNSSECInvalid)
		if refused == nil || refused.Reason != tlsrpt.DNSSECInvalid {
			t.Errorf("RPT-59 %s: %+v", name, refused)
		}
	}

	// RPT-60: the operator requires DANE, and there is none.
	h = onlyHost(t, resolver(t, inet, required), "plain.example")
	session, refused := h.Attempted(policy.NotConnected, nil, nil)
	expectReported(t, "RPT-60", session, tlsrpt.DANERequired)
	if refused == nil || !errors.Is(refused, policy.ErrNoDANE) || refused.Reason != tlsrpt.DANERequired {
		t.Errorf("RPT-60: %+v", refused)
	}
	// The same host without that requirement.
	h = onlyHost(t, resolver(t, inet), "plain.example")
	if session, refused := h.Attempted(policy.NotConnected, nil, nil); len(session.Outcomes) != 0 || refused == nil {
		t.Errorf("%+v, %v", session, refused)
	}
}

// expectReported checks that a session has failures of one type and no others.
func expectReported(t *testing.T, what string, s tlsrpt.Session, want tlsrpt.ResultType) {
	t.Helper()
	found := 0
	for _, o := range s.Outcomes {
		for _, f := range o.Failures {
			if found++; f.Type != want {
				t.Errorf("%s: recorded %+v under %s", what, f, o.Policy.Type)
			}
		}
	}
	if found != 1 {
		t.Errorf("%s: %d failures are recorded: %+v", what, found, s.Outcomes)
	}
}
