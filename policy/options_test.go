package policy_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

const smartHost = "[relay.smart.example]:587"

// An option that is not valid, or that contradicts another or an override, is never
// ignored: the mail waits.
func TestUnusableSettingsMakeMailWait(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	for _, domain := range []string{"plain.example", "routed.example", "pinned.example", "same.example"} {
		inet.Domain(domain).MX("mx." + domain)
		inet.Host("mx." + domain)
	}
	pin := []dane.Record{record(t, inet.Host("relay.smart.example", policytest.Port(587)), dane.DANEEE)}
	r := resolver(t, inet, func(c *policy.Config) {
		c.Overrides = map[string]policy.Override{
			"routed.example": {NextHop: "[mx.routed.example]"},
			"pinned.example": {Pin: pin},
			"same.example":   {NextHop: smartHost, Pin: pin},
		}
	})
	list := func(options ...policy.Option) []policy.Option { return options }
	for _, test := range []struct {
		domain  string
		options []policy.Option
		want    string // in the text of the error; empty for a plan
	}{
		{"plain.example", list(policy.AtLeast(policy.Refused)), "AtLeast: 0 is not a level"},
		{"plain.example", list(policy.AtLeast(policy.Authenticated + 1)), "AtLeast: 4 is not a level"},
		{"plain.example", list(policy.AtLeast(policy.Encrypted), policy.AtLeast(policy.Refused)), "AtLeast"},
		{"plain.example", list(policy.AtLeast(policy.Encrypted), policy.AtLeast(policy.Authenticated)), ""},
		{"plain.example", list(policy.Via("")), `Via("")`},
		{"plain.example", list(policy.Via("192.0.2.1")), "brackets"},
		{"plain.example", list(policy.Via("[relay.smart.example]:0")), "port"},
		{"plain.example", list(policy.Via("relay\n.example")), `Via(`},
		{"plain.example", list(policy.Via(smartHost), policy.Via("[relay.smart.example]")), "[relay.smart.example]:587 and [relay.smart.example]:25 exclude each other"},
		{"plain.example", list(policy.Via(smartHost), policy.Via("relay.smart.example:587")), "exclude each other"},
		{"plain.example", list(policy.Via(smartHost), policy.Via("[Relay.Smart.Example.]:587")), ""},
		{"plain.example", list(policy.IPv4Only(), policy.IPv6Only()), "IPv4Only and IPv6Only"},
		{"plain.example", list(policy.IPv4Only(), policy.IPv4Only()), ""},
		{"plain.example", list(policy.RequireTLS(), nil), "nil"},
		{"plain.example", list(policy.Login()), "Login needs a next hop in brackets"},
		{"plain.example", list(policy.Login(), policy.Via("mx.plain.example")), "Login needs a next hop in brackets"},
		{"plain.example", list(policy.Login(), policy.Via(smartHost)), ""},
		{"[192.0.2.1]", list(policy.Login()), "Login needs a next hop in brackets"},
		{"routed.example", list(policy.Login()), ""},
		{"routed.example", list(policy.Via(smartHost)), "Override.NextHop, which is [mx.routed.example]:25"},
		{"routed.example", list(policy.Via("mx.routed.example")), "Override.NextHop"},
		{"routed.example", list(policy.Via("[mx.routed.example]")), ""},
		{"pinned.example", list(policy.Via(smartHost)), "Override.Pin"},
		{"same.example", list(policy.Via(smartHost)), ""},
	} {
		plan, err := r.Resolve(t.Context(), test.domain, test.options...)
		if test.want == "" {
			if err != nil || plan.Err() != nil {
				t.Errorf("%s: %v", test.domain, err)
			}
			continue
		}
		var failure *policy.Error
		switch {
		case !errors.As(err, &failure) || !errors.Is(err, policy.ErrConfig):
			t.Errorf("%s, %s: %v", test.domain, test.want, err)
		case failure.Permanent || failure.Status != "4.3.5" || failure.Code() != 451 || failure.By != policy.ByOperator || failure.Domain != test.domain:
			t.Errorf("%s, %s: %+v", test.domain, test.want, failure)
		case !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: %q does not say %q", test.domain, err, test.want)
		}
	}
}

// All options are part of the plan's key, and calls that ask for the same share a
// plan.
func TestEqualCallsShareAPlan(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("plain.example").MX("mx.plain.example")
	inet.Host("mx.plain.example", policytest.Addrs("192.0.2.10", "2001:db8::10"))
	inet.Host("relay.smart.example", policytest.Port(587))
	r := resolver(t, inet, func(c *policy.Config) {
		c.Floor = policy.Encrypted
	})
	list := func(options ...policy.Option) []policy.Option { return options }
	classes := [][][]policy.Option{
		{nil, list(policy.AtLeast(policy.Opportunistic)), list(policy.AtLeast(policy.Encrypted)), list(policy.Bounce())},
		{list(policy.AtLeast(policy.Authenticated)), list(policy.AtLeast(policy.Authenticated), policy.AtLeast(policy.Encrypted))},
		{list(policy.RequireTLS()), list(policy.RequireTLS(), policy.TLSOptional()), list(policy.AtLeast(policy.Authenticated), policy.RequireTLS())},
		{list(policy.RequireTLS(), policy.Bounce()), list(policy.Bounce(), policy.TLSOptional(), policy.RequireTLS())},
		{list(policy.TLSOptional())},
		{list(policy.TLSOptional(), policy.AtLeast(policy.Authenticated))},
		{list(policy.IPv4Only()), list(policy.IPv4Only(), policy.IPv4Only())},
		{list(policy.IPv6Only())},
		{list(policy.Via(smartHost)), list(policy.Via("[RELAY.smart.example.]:587"))},
		{list(policy.Via("[relay.smart.example]:588"))},
		{list(policy.Via("relay.smart.example:587"))},
		{list(policy.Via("[mx.plain.example]")), list(policy.Via("[mx.plain.example]:25"))},
		{list(policy.Via(smartHost), policy.Login()), list(policy.Login(), policy.TLSOptional(), policy.AtLeast(policy.Authenticated), policy.Via(smartHost))},
		{list(policy.Via(smartHost), policy.Login(), policy.RequireTLS())},
		{list(policy.Via("[192.0.2.10]")), list(policy.Via("[192.0.2.10]:25"))},
	}
	seen := map[string]int{}
	for i, class := range classes {
		first := onlyPlan(t, r, "plain.example", class[0]...)
		if other, again := seen[first.Key()]; again {
			t.Errorf("classes %d and %d have the key %q", other, i, first.Key())
		}
		seen[first.Key()] = i
		for j, options := range class {
			plan := onlyPlan(t, r, "Plain.Example.", options...)
			if plan != first || plan.Key() != first.Key() {
				t.Errorf("class %d, call %d: a plan of its own: %q and %q", i, j, plan.Key(), first.Key())
			}
		}
	}
	if got := onlyPlan(t, r, "plain.example").Key(); got != "plain.example" {
		t.Errorf("%q", got)
	}
	literals := []string{"[IPv6:2001:db8::10]", "[2001:DB8:0::10]", "[ipv6:2001:db8:0:0:0:0:0:10]"}
	for _, domain := range literals {
		if plan := onlyPlan(t, r, domain); plan.Key() != literals[0] || plan != onlyPlan(t, r, literals[0]) {
			t.Errorf("%s: %q", domain, plan.Key())
		}
	}
}

// AtLeast raises, whatever the mail or the recipient says, and never lowers.
func TestAtLeastNeverLowers(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("plain.example", policytest.Unsigned).MX("mx.plain.example")
	inet.Host("mx.plain.example")
	inet.Domain("dane.example").MX("mx.dane.example")
	inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	levels := []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated}
	for _, floor := range append(levels, policy.Refused) {
		r := resolver(t, inet, func(c *policy.Config) { c.Floor = floor })
		for _, domain := range []string{"plain.example", "dane.example"} {
			for _, level := range levels {
				for _, mail := range []policy.Option{policy.Bounce(), policy.TLSOptional()} {
					without := onlyHost(t, r, domain, mail)
					with := onlyHost(t, r, domain, mail, policy.AtLeast(level))
					if want := max(without.Level, level); with.Level != want {
						t.Errorf("%s, floor %v: at least %v is %v, want %v", domain, floor, level, with.Level, want)
					}
				}
			}
		}
	}
}

// The operator's requirement stands when the mail says TLS-Required: No, and can be
// met.
func TestM6RequireDANEStandsWithoutTLS(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("dane.example").MX("mx.dane.example")
	mx := inet.Host("mx.dane.example", policytest.TLSA("3 1 1"))
	inet.Domain("plain.example").MX("mx.plain.example")
	inet.Host("mx.plain.example")
	inet.Domain("broken.example").MX("mx.broken.example")
	inet.Host("mx.broken.example", policytest.TLSA("3 1 1"))
	inet.BreakDNS(policytest.ServFail, "_25._tcp.mx.broken.example", dnssec.TypeTLSA)
	inet.Domain("unsigned.example", policytest.Unsigned).MX("mx.dane.example")
	r := resolver(t, inet, func(c *policy.Config) { c.RequireDANE = true })
	host := onlyHost(t, r, "dane.example", policy.TLSOptional())
	if err := host.Verify(session(mx)); err != nil || host.Level != policy.Authenticated || host.By != policy.ByDANE|policy.ByOperator {
		t.Errorf("%v by %v: %v", host.Level, host.By, err)
	}
	restore := mx.Break(policytest.OtherKey)
	defer restore()
	if host.Verify(session(mx)) == nil {
		t.Error("another key is accepted")
	}
	for _, domain := range []string{"plain.example", "broken.example", "unsigned.example"} {
		if host := onlyHost(t, r, domain, policy.TLSOptional()); host.Level != policy.Refused {
			t.Errorf("%s: %v by %v", domain, host.Level, host.By)
		}
	}
}

// STS-60, RFC 8461 section 3.4: the smart host's domain is the policy domain. What the
// recipient publishes does not count, nor what an override switches off there.
func TestViaUsesPolicyOfSmartHost(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("recipient.example").MX("mx.recipient.example").Policy("enforce", "mx.recipient.example")
	inet.Host("mx.recipient.example")
	inet.Domain("listed.example", policytest.Unsigned).MX("mx.listed.example").Policy("enforce", "mx.listed.example")
	inet.Host("mx.listed.example")
	inet.Domain("unlisted.example", policytest.Unsigned).MX("mx.unlisted.example").Policy("enforce", "mx.listed.example")
	inet.Host("mx.unlisted.example")
	inet.Domain("dane.example")
	inet.Host("mx.dane.example", policytest.Port(587), policytest.TLSA("3 1 1"))
	inet.Domain("loop.example").MX("self.example")
	inet.Domain("null.example").Add("@ MX 0 .")
	r := resolver(t, inet, func(c *policy.Config) {
		c.Self = []string{"self.example"}
		c.Overrides = map[string]policy.Override{
			"off.example":    {NoDANE: true, NoMTASTS: true},
			"raised.example": {RequireDANE: true},
			"floor.example":  {Floor: policy.Authenticated},
		}
	})
	for _, test := range []struct {
		domain, via string
		host        string
		level       policy.Level
		by          policy.Mechanism
	}{
		{"recipient.example", "listed.example", "mx.listed.example", policy.Authenticated, policy.ByMTASTS},
		{"recipient.example", "unlisted.example", "mx.unlisted.example", policy.Refused, policy.ByMTASTS},
		{"recipient.example", "[mx.listed.example]", "mx.listed.example", policy.Opportunistic, 0},
		{"recipient.example", "[mx.dane.example]:587", "mx.dane.example", policy.Authenticated, policy.ByDANE},
		{"off.example", "[mx.dane.example]:587", "mx.dane.example", policy.Authenticated, policy.ByDANE},
		{"off.example", "listed.example", "mx.listed.example", policy.Authenticated, policy.ByMTASTS},
		{"raised.example", "[mx.dane.example]:587", "mx.dane.example", policy.Authenticated, policy.ByDANE | policy.ByOperator},
		{"raised.example", "listed.example", "mx.listed.example", policy.Refused, policy.ByDANE | policy.ByOperator},
		{"floor.example", "[mx.listed.example]", "mx.listed.example", policy.Authenticated, policy.ByOperator},
		{"no-such-domain.example", "listed.example", "mx.listed.example", policy.Authenticated, policy.ByMTASTS},
		{"[192.0.2.9]", "[mx.dane.example]:587", "mx.dane.example", policy.Authenticated, policy.ByDANE},
	} {
		plan := onlyPlan(t, r, test.domain, policy.Via(test.via))
		host := plan.Hosts[0]
		if host.Name != test.host || host.Level != test.level || host.By != test.by {
			t.Errorf("%s via %s: %s is %v by %v, want %v by %v", test.domain, test.via, host.Name, host.Level, host.By, test.level, test.by)
		}
		if plan.Domain != test.domain || !strings.HasPrefix(plan.Via, strings.TrimSuffix(test.via, ":587")) {
			t.Errorf("%+v", plan)
		}
	}
	for _, via := range []string{"loop.example", "null.example", "none.example"} {
		_, err := r.Resolve(t.Context(), "recipient.example", policy.Via(via))
		var failure *policy.Error
		if !errors.As(err, &failure) || failure.Permanent || failure.Status != "4.3.5" || !strings.Contains(err.Error(), via) {
			t.Errorf("via %s: %v", via, err)
		}
	}
}

// Decision "Login": credentials reach only the named host, authenticated by TLSA at
// the port in use or by the web PKI, and nothing that mail or DNS says changes that.
func TestLoginReachesOnlyNamedHost(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("recipient.example").MX("mx.recipient.example")
	inet.Domain("smart.example")
	pki := inet.Host("pki.smart.example", policytest.Port(587))
	tlsa := inet.Host("dane.smart.example", policytest.Port(465), policytest.TLSA("3 1 1"), policytest.SelfSigned)
	unusable := inet.Host("unusable.smart.example", policytest.Port(587), policytest.TLSA("9 9 9 00"))
	r := resolver(t, inet)
	for _, test := range []struct {
		via  string
		host *policytest.Host
		by   policy.Mechanism
	}{
		{"[pki.smart.example]:587", pki, policy.ByOperator},
		{"[dane.smart.example]:465", tlsa, policy.ByDANE},
		{"[unusable.smart.example]:587", unusable, policy.ByDANE | policy.ByOperator},
	} {
		for _, mail := range [][]policy.Option{nil, {policy.TLSOptional()}} {
			options := append(slices.Clone(mail), policy.Via(test.via), policy.Login())
			plan := onlyPlan(t, r, "recipient.example", options...)
			host := plan.Hosts[0]
			if !plan.Login || host.Level != policy.Authenticated || host.By != test.by {
				t.Errorf("%s: %v by %v", test.via, host.Level, host.By)
			}
			if err := host.Verify(session(test.host)); err != nil {
				t.Errorf("%s: %v", test.via, err)
			}
			for name, fault := range map[string]policytest.Option{"impostor": policytest.Impostor, "wrong name": policytest.WrongName("smart.example")} {
				restore := test.host.Break(fault)
				if err := host.Verify(session(test.host)); err == nil && (name == "impostor" || test.host != tlsa) {
					t.Errorf("%s: %s gets the credentials", test.via, name)
				}
				restore()
			}
		}
	}
	// An address is a name too: the certificate must have it.
	literal := inet.Host("literal.smart.example", policytest.Port(587), policytest.Addrs("192.0.2.99"))
	host := onlyHost(t, r, "recipient.example", policy.Via("[192.0.2.99]:587"), policy.Login())
	for address, want := range map[string]bool{"192.0.2.99": true, "192.0.2.98": false, "": false} {
		restore := literal.Break(policytest.Certificate(func(c *x509.Certificate) {
			if addr := net.ParseIP(address); addr != nil {
				c.IPAddresses = []net.IP{addr}
			}
		}))
		if err := host.Verify(session(literal)); (err == nil) != want {
			t.Errorf("a certificate for the address %q: %v", address, err)
		}
		restore()
	}
	// An unknown is never "none".
	defer inet.BreakDNS(policytest.ServFail, "_465._tcp.dane.smart.example", dnssec.TypeTLSA)()
	r = resolver(t, inet)
	if host := onlyHost(t, r, "recipient.example", policy.Via("[dane.smart.example]:465"), policy.Login(), policy.TLSOptional()); host.Level != policy.Refused {
		t.Errorf("the TLSA lookup failed, and the host is %v", host.Level)
	}
}

// A call for one address family uses the addresses of that family only. The level
// is that of both.
func TestCallUsesItsAddressFamilyOnly(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	for name, addrs := range map[string][]string{
		"both.example": {"192.0.2.30", "2001:db8::30"}, "four.example": {"192.0.2.31"}, "six.example": {"2001:db8::32"},
	} {
		inet.Domain(name).MX("mx." + name)
		inet.Host("mx."+name, policytest.TLSA("3 1 1"), policytest.Addrs(addrs...))
	}
	r := resolver(t, inet)
	for _, test := range []struct {
		domain string
		option policy.Option
		want   string // empty: refused
	}{
		{"both.example", policy.IPv4Only(), "192.0.2.30"},
		{"both.example", policy.IPv6Only(), "2001:db8::30"},
		{"four.example", policy.IPv4Only(), "192.0.2.31"},
		{"four.example", policy.IPv6Only(), ""},
		{"six.example", policy.IPv6Only(), "2001:db8::32"},
		{"six.example", policy.IPv4Only(), ""},
		{"[192.0.2.33]", policy.IPv4Only(), "192.0.2.33"},
		{"[192.0.2.33]", policy.IPv6Only(), ""},
		{"[IPv6:2001:db8::33]", policy.IPv4Only(), ""},
	} {
		host := onlyHost(t, r, test.domain, test.option)
		if test.want == "" {
			if host.Level != policy.Refused || !errors.Is(host.Refusal, policy.ErrUnreachable) || host.Refusal.Permanent || len(host.Addrs) > 0 || !strings.Contains(host.Refusal.Error(), "family") {
				t.Errorf("%s: %v, %v", test.domain, host.Level, host.Refusal)
			}
			if session, _ := host.Attempted(policy.NotConnected, nil, nil); len(session.Outcomes) > 0 {
				t.Errorf("%s: our own choice of addresses is reported: %+v", test.domain, session.Outcomes)
			}
			continue
		}
		both := onlyHost(t, r, test.domain)
		if len(host.Addrs) != 1 || host.Addrs[0].String() != test.want || host.Level != both.Level || host.By != both.By {
			t.Errorf("%s: %v, %v by %v", test.domain, host.Addrs, host.Level, host.By)
		}
	}
}

// OverrideFor is asked for domains without entry in Overrides, once for each plan.
func TestOverrideForIsAskedOncePerPlan(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	domains := []string{"map.example", "func.example", "none.example", "bad.example", "xn--bcher-kva.example"}
	for _, domain := range domains {
		inet.Domain(domain, policytest.Unsigned).MX("mx." + domain)
		inet.Host("mx." + domain)
	}
	var calls, repaired atomic.Int32
	inet.Domain("pinned.example", policytest.Unsigned).MX("mx.pinned.example")
	pin := []dane.Record{record(t, inet.Host("mx.pinned.example"), dane.DANEEE)}
	r := resolver(t, inet, func(c *policy.Config) {
		c.Overrides = map[string]policy.Override{"map.example": {Floor: policy.Encrypted}}
		c.OverrideFor = func(domain string) (policy.Override, bool) {
			calls.Add(1)
			switch domain {
			case "func.example", "xn--bcher-kva.example":
				return policy.Override{Floor: policy.Authenticated}, true
			case "pinned.example":
				return policy.Override{Pin: pin}, true
			case "bad.example":
				if repaired.Load() == 0 {
					return policy.Override{Floor: 9}, true
				}
				return policy.Override{Floor: policy.Encrypted}, true
			case "map.example", "[192.0.2.1]":
				t.Errorf("asked for %s", domain)
			}
			return policy.Override{Floor: policy.Authenticated}, false
		}
	})
	for range 2 {
		for domain, want := range map[string]policy.Level{
			"map.example": policy.Encrypted, "Func.Example.": policy.Authenticated, "none.example": policy.Opportunistic,
			"b\u00fccher.example": policy.Authenticated, "pinned.example": policy.Authenticated, "[192.0.2.1]": policy.Opportunistic,
		} {
			if host := onlyHost(t, r, domain); host.Level != want {
				t.Errorf("%s: %v, want %v", domain, host.Level, want)
			}
		}
	}
	if got := calls.Load(); got != 4 {
		t.Errorf("%d calls, want one for each plan", got)
	}
	pin[0].Data[0] ^= 1
	if host := onlyHost(t, r, "pinned.example"); host.TLSA[0].Data[0] == pin[0].Data[0] {
		t.Error("the plan shares the caller's pin")
	}
	for _, options := range [][]policy.Option{nil, {policy.TLSOptional()}, {policy.Via("[mx.none.example]")}} {
		_, err := r.Resolve(t.Context(), "bad.example", options...)
		var failure *policy.Error
		if !errors.As(err, &failure) || !errors.Is(err, policy.ErrConfig) || failure.Permanent || failure.Status != "4.3.5" || failure.Domain != "bad.example" {
			t.Errorf("%v", err)
		} else if !strings.Contains(err.Error(), "Config.OverrideFor") || !strings.Contains(err.Error(), "the field Floor") {
			t.Errorf("%v does not name the field", err)
		}
	}
	repaired.Store(1)
	if host := onlyHost(t, r, "bad.example"); host.Level != policy.Encrypted {
		t.Errorf("%v after the repair", host.Level)
	}
}

// Forget drops every plan of one domain, and nothing that protects it.
func TestForgetKeepsProtection(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("sts.example", policytest.Unsigned).MX("mx.sts.example").Policy("enforce", "mx.sts.example")
	inet.Host("mx.sts.example")
	inet.Domain("other.example").MX("mx.sts.example")
	var floor atomic.Int32
	r := resolver(t, inet, func(c *policy.Config) {
		c.OverrideFor = func(string) (policy.Override, bool) { return policy.Override{Floor: policy.Level(floor.Load())}, true }
	})
	calls := [][]policy.Option{
		nil, {policy.RequireTLS()}, {policy.TLSOptional()}, {policy.IPv4Only()}, {policy.Via("[mx.sts.example]")}, {policy.AtLeast(policy.Encrypted)},
		{policy.Via("[mx.sts.example]:2525"), policy.Login(), policy.IPv4Only()},
	}
	var before []*policy.Plan
	for _, options := range calls {
		before = append(before, onlyPlan(t, r, "sts.example", options...))
	}
	other := onlyPlan(t, r, "other.example")
	floor.Store(int32(policy.Authenticated))
	r.Forget("not a domain")
	r.Forget("unknown.example")
	if onlyPlan(t, r, "sts.example") != before[0] {
		t.Error("a plan of another domain was dropped")
	}
	inet.BreakDNS(policytest.Forge(), "_mta-sts.sts.example", dnssec.TypeTXT)
	inet.BreakDNS(policytest.ServFail, "mta-sts.sts.example")
	r.Forget("STS.example.")
	for i, options := range calls {
		plan := onlyPlan(t, r, "sts.example", options...)
		if plan == before[i] || plan.Hosts[0].Level != policy.Authenticated {
			t.Errorf("call %d: the old plan, or the old override: %v", i, plan.Hosts[0].Level)
		}
	}
	if onlyPlan(t, r, "other.example") != other {
		t.Error("the plan of another domain was dropped")
	}
	if plan := onlyPlan(t, r, "sts.example"); plan.MTASTS.Policy == nil || !plan.Hosts[0].By.Has(policy.ByMTASTS) {
		t.Error("the policy was forgotten")
	}
}

// A postmaster sees which options and overrides decided.
func TestOptionsAreExplained(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("smart.example")
	inet.Host("relay.smart.example", policytest.Port(587))
	r := resolver(t, inet, func(c *policy.Config) {
		c.HostOverrides = map[string]policy.HostOverride{"relay.smart.example": {NoDANE: true, Floor: policy.Encrypted}}
	})
	plan := onlyPlan(t, r, "recipient.example", policy.Via(smartHost), policy.Login(), policy.IPv4Only())
	var text bytes.Buffer
	if err := plan.Explain(&text); err != nil {
		t.Fatal(err)
	}
	document, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"options of the call: Login, IPv4Only, Via([relay.smart.example]:587)\n", "next hop: [relay.smart.example]:587, configured by the operator",
		"Config.HostOverrides: DANE is switched off for this host\n", "Config.HostOverrides: the level is at least encrypted\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s\ndoes not say %q", &text, want)
		}
	}
	for _, want := range []string{
		`"options":["Login","IPv4Only","Via([relay.smart.example]:587)"]`, `"via":"[relay.smart.example]:587"`,
		`"overrides":["DANE is switched off for this host","the level is at least encrypted"]`,
	} {
		if !strings.Contains(string(document), want) {
			t.Errorf("%s\nhas no %s", document, want)
		}
	}
}
