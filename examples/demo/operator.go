package main

import (
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// operatorScenarios are settings of the sending operator. Each scenario has its
// own Resolver.
func operatorScenarios() []scenario {
	return []scenario{
		{
			domain: "floor.test", situation: "floor: encryption, the host has none",
			given:  steps{unsigned, mx(policytest.NoSTARTTLS)},
			config: func(c *policy.Config) { c.Floor = policy.Encrypted },
			want:   outcome{mail: waits, by: policy.ByOperator, reason: "starttls-not-supported"},
		},
		{
			domain: "floor-valid.test", situation: "floor: authentication, by a public CA",
			given:  steps{unsigned, mx()},
			config: func(c *policy.Config) { c.Floor = policy.Authenticated },
			want:   outcome{mail: authenticated, by: policy.ByOperator, at: "mx.floor-valid.test"},
		},
		{
			domain: "floor-self.test", situation: "floor: authentication, self-signed",
			given:  steps{unsigned, mx(policytest.SelfSigned)},
			config: func(c *policy.Config) { c.Floor = policy.Authenticated },
			want:   outcome{mail: waits, by: policy.ByOperator, reason: "certificate-not-trusted/self-signed"},
		},
		{
			domain: "floor-opt.test", situation: "floor holds against TLS-Required: No",
			given:  steps{unsigned, mx(policytest.NoSTARTTLS)},
			config: func(c *policy.Config) { c.Floor = policy.Encrypted },
			header: "TLS-Required: No\r\n", options: []policy.Option{policy.TLSOptional()},
			want: outcome{mail: waits, by: policy.ByOperator, reason: "starttls-not-supported"},
		},
		{
			domain: "mandatory.test", situation: "DANE is mandatory; there is none",
			given: steps{signed, mx()},
			config: func(c *policy.Config) {
				c.Overrides = map[string]policy.Override{"mandatory.test": {RequireDANE: true}}
			},
			want: outcome{mail: waits, by: policy.ByDANE | policy.ByOperator, reason: "dane-required"},
			also: notConnected("mx.mandatory.test"),
		},
		{
			domain: "strict.test", situation: "both asked for, the policy refuses",
			given:  steps{signed, mx(policytest.TLSA("3 1 1")), policyFor("enforce", "other.test")},
			config: func(c *policy.Config) { c.Precedence = policy.RequireBoth },
			want:   outcome{mail: waits, by: policy.ByMTASTS, reason: "certificate-host-mismatch/mx-not-in-policy"},
		},
		{
			domain: "relayed.test", situation: "its mail goes by a relay with DANE",
			given: steps{unsigned, mx(), host("relay.smarthost.test", policytest.Port(587), policytest.TLSA("3 1 1"))},
			config: func(c *policy.Config) {
				c.Overrides = map[string]policy.Override{"relayed.test": {NextHop: "[relay.smarthost.test]:587"}}
			},
			want: outcome{mail: authenticated, by: policy.ByDANE, at: "relay.smarthost.test"},
		},
		{
			domain: "relay-gone.test", situation: "its mail goes by a relay that is gone",
			given: steps{unsigned, mx()},
			config: func(c *policy.Config) {
				c.Overrides = map[string]policy.Override{"relay-gone.test": {NextHop: "[gone.smarthost.test]"}}
			},
			want: outcome{mail: waits, by: policy.ByOperator, reason: "4.3.5"},
			also: notConnected("mx.relay-gone.test"),
		},
		{
			domain: "we-are-backup.test", situation: "we are its third mail host",
			given:  steps{unsigned, mx(policytest.Refuse), mx(), host("mail.us.test"), mxAt("mail.us.test")},
			config: func(c *policy.Config) { c.Self = []string{"mail.us.test"} },
			want:   outcome{mail: encrypted, at: "mx2.we-are-backup.test"},
		},
		{
			domain: "we-are-best.test", situation: "we are its best mail host: a loop",
			given:  steps{unsigned, mx(), mx()},
			config: func(c *policy.Config) { c.Self = []string{"mx.we-are-best.test"} },
			want:   outcome{mail: returned, reason: "5.4.6"},
		},
	}
}
