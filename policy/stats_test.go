package policy

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
)

// counting is a resolver with Stats.
type counting struct{ *fakeDNS }

func (counting) Stats() dnssec.Stats { return dnssec.Stats{Cached: 7} }

// C6: Stats counts each call of Resolve once, the hosts of plans, events, and what memory
// holds.
func TestC6StatsCountEachCallOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.add(t, dnssec.Secure, "dane.example. MX 1 mx.dane.example.")
		f.addHost(t, dnssec.Secure, "mx.dane.example", someKey)
		f.add(t, dnssec.Insecure, "plain.example. MX 1 mx.plain.example.")
		f.addHost(t, dnssec.Insecure, "mx.plain.example")
		f.add(t, dnssec.Secure, "refused.example. MX 1 mx.refused.example.")
		f.addHost(t, dnssec.Secure, "mx.refused.example")
		f.fail("_25._tcp.mx.refused.example", dnssec.TypeTLSA)
		f.fail("broken.example", dnssec.TypeMX)
		f.deny(dnssec.Secure, "none.example", dnssec.TypeMX, true)
		r, err := New(Config{DNS: counting{f}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for range 3 {
			for _, domain := range []string{"dane.example", "PLAIN.example.", "refused.example", "broken.example", "none.example", "not a domain"} {
				r.Resolve(t.Context(), domain)
			}
			resolve(t, r, "plain.example", RequireTLS())
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		r.Resolve(gone, "other.example")
		synctest.Wait()
		s := r.Stats()
		for what, n := range map[string][2]uint64{
			"cached":    {s.Cached, 2 + 2 + 2 + 2},
			"ok":        {s.OK.Count, 2},
			"refused":   {s.Refused.Count, 2}, // RequireTLS has no authenticated route to plain.example
			"temporary": {s.Temporary.Count, 3},
			"permanent": {s.Permanent.Count, 3},
			"of DNS":    {s.DNS.Cached, 7},
		} {
			if n[0] != n[1] {
				t.Errorf("%d calls are %s, want %d", n[0], what, n[1])
			}
		}
		hosts := map[string]uint64{}
		for _, h := range s.Hosts {
			if h.Count > 0 {
				hosts[h.Level.String()+" by "+h.By.String()] += h.Count
			}
		}
		if len(s.Hosts) != 32 || hosts["authenticated by DANE"] != 1 || hosts["opportunistic by none"] != 1 || hosts["refused by DANE"]+hosts["refused by none"]+hosts["refused by operator"] < 2 {
			t.Errorf("hosts: %v", hosts)
		}
		if s.Plans != 4 || s.PlanOctets == 0 || len(s.Events) != 6 {
			t.Errorf("%d plans of %d octets, events %v", s.Plans, s.PlanOctets, s.Events)
		}

		// A plan in memory whose policy has changed is no hit.
		store := &changingStore{}
		r = f.newResolver(t, Config{Store: store})
		f.add(t, dnssec.Insecure, "example.org. MX 1 mx.plain.example.")
		resolve(t, r, "example.org")
		store.set(mtasts.Testing, "mx.example.org")
		r.MTASTS().Recheck(t.Context(), "example.org")
		resolve(t, r, "example.org")
		resolve(t, r, "example.org")
		if s := r.Stats(); s.Cached != 1 || s.OK.Count != 2 || s.MTASTS.Policies[mtasts.Testing] != 1 || s.Events[PolicyEvent] != 1 {
			t.Errorf("%d cached, %d made, events %v", s.Cached, s.OK.Count, s.Events)
		}
		known := 0
		for k := range r.Policies() {
			if known++; k.Domain != "example.org" || k.Own {
				t.Errorf("%+v", k)
			}
		}
		if known != 1 {
			t.Errorf("%d policies", known)
		}
	})
}

// C6: Plans yields the plans that hold.
func TestC6PlansYieldsWhatHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		r := f.newResolver(t, Config{})
		for i := range 3 {
			f.add(t, dnssec.Insecure, fmt.Sprintf("d%d.example. MX 1 mx.example.org.", i))
			f.addHost(t, dnssec.Insecure, "mx.example.org")
			resolve(t, r, fmt.Sprintf("d%d.example", i))
		}
		count := func() (n int) {
			for plan := range r.Plans() {
				if !r.Holds(plan) {
					t.Errorf("the plan for %s does not hold", plan.Domain)
				}
				n++
			}
			return n
		}
		if n := count(); n != 3 {
			t.Errorf("%d plans, want 3", n)
		}
		r.Forget("d1.example")
		if n := count(); n != 2 {
			t.Errorf("%d plans after Forget, want 2", n)
		}
		for range r.Plans() {
			break
		}
		time.Sleep(2 * time.Hour)
		if n := count(); n != 0 {
			t.Errorf("%d plans after they have expired", n)
		}
	})
}

// C3: mail to as many domains as Config.Memory is said to be enough for, again and again,
// finds all plans in memory after the first round. The default is for 100,000.
func TestC3CyclicTrafficFindsItsPlans(t *testing.T) {
	t.Parallel()
	const n = 100_000 * minMemory / defaultMemory
	r, err := New(Config{DNS: &crowd{ttl: time.Hour}, Store: policies{}, Memory: minMemory})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for round := range 3 {
		before := r.Stats().Cached
		for i := range n {
			resolve(t, r, crowdDomain(i))
		}
		if hits := r.Stats().Cached - before; round > 0 && hits != n {
			t.Errorf("round %d: %d hits of %d", round, hits, n)
		}
	}
}

// M8: the operator hears once that all hosts of a domain are refused for long, and once
// that this has ended.
func TestM8RefusedHostsAreAnnouncedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.ttl = time.Minute
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		var events []Event
		r := f.newResolver(t, Config{OnEvent: func(e Event) { events = append(events, e) }})
		attempts := func() {
			for range 5 {
				resolve(t, r, "example.org")
				time.Sleep(20 * time.Minute)
			}
		}
		attempts()
		f.fail("_25._tcp.mx.example.org", dnssec.TypeTLSA)
		start := time.Now()
		attempts()
		if len(events) != 1 || events[0].Kind != HostsRefused || !events[0].Since.Equal(start) || events[0].Plan == nil || events[0].Domain != "example.org" {
			t.Errorf("%+v", events)
		}
		attempts()
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		attempts()
		if len(events) != 2 || events[1].Kind != HostsPermitted {
			t.Errorf("%+v", events)
		}
		if n := r.Stats().Events; n[HostsRefused] != 1 || n[HostsPermitted] != 1 {
			t.Errorf("counted: %v", n)
		}
	})
}
