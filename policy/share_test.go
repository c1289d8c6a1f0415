package policy

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
)

// C8: domains with the same mail host share what is known about it, until the first of the
// answers expires, and it counts once in memory.
func TestC8HostsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		const n = 50
		domain := func(i int) string { return fmt.Sprintf("d%d.example", i) }
		for i := range n {
			f.add(t, dnssec.Secure, domain(i)+". MX 1 mx.provider.test.")
		}
		f.addHost(t, dnssec.Secure, "mx.provider.test", someKey)
		r := f.newResolver(t, Config{})
		first := resolve(t, r, domain(0))
		f.asked = nil
		alone := r.plans.Bytes()
		for i := range n {
			plan := resolve(t, r, domain(i))
			if plan.Hosts[0].DANE != first.Hosts[0].DANE || plan.Hosts[0].Level != Authenticated || plan.Hosts[0] == first.Hosts[0] != (i == 0) {
				t.Fatalf("%s: %+v", domain(i), plan.Hosts[0])
			}
			if !plan.Expires.Equal(first.Expires) {
				t.Errorf("%s: the plan holds until %v, and the host's answers until %v", domain(i), plan.Expires, first.Expires)
			}
		}
		for _, key := range f.asked {
			if slices.Contains([]string{"mx.provider.test. A", "mx.provider.test. AAAA", "_25._tcp.mx.provider.test. TLSA"}, key) {
				t.Errorf("%s was asked again", key)
			}
		}
		own, shared := first.size()
		if more := r.plans.Bytes() - alone; more > (n-1)*(own+250) || shared < 500 || alone < own+shared {
			t.Errorf("the first plan counts as %d octets, %d others as %d, and what they share as %d", alone, n-1, more, shared)
		}
		for i := range n {
			r.Forget(domain(i))
		}
		if r.plans.Bytes() != 0 {
			t.Errorf("%d octets are left without a plan", r.plans.Bytes())
		}

		// Other options need other answers.
		f.asked = nil
		if plan := resolve(t, r, domain(1), TLSOptional()); plan.Hosts[0].DANE == first.Hosts[0].DANE || plan.Hosts[0].Level != Opportunistic {
			t.Errorf("with TLSOptional: %+v", plan.Hosts[0])
		}

		// A change is seen when the answers expire.
		f.addHost(t, dnssec.Secure, "mx.provider.test")
		if plan := resolve(t, r, domain(2)); plan.Hosts[0].DANE != first.Hosts[0].DANE {
			t.Error("what is known has not expired")
		}
		time.Sleep(f.ttl)
		if plan := resolve(t, r, domain(2)); plan.Hosts[0].Level != Opportunistic {
			t.Errorf("after the answers have expired: %v", plan.Hosts[0].Level)
		}
	})
}

// C8: a lookup is not shared if that for one address family failed, or if the clock was
// ahead when it was made.
func TestC8FailedAndFutureLookupsAreNotShared(t *testing.T) {
	f := newFakeDNS()
	now := time.Now()
	f.now = func() time.Time { return now }
	for _, domain := range []string{"a.example", "b.example", "c.example", "d.example"} {
		f.add(t, dnssec.Secure, domain+". MX 1 mx.provider.test.")
	}
	f.addHost(t, dnssec.Secure, "mx.provider.test", someKey)
	f.fail("mx.provider.test", dnssec.TypeAAAA)
	r := f.newResolver(t, Config{Now: f.now})
	half := resolve(t, r, "a.example")
	f.deny(dnssec.Secure, "mx.provider.test", dnssec.TypeAAAA, false)
	whole := resolve(t, r, "b.example")
	if half.Hosts[0].DANE == whole.Hosts[0].DANE || len(half.Hosts[0].DANE.Lookups) != 3 {
		t.Errorf("a lookup failed, and the result is shared: %+v", half.Hosts[0].DANE)
	}
	if again := resolve(t, r, "c.example"); again.Hosts[0].DANE != whole.Hosts[0].DANE {
		t.Error("nothing failed, and the result is not shared")
	}
	now = now.Add(-time.Hour)
	if before := resolve(t, r, "d.example"); before.Hosts[0].DANE == whole.Hosts[0].DANE {
		t.Error("a result of the future is shared")
	}
}

// C3: a plan keeps its policy in memory, also when package mtasts has forgotten it. So the
// policy counts, and a plan with a policy of 64 KiB is not kept.
func TestC3PolicyCountsAsMemory(t *testing.T) {
	f := newFakeDNS()
	for _, domain := range []string{"small.example", "large.example"} {
		f.add(t, dnssec.Insecure, domain+". MX 1 mx."+domain+".")
		f.addHost(t, dnssec.Insecure, "mx."+domain)
	}
	small := f.newResolver(t, Config{Store: largePolicies{octets: 3000}})
	plan := resolve(t, small, "small.example")
	if own, _ := plan.size(); small.plans.Len() != 1 || own < 3000+16*cap(plan.MTASTS.Policy.MX) || small.plans.Bytes() < own {
		t.Errorf("a plan with a policy of %d octets counts as %d", len(plan.MTASTS.Policy.Text), own)
	}
	large := f.newResolver(t, Config{Store: largePolicies{octets: 60_000}})
	if resolve(t, large, "large.example"); large.plans.Len() != 0 {
		t.Error("a plan with a large policy is kept")
	}
}

// M7: a plan that was made by a clock that was ahead is replaced, and its successor is kept.
// Otherwise every message would cost a new plan until that time comes, and a change of DANE
// would be an event each time.
func TestM7PlanOfTheFutureIsReplaced(t *testing.T) {
	f := newFakeDNS()
	now := time.Now()
	f.now = func() time.Time { return now }
	f.add(t, dnssec.Secure, "a.example. MX 1 mx.provider.test.")
	f.addHost(t, dnssec.Secure, "mx.provider.test", someKey)
	var events []EventKind
	r := f.newResolver(t, Config{Now: f.now, OnEvent: func(e Event) { events = append(events, e.Kind) }})
	now = now.Add(24 * time.Hour)
	future := resolve(t, r, "a.example")
	now = now.Add(-24 * time.Hour)
	f.addHost(t, dnssec.Secure, "mx.provider.test")
	plan := resolve(t, r, "a.example")
	if plan == future {
		t.Fatal("a plan of the future is used")
	}
	for range 3 {
		if resolve(t, r, "a.example") != plan {
			t.Error("the plan is not kept")
		}
	}
	if !slices.Equal(events, []EventKind{DANEDisappeared}) {
		t.Errorf("events %q", events)
	}
}
