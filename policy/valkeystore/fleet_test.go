package valkeystore

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fleet starts three relays, each with its own proxy to the server. timeout is that of orders.
func fleet(t testing.TB, n *internet, srv *server, timeout time.Duration) (relays []*relay, ways []*proxy) {
	t.Helper()
	for range 3 {
		way := startProxy(t, srv.addr)
		ways = append(ways, way)
		relays = append(relays, startRelay(t, orders{Server: way.addr, Version: formVersion, Timeout: timeout, Visit: n.visit()}))
	}
	return relays, ways
}

// A policy that one relay has fetched protects all relays from an attacker who
// hides it later.
func TestOneFetchProtectsAll(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	n := newInternet(t, domain)
	relays, _ := fleet(t, n, srv, 0)
	if id := relays[0].lookup(t, domain); id != "1" {
		t.Fatalf("the policy is not found: %q", id)
	}
	n.hide(domain)
	for i, r := range relays {
		if id := r.lookup(t, domain); id != "1" {
			t.Errorf("relay %d has no policy", i)
		}
	}
	if count := n.fetched(domain); count != 1 {
		t.Errorf("%d fetches, want 1", count)
	}
}

// A policy that one relay has updated is updated at all relays at once. M2: those that
// have another one in memory do not believe the store, and fetch it themselves.
func TestChangeReachesAll(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	n := newInternet(t, domain)
	relays, _ := fleet(t, n, srv, 0)
	for _, r := range relays {
		r.lookup(t, domain)
	}
	n.publish(domain, "2", strings.Replace(policyText, "mail.", "mx.", 1))
	if a := relays[2].ask(t, question{Domain: domain, Recheck: true}); a.ID != "2" {
		t.Fatalf("%+v", a)
	}
	for _, r := range relays[:2] {
		eventually(t, "another relay has the change", func() bool { return r.lookup(t, domain) == "2" })
	}
	if count := n.fetched(domain); count != 1+len(relays) {
		t.Errorf("%d fetches, want %d", count, 1+len(relays))
	}
}

// Relays that need a policy at the same time fetch it once (field note 51).
func TestOneFetchAtATime(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	var domains []string
	for i := range 20 {
		domains = append(domains, fmt.Sprintf("d%d.example", i))
	}
	n := newInternet(t, domains...)
	relays, _ := fleet(t, n, srv, 0)
	for round, recheck := range []bool{false, true} {
		id := strconv.Itoa(round + 1)
		for _, domain := range domains {
			n.publish(domain, id, policyText)
		}
		var all sync.WaitGroup
		for i, r := range relays {
			all.Go(func() {
				for _, domain := range domains {
					if a := r.ask(t, question{Domain: domain, Recheck: recheck}); a.ID != id {
						t.Errorf("relay %d has %+v, want %s", i, a, id)
					}
				}
			})
		}
		all.Wait()
		for _, domain := range domains {
			if count := n.fetched(domain); count != round+1 {
				t.Errorf("%s: %d fetches, want %d", domain, count, round+1)
			}
		}
	}
}

// Without the server, each relay uses its own memory and its own fetches.
func TestFleetWithoutServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	n := newInternet(t, domain, "new.example", "later.example", "last.example")
	relays, ways := fleet(t, n, srv, time.Second)
	for _, r := range relays {
		r.lookup(t, domain)
	}
	all := func(when string, domains ...string) {
		t.Helper()
		for _, domain := range domains {
			for i, r := range relays {
				if r.lookup(t, domain) == "" {
					t.Errorf("%s: relay %d has no policy of %s", when, i, domain)
				}
			}
		}
	}

	srv.kill()
	all("killed", domain, "new.example")
	if count := n.fetched("new.example"); count != len(relays) {
		t.Errorf("%d fetches by %d relays that are on their own", count, len(relays))
	}
	srv.restart(t)
	eventually(t, "the server has it all again", func() bool { return len(srv.keys(t, "*:policy:*")) == 2 })
	all("restarted", domain, "new.example")

	srv.admin(t, "FLUSHALL")
	n.hide(domain)
	all("flushed", domain, "new.example")
	eventually(t, "the server has it all again", func() bool { return len(srv.keys(t, "*:policy:*")) == 2 })

	ways[0].setCut(true)
	all("one is cut off", domain, "new.example", "later.example")
	n.publish("later.example", "2", policyText)
	relays[1].ask(t, question{Domain: "later.example", Recheck: true})
	eventually(t, "the connected relay finds the policy", func() bool { return relays[2].lookup(t, "later.example") == "2" })
	if id := relays[0].lookup(t, "later.example"); id != "1" {
		t.Errorf("the disconnected relay has %q", id)
	}
	ways[0].setCut(false)
	eventually(t, "the reconnected relay finds the policy", func() bool { return relays[0].lookup(t, "later.example") == "2" })

	srv.pause(t)
	all("stopped", domain, "new.example", "later.example", "last.example")
	srv.resume(t)
}

// An invalid value from another writer removes no policy.
func TestFleetWithPoisonedServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	n := newInternet(t, domain, "other.example")
	relays, _ := fleet(t, n, srv, 0)
	for _, r := range relays {
		r.lookup(t, domain)
		r.lookup(t, "other.example")
	}
	key := newKeys(defaultPrefix, formVersion).policy(domain)
	broken := entry(domain, 0)
	broken.Text = "version: STSv1\nmode: none\nmode"
	valid, err := encode(broken)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"garbage", valid} {
		srv.admin(t, "SET", key, value)
		for i, r := range append(relays, startRelay(t, orders{Server: srv.addr, Version: formVersion, Visit: n.visit()})) {
			if r.lookup(t, domain) != "1" || r.lookup(t, "other.example") != "1" {
				t.Errorf("relay %d has lost a policy to %.10q", i, value)
			}
		}
	}
}

// Two releases with different formats can use one server and do not see each
// other's data.
func TestVersionsOnOneServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	n := newInternet(t, domain)
	var relays []*relay
	for _, version := range []string{formVersion, "2", formVersion, "2"} {
		relays = append(relays, startRelay(t, orders{Server: srv.addr, Version: version, Visit: n.visit()}))
	}
	for i, r := range relays {
		if r.lookup(t, domain) != "1" {
			t.Errorf("relay %d has no policy", i)
		}
	}
	if count := n.fetched(domain); count != 2 {
		t.Errorf("%d fetches, want one by each release", count)
	}
	if names := srv.keys(t, "mxseal:*:policy:"+domain); len(names) != 2 {
		t.Errorf("keys %q", names)
	}
	n.publish(domain, "2", policyText)
	relays[1].ask(t, question{Domain: domain, Recheck: true})
	eventually(t, "a relay of the same release finds the policy", func() bool { return relays[3].lookup(t, domain) == "2" })
	for _, i := range []int{0, 2} {
		if id := relays[i].lookup(t, domain); id != "1" {
			t.Errorf("relay %d of the other release has %q", i, id)
		}
	}
}
