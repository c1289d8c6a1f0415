package valkeystore

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

func domainOf(i int) string { return fmt.Sprintf("d%d.example", i) }

// fleetEnv is the number of domains of TestDayOfFleet; empty means a small number.
const fleetEnv = "MXSEAL_FLEET_DOMAINS"

// kinds of domains: of ten, six have no policy, three have one, and the policy host of one
// answers 404.
func kindOf(i int) (hasRecord, hasPolicy bool) { return i%10 >= 6, i%10 >= 6 && i%10 < 9 }

// dayCost is what a day costs.
type dayCost struct {
	fetches  map[string]int // of each domain
	commands int            // of the server
	plans    int            // lookups
}

// C10: a day of four relays, each of which looks up all domains once an hour, needs as
// few fetches as a day of one relay, and few commands.
func TestDayOfFleet(t *testing.T) {
	t.Parallel()
	domains := 60
	if text := os.Getenv(fleetEnv); text != "" {
		var err error
		if domains, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	one, four := dayOf(t, 1, domains), dayOf(t, 4, domains)
	for i := range domains {
		if d := domainOf(i); four.fetches[d] > one.fetches[d] {
			t.Errorf("%s: %d fetches by four relays, and %d by one", d, four.fetches[d], one.fetches[d])
		}
	}
	t.Logf("%d domains, a day of four relays: %.2f fetches of each domain, by one relay %.2f; %.3f commands for each plan, by one relay %.3f",
		domains, perDomain(four, domains), perDomain(one, domains), perPlan(four), perPlan(one))
	if perPlan(four) > 2*perPlan(one)+0.1 {
		t.Error("too many commands")
	}
}

func perDomain(c dayCost, domains int) float64 {
	total := 0
	for _, n := range c.fetches {
		total += n
	}
	return float64(total) / float64(domains)
}

func perPlan(c dayCost) float64 { return float64(c.commands) / float64(c.plans) }

// dayOf simulates a day of some relays. The relays look up domains in turn, at random
// minutes of each hour.
func dayOf(t *testing.T, relays, domains int) dayCost {
	t.Helper()
	srv := startServer(t)
	var names []string
	for i := range domains {
		names = append(names, domainOf(i))
	}
	n := newInternet(t, names...)
	for i, d := range names {
		switch hasRecord, hasPolicy := kindOf(i); {
		case !hasRecord:
			n.hide(d)
		case !hasPolicy:
			n.publish(d, "1", "") // the policy host answers 404
		}
	}
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	var clients []*mtasts.Client
	for range relays {
		store := open(t, at(srv.addr, func(c *Config) { c.Now = clock; c.Timeout = 20 * time.Second }))
		store.settle(t)
		client, err := n.visit().clientWith(store, func(c *mtasts.Config) {
			c.Resolver, c.Now, c.StoreKey = near{n.visit(), n}, clock, []byte("the key of these relays")
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		clients = append(clients, client)
	}
	before := srv.commands(t)
	cost := dayCost{fetches: make(map[string]int)}
	for range 24 {
		for _, client := range clients {
			for i, d := range names {
				r, err := client.Lookup(t.Context(), d)
				if _, hasPolicy := kindOf(i); err != nil || (r.Policy != nil) != hasPolicy {
					t.Fatalf("%s: %+v, %v", d, r, err)
				}
				cost.plans++
			}
			mu.Lock()
			now = now.Add(time.Second)
			mu.Unlock()
		}
		mu.Lock()
		now = now.Add(time.Hour - time.Duration(relays)*time.Second)
		mu.Unlock()
	}
	cost.commands = srv.commands(t) - before
	for _, d := range names {
		cost.fetches[d] = n.fetched(d)
	}
	return cost
}

// commands returns the number of commands that clients have sent so far, without pings,
// and those inside scripts.
func (s *server) commands(t *testing.T) int {
	t.Helper()
	text, err := s.admin(t, "INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		count, _, ok := strings.Cut(rest, ",")
		number, err := strconv.Atoi(count)
		if ok && err == nil && name != "ping" && name != "info" && name != "hello" && !strings.HasPrefix(name, "client") {
			total += number
		}
	}
	return total
}
