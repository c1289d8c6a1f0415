package situations

import (
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// operatorSettings are settings of the sending operator. Each situation has its
// own Resolver.
func operatorSettings() []Situation {
	return []Situation{
		{
			Domain: "floor.test", Title: "floor: encryption, the host has none",
			given:  steps{unsigned, mx(policytest.NoSTARTTLS)},
			config: func(c *policy.Config) { c.Floor = policy.Encrypted },
			Want:   Outcome{Mail: Waits, By: policy.ByOperator, Reason: "starttls-not-supported"},
		},
		{
			Domain: "floor-valid.test", Title: "floor: authentication, by a public CA",
			given:  steps{unsigned, mx()},
			config: func(c *policy.Config) { c.Floor = policy.Authenticated },
			Want:   Outcome{Mail: Authenticated, By: policy.ByOperator, At: "mx.floor-valid.test"},
		},
		{
			Domain: "floor-self.test", Title: "floor: authentication, self-signed",
			given:  steps{unsigned, mx(policytest.SelfSigned)},
			config: func(c *policy.Config) { c.Floor = policy.Authenticated },
			Want:   Outcome{Mail: Waits, By: policy.ByOperator, Reason: "certificate-not-trusted/self-signed"},
		},
		{
			Domain: "floor-opt.test", Title: "floor holds against TLS-Required: No",
			given:  steps{unsigned, mx(policytest.NoSTARTTLS)},
			config: func(c *policy.Config) { c.Floor = policy.Encrypted },
			header: "TLS-Required: No\r\n", options: []policy.Option{policy.TLSOptional()},
			Want: Outcome{Mail: Waits, By: policy.ByOperator, Reason: "starttls-not-supported"},
		},
		{
			Domain: "mandatory.test", Title: "DANE is mandatory; there is none",
			given: steps{signed, mx()},
			config: func(c *policy.Config) {
				c.Overrides = map[string]policy.Override{"mandatory.test": {RequireDANE: true}}
			},
			Want: Outcome{Mail: Waits, By: policy.ByDANE | policy.ByOperator, Reason: "dane-required"},
			also: notConnected("mx.mandatory.test"),
		},
		{
			Domain: "strict.test", Title: "both asked for, the policy refuses",
			given:  steps{signed, mx(policytest.TLSA("3 1 1")), policyFor("enforce", "other.test")},
			config: func(c *policy.Config) { c.Precedence = policy.RequireBoth },
			Want:   Outcome{Mail: Waits, By: policy.ByMTASTS, Reason: "certificate-host-mismatch/mx-not-in-policy"},
		},
		{
			Domain: "relayed.test", Title: "its mail goes by a relay with DANE",
			given: steps{unsigned, mx(), host("relay.smarthost.test", policytest.Port(587), policytest.TLSA("3 1 1"))},
			config: func(c *policy.Config) {
				c.Overrides = map[string]policy.Override{"relayed.test": {NextHop: "[relay.smarthost.test]:587"}}
			},
			Want: Outcome{Mail: Authenticated, By: policy.ByDANE, At: "relay.smarthost.test"},
		},
		{
			Domain: "relay-gone.test", Title: "its mail goes by a relay that is gone",
			given: steps{unsigned, mx()},
			config: func(c *policy.Config) {
				c.Overrides = map[string]policy.Override{"relay-gone.test": {NextHop: "[gone.smarthost.test]"}}
			},
			Want: Outcome{Mail: Waits, By: policy.ByOperator, Reason: "4.3.5"},
			also: notConnected("mx.relay-gone.test"),
		},
		{
			Domain: "we-are-backup.test", Title: "we are its third mail host",
			given:  steps{unsigned, mx(policytest.Refuse), mx(), host("mail.us.test"), mxAt("mail.us.test")},
			config: func(c *policy.Config) { c.Self = []string{"mail.us.test"} },
			Want:   Outcome{Mail: Encrypted, At: "mx2.we-are-backup.test"},
		},
		{
			Domain: "we-are-best.test", Title: "we are its best mail host: a loop",
			given:  steps{unsigned, mx(), mx()},
			config: func(c *policy.Config) { c.Self = []string{"mx.we-are-best.test"} },
			Want:   Outcome{Mail: Returned, Reason: "5.4.6"},
		},
	}
}
