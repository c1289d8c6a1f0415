package main

import (
	"errors"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
	"github.com/mxseal/mxseal/tlsrpt"
)

// mtastsScenarios are domains with an MTA-STS policy.
func mtastsScenarios() []scenario {
	return []scenario{
		{
			domain: "enforce.test", situation: "mode enforce",
			given: steps{unsigned, mx(), policyFor("enforce")},
			want:  outcome{mail: authenticated, by: policy.ByMTASTS, at: "mx.enforce.test"},
		},
		{
			domain: "wildcard.test", situation: "mode enforce, mx: *.wildcard.test",
			given: steps{unsigned, mx(), policyFor("enforce", "*.wildcard.test")},
			want:  outcome{mail: authenticated, by: policy.ByMTASTS, at: "mx.wildcard.test"},
		},
		{
			domain: "backup.test", situation: "enforce lists the second host only",
			given: steps{unsigned, mx(), mx(), policyFor("enforce", "mx2.backup.test")},
			want:  outcome{mail: authenticated, by: policy.ByMTASTS, at: "mx2.backup.test"},
			also:  notConnected("mx.backup.test"),
		},
		{
			domain: "testing.test", situation: "mode testing, host not listed, no TLS",
			given: steps{unsigned, mx(policytest.NoSTARTTLS), policyFor("testing", "other.test")},
			want:  outcome{mail: inClear, at: "mx.testing.test"},
			also:  failureReported,
		},
		{
			domain: "none.test", situation: "mode none, self-signed certificate",
			given: steps{unsigned, mx(policytest.SelfSigned), policyFor("none")},
			want:  outcome{mail: encrypted, at: "mx.none.test"},
		},
		{
			domain: "broken.test", situation: "the policy is no policy, none known",
			given: steps{unsigned, mx(), policyFor("enforce"), func(s *site) { s.policy.Publish("<html>") }},
			want:  outcome{mail: encrypted, at: "mx.broken.test"},
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

// mtastsAttackScenarios are attackers and faults at domains with an enforced
// policy. The sender is protected by the policy that it remembers.
func mtastsAttackScenarios() []scenario {
	enforced := func(options ...policytest.Option) steps {
		return steps{unsigned, mx(options...), policyFor("enforce")}
	}
	stops := func(reason string) outcome { return outcome{mail: waits, by: policy.ByMTASTS, reason: reason} }
	return []scenario{
		{
			domain: "sts-strip.test", situation: "STARTTLS stripped on the path",
			given: enforced(policytest.NoSTARTTLS),
			want:  stops("starttls-not-supported"),
		},
		{
			domain: "sts-self.test", situation: "self-signed certificate",
			given: enforced(policytest.SelfSigned),
			want:  stops("certificate-not-trusted/self-signed"),
		},
		{
			domain: "sts-expired.test", situation: "expired certificate",
			given: enforced(policytest.Expired),
			want:  stops("certificate-expired/expired"),
		},
		{
			domain: "sts-name.test", situation: "certificate for another name",
			given: enforced(policytest.WrongName("other.test")),
			want:  stops("certificate-host-mismatch/name-mismatch"),
		},
		{
			domain: "forged-mx.test", situation: "forged MX, attacker's host has DANE",
			given:   enforced().and(host("mx.forger.test", policytest.TLSA("3 1 1"))),
			nextDay: steps{forge("@", typeMX, "@. MX 0 mx.forger.test.")},
			want:    stops("certificate-host-mismatch/mx-not-in-policy"),
			also:    notConnected("mx.forger.test"),
		},
		{
			domain: "spoofed-id.test", situation: "spoofed id, policy blocked, impostor",
			given:   enforced(),
			nextDay: steps{spoofPolicyID, blockPolicy, faulty(policytest.Impostor)},
			want:    stops("certificate-not-trusted/self-signed"),
		},
		{
			domain: "unreachable.test", situation: "the same, and the host is right",
			given:   enforced(),
			nextDay: steps{spoofPolicyID, blockPolicy},
			want:    outcome{mail: authenticated, by: policy.ByMTASTS, at: "mx.unreachable.test"},
		},
		{
			domain: "hidden.test", situation: "_mta-sts hidden by a forger, impostor",
			given:   enforced(),
			nextDay: steps{forge("_mta-sts.@", typeTXT), faulty(policytest.Impostor)},
			want:    stops("certificate-not-trusted/self-signed"),
		},
		{
			domain: "first-mail.test", situation: "policy blocked, nothing remembered",
			given: enforced().and(blockPolicy),
			want:  outcome{mail: encrypted, at: "mx.first-mail.test"},
		},
	}
}
