package situations

import "github.com/mxseal/mxseal/policy/policytest"

// plainDomains are domains without a policy. Mail to them is encrypted if the
// server offers STARTTLS.
func plainDomains() []Situation {
	return []Situation{
		{
			Domain: "plain.test", Title: "no DNSSEC, no policy, STARTTLS",
			given: steps{unsigned, mx()},
			Want:  Outcome{Mail: Encrypted, At: "mx.plain.test"},
		},
		{
			Domain: "signed.test", Title: "DNSSEC, no TLSA records",
			given: steps{signed, mx()},
			Want:  Outcome{Mail: Encrypted, At: "mx.signed.test"},
		},
		{
			Domain: "stranger.test", Title: "no policy, self-signed certificate",
			given: steps{unsigned, mx(policytest.SelfSigned)},
			Want:  Outcome{Mail: Encrypted, At: "mx.stranger.test"},
		},
		{
			Domain: "clear.test", Title: "no policy, no STARTTLS",
			given: steps{unsigned, mx(policytest.NoSTARTTLS)},
			Want:  Outcome{Mail: InClear, At: "mx.clear.test"},
		},
		{
			Domain: "shaky.test", Title: "no policy, TLS handshake fails",
			given: steps{unsigned, mx(policytest.HangUp(policytest.Handshake))},
			Want:  Outcome{Mail: InClear, At: "mx.shaky.test"},
		},
		{
			Domain: "implicit.test", Title: "no MX records: the domain is the host",
			given: steps{unsigned, func(s *site) { host(s.name)(s) }},
			Want:  Outcome{Mail: Encrypted, At: "implicit.test"},
		},
	}
}
