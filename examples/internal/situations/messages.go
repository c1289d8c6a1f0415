package situations

import (
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// messages are messages with their own requirements (RFC 8689), and
// domains that accept no mail.
func messages() []Situation {
	required := []policy.Option{policy.RequireTLS()}
	return []Situation{
		{
			Domain: "require.test", Title: "REQUIRETLS, and the host has it",
			given:   steps{signed, mx(policytest.TLSA("3 1 1"), policytest.OfferREQUIRETLS)},
			options: required,
			Want:    Outcome{Mail: Authenticated, By: policy.ByDANE, At: "mx.require.test"},
		},
		{
			Domain: "require-sts.test", Title: "REQUIRETLS, mode testing names hosts",
			given:   steps{unsigned, mx(policytest.OfferREQUIRETLS), policyFor("testing")},
			options: required,
			Want:    Outcome{Mail: Authenticated, By: policy.ByOperator, At: "mx.require-sts.test"},
		},
		{
			Domain: "require-route.test", Title: "REQUIRETLS, the MX could be forged",
			given:   steps{unsigned, mx(policytest.OfferREQUIRETLS)},
			options: required,
			Want:    Outcome{Mail: Returned, By: policy.ByOperator, Reason: "5.7.10"},
			also:    notConnected("mx.require-route.test"),
		},
		{
			Domain: "require-lack.test", Title: "REQUIRETLS, the host does not have it",
			given:   steps{signed, mx(policytest.TLSA("3 1 1"))},
			options: required,
			Want:    Outcome{Mail: Returned, By: policy.ByDANE, Reason: "5.7.30"},
		},
		{
			Domain: "optional.test", Title: "TLS-Required: No, and an impostor",
			given:  steps{signed, mx(policytest.TLSA("3 1 1")), faulty(policytest.Impostor)},
			header: "TLS-Required: No\r\n", options: []policy.Option{policy.TLSOptional()},
			Want: Outcome{Mail: Encrypted, At: "mx.optional.test"},
		},
		{
			Domain: "literal.test", written: "[203.0.113.25]", Title: "address literal: no policy can apply",
			given: steps{unsigned, mx(policytest.Addrs("203.0.113.25"))},
			Want:  Outcome{Mail: Encrypted, At: "mx.literal.test"},
		},
		{
			Domain: "null-mx.test", Title: "null MX: the domain takes no mail",
			given: steps{signed, records("@ MX 0 .")},
			Want:  Outcome{Mail: Returned, Reason: "5.1.10"},
		},
		{
			Domain: "nowhere.test", Title: "the domain does not exist",
			Want: Outcome{Mail: Returned, Reason: "5.1.2"},
		},
		{
			Domain: "no-address.test", Title: "no MX records, and no address either",
			given: steps{signed},
			Want:  Outcome{Mail: Returned, Reason: "5.4.4"},
		},
		{
			Domain: "loopback.test", Title: "its mail host is at 127.0.0.1",
			given: steps{unsigned, records("mx A 127.0.0.1"), mxAt("mx.loopback.test")},
			Want:  Outcome{Mail: Waits, Reason: "4.4.4"},
		},
	}
}
