package main

import (
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// messageScenarios are messages with their own requirements (RFC 8689), and
// domains that accept no mail.
func messageScenarios() []scenario {
	required := []policy.Option{policy.RequireTLS()}
	return []scenario{
		{
			domain: "require.test", situation: "REQUIRETLS, and the host has it",
			given:   steps{signed, mx(policytest.TLSA("3 1 1"), policytest.OfferREQUIRETLS)},
			options: required,
			want:    outcome{mail: authenticated, by: policy.ByDANE, at: "mx.require.test"},
		},
		{
			domain: "require-sts.test", situation: "REQUIRETLS, mode testing names hosts",
			given:   steps{unsigned, mx(policytest.OfferREQUIRETLS), policyFor("testing")},
			options: required,
			want:    outcome{mail: authenticated, by: policy.ByOperator, at: "mx.require-sts.test"},
		},
		{
			domain: "require-route.test", situation: "REQUIRETLS, the MX could be forged",
			given:   steps{unsigned, mx(policytest.OfferREQUIRETLS)},
			options: required,
			want:    outcome{mail: returned, by: policy.ByOperator, reason: "5.7.10"},
			also:    notConnected("mx.require-route.test"),
		},
		{
			domain: "require-lack.test", situation: "REQUIRETLS, the host does not have it",
			given:   steps{signed, mx(policytest.TLSA("3 1 1"))},
			options: required,
			want:    outcome{mail: returned, by: policy.ByDANE, reason: "5.7.30"},
		},
		{
			domain: "optional.test", situation: "TLS-Required: No, and an impostor",
			given:  steps{signed, mx(policytest.TLSA("3 1 1")), faulty(policytest.Impostor)},
			header: "TLS-Required: No\r\n", options: []policy.Option{policy.TLSOptional()},
			want: outcome{mail: encrypted, at: "mx.optional.test"},
		},
		{
			domain: "literal.test", written: "[203.0.113.25]", situation: "address literal: no policy can apply",
			given: steps{unsigned, mx(policytest.Addrs("203.0.113.25"))},
			want:  outcome{mail: encrypted, at: "mx.literal.test"},
		},
		{
			domain: "null-mx.test", situation: "null MX: the domain takes no mail",
			given: steps{signed, records("@ MX 0 .")},
			want:  outcome{mail: returned, reason: "5.1.10"},
		},
		{
			domain: "nowhere.test", situation: "the domain does not exist",
			want: outcome{mail: returned, reason: "5.1.2"},
		},
		{
			domain: "no-address.test", situation: "no MX records, and no address either",
			given: steps{signed},
			want:  outcome{mail: returned, reason: "5.4.4"},
		},
		{
			domain: "loopback.test", situation: "its mail host is at 127.0.0.1",
			given: steps{unsigned, records("mx A 127.0.0.1"), mxAt("mx.loopback.test")},
			want:  outcome{mail: waits, reason: "4.4.4"},
		},
	}
}
