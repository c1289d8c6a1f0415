package policy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// session is a session with the certificates that a host sends now.
func session(h *policytest.Host) tls.ConnectionState {
	return tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: h.Certificates()}
}

// Decision "Host overrides": NoDANE lowers the DANE of its host, and nothing else.
func TestHostOverrideLowersDANEOnly(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("provider.example")
	mx := inet.Host("mx.provider.example", policytest.TLSA("3 1 1 "+strings.Repeat("00", 32))) // a stale record
	inet.Host("other.provider.example", policytest.TLSA("3 1 1"))
	inet.Domain("plain.example").MX("mx.provider.example")
	inet.Domain("listed.example").MX("mx.provider.example").Policy("enforce", "mx.provider.example")
	inet.Domain("unlisted.example").MX("mx.provider.example").Policy("enforce", "mx.unlisted.example")
	inet.Domain("insecure.example", policytest.Unsigned).MX("mx.provider.example").Policy("enforce", "mx.provider.example")
	inet.Domain("required.example").MX("mx.provider.example")
	inet.Domain("floor.example").MX("mx.provider.example")
	inet.Domain("other.example").MX("other.provider.example")
	inet.Domain("raised.example").MX("raised.provider.example")
	inet.Host("raised.provider.example")
	r := resolver(t, inet, func(c *policy.Config) {
		c.HostOverrides = map[string]policy.HostOverride{
			"MX.Provider.example.":    {NoDANE: true},
			"raised.provider.example": {NoDANE: true, Floor: policy.Encrypted},
		}
		c.Overrides = map[string]policy.Override{"required.example": {RequireDANE: true}, "floor.example": {Floor: policy.Authenticated}}
	})
	for _, test := range []struct {
		domain  string
		options []policy.Option
		level   policy.Level
		by      policy.Mechanism
		refusal error
	}{
		{"plain.example", nil, policy.Opportunistic, 0, nil},
		{"listed.example", nil, policy.Authenticated, policy.ByMTASTS, nil},
		{"unlisted.example", nil, policy.Refused, policy.ByMTASTS, policy.ErrNotListed},
		{"insecure.example", nil, policy.Authenticated, policy.ByMTASTS, nil},
		{"required.example", nil, policy.Refused, policy.ByDANE | policy.ByOperator, policy.ErrNoDANE},
		{"floor.example", nil, policy.Authenticated, policy.ByOperator, nil},
		{"plain.example", []policy.Option{policy.AtLeast(policy.Encrypted)}, policy.Encrypted, policy.ByOperator, nil},
		{"plain.example", []policy.Option{policy.RequireTLS()}, policy.Authenticated, policy.ByOperator, nil},
		{"other.example", nil, policy.Authenticated, policy.ByDANE, nil},
		{"raised.example", nil, policy.Encrypted, policy.ByOperator, nil},
		{"raised.example", []policy.Option{policy.TLSOptional()}, policy.Encrypted, policy.ByOperator, nil},
	} {
		host := onlyHost(t, r, test.domain, test.options...)
		if host.Level != test.level || host.By != test.by || test.refusal != nil && !errors.Is(host.Refusal, test.refusal) {
			t.Errorf("%s: %v by %v (%s), want %v by %v", test.domain, host.Level, host.By, host.Why, test.level, test.by)
		}
		if host.Level == policy.Authenticated && host.By&policy.ByDANE == 0 {
			restore := mx.Break(policytest.WrongName(test.domain))
			if host.Verify(session(mx)) == nil {
				t.Errorf("%s: the certificate of the web PKI is not demanded", test.domain)
			}
			restore()
		}
	}
	if n := inet.Questions("_25._tcp.mx.provider.example", dnssec.TypeTLSA); n > 0 {
		t.Errorf("%d queries for the TLSA records that do not count", n)
	}
}

// Decision "Host overrides": an override of a smart host lowers only its DANE too, whatever
// options are combined. It does not lower its domain's allow-list, the web PKI, or what Login
// and RequireTLS demand.
func TestHostOverrideOfSmartHostLowersDANEOnly(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("recipient.example").MX("mx.recipient.example")
	inet.Domain("smart.example")
	relay := inet.Host("relay.smart.example", policytest.TLSA("3 1 1 "+zeros)) // a stale record
	inet.Domain("listed.example", policytest.Unsigned).MX("relay.smart.example").Policy("enforce", "relay.smart.example")
	inet.Domain("unlisted.example", policytest.Unsigned).MX("relay.smart.example").Policy("enforce", "other.smart.example")
	const named = "[relay.smart.example]"
	list := func(options ...policy.Option) []policy.Option { return options }
	for _, test := range []struct {
		via     string
		options []policy.Option
		level   policy.Level
		refusal error
	}{
		{named, nil, policy.Opportunistic, nil},
		{named, list(policy.AtLeast(policy.Encrypted)), policy.Encrypted, nil},
		{named, list(policy.AtLeast(policy.Authenticated)), policy.Authenticated, nil},
		{named, list(policy.Login()), policy.Authenticated, nil},
		{named, list(policy.Login(), policy.TLSOptional()), policy.Authenticated, nil},
		{named, list(policy.RequireTLS()), policy.Authenticated, nil},
		{named, list(policy.RequireTLS(), policy.Bounce(), policy.TLSOptional()), policy.Authenticated, nil},
		{named, list(policy.RequireTLS(), policy.Login()), policy.Authenticated, nil},
		{"listed.example", nil, policy.Authenticated, nil},
		{"listed.example", list(policy.RequireTLS()), policy.Authenticated, nil},
		{"listed.example", list(policy.TLSOptional(), policy.AtLeast(policy.Authenticated)), policy.Authenticated, nil},
		{"unlisted.example", nil, policy.Refused, policy.ErrNotListed},
		{"unlisted.example", list(policy.RequireTLS()), policy.Refused, policy.ErrNotListed},
		{"unlisted.example", list(policy.AtLeast(policy.Authenticated)), policy.Refused, policy.ErrNotListed},
	} {
		for name, change := range map[string]func(*policy.Config){
			"NoDANE": func(c *policy.Config) {},
			"NoDANE, a floor of the recipient": func(c *policy.Config) {
				c.Overrides = map[string]policy.Override{"recipient.example": {Floor: policy.Authenticated, NoDANE: true, NoMTASTS: true}}
			},
			"NoDANE, a floor of all": func(c *policy.Config) { c.Floor = policy.Authenticated },
		} {
			r := resolver(t, inet, func(c *policy.Config) {
				c.HostOverrides = map[string]policy.HostOverride{"relay.smart.example": {NoDANE: true}}
				change(c)
			})
			host := onlyHost(t, r, "recipient.example", append(list(policy.Via(test.via)), test.options...)...)
			r.Close()
			level := test.level
			if name != "NoDANE" && level != policy.Refused {
				level = policy.Authenticated
			}
			call := fmt.Sprintf("%s, via %s with %d options", name, test.via, len(test.options))
			if host.Level != level || test.refusal != nil && !errors.Is(host.Refusal, test.refusal) {
				t.Errorf("%s: %v by %v, want %v: %v", call, host.Level, host.By, level, host.Refusal)
			}
			if err := host.Verify(session(relay)); (err == nil) != (level != policy.Refused) {
				t.Errorf("%s: %v", call, err)
			}
			for _, fault := range []policytest.Option{policytest.Impostor, policytest.WrongName("recipient.example"), policytest.Expired} {
				restore := relay.Break(fault)
				if level >= policy.Authenticated && host.Verify(session(relay)) == nil {
					t.Errorf("%s: another certificate than the web PKI's is accepted", call)
				}
				restore()
			}
		}
	}
}

// A pin of a host replaces its TLSA records. It says nothing about who named the
// host, so everything else stays demanded.
func TestHostPinReplacesTLSA(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("provider.example")
	mx := inet.Host("mx.provider.example", policytest.TLSA("3 1 1 "+strings.Repeat("00", 32)))
	other := inet.Host("other.provider.example")
	inet.Domain("plain.example").MX("mx.provider.example")
	inet.Domain("forged.example", policytest.Unsigned).MX("mx.provider.example")
	inet.Domain("listed.example").MX("mx.provider.example").Policy("enforce", "mx.provider.example")
	inet.Domain("unlisted.example").MX("mx.provider.example").Policy("enforce", "mx.unlisted.example")
	inet.Domain("own.example").MX("mx.provider.example")
	inet.Domain("bad.example").MX("mx.provider.example")
	inet.BreakDNS(policytest.ServFail, "bad.example", dnssec.TypeMX)
	literal := inet.Host("literal.provider.example", policytest.Addrs("192.0.2.77"))
	ca := []dane.Record{record(t, mx, dane.DANETA)}
	r := resolver(t, inet, func(c *policy.Config) {
		c.HostOverrides = map[string]policy.HostOverride{
			"mx.provider.example": {Pin: []dane.Record{record(t, mx, dane.DANEEE)}},
			"[192.0.2.77]":        {Pin: []dane.Record{record(t, literal, dane.DANEEE)}},
		}
		c.Overrides = map[string]policy.Override{"own.example": {Pin: []dane.Record{record(t, other, dane.DANEEE)}}}
	})
	for _, test := range []struct {
		domain          string
		options         []policy.Option
		pinned, refused bool
		webPKI          bool // is demanded as well
	}{
		{"plain.example", nil, true, false, false},
		{"plain.example", []policy.Option{policy.TLSOptional()}, true, false, false},
		{"plain.example", []policy.Option{policy.RequireTLS()}, true, false, false},
		{"plain.example", []policy.Option{policy.AtLeast(policy.Authenticated)}, true, false, false},
		{"forged.example", nil, true, false, false},
		{"forged.example", []policy.Option{policy.RequireTLS()}, false, true, false},
		{"listed.example", nil, true, false, true},
		{"unlisted.example", nil, false, true, false},
		{"own.example", nil, false, false, false},
		{"[192.0.2.77]", nil, true, false, false},
		{"plain.example", []policy.Option{policy.Via("[192.0.2.77]"), policy.Login()}, true, false, false},
	} {
		name := fmt.Sprintf("%s, %d options", test.domain, len(test.options))
		host := onlyHost(t, r, test.domain, test.options...)
		server := mx
		if host.Name == "192.0.2.77" {
			server = literal
		}
		if got := host.Level == policy.Refused; got != test.refused {
			t.Errorf("%s: %v (%s)", name, host.Level, host.Why)
		}
		if got := host.Verify(session(server)) == nil; got != test.pinned {
			t.Errorf("%s: a session with the pinned key: %v", name, host.Verify(session(server)))
		}
		for fault, option := range map[string]policytest.Option{"impostor": policytest.Impostor, "other key": policytest.OtherKey, "wrong name": policytest.WrongName("x.example")} {
			restore := server.Break(option)
			if got, want := host.Verify(session(server)) == nil, fault == "wrong name" && test.pinned && !test.webPKI; got != want {
				t.Errorf("%s, %s: verified: %v, want %v", name, fault, got, want)
			}
			restore()
		}
	}
	if got := onlyHost(t, r, "own.example"); got.Verify(session(other)) != nil {
		t.Error("the pin of the domain does not take precedence")
	}
	if _, err := r.Resolve(t.Context(), "bad.example"); err == nil {
		t.Error("a pin excuses the MX lookup that failed")
	}

	// A pinned authority issues certificates for other hosts too.
	r = resolver(t, inet, func(c *policy.Config) {
		c.HostOverrides = map[string]policy.HostOverride{"mx.provider.example": {Pin: ca}}
		c.RequireRoute = true
	})
	for domain, name := range map[string]string{"plain.example": "mx.provider.example", "forged.example": ""} {
		host := onlyHost(t, r, domain)
		for _, certified := range []string{"mx.provider.example", "plain.example", "forged.example", "other.provider.example"} {
			restore := mx.Break(policytest.WrongName(certified), policytest.TLSA("2 1 1"))
			if got := host.Verify(session(mx)) == nil; got != (certified == name) {
				t.Errorf("%s: a certificate for %s by the pinned authority: %v", domain, certified, got)
			}
			restore()
		}
	}
}

// New checks the overrides by host, and reads them once.
func TestHostOverridesAreChecked(t *testing.T) {
	t.Parallel()
	inet := policytest.New(t)
	inet.Domain("a.example").MX("mx.a.example")
	pin := []dane.Record{record(t, inet.Host("mx.a.example"), dane.DANEEE)}
	hosts := func(overrides map[string]policy.HostOverride) func(*policy.Config) {
		return func(c *policy.Config) { c.HostOverrides = overrides }
	}
	for want, change := range map[string]func(*policy.Config){
		"not a domain name": hosts(map[string]policy.HostOverride{"a b": {}}),
		"put an address":    hosts(map[string]policy.HostOverride{"192.0.2.1": {}}),
		"unable to parse":   hosts(map[string]policy.HostOverride{"[x]": {}}),
		"two overrides":     hosts(map[string]policy.HostOverride{"mx.a.example": {}, "MX.a.example.": {}}),
		"the field Floor":   hosts(map[string]policy.HostOverride{"mx.a.example": {Floor: 7}}),
		"the field Pin":     hosts(map[string]policy.HostOverride{"mx.a.example": {Pin: []dane.Record{{Usage: 1}}}}),
		"exclude each other;": func(c *policy.Config) {
			c.RequireDANE, c.HostOverrides = true, map[string]policy.HostOverride{"mx.a.example": {NoDANE: true}}
		},
	} {
		config := inet.Config()
		change(&config)
		_, err := policy.New(config)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Config.HostOverrides") {
			t.Errorf("%s: %v", want, err)
		}
	}
	overrides := map[string]policy.HostOverride{"mx.a.example": {Pin: pin}}
	r := resolver(t, inet, hosts(overrides))
	pin[0].Data[0] ^= 1
	delete(overrides, "mx.a.example")
	if host := onlyHost(t, r, "a.example"); len(host.TLSA) != 1 || host.TLSA[0].Data[0] == pin[0].Data[0] {
		t.Errorf("the configuration is not the Resolver's own: %v", host.TLSA)
	}
}

// world is an internet in which every combination of what a domain publishes exists.
type world struct {
	inet     *policytest.Internet
	domains  []string
	hosts    map[string]*policytest.Host
	sessions map[string][]tls.ConnectionState // that a host or an attacker could offer
	dns      *dnssec.Validator
	policies *mtasts.Client
}

func newWorld(t *testing.T) *world {
	w := &world{inet: policytest.New(t), hosts: map[string]*policytest.Host{}, sessions: map[string][]tls.ConnectionState{}}
	w.inet.Domain("hosts.example")
	usable := []policytest.Option{policytest.TLSA("3 1 1")}
	for tlsa, options := range map[string][]policytest.Option{
		"none": nil, "usable": usable, "unusable": {policytest.TLSA("9 9 9 00")}, "failed": usable,
	} {
		name := "mx-" + tlsa + ".hosts.example"
		host := w.inet.Host(name, options...)
		w.hosts[name] = host
		w.sessions[name] = append(w.sessions[name], session(host))
		for _, fault := range []policytest.Option{policytest.OtherKey, policytest.Impostor, policytest.WrongName("x.example"), policytest.SelfSigned, policytest.Expired} {
			restore := host.Break(fault)
			w.sessions[name] = append(w.sessions[name], session(host))
			restore()
		}
		for _, mode := range []string{"none", "testing", "enforce", "unlisted"} {
			for signed, option := range map[string][]policytest.DomainOption{"signed": nil, "unsigned": {policytest.Unsigned}} {
				domain := w.inet.Domain(tlsa+"-"+mode+"-"+signed+".example", option...).MX(name)
				switch mode {
				case "testing", "enforce":
					domain.Policy(mode, name)
				case "unlisted":
					domain.Policy("enforce", "other.hosts.example")
				}
				w.domains = append(w.domains, domain.Name())
			}
		}
	}
	slices.Sort(w.domains)
	w.inet.BreakDNS(policytest.ServFail, "_25._tcp.mx-failed.hosts.example", dnssec.TypeTLSA)
	w.dns = w.inet.DNS()
	client, err := mtasts.New(w.inet.MTASTSConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	w.policies = client
	return w
}

// settings are a configuration and a call.
type settings struct {
	floor, domainFloor, hostFloor, atLeast      policy.Level
	requireDANE, requireRoute, both, requireTLS bool
	noDANE, noMTASTS, hostNoDANE, optional      bool
	domainPin, hostPin, function                bool
	family                                      policy.Option
}

// host returns the host of a domain under the settings.
func (s settings) host(t *testing.T, w *world, domain string) *policy.Host {
	t.Helper()
	name := hostOf(domain)
	pin := []dane.Record{record(t, w.hosts[name], dane.DANEEE)}
	override := policy.Override{Floor: s.domainFloor, NoDANE: s.noDANE, NoMTASTS: s.noMTASTS, RequireRoute: s.requireRoute, RequireDANE: s.requireDANE}
	if s.domainPin {
		override.Pin = pin
	}
	hostOverride := policy.HostOverride{Floor: s.hostFloor, NoDANE: s.hostNoDANE}
	if s.hostPin {
		hostOverride.Pin = pin
	}
	r := resolver(t, w.inet, func(c *policy.Config) {
		c.DNS, c.MTASTS, c.Floor = w.dns, w.policies, s.floor
		c.HostOverrides = map[string]policy.HostOverride{name: hostOverride}
		c.Overrides = map[string]policy.Override{domain: override}
		if s.function {
			c.Overrides = nil
			c.OverrideFor = func(string) (policy.Override, bool) { return override, true }
		}
		if s.both {
			c.Precedence = policy.RequireBoth
		}
	})
	defer r.Close()
	var options []policy.Option
	if s.optional {
		options = append(options, policy.TLSOptional())
	}
	if s.requireTLS {
		options = append(options, policy.RequireTLS())
	}
	if s.family != nil {
		options = append(options, s.family)
	}
	if s.atLeast != policy.Refused {
		options = append(options, policy.AtLeast(s.atLeast))
	}
	return onlyHost(t, r, domain, options...)
}

func hostOf(domain string) string {
	tlsa, _, _ := strings.Cut(domain, "-")
	return "mx-" + tlsa + ".hosts.example"
}

// accepted reports for each session whether it may carry mail. The first is in cleartext.
func (w *world) accepted(host *policy.Host) []bool {
	list := []bool{host.Level == policy.Opportunistic}
	for _, state := range w.sessions[host.Name] {
		list = append(list, host.Verify(state) == nil)
	}
	return list
}

// One more option or override that raises never permits a session that was refused
// before, whatever it is combined with.
func TestSettingsNeverLower(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	random := seed.Rand(t)
	for range 300 {
		domain := w.domains[random.IntN(len(w.domains))]
		base := randomSettings(random)
		more := base.raised(random)
		before, after := base.host(t, w, domain), more.host(t, w, domain)
		accepted := w.accepted(before)
		for i, yes := range w.accepted(after) {
			if yes && !accepted[i] {
				t.Errorf("%s: session %d is refused by %+v (%v by %v) and accepted by %+v (%v by %v)",
					domain, i, base, before.Level, before.By, more, after.Level, after.By)
			}
		}
	}
}

// NoDANE for a host has the effect that it would have if the host had no TLSA records,
// whatever else is combined with it.
func TestHostNoDANEIsNoTLSA(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	random := seed.Rand(t)
	for range 300 {
		domain := w.domains[random.IntN(len(w.domains))]
		with := randomSettings(random)
		with.hostNoDANE = true
		without := with
		without.hostNoDANE = false
		_, rest, _ := strings.Cut(domain, "-")
		got, want := with.host(t, w, domain), without.host(t, w, "none-"+rest)
		if got.Level != want.Level || got.By != want.By || !slices.Equal(w.accepted(got), w.accepted(want)) {
			t.Errorf("%s: %+v: %v by %v accepts %v, without TLSA records %v by %v accepts %v",
				domain, with, got.Level, got.By, w.accepted(got), want.Level, want.By, w.accepted(want))
		}
	}
}

func randomSettings(random *rand.Rand) settings {
	level := func() policy.Level { return policy.Level(random.IntN(3)) }
	coin := func() bool { return random.IntN(3) == 0 }
	s := settings{
		floor: level(), domainFloor: level(), hostFloor: level(), atLeast: level(),
		requireDANE: coin(), requireRoute: coin(), both: coin(), requireTLS: coin(),
		noDANE: coin(), noMTASTS: coin(), hostNoDANE: coin(), optional: coin(),
		domainPin: coin(), hostPin: coin(), function: coin(),
	}
	s.noDANE = s.noDANE && !s.requireDANE
	return s
}

// raised returns the settings with one more that raises or changes nothing. RequireTLS and
// RequireDANE are left out for mail with TLS-Required: No: they replace the certificate of
// the web PKI by DANE, which TestWishesNeverLower and TestM6 test.
func (s settings) raised(random *rand.Rand) settings {
	kind := random.IntN(10)
	if s.optional && (kind == 4 || kind == 5) {
		kind = 3
	}
	switch kind {
	case 0:
		s.floor++
	case 1:
		s.domainFloor++
	case 2:
		s.hostFloor++
	case 3:
		s.atLeast++
	case 4:
		// RequireTLS takes precedence over TLSOptional: the recipient's records, which
		// that ignores, may then authenticate the route.
		s.requireTLS = s.requireTLS || !s.optional
	case 5:
		s.requireDANE = !s.noDANE
	case 6:
		s.family = policy.IPv4Only()
	case 7:
		s.family = policy.IPv6Only()
	case 8:
		s.function = !s.function
	case 9:
		s.both = true
	}
	return s
}
