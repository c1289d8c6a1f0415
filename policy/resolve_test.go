package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/policydns"
	"github.com/mxseal/mxseal/tlsrpt"
)

// closableDNS counts the calls of Close.
type closableDNS struct {
	*fakeDNS
	closed *int
}

func (d closableDNS) Close() error {
	*d.closed++
	return nil
}

// Close closes what New made, and not what the caller did.
func TestCloseLeavesWhatCallerMade(t *testing.T) {
	t.Parallel()
	closed := 0
	dns := closableDNS{newFakeDNS(), &closed}
	lookup := func(client *mtasts.Client) error {
		_, err := client.Lookup(t.Context(), "example.org")
		return err
	}

	r, err := New(Config{DNS: dns})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		r.Run(t.Context())
		close(ended)
	}()
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	<-ended
	if err := lookup(r.MTASTS()); !errors.Is(err, mtasts.ErrClosed) || closed != 0 {
		t.Errorf("%v, Config.DNS was closed %d times", err, closed)
	}
	dns.add(t, dnssec.Insecure, "example.org. MX 1 mx.example.org.")
	dns.addHost(t, dnssec.Insecure, "mx.example.org")
	if plan, err := r.Resolve(t.Context(), "example.org"); err != nil || plan.Err() == nil || !errors.Is(plan.Err(), ErrPolicyUnknown) {
		t.Errorf("%v, %v", plan, err)
	}

	client, err := mtasts.New(mtasts.Config{Resolver: policydns.Resolver{DNS: dns}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if r, err = New(Config{DNS: dns, MTASTS: client}); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := lookup(client); err != nil {
		t.Errorf("Config.MTASTS was closed: %v", err)
	}
}

// Hosts are judged one by one: DANE-13, DANE-15 to DANE-19, DANE-38, DANE-50,
// DANE-51, field notes 1, 2, 7, 9, 11.
func TestHostsAreJudgedApart(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Secure,
		"example.org. MX 1 good.example.org.", "example.org. MX 2 broken.example.org.", "example.org. MX 3 plain.example.net.",
		"example.org. MX 4 odd.example.org.", "example.org. MX 5 gone.example.org.", "example.org. MX 6 noaddr.example.org.")
	f.addHost(t, dnssec.Secure, "good.example.org", someKey)
	f.addHost(t, dnssec.Secure, "broken.example.org")
	f.fail("_25._tcp.broken.example.org", dnssec.TypeTLSA)
	f.addHost(t, dnssec.Insecure, "plain.example.net")
	f.fail("_25._tcp.plain.example.net", dnssec.TypeTLSA)
	f.addHost(t, dnssec.Secure, "odd.example.org", "0 0 1 ab")
	f.fail("noaddr.example.org", dnssec.TypeA)
	f.fail("noaddr.example.org", dnssec.TypeAAAA)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "Example.org.")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		level  Level
		by     Mechanism
		reason tlsrpt.ResultType
	}{
		{Authenticated, ByDANE, ""},
		{Refused, ByDANE, tlsrpt.DNSSECInvalid},
		{Opportunistic, 0, ""},
		{Encrypted, ByDANE, ""},
		{Refused, 0, ""},
		{Refused, ByDANE, ""}, // SERVFAIL for addresses may be due to the sender's resolver
	} {
		h := plan.Hosts[i]
		if h.Level != want.level || h.By != want.by {
			t.Errorf("%s: %v by %v, want %v by %v (%s)", h.Name, h.Level, h.By, want.level, want.by, h.Why)
		}
		if (h.Refusal != nil) != (want.level == Refused) || h.Refusal != nil && h.Refusal.Reason != want.reason {
			t.Errorf("%s: refusal %v, want reason %q", h.Name, h.Refusal, want.reason)
		}
		if h.Refusal != nil && (h.Refusal.Permanent || h.Refusal.Domain != "example.org") {
			t.Errorf("%s: %+v", h.Name, h.Refusal)
		}
	}
	if f.wasAsked("_25._tcp.plain.example.net", dnssec.TypeTLSA) {
		t.Error("TLSA asked at a host with insecure addresses (DANE-55)")
	}
	if plan.Err() != nil || !plan.Allows("GOOD.example.org.") || plan.Allows("broken.example.org") || plan.Allows("elsewhere.example") {
		t.Error("the allow-list is wrong")
	}
	if plan.Expires.After(time.Now().Add(failedPlanAge)) {
		t.Errorf("a plan with failures is kept until %v", plan.Expires)
	}
}

// D10: a host whose lookup had no room on this machine is refused for a few seconds, and is
// looked up again by the next plan.
func TestD10BusyHostIsLookedUpAgain(t *testing.T) {
	t.Parallel()
	f := newFakeDNS()
	f.add(t, dnssec.Secure, "example.org. MX 10 mx.example.org.")
	f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
	var isBusy atomic.Bool
	isBusy.Store(true)
	now := time.Now()
	r, err := New(Config{Now: func() time.Time { return now }, DNS: resolverFunc(func(ctx context.Context, name string, rtype dnssec.Type) (*dnssec.Answer, error) {
		if isBusy.Load() && strings.Contains(name, "mx.example.org") {
			return nil, &dnssec.Error{Name: name, Type: rtype, Reason: dnssec.Busy}
		}
		return f.Lookup(ctx, name, rtype)
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plan, err := r.Resolve(t.Context(), "example.org")
	if err != nil || plan.Hosts[0].Level != Refused || plan.Hosts[0].Refusal.Permanent {
		t.Fatalf("%v, %+v", err, plan)
	}
	if left := plan.Expires.Sub(now); left > 5*time.Second {
		t.Errorf("a plan made without room is kept for %v", left)
	}
	isBusy.Store(false)
	now = now.Add(6 * time.Second)
	if plan, err = r.Resolve(t.Context(), "example.org"); err != nil || plan.Hosts[0].Level != Authenticated {
		t.Errorf("with room again: %v, %v", err, plan.Hosts[0].Refusal)
	}
}

// With DANE for every host MTA-STS is not asked; RequireBoth asks it.
func TestMTASTSIsAskedOnlyWhereNeeded(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		mx     dnssec.Status
		tlsa   []string
		asked  bool
	}{
		{"secure and usable", Config{}, dnssec.Secure, []string{someKey}, false},
		{"RequireBoth", Config{Precedence: RequireBoth}, dnssec.Secure, []string{someKey}, true},
		{"insecure MX", Config{}, dnssec.Insecure, []string{someKey}, true},
		{"no TLSA", Config{}, dnssec.Secure, nil, true},
		{"unusable TLSA", Config{}, dnssec.Secure, []string{"1 1 1 ab"}, true},
		{"NoDANE", Config{NoDANE: true}, dnssec.Secure, []string{someKey}, true},
		{"NoMTASTS", Config{NoMTASTS: true}, dnssec.Secure, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeDNS()
			f.add(t, test.mx, "example.org. MX 1 mx.example.org.")
			f.addHost(t, dnssec.Secure, "mx.example.org", test.tlsa...)
			plan, err := f.newResolver(t, test.config).Resolve(t.Context(), "example.org")
			if err != nil {
				t.Fatal(err)
			}
			if got := f.wasAsked("_mta-sts.example.org", dnssec.TypeTXT); got != test.asked {
				t.Errorf("MTA-STS asked: %v, want %v", got, test.asked)
			}
			if test.asked != (plan.MTASTS.Asked && !plan.MTASTS.off) {
				t.Errorf("the plan says %+v", plan.MTASTS)
			}
		})
	}
}

// DANE-46 and its switch; DANE-48: the route is not called authenticated.
func TestDANEByInsecureMXHasNoSecureRoute(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Insecure, "example.org. MX 1 mx.provider.example.")
	f.addHost(t, dnssec.Secure, "mx.provider.example", someKey)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if h := plan.Hosts[0]; h.By != ByDANE || h.RouteAuthenticated || !strings.Contains(h.Why, "route to it is not") {
		t.Errorf("%+v", h)
	}
	plan, err = f.newResolver(t, Config{NoDANEForInsecureMX: true}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if h := plan.Hosts[0]; h.Level != Opportunistic || h.DANE.AddrStatus != dnssec.Secure {
		t.Errorf("switched off: %+v", h)
	}
}

// STS-61, DANE-35: neither standard applies to an address literal, but the operator's
// floor does.
func TestAddressLiteralHasOnlyTheFloor(t *testing.T) {
	for _, domain := range []string{"[192.0.2.25]", "[IPv6:2001:db8::19]"} {
		f := newFakeDNS()
		plan, err := f.newResolver(t, Config{Floor: Encrypted}).Resolve(t.Context(), domain)
		if err != nil {
			t.Fatal(err)
		}
		h := plan.Hosts[0]
		if len(f.asked) != 0 || h.Level != Encrypted || h.By != ByOperator || len(h.Addrs) != 1 || h.ServerName != "" {
			t.Errorf("%s: %+v, asked %v", domain, h, f.asked)
		}
	}
	_, err := newFakeDNS().newResolver(t, Config{}).Resolve(t.Context(), "[mx.example.org]")
	var failure *Error
	if !errors.As(err, &failure) || !failure.Permanent {
		t.Errorf("a recipient chose a next hop: %v", err)
	}
}

// STS-60, DANE-62, field note 10: a configured next hop is secure by
// definition, and the policy domain is the one configured.
func TestConfiguredNextHopIsSecure(t *testing.T) {
	f := newFakeDNS()
	f.addHost(t, dnssec.Secure, "relay.example.net")
	f.add(t, dnssec.Secure, "_587._tcp.relay.example.net. TLSA "+someKey)
	r := f.newResolver(t, Config{Overrides: map[string]Override{
		"Example.ORG": {NextHop: "[relay.example.net]:587"},
		"example.com": {NextHop: "relay.example.net"},
	}})
	plan, err := r.Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	h := plan.Hosts[0]
	if h.By != ByDANE || h.Port != 587 || plan.MXStatus != dnssec.Secure || !h.RouteAuthenticated || plan.NextHop != "relay.example.net" {
		t.Errorf("%+v", h)
	}
	if f.wasAsked("example.org", dnssec.TypeMX) || f.wasAsked("relay.example.net", dnssec.TypeMX) {
		t.Errorf("MX records were asked for: %v", f.asked)
	}
	f.add(t, dnssec.Insecure, "relay.example.net. MX 1 mx.relay.example.net.")
	f.addHost(t, dnssec.Insecure, "mx.relay.example.net")
	if plan, err = r.Resolve(t.Context(), "example.com"); err != nil || plan.Hosts[0].Name != "mx.relay.example.net" {
		t.Fatalf("%+v, %v", plan, err)
	}
	if !f.wasAsked("_mta-sts.relay.example.net", dnssec.TypeTXT) || f.wasAsked("_mta-sts.example.com", dnssec.TypeTXT) {
		t.Errorf("the policy domain is not the configured one: %v", f.asked)
	}
}

// DANE-112, TLSA-13, STT-11: the operator can raise or lower what one domain must prove.
func TestOverridesRaiseOrLowerOneDomain(t *testing.T) {
	pin, err := dane.ParseRecord(someKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		wish  Override
		level Level
		by    Mechanism
	}{
		{"nothing", Override{}, Opportunistic, 0},
		{"raise to encrypted", Override{Floor: Encrypted}, Encrypted, ByOperator},
		{"raise to authenticated", Override{Floor: Authenticated}, Authenticated, ByOperator},
		{"mandatory DANE", Override{RequireDANE: true}, Refused, ByDANE | ByOperator},
		{"pin", Override{Pin: []dane.Record{pin}}, Authenticated, ByDANE | ByOperator},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeDNS()
			f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
			f.addHost(t, dnssec.Insecure, "mx.example.org")
			r := f.newResolver(t, Config{Overrides: map[string]Override{"example.org": test.wish}})
			plan, err := r.Resolve(t.Context(), "example.org")
			if err != nil {
				t.Fatal(err)
			}
			if h := plan.Hosts[0]; h.Level != test.level || h.By != test.by {
				t.Errorf("%v by %v, want %v by %v", h.Level, h.By, test.level, test.by)
			}
		})
	}
	t.Run("switched off", func(t *testing.T) {
		f := newFakeDNS()
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		r := f.newResolver(t, Config{Overrides: map[string]Override{"example.org": {NoDANE: true, NoMTASTS: true}}})
		plan, err := r.Resolve(t.Context(), "example.org")
		if err != nil || plan.Hosts[0].Level != Opportunistic {
			t.Fatalf("%+v, %v", plan, err)
		}
	})
}

// REQ-17, REQ-19, REQ-26: hosts that DANE treats as unreachable are tried, and
// records that would be ignored are not looked up.
func TestTLSOptionalAsksNothing(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.", "example.org. MX 2 gone.example.org.")
	f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
	f.fail("_25._tcp.mx.example.org", dnssec.TypeTLSA)
	r := f.newResolver(t, Config{})
	plan, err := r.Resolve(t.Context(), "example.org", TLSOptional())
	if err != nil {
		t.Fatal(err)
	}
	if plan.Hosts[0].Level != Opportunistic || plan.Hosts[1].Level != Refused {
		t.Errorf("%v %v", plan.Hosts[0].Level, plan.Hosts[1].Level)
	}
	if f.wasAsked("_25._tcp.mx.example.org", dnssec.TypeTLSA) || f.wasAsked("_mta-sts.example.org", dnssec.TypeTXT) {
		t.Errorf("asked for %q", f.asked)
	}
	if session, _ := plan.Hosts[0].Attempted(NotOffered, nil, nil); len(session.Outcomes) != 0 {
		t.Errorf("it would be reported: %+v", session)
	}
	// Calls with other options get other plans.
	plan, err = r.Resolve(t.Context(), "example.org")
	if err != nil || plan.Hosts[0].Level != Refused {
		t.Errorf("%+v, %v", plan, err)
	}
	plan, err = r.Resolve(t.Context(), "example.org", TLSOptional(), RequireTLS())
	if err != nil || plan.Hosts[0].Level != Refused {
		t.Errorf("REQ-21: %+v, %v", plan, err)
	}
}

func TestPlanIsKeptUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.ttl = time.Minute
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		r := f.newResolver(t, Config{})
		first, err := r.Resolve(t.Context(), "example.org")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - 1)
		if again, _ := r.Resolve(t.Context(), "EXAMPLE.org."); again != first {
			t.Error("the plan was made again while it holds")
		}
		time.Sleep(time.Nanosecond)
		if again, _ := r.Resolve(t.Context(), "example.org"); again == first {
			t.Error("TLSA-28, OPS-38: the plan outlived its records")
		}
	})
}

func TestConcurrentResolvesShareTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.wait = make(chan struct{})
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		r := f.newResolver(t, Config{})
		leaving, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		var left error
		callers.Go(func() { _, left = r.Resolve(leaving, "example.org") })
		synctest.Wait()
		for range 20 {
			callers.Go(func() {
				if _, err := r.Resolve(t.Context(), "example.org"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if !errors.Is(left, context.Canceled) {
			t.Errorf("the caller who left got %v", left)
		}
		close(f.wait)
		callers.Wait()
		if n := f.lookups.Load(); n != 4 {
			t.Errorf("%d lookups for 21 callers, want MX, A, AAAA and TLSA", n)
		}
	})
}

// A plan whose lookups ended because no caller waited any longer says nothing about
// the domain: the next caller gets one of its own.
func TestAbandonedPlanIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		slow := make(chan struct{})
		r := newFakeDNS().newResolver(t, Config{})
		r.dns = resolverFunc(func(ctx context.Context, name string, qtype dnssec.Type) (*dnssec.Answer, error) {
			if qtype != dnssec.TypeMX {
				select {
				case <-slow:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return f.Lookup(ctx, name, qtype)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Resolve(ctx, "example.org"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller who left got %v", err)
		}
		synctest.Wait()
		close(slow)
		plan, err := r.Resolve(t.Context(), "example.org")
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Err(); err != nil {
			t.Errorf("the next caller got %v", err)
		}
	})
}

// RFC 8461 sections 5 and 5.1: after Recheck has found another policy, a plan that was
// being made by the old one is not kept.
func TestForgottenPlanIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.wait = make(chan struct{})
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		r := f.newResolver(t, Config{})
		var old *Plan
		var caller sync.WaitGroup
		caller.Go(func() { old, _ = r.Resolve(t.Context(), "example.org") })
		synctest.Wait()
		r.Forget("example.org")
		close(f.wait)
		caller.Wait()
		kept, err := r.Resolve(t.Context(), "example.org")
		if err != nil {
			t.Fatal(err)
		}
		if kept == old {
			t.Error("the old plan was kept")
		}
		if again, _ := r.Resolve(t.Context(), "example.org"); again != kept {
			t.Error("the new plan was not kept")
		}
	})
}

// A call after Forget does not wait for the plan that was being made before.
func TestForgottenPlanIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.wait = make(chan struct{})
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		r := f.newResolver(t, Config{})
		for _, option := range []Option{RequireTLS(), TLSOptional(), IPv4Only(), Via("[mx.example.org]")} {
			var old, later *Plan
			var callers sync.WaitGroup
			callers.Go(func() { old, _ = r.Resolve(t.Context(), "example.org", option) })
			synctest.Wait()
			r.Forget("example.org")
			callers.Go(func() { later, _ = r.Resolve(t.Context(), "example.org", option) })
			synctest.Wait()
			close(f.wait)
			callers.Wait()
			if old == nil || later == nil || later == old {
				t.Errorf("%s: the old plan was shared", later.Key())
			}
			f.wait = make(chan struct{})
		}
	})
}

func TestTimeoutBoundsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.wait = make(chan struct{}) // never closed
		r := f.newResolver(t, Config{Timeout: time.Second})
		start := time.Now()
		_, err := r.Resolve(context.Background(), "example.org")
		if err == nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestNewRefusesUnusableConfigs(t *testing.T) {
	for name, config := range map[string]Config{
		"NoDANE with RequireDANE": {NoDANE: true, RequireDANE: true},
		"no such level":           {Floor: 9},
		"Self":                    {Self: []string{"not a name"}},
		"MaxPlans":                {MaxPlans: -1},
		"Timeout":                 {Timeout: -1},
		"C6 Memory":               {Memory: -1},
		"C6 little Memory":        {Memory: minMemory - 1},
		"C6 MaxFetches":           {MaxFetches: -1},
		"C6 MaxRefreshes":         {MaxRefreshes: -1},
		"C6 FetchTimeout":         {FetchTimeout: -1},
		"C6 DNSLimits":            {DNSLimits: dnssec.Limits{Records: 1}},
		"C6 DNSBounds":            {DNSBounds: dnssec.Bounds{Sockets: 1}},
		"C6 fetches with MTASTS":  {MTASTS: new(mtasts.Client), MaxFetches: 1},
		"Store with MTASTS":       {Store: noStore{}, MTASTS: new(mtasts.Client)},
		"Servers with DNS":        {Servers: []string{"192.0.2.53"}},
		"override domain":         {Overrides: map[string]Override{"a..b": {}}},
		"override next hop":       {Overrides: map[string]Override{"a.example": {NextHop: "192.0.2.1"}}},
		"override exclusion":      {Overrides: map[string]Override{"a.example": {NoDANE: true, RequireDANE: true}}},
		"override pin":            {Overrides: map[string]Override{"a.example": {Pin: []dane.Record{{Usage: 3}}}}},
		"override by two names":   {Overrides: map[string]Override{"a.example": {Floor: Encrypted}, "A.example.": {NoDANE: true}}},
		"override against Config": {NoDANE: true, Overrides: map[string]Override{"a.example": {RequireDANE: true}}},
		"override level":          {Overrides: map[string]Override{"a.example": {Floor: 9}}},
	} {
		config.DNS = newFakeDNS()
		if _, err := New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// noStore is a store that is not used.
type noStore struct{ mtasts.Store }

func TestMalformedDomainsAreRefused(t *testing.T) {
	r := newFakeDNS().newResolver(t, Config{})
	for _, domain := range []string{"", ".", "a..b", "192.0.2.1", "example.org\r\nX", "[", "[]", strings.Repeat("a", 300)} {
		_, err := r.Resolve(t.Context(), domain)
		var failure *Error
		if !errors.As(err, &failure) || !failure.Permanent || !errors.Is(err, ErrDomain) {
			t.Errorf("%q: %v", domain, err)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q reaches a log unescaped", domain)
		}
	}
}

// REQ-7, REQ-12: that the domain names no host is certain only when its policy
// could be looked up.
func TestRequireTLSWithoutRouteWaitsForThePolicy(t *testing.T) {
	for _, broken := range []bool{false, true} {
		f := newFakeDNS()
		f.add(t, dnssec.Insecure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		if broken {
			f.fail("_mta-sts.example.org", dnssec.TypeTXT)
		}
		plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org", RequireTLS())
		if err != nil {
			t.Fatal(err)
		}
		if refusal := plan.Hosts[0].Refusal; refusal == nil || refusal.Permanent == broken {
			t.Errorf("lookup broken %v: %v", broken, refusal)
		}
	}
}

// RPT-65: hosts without addresses, and exchanges that are not host names, are not
// reported, and no policy refuses them.
func TestUnreachableHostsAreNotReported(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Secure, "example.org. MX 1 gone.example.org.", "example.org. MX 2 192.0.2.9.")
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range plan.Hosts {
		if session, _ := h.Attempted(NotConnected, nil, nil); len(session.Outcomes) != 0 || h.By != 0 || h.Refusal.Reason != "" {
			t.Errorf("%s: %+v, by %v, %v", h.Name, session.Outcomes, h.By, h.Refusal)
		}
	}
}

// A plan is not kept if a hostile domain makes it large.
func TestLargePlansAreNotKept(t *testing.T) {
	f := newFakeDNS()
	var records, addresses []string
	for i := range 40 {
		name := fmt.Sprintf("mx%d.example.org", i)
		records = append(records, fmt.Sprintf("example.org. MX %d %s.", i, name))
		f.addHost(t, dnssec.Secure, name)
		addresses = addresses[:0]
		for j := range 250 {
			addresses = append(addresses, fmt.Sprintf("%s. A 192.0.2.%d", name, j))
		}
		f.add(t, dnssec.Secure, addresses...)
	}
	f.add(t, dnssec.Secure, records...)
	r := f.newResolver(t, Config{})
	plan, err := r.Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if own, shared := plan.size(); len(plan.Hosts[0].Addrs) > 16 || own+shared <= maxPlanSize {
		t.Errorf("%d addresses, %d and %d octets", len(plan.Hosts[0].Addrs), own, shared)
	}
	if r.plans.Len() != 0 {
		t.Error("the plan was kept")
	}
}

// Repeated runs over more domains than fit find many plans in memory, and do not evict
// those that are in use. The memory for plans is bounded.
func TestRunKeepsPlansOfManyDomains(t *testing.T) {
	const maxPlans, inUse, run = 200, 50, 300
	f := newFakeDNS()
	domain := func(i int) string { return fmt.Sprintf("d%d.example.org", i) }
	for i := range inUse + run {
		f.add(t, dnssec.Secure, domain(i)+". MX 1 mx.example.org.")
	}
	f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
	r := f.newResolver(t, Config{MaxPlans: maxPlans, Memory: minMemory})
	hits := func(i int) int {
		before := f.lookups.Load()
		if _, err := r.Resolve(t.Context(), domain(i)); err != nil {
			t.Fatal(err)
		}
		if f.lookups.Load() == before {
			return 1
		}
		return 0
	}
	for range 3 {
		for i := range inUse {
			hits(i)
		}
	}
	for round := range 8 {
		used, others := 0, 0
		for i := range run {
			others += hits(inUse + i)
			used += hits(i % inUse)
		}
		if used != run || round == 7 && others < run/4 {
			t.Errorf("round %d: %d hits of %d in use, and %d of the others", round, used, run, others)
		}
	}
	if r.plans.Len() > maxPlans || r.plans.Bytes() > minMemory/16*plansShare {
		t.Errorf("%d plans of %d octets", r.plans.Len(), r.plans.Bytes())
	}
}

// A clock that was set back does not keep a plan for longer than it was made for.
func TestClockSetBackKeepsNoPlanLonger(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
	f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
	now := time.Now()
	f.now = func() time.Time { return now }
	r := f.newResolver(t, Config{Now: f.now})
	first, err := r.Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(-72 * time.Hour)
	if again, err := r.Resolve(t.Context(), "example.org"); err != nil || again == first {
		t.Errorf("%v: a plan from the future was served", err)
	}
}

// DANE-44: with mandatory DANE an insecure answer never ends in a bounce.
func TestMandatoryDANEWaits(t *testing.T) {
	for name, records := range map[string][]string{
		"null MX":        {"example.org. MX 0 ."},
		"loop":           {"example.org. MX 0 me.example.net."},
		"no such domain": nil,
	} {
		for _, status := range []dnssec.Status{dnssec.Insecure, dnssec.Secure} {
			f := newFakeDNS()
			f.deny(status, "example.org", dnssec.TypeMX, true)
			if records != nil {
				f.add(t, status, records...)
			}
			_, err := f.newResolver(t, Config{RequireDANE: true, Self: []string{"me.example.net"}}).Resolve(t.Context(), "example.org")
			var failure *Error
			if !errors.As(err, &failure) || failure.Permanent != (status == dnssec.Secure) || failure.Code() >= 500 != failure.Permanent {
				t.Errorf("%s, %v: %v", name, status, err)
			}
		}
	}
}

func TestPlanIsExplainedInTextAndJSON(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.", "example.org. MX 2 broken.example.org.")
	f.addHost(t, dnssec.Secure, "mx.example.org", someKey, "2 0 1 ab")
	f.addHost(t, dnssec.Secure, "broken.example.org")
	f.fail("_25._tcp.broken.example.org", dnssec.TypeTLSA)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := plan.Explain(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"MX records: secure", "not asked", "1 mx.example.org port 25: authenticated by DANE", "192.0.2.1 (secure)",
		someKey + ": used", "2 0 1 ab: not used", "2 broken.example.org port 25: refused", "SERVFAIL", "the plan holds until",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the explanation lacks %q:\n%s", want, b.String())
		}
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Domain string
		Hosts  []struct {
			Name, Level, By string
			Refusal         *struct{ Reason string }
		}
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if read.Domain != "example.org" || read.Hosts[0].Level != "authenticated" || read.Hosts[0].By != "DANE" || read.Hosts[1].Refusal.Reason != "dnssec-invalid" {
		t.Errorf("%s", text)
	}
}

func BenchmarkResolveCached(b *testing.B) {
	f := newFakeDNS()
	mx, _ := dnssec.ParseRecord("example.org. MX 1 mx.example.org.")
	f.answers[key("example.org", dnssec.TypeMX)] = &dnssec.Answer{Name: "example.org.", Status: dnssec.Insecure, Records: []dnssec.Record{mx}}
	r, err := New(Config{DNS: f})
	if err != nil {
		b.Fatal(err)
	}
	plan, err := r.Resolve(b.Context(), "example.org")
	if err != nil {
		b.Fatal(err)
	}
	plan.Expires = time.Now().Add(time.Hour)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Resolve(b.Context(), "example.org"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := r.Resolve(b.Context(), "example.org"); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}
