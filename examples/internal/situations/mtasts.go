package situations

import (
	"errors"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// mtastsDomains are domains with an MTA-STS policy.
func mtastsDomains() []Situation {
	return []Situation{
		{
			Domain: "enforce.test", Title: "mode enforce",
			given: steps{unsigned, mx(), policyFor("enforce")},
			Want:  Outcome{Mail: Authenticated, By: policy.ByMTASTS, At: "mx.enforce.test"},
		},
		{
			Domain: "wildcard.test", Title: "mode enforce, mx: *.wildcard.test",
			given: steps{unsigned, mx(), policyFor("enforce", "*.wildcard.test")},
			Want:  Outcome{Mail: Authenticated, By: policy.ByMTASTS, At: "mx.wildcard.test"},
		},
		{
			Domain: "backup.test", Title: "enforce lists the second host only",
			given: steps{unsigned, mx(), mx(), policyFor("enforce", "mx2.backup.test")},
			Want:  Outcome{Mail: Authenticated, By: policy.ByMTASTS, At: "mx2.backup.test"},
			also:  notConnected("mx.backup.test"),
		},
		{
			Domain: "testing.test", Title: "mode testing, host not listed, no TLS",
			given: steps{unsigned, mx(policytest.NoSTARTTLS), policyFor("testing", "other.test")},
			Want:  Outcome{Mail: InClear, At: "mx.testing.test"},
			also:  failureReported,
		},
		{
			Domain: "none.test", Title: "mode none, self-signed certificate",
			given: steps{unsigned, mx(policytest.SelfSigned), policyFor("none")},
			Want:  Outcome{Mail: Encrypted, At: "mx.none.test"},
		},
		{
			Domain: "broken.test", Title: "the policy is no policy, none known",
			given: steps{unsigned, mx(), policyFor("enforce"), func(s *site) { s.policy.Publish("<html>") }},
			Want:  Outcome{Mail: Encrypted, At: "mx.broken.test"},
		},
	}
}

// failureReported checks that the report contains the failure that enforce
// would have caused.
func failureReported(s *site) error {
	s.reports.Lock()
	defer s.reports.Unlock()
	for _, session := range s.report {
		for _, outcome := range session.Outcomes {
			if outcome.Policy.Type == tlsrpt.STS && len(outcome.Failures) > 0 {
				return nil
			}
		}
	}
	return errors.New("the failure of the policy in testing mode is not reported")
}

// mtastsAttacks are attackers and faults at domains with an enforced
// policy. The sender is protected by the policy that it remembers.
func mtastsAttacks() []Situation {
	enforced := func(options ...policytest.Option) steps {
		return steps{unsigned, mx(options...), policyFor("enforce")}
	}
	stops := func(reason string) Outcome { return Outcome{Mail: Waits, By: policy.ByMTASTS, Reason: reason} }
	return []Situation{
		{
			Domain: "sts-strip.test", Title: "STARTTLS stripped on the path",
			given: enforced(policytest.NoSTARTTLS),
			Want:  stops("starttls-not-supported"),
		},
		{
			Domain: "sts-self.test", Title: "self-signed certificate",
			given: enforced(policytest.SelfSigned),
			Want:  stops("certificate-not-trusted/self-signed"),
		},
		{
			Domain: "sts-expired.test", Title: "expired certificate",
			given: enforced(policytest.Expired),
			Want:  stops("certificate-expired/leaf-expired"),
		},
		{
			Domain: "sts-name.test", Title: "certificate for another name",
			given: enforced(policytest.WrongName("other.test")),
			Want:  stops("certificate-host-mismatch/name-not-in-certificate"),
		},
		{
			Domain: "forged-mx.test", Title: "forged MX, attacker's host has DANE",
			given:   enforced().and(host("mx.forger.test", policytest.TLSA("3 1 1"))),
			nextDay: steps{forge("@", typeMX, "@. MX 0 mx.forger.test.")},
			Want:    stops("certificate-host-mismatch/mx-not-in-policy"),
			also:    notConnected("mx.forger.test"),
		},
		{
			Domain: "spoofed-id.test", Title: "spoofed id, policy blocked, impostor",
			given:   enforced(),
			nextDay: steps{spoofPolicyID, blockPolicy, faulty(policytest.Impostor)},
			Want:    stops("certificate-not-trusted/self-signed"),
		},
		{
			Domain: "unreachable.test", Title: "the same, and the host is right",
			given:   enforced(),
			nextDay: steps{spoofPolicyID, blockPolicy},
			Want:    Outcome{Mail: Authenticated, By: policy.ByMTASTS, At: "mx.unreachable.test"},
		},
		{
			Domain: "hidden.test", Title: "_mta-sts hidden by a forger, impostor",
			given:   enforced(),
			nextDay: steps{forge("_mta-sts.@", typeTXT), faulty(policytest.Impostor)},
			Want:    stops("certificate-not-trusted/self-signed"),
		},
		{
			Domain: "first-mail.test", Title: "policy blocked, nothing remembered",
			given: enforced().and(blockPolicy),
			Want:  Outcome{Mail: Encrypted, At: "mx.first-mail.test"},
		},
	}
}
