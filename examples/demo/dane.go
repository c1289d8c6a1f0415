package main

import (
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// oldKey is a TLSA record that does not match any certificate.
const oldKey = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000"

// daneScenarios are domains with TLSA records of all common kinds.
func daneScenarios() []scenario {
	byDANE := func(host string) outcome { return outcome{mail: authenticated, by: policy.ByDANE, at: host} }
	return []scenario{
		{
			domain: "dane.test", situation: "TLSA 3 1 1",
			given: steps{signed, mx(policytest.TLSA("3 1 1"))},
			want:  byDANE("mx.dane.test"),
		},
		{
			domain: "issuer.test", situation: "TLSA 2 1 1 of the issuing authority",
			given: steps{signed, mx(policytest.TLSA("2 1 1"))},
			want:  byDANE("mx.issuer.test"),
		},
		{
			domain: "rollover.test", situation: "TLSA records of the old and a new key",
			given: steps{signed, mx(policytest.TLSA(oldKey, "3 1 1"))},
			want:  byDANE("mx.rollover.test"),
		},
		{
			domain: "expired-ee.test", situation: "3 1 1, expired: DANE-EE has no dates",
			given: steps{signed, mx(policytest.Expired, policytest.TLSA("3 1 1"))},
			want:  byDANE("mx.expired-ee.test"),
		},
		{
			domain: "name-ee.test", situation: "3 1 1, wrong name: DANE-EE has none",
			given: steps{signed, mx(policytest.WrongName("other.test"), policytest.TLSA("3 1 1"))},
			want:  byDANE("mx.name-ee.test"),
		},
		{
			domain: "self-ee.test", situation: "3 1 1, self-signed: that is enough",
			given: steps{signed, mx(policytest.SelfSigned, policytest.TLSA("3 1 1"))},
			want:  byDANE("mx.self-ee.test"),
		},
		{
			domain: "unusable.test", situation: "TLSA 1 1 1 only, unusable for mail",
			given: steps{signed, mx(policytest.TLSA("1 1 1"))},
			want:  outcome{mail: encrypted, by: policy.ByDANE, at: "mx.unusable.test"},
		},
		{
			domain: "implicit-dane.test", situation: "no MX records, TLSA at the domain",
			given: steps{signed, func(s *site) { host(s.name, policytest.TLSA("3 1 1"))(s) }},
			want:  byDANE("implicit-dane.test"),
		},
		{
			domain: "alias.test", situation: "MX is a secure alias, TLSA at its end",
			given: steps{signed, records("mx CNAME host"), func(s *site) { host("host."+s.name, policytest.TLSA("3 1 1"))(s) },
				mxAt("mx.alias.test")},
			want: byDANE("host.alias.test"),
		},
		{
			domain: "cloud.test", situation: "MX is an alias into an unsigned zone",
			given: steps{signed, elsewhere("cloud-provider.test"), host("in.cloud-provider.test"),
				records("mx CNAME in.cloud-provider.test."), mxAt("mx.cloud.test"),
				tlsaOf("in.cloud-provider.test", "mx.cloud.test")},
			want: byDANE("in.cloud-provider.test"),
		},
		{
			domain: "rescue.test", situation: "first host has a wrong key, next not",
			given: steps{signed, mx(policytest.TLSA("3 1 1")), mx(policytest.TLSA("3 1 1")), faulty(policytest.OtherKey)},
			want:  byDANE("mx2.rescue.test"),
		},
		{
			domain: "xn--bcher-kva.test", written: "bücher.test", situation: "a name beyond ASCII, TLSA 3 1 1",
			given: steps{signed, mx(policytest.TLSA("3 1 1"))},
			want:  byDANE("mx.xn--bcher-kva.test"),
		},
	}
}
