package situations

import (
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// oldKey is a TLSA record that does not match any certificate.
const oldKey = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000"

// daneDomains are domains with TLSA records of all common kinds.
func daneDomains() []Situation {
	byDANE := func(host string) Outcome { return Outcome{Mail: Authenticated, By: policy.ByDANE, At: host} }
	return []Situation{
		{
			Domain: "dane.test", Title: "TLSA 3 1 1",
			given: steps{signed, mx(policytest.TLSA("3 1 1"))},
			Want:  byDANE("mx.dane.test"),
		},
		{
			Domain: "issuer.test", Title: "TLSA 2 1 1 of the issuing authority",
			given: steps{signed, mx(policytest.TLSA("2 1 1"))},
			Want:  byDANE("mx.issuer.test"),
		},
		{
			Domain: "rollover.test", Title: "TLSA records of the old and a new key",
			given: steps{signed, mx(policytest.TLSA(oldKey, "3 1 1"))},
			Want:  byDANE("mx.rollover.test"),
		},
		{
			Domain: "expired-ee.test", Title: "3 1 1, expired: DANE-EE has no dates",
			given: steps{signed, mx(policytest.Expired, policytest.TLSA("3 1 1"))},
			Want:  byDANE("mx.expired-ee.test"),
		},
		{
			Domain: "name-ee.test", Title: "3 1 1, wrong name: DANE-EE has none",
			given: steps{signed, mx(policytest.WrongName("other.test"), policytest.TLSA("3 1 1"))},
			Want:  byDANE("mx.name-ee.test"),
		},
		{
			Domain: "self-ee.test", Title: "3 1 1, self-signed: that is enough",
			given: steps{signed, mx(policytest.SelfSigned, policytest.TLSA("3 1 1"))},
			Want:  byDANE("mx.self-ee.test"),
		},
		{
			Domain: "unusable.test", Title: "TLSA 1 1 1 only, unusable for mail",
			given: steps{signed, mx(policytest.TLSA("1 1 1"))},
			Want:  Outcome{Mail: Encrypted, By: policy.ByDANE, At: "mx.unusable.test"},
		},
		{
			Domain: "implicit-dane.test", Title: "no MX records, TLSA at the domain",
			given: steps{signed, func(s *site) { host(s.name, policytest.TLSA("3 1 1"))(s) }},
			Want:  byDANE("implicit-dane.test"),
		},
		{
			Domain: "alias.test", Title: "MX is a secure alias, TLSA at its end",
			given: steps{signed, records("mx CNAME host"), func(s *site) { host("host."+s.name, policytest.TLSA("3 1 1"))(s) },
				mxAt("mx.alias.test")},
			Want: byDANE("host.alias.test"),
		},
		{
			Domain: "cloud.test", Title: "MX is an alias into an unsigned zone",
			given: steps{signed, elsewhere("cloud-provider.test"), host("in.cloud-provider.test"),
				records("mx CNAME in.cloud-provider.test."), mxAt("mx.cloud.test"),
				tlsaOf("in.cloud-provider.test", "mx.cloud.test")},
			Want: byDANE("in.cloud-provider.test"),
		},
		{
			Domain: "rescue.test", Title: "first host has a wrong key, next not",
			given: steps{signed, mx(policytest.TLSA("3 1 1")), mx(policytest.TLSA("3 1 1")), faulty(policytest.OtherKey)},
			Want:  byDANE("mx2.rescue.test"),
		},
		{
			Domain: "xn--bcher-kva.test", written: "bücher.test", Title: "a name beyond ASCII, TLSA 3 1 1",
			given: steps{signed, mx(policytest.TLSA("3 1 1"))},
			Want:  byDANE("mx.xn--bcher-kva.test"),
		},
	}
}
