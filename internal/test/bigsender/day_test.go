//go:build linux

package bigsender

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/valkeystore"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

func TestMain(m *testing.M) {
	if code, isRelay := mainOfRelay(); isRelay {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// domainsEnv is the number of domains of TestDay, and hourEnv how long each of its hours
// takes. Empty means a day of some seconds.
const (
	domainsEnv = "MXSEAL_BIGSENDER_DOMAINS"
	hourEnv    = "MXSEAL_BIGSENDER_HOUR"
)

// day is the day of TestDay, hour after hour.
type day struct {
	t     *testing.T
	world *world
	fleet *fleet
	queue *queue
	// policies and sums are the Redis servers of the fleet. The one with the policies may
	// lose its data, which the relays have in memory.
	policies, sums *redis
	traffic        traffic
	hour           time.Duration // in real time
	clock          time.Duration // ahead of the real time
	out            *strings.Builder
	// unknown are the domains with an enforced policy that the fleet did not know when the
	// attack began, because the first lookup had failed.
	unknown map[domain]bool
}

// A day of a fleet of four relays, with an attacker and outages. Nothing is sent with less
// protection than is known, nothing is lost or sent twice, limits are kept, and the reports
// are exact.
func TestDay(t *testing.T) {
	domains, hour := 1500, 500*time.Millisecond
	if text := os.Getenv(domainsEnv); text != "" {
		var err error
		if domains, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv(hourEnv); text != "" {
		var err error
		if hour, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	d := newDay(t, domains, hour)
	stop := d.fleet.watchDescriptors()
	d.coldPlans()
	d.quietHour("a quiet hour", 30*time.Minute)
	d.attack()
	d.outage("the resolver is down", func() (repair func()) {
		d.world.dnsDown.Store(true)
		return func() { d.world.dnsDown.Store(false) }
	})
	d.outage("the policy hosts are down", func() (repair func()) {
		d.world.policyHostsDown.Store(true)
		return func() { d.world.policyHostsDown.Store(false) }
	})
	d.outage("Redis stalls", func() (repair func()) {
		d.policies.pause()
		d.sums.pause()
		return func() {
			d.policies.resume()
			d.sums.resume()
		}
	})
	d.outage("Redis is restarted, without the policies", func() (repair func()) {
		d.policies.kill()
		d.sums.kill()
		return func() {
			d.policies.start()
			d.sums.start()
		}
	})
	d.restarts()
	d.quietHour("the last hour", 40*time.Minute)
	d.queue.drain(d.fleet, d.traffic, 2*time.Minute)
	stop()
	d.checkDescriptors()
	for i := range d.fleet.relays {
		d.fleet.stop(i)
	}
	d.checkMessages()
	d.checkReports()
	t.Log("\n" + d.out.String())
}

func newDay(t *testing.T, domains int, hour time.Duration) *day {
	program := interop.Need(t, "redis-server")
	source := rand.New(rand.NewPCG(seed.New(t), 0))
	order := make([]domain, domains)
	for i, n := range source.Perm(domains) {
		order[i] = domain(n)
	}
	d := &day{
		t: t, world: newWorld(t, domains), queue: newQueue(), policies: newRedis(t, program), sums: newRedis(t, program, "--appendonly", "yes"), hour: hour, out: new(strings.Builder),
		traffic: traffic{zipf: rand.NewZipf(source, 1.1, 1, uint64(domains-1)), order: order, atOnce: 32, generate: true},
	}
	// The day of the relays begins shortly after midnight.
	midnight := time.Now().UTC().Truncate(24 * time.Hour)
	d.clock = time.Until(midnight.Add(24*time.Hour + 10*time.Minute))
	d.fleet = &fleet{t: t, queue: d.queue, config: relayConfig{
		DNS: d.world.inet.DNSAddr(), Anchors: d.world.inet.TrustAnchors(), Exit: d.world.exit.listener.Addr().String(),
		Policies: d.policies.addr, Sums: d.sums.addr, Roots: d.world.inet.RootPEM(), Clock: d.clock,
		Limits: limits{DNSSockets: 128, Sessions: 100, Fetches: 32},
	}}
	d.fleet.startAll(4)
	return d
}

func (d *day) print(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// advance moves the clocks of the relays.
func (d *day) advance(by time.Duration) {
	d.clock += by
	d.fleet.setClock(d.clock)
}

// run gives the relays mail for a part of an hour.
func (d *day) run(part float64) {
	d.queue.run(d.fleet, d.traffic, time.Now().Add(time.Duration(part*float64(d.hour))))
}

// coldPlans makes the first relay plan all domains, a decade at a time.
func (d *day) coldPlans() {
	first := d.fleet.relays[0]
	first.plan(0, 100) // the root, the top-level domains and the providers
	before := first.costs()
	d.world.inet.ForgetQuestions()
	fetches := d.world.exit.fetches.Load()
	for from, to := 100, 1000; from < d.world.domains; from, to = to, min(10*to, d.world.domains) {
		to = min(to, d.world.domains)
		cost := first.plan(from, to)
		d.print("cold plans of domains %d to %d: %v of processor time each, %d without plan", from, to, cost.CPU/time.Duration(cost.Plans), cost.Errors)
	}
	after := first.costs()
	count := uint64(d.world.domains - 100)
	d.print("heap for each domain: %d octets (plans %d, policies %d)", (after.Heap-before.Heap)/count,
		(after.PlanOctets-before.PlanOctets)/int(count), (after.PolicyOctets-before.PolicyOctets)/int(count))
	d.print("fetches: %d", d.world.exit.fetches.Load()-fetches)
	d.printQuestions()
}

// printQuestions prints how many questions a plan of each kind of domain took.
func (d *day) printQuestions() {
	type by struct {
		k kind
		t string
	}
	counts, other := make(map[by]int), 0
	perKind := make(map[kind]int)
	for n := range domain(d.world.domains) {
		if n >= 100 {
			perKind[n.kind()]++
		}
	}
	for _, q := range d.world.inet.AllQuestions() {
		n, ok := domainOf(q.Name)
		if !ok {
			other++
			continue
		}
		counts[by{n.kind(), q.Type.String()}]++
	}
	d.print("questions that are about no single domain: %d", other)
	for k := range kinds {
		if perKind[k] == 0 {
			continue
		}
		line := fmt.Sprintf("questions for each domain of the kind %s:", k)
		for _, t := range []string{"MX", "A", "AAAA", "TLSA", "TXT", "DS", "DNSKEY", "CNAME"} {
			if n := counts[by{k, t}]; n > 0 {
				line += fmt.Sprintf(" %.2f %s", float64(n)/float64(perKind[k]), t)
			}
		}
		d.print("%s", line)
	}
}

// quietHour lets the relays work, and prints what that costs.
func (d *day) quietHour(name string, advance time.Duration) {
	d.advance(advance)
	before := d.sum()
	d.run(1)
	d.printCosts(name, before)
}

// usage is what the fleet has used.
type usage struct {
	cpu                      time.Duration
	plans, cached, delivered uint64
	sessions, fetches        int64
	commands                 int
}

func (d *day) sum() (u usage) {
	for _, p := range d.fleet.relays {
		c := p.costs()
		u.cpu += c.CPU
		u.plans += c.Plans
		u.cached += c.Cached
	}
	u.delivered = uint64(d.queue.delivered.Load())
	u.sessions, u.fetches = d.world.exit.sessions.Load(), d.world.exit.fetches.Load()
	u.commands = d.policies.commands()
	return u
}

func (d *day) printCosts(name string, before usage) {
	after := d.sum()
	delivered, plans := after.delivered-before.delivered, after.plans-before.plans
	sessions, commands := after.sessions-before.sessions, after.commands-before.commands
	d.print("%s: %d messages over %d sessions, %d plans made, %d from memory, %d fetches; %v of processor time for each message; %.2f commands to Redis for each plan made",
		name, delivered, sessions, plans, after.cached-before.cached, after.fetches-before.fetches,
		(after.cpu-before.cpu)/time.Duration(max(1, delivered)), float64(commands)/float64(max(1, plans)))
}

// attack is an hour in which the attacker forges the replies of the resolver, intercepts the
// connections to all mail hosts, and blocks those to the policy hosts.
func (d *day) attack() {
	d.unknown = d.unknownPolicies()
	d.advance(time.Hour)
	d.world.forging.Store(true)
	d.world.policyHostsDown.Store(true)
	d.run(0.5)
	d.world.exit.hijack.Store(true)
	d.run(0.5)
	d.world.exit.hijack.Store(false)
	d.world.policyHostsDown.Store(false)
	d.world.forging.Store(false)
	d.print("attack: the attacker got %d messages, of domains that nothing protects", len(d.world.evil.Messages()))
	d.advance(10 * time.Minute) // what was forged expires
}

// unknownPolicies returns the domains whose enforced policies are not in the store.
func (d *day) unknownPolicies() map[domain]bool {
	store, err := valkeystore.New(valkeystore.Config{Server: valkey.ClientOption{InitAddress: []string{d.policies.addr}}})
	if err != nil {
		d.t.Fatal(err)
	}
	defer store.Close()
	unknown := make(map[domain]bool)
	for n := range domain(d.world.domains) {
		if n.policyMode() != "enforce" {
			continue
		}
		switch _, err := store.Get(d.t.Context(), n.name()); {
		case errors.Is(err, mtasts.ErrNotStored):
			unknown[n] = true
		case err != nil:
			d.t.Fatal(err)
		}
	}
	d.print("enforced policies that the fleet did not know when the attack began: %d", len(unknown))
	if 200*len(unknown) > d.world.domains {
		d.t.Errorf("%d policies are not known", len(unknown))
	}
	return unknown
}

// outage breaks something for half an hour and prints how long it takes until everything
// works again.
func (d *day) outage(name string, fail func() (repair func())) {
	d.advance(90 * time.Minute)
	before := d.queue.delivered.Load()
	repair := fail()
	d.run(0.5)
	during := d.queue.delivered.Load() - before
	repair()
	repaired := time.Now()
	back := d.queue.delivered.Load()
	var first time.Duration
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end) && first == 0; {
		d.queue.run(d.fleet, d.traffic, time.Now().Add(50*time.Millisecond))
		if d.queue.delivered.Load() > back+50 {
			first = time.Since(repaired)
		}
	}
	d.run(0.5)
	if first == 0 {
		d.t.Errorf("%s: no mail was sent after it was repaired", name)
	}
	d.print("%s: %d messages were sent meanwhile, and fifty within %v after the repair", name, during, first.Round(10*time.Millisecond))
}

// restarts restarts one relay as an operator would, and kills and starts another.
func (d *day) restarts() {
	d.advance(30 * time.Minute)
	d.run(0.3)
	d.fleet.stop(1)
	d.run(0.3)
	d.fleet.start(1)
	d.run(0.3)
	d.fleet.kill(2)
	d.run(0.3)
	d.fleet.start(2)
	d.run(0.3)
}

func (d *day) checkDescriptors() {
	for i, open := range d.fleet.watched.most {
		if most := d.fleet.config.Limits.descriptors(); open > most {
			d.t.Errorf("relay %d had %d descriptors open, more than %d", i, open, most)
		}
		d.print("relay %d: at most %d descriptors", i, open)
	}
}

// checkMessages compares what the hosts received with what the relays said.
func (d *day) checkMessages() {
	received := make(map[int]int)
	for _, h := range append(slices.Clone(d.world.hosts), d.world.evil) {
		for _, m := range h.Messages() {
			_, rest, _ := strings.Cut(string(m.Data), "X-Number: ")
			digits, _, _ := strings.Cut(rest, "\r\n")
			number, err := strconv.Atoi(digits)
			if err != nil {
				d.t.Fatalf("message without number: %q", m.Data)
			}
			received[number]++
			to, _ := domainOf(strings.TrimPrefix(m.To[0], "user@"))
			d.checkProtection(number, to, h == d.world.evil, m.Session.TLS != nil)
		}
	}
	repeated := 0
	for _, m := range d.queue.messages {
		switch n := received[m.number]; {
		case m.state == "delivered" && n == 0:
			d.t.Errorf("message %d to %s (%s) was lost", m.number, m.to.name(), m.to.kind())
		case n > 1 && m.mayRepeat:
			repeated++
		case n > 1:
			d.t.Errorf("message %d to %s (%s) arrived %d times", m.number, m.to.name(), m.to.kind(), n)
		case m.state == "bounced" && m.to.ending() != bounces:
			d.t.Errorf("message %d to %s (%s) bounced: %s", m.number, m.to.name(), m.to.kind(), m.detail)
		}
	}
	pending := d.queue.pending()
	for _, text := range pending[:min(10, len(pending))] {
		d.t.Errorf("%d messages wait, such as %s", len(pending), text)
	}
	d.print("%d messages, %d delivered, %d bounced, %d deferrals; %d arrived twice because their relay was killed",
		len(d.queue.messages), d.queue.delivered.Load(), d.queue.bounced.Load(), d.queue.deferrals.Load(), repeated)
}

// checkProtection fails if a message arrived with less protection than its domain asks for.
// The fleet knows the policies, because one relay has planned all domains.
func (d *day) checkProtection(number int, to domain, evil, encrypted bool) {
	allowed := true
	switch k := to.kind(); k {
	case daneHosts, enforced:
		allowed = encrypted && !evil
	case nullMX, down:
		allowed = evil // an unsigned domain: the attacker can give it a mail host
	default:
		allowed = to.ending() == arrives
	}
	allowed = allowed || evil && d.unknown[to]
	if !allowed {
		d.t.Errorf("message %d to %s (%s) arrived: attacker %t, encrypted %t", number, to.name(), to.kind(), evil, encrypted)
	}
}

// checkReports sends the reports of the day and compares them with the sessions.
func (d *day) checkReports() {
	store, err := valkeystore.New(valkeystore.Config{Server: valkey.ClientOption{InitAddress: []string{d.sums.addr}}})
	if err != nil {
		d.t.Fatal(err)
	}
	defer store.Close()
	// Five in the morning, when the reports of the day have begun.
	tomorrow := time.Now().Add(d.clock).UTC().Truncate(24 * time.Hour).Add(29 * time.Hour)
	ahead := time.Until(tomorrow)
	dns := d.world.inet.DNS()
	defer dns.Close()
	r, err := reporter.New(reporter.Config{
		Store: store.Reports(), Organization: "Big Sender", Contact: "reports@relay.example",
		Resolver: dns, Dial: d.world.inet.Dial, AllowEndpoint: func(netip.Addr) bool { return true }, RootCAs: d.world.inet.RootCAs(),
		Interval: time.Microsecond, EndpointInterval: time.Microsecond,
		Now: func() time.Time { return time.Now().Add(ahead) },
	})
	if err != nil {
		d.t.Fatal(err)
	}
	want := make(map[counted]tally)
	asking := make(map[string]bool)
	for by, sum := range d.queue.sessions {
		if n, ok := domainOf(by.domain); ok && n.wantsReports() {
			want[by], asking[by.domain] = sum, true
		}
	}
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	d.world.reports.await(len(asking), time.Minute+time.Duration(len(asking))*10*time.Millisecond)
	cancel()
	<-done
	d.compareReports(want)
	d.print("%d reports to %d domains", d.world.reports.count(), len(asking))
}

func (d *day) compareReports(want map[counted]tally) {
	s := d.world.reports
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		d.t.Error(s.err)
	}
	var sessions, missing int64
	for by, sum := range want {
		got, unsure := s.sums[by], d.queue.unsure[by]
		sessions += sum.met + sum.failed
		missing += max(0, sum.met-got.met) + max(0, sum.failed-got.failed)
		if abs(got.met-sum.met) > unsure || abs(got.failed-sum.failed) > unsure {
			d.t.Errorf("report to %s, policy %s: %+v, want %+v, give or take %d", by.domain, by.policy, got, sum, unsure)
		}
	}
	for by := range s.sums {
		if _, ok := want[by]; !ok && d.queue.unsure[by] == 0 {
			d.t.Errorf("report to %s, policy %s: %+v, want none", by.domain, by.policy, s.sums[by])
		}
	}
	d.print("sessions that reports were asked for: %d; missing because a relay was killed: %d", sessions, missing)
}

func abs(n int64) int64 { return max(n, -n) }
