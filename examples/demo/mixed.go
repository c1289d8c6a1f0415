package main

import (
	"errors"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// mixedScenarios are the rows of the decision table in which MX records, hosts
// and MTA-STS have different security.
func mixedScenarios() []scenario {
	both := policy.ByDANE | policy.ByMTASTS
	return []scenario{
		{
			domain: "dane-first.test", situation: "both, policy would refuse the host",
			given: steps{signed, mx(policytest.TLSA("3 1 1")), policyFor("enforce", "other.test")},
			want:  outcome{mail: authenticated, by: policy.ByDANE, at: "mx.dane-first.test"},
			also:  policyNotAsked,
		},
		{
			domain: "hosted.test", situation: "unsigned, host in a domain with DANE",
			given: steps{unsigned, host("mx.provider.test", policytest.TLSA("3 1 1")), mxAt("mx.provider.test")},
			want:  outcome{mail: authenticated, by: policy.ByDANE, at: "mx.provider.test"},
		},
		{
			domain: "hosted-sts.test", situation: "the same, and mode enforce",
			given: steps{unsigned, host("mx.provider2.test", policytest.TLSA("3 1 1")), mxAt("mx.provider2.test"),
				policyFor("enforce", "mx.provider2.test")},
			want: outcome{mail: authenticated, by: both, at: "mx.provider2.test"},
		},
		{
			domain: "hosted-test.test", situation: "the same, and mode testing",
			given: steps{unsigned, host("mx.provider3.test", policytest.TLSA("3 1 1")), mxAt("mx.provider3.test"),
				policyFor("testing", "mx.provider3.test")},
			want: outcome{mail: authenticated, by: policy.ByDANE, at: "mx.provider3.test"},
		},
		{
			domain: "hosted-odd.test", situation: "unsigned, host has unusable TLSA",
			given: steps{unsigned, host("mx.provider4.test", policytest.TLSA("1 1 1")), mxAt("mx.provider4.test")},
			want:  outcome{mail: encrypted, by: policy.ByDANE, at: "mx.provider4.test"},
		},
		{
			domain: "hosted-both.test", situation: "the same, and mode enforce",
			given: steps{unsigned, host("mx.provider5.test", policytest.TLSA("1 1 1")), mxAt("mx.provider5.test"),
				policyFor("enforce", "mx.provider5.test")},
			want: outcome{mail: authenticated, by: policy.ByMTASTS, at: "mx.provider5.test"},
		},
		{
			domain: "odd-sts.test", situation: "signed, unusable TLSA, mode enforce",
			given: steps{signed, mx(policytest.TLSA("1 1 1")), policyFor("enforce")},
			want:  outcome{mail: authenticated, by: policy.ByMTASTS, at: "mx.odd-sts.test"},
		},
		{
			domain: "signed-sts.test", situation: "signed, no TLSA, mode enforce",
			given: steps{signed, mx(), policyFor("enforce")},
			want:  outcome{mail: authenticated, by: policy.ByMTASTS, at: "mx.signed-sts.test"},
		},
		{
			domain: "signed-test.test", situation: "signed, no TLSA, mode testing",
			given: steps{signed, mx(policytest.SelfSigned), policyFor("testing")},
			want:  outcome{mail: encrypted, at: "mx.signed-test.test"},
			also:  failureReported,
		},
	}
}

// policyNotAsked checks that the policy was not fetched, because DANE alone decides.
// The TXT record may have been queried together with the mail hosts.
func policyNotAsked(s *site) error {
	if s.policy.Fetches() > 0 || s.inet.Questions("mta-sts."+s.name) > 0 {
		return errors.New("the policy was fetched")
	}
	return nil
}
