package situations

import (
	"errors"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// mixedDomains are the rows of the decision table in which MX records, hosts
// and MTA-STS have different security.
func mixedDomains() []Situation {
	both := policy.ByDANE | policy.ByMTASTS
	return []Situation{
		{
			Domain: "dane-first.test", Title: "both, policy would refuse the host",
			given: steps{signed, mx(policytest.TLSA("3 1 1")), policyFor("enforce", "other.test")},
			Want:  Outcome{Mail: Authenticated, By: policy.ByDANE, At: "mx.dane-first.test"},
			also:  policyNotAsked,
		},
		{
			Domain: "hosted.test", Title: "unsigned, host in a domain with DANE",
			given: steps{unsigned, host("mx.provider.test", policytest.TLSA("3 1 1")), mxAt("mx.provider.test")},
			Want:  Outcome{Mail: Authenticated, By: policy.ByDANE, At: "mx.provider.test"},
		},
		{
			Domain: "hosted-sts.test", Title: "the same, and mode enforce",
			given: steps{unsigned, host("mx.provider2.test", policytest.TLSA("3 1 1")), mxAt("mx.provider2.test"),
				policyFor("enforce", "mx.provider2.test")},
			Want: Outcome{Mail: Authenticated, By: both, At: "mx.provider2.test"},
		},
		{
			Domain: "hosted-test.test", Title: "the same, and mode testing",
			given: steps{unsigned, host("mx.provider3.test", policytest.TLSA("3 1 1")), mxAt("mx.provider3.test"),
				policyFor("testing", "mx.provider3.test")},
			Want: Outcome{Mail: Authenticated, By: policy.ByDANE, At: "mx.provider3.test"},
		},
		{
			Domain: "hosted-odd.test", Title: "unsigned, host has unusable TLSA",
			given: steps{unsigned, host("mx.provider4.test", policytest.TLSA("1 1 1")), mxAt("mx.provider4.test")},
			Want:  Outcome{Mail: Encrypted, By: policy.ByDANE, At: "mx.provider4.test"},
		},
		{
			Domain: "hosted-both.test", Title: "the same, and mode enforce",
			given: steps{unsigned, host("mx.provider5.test", policytest.TLSA("1 1 1")), mxAt("mx.provider5.test"),
				policyFor("enforce", "mx.provider5.test")},
			Want: Outcome{Mail: Authenticated, By: policy.ByMTASTS, At: "mx.provider5.test"},
		},
		{
			Domain: "odd-sts.test", Title: "signed, unusable TLSA, mode enforce",
			given: steps{signed, mx(policytest.TLSA("1 1 1")), policyFor("enforce")},
			Want:  Outcome{Mail: Authenticated, By: policy.ByMTASTS, At: "mx.odd-sts.test"},
		},
		{
			Domain: "signed-sts.test", Title: "signed, no TLSA, mode enforce",
			given: steps{signed, mx(), policyFor("enforce")},
			Want:  Outcome{Mail: Authenticated, By: policy.ByMTASTS, At: "mx.signed-sts.test"},
		},
		{
			Domain: "signed-test.test", Title: "signed, no TLSA, mode testing",
			given: steps{signed, mx(policytest.SelfSigned), policyFor("testing")},
			Want:  Outcome{Mail: Encrypted, At: "mx.signed-test.test"},
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
