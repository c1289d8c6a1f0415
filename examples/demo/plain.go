package main

import "github.com/mxseal/mxseal/policy/policytest"

// plainScenarios are domains without a policy. Mail to them is encrypted if the
// server offers STARTTLS.
func plainScenarios() []scenario {
	return []scenario{
		{
			domain: "plain.test", situation: "no DNSSEC, no policy, STARTTLS",
			given: steps{unsigned, mx()},
			want:  outcome{mail: encrypted, at: "mx.plain.test"},
		},
		{
			domain: "signed.test", situation: "DNSSEC, no TLSA records",
			given: steps{signed, mx()},
			want:  outcome{mail: encrypted, at: "mx.signed.test"},
		},
		{
			domain: "stranger.test", situation: "no policy, self-signed certificate",
			given: steps{unsigned, mx(policytest.SelfSigned)},
			want:  outcome{mail: encrypted, at: "mx.stranger.test"},
		},
		{
			domain: "clear.test", situation: "no policy, no STARTTLS",
			given: steps{unsigned, mx(policytest.NoSTARTTLS)},
			want:  outcome{mail: inClear, at: "mx.clear.test"},
		},
		{
			domain: "shaky.test", situation: "no policy, TLS handshake fails",
			given: steps{unsigned, mx(policytest.HangUp(policytest.Handshake))},
			want:  outcome{mail: inClear, at: "mx.shaky.test"},
		},
		{
			domain: "implicit.test", situation: "no MX records: the domain is the host",
			given: steps{unsigned, func(s *site) { host(s.name)(s) }},
			want:  outcome{mail: encrypted, at: "implicit.test"},
		},
	}
}
