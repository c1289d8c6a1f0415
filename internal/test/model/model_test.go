package model

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy"
)

// known is a policy that a relay knows.
type known struct {
	policy  *mtasts.Policy
	fetched time.Time // by a clock that is right
}

// relay is a sender with a clock of its own.
type relay struct {
	*world
	name     string
	offset   time.Duration // of its clock
	wrong    time.Time     // since when; zero for a clock that is right
	resolver *policy.Resolver
	stop     func()

	mu       sync.Mutex
	known    map[string]known
	answered map[string]bool // domains about which the store has answered
	fooled   map[string]bool // domains of which the relay may have a policy that the model does not know
}

// now is the relay's clock.
func (r *relay) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.offset)
}

// start starts the relay without any memory.
func (r *relay) start() error {
	r.mu.Lock()
	r.known, r.answered, r.fooled = map[string]known{}, map[string]bool{}, map[string]bool{}
	r.mu.Unlock()
	roots := x509.NewCertPool()
	roots.AddCert(r.ca)
	var err error
	alive := true
	r.resolver, err = policy.New(policy.Config{
		DNS: dns{r.world, r.now}, Store: view{r.store, r.got}, RootCAs: roots, Now: r.now,
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			return r.dial(addr, func(domain, text string) {
				if alive {
					r.learn(domain, text, time.Now())
				}
			})
		},
		Overrides: map[string]policy.Override{r.domains[0].name: {RequireDANE: true}},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		r.resolver.Run(ctx)
		close(done)
	}()
	r.stop = func() {
		alive = false
		cancel()
		r.resolver.Close()
		<-done
	}
	return nil
}

// learn notes a policy that the relay has fetched.
func (r *relay) learn(domain, text string, fetched time.Time) {
	p, err := mtasts.ParsePolicy(text)
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[domain], r.fooled[domain] = known{p, fetched}, false
	if r.offset != 0 {
		delete(r.known, domain) // its time is that of a wrong clock
		r.fooled[domain] = true
	}
}

// got notes what the store has answered. A policy counts as known if the domain has
// published it, no attacker has written it, and the relay knows no other one. A relay may
// have put back what an attacker has written.
func (r *relay) got(e mtasts.Entry, tainted bool, err error) {
	tainted = tainted || !r.hasPublished(e.Domain, e.Text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered[e.Domain] = true
	p, failed := mtasts.ParsePolicy(e.Text)
	if err != nil || failed != nil {
		return
	}
	r.fooled[e.Domain] = r.fooled[e.Domain] || tainted || r.offset != 0 // with a wrong clock, other policies are in force
	if k := r.known[e.Domain]; !r.fooled[e.Domain] && (k.policy == nil || time.Since(k.fetched) > k.policy.MaxAge+time.Second) && r.offset == 0 {
		r.known[e.Domain] = known{p, e.Fetched}
	}
}

// inForce reports whether the policy has not expired, and was not fetched in the future.
func (k known) inForce() bool {
	age := time.Since(k.fetched)
	return k.policy != nil && age >= 0 && age+time.Second < k.policy.MaxAge
}

// knows returns the policy that the relay knows.
func (r *relay) knows(d *domain) known {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[d.name]
}

// violation returns what the plan permits although the relay knew better before it was
// asked for, and still does; nil for nothing.
func (r *relay) violation(d *domain, plan *policy.Plan, before known, unread bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[d.name]
	if k.policy != before.policy {
		k = known{} // learned meanwhile: either may count
	}
	if r.offset != 0 && !d.signed {
		return nil // with a wrong clock, other policies are in force
	}
	for _, h := range plan.Hosts {
		switch {
		case h.Level == policy.Refused:
		case d.signed && h.By&policy.ByDANE == 0:
			return fmt.Errorf("M6: %s is not authenticated by DANE, which is required", h.Name)
		case d.signed:
		case k.inForce() && k.policy.Mode == mtasts.Enforce && (!k.policy.MatchMX(h.Name) || h.Level != policy.Authenticated):
			return fmt.Errorf("%s may be used at level %v, and the relay knows a policy that was fetched %v ago:\n%s", h.Name, h.Level, time.Since(k.fetched), k.policy.Text)
		case unread && !r.answered[d.name] && plan.MTASTS.Policy == nil:
			return fmt.Errorf("%s may be used at level %v, nothing is known, and the store has not answered yet", h.Name, h.Level)
		}
	}
	return nil
}

// driver makes the events happen.
type driver struct {
	*world
	t      *testing.T
	rng    *rand.Rand
	relays []*relay
	trace  []string
	plans  int
	bounds int // plans that a known enforced policy or the store bounds
}

func (m *driver) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf("%v ", time.Now().Format("01-02 15:04:05"))+fmt.Sprintf(format, args...))
}

func (m *driver) relay() *relay { return m.relays[m.rng.IntN(len(m.relays))] }

// target returns a domain; usually one that has a policy.
func (m *driver) target() *domain { return m.domains[m.rng.IntN(len(m.domains))] }

func (m *driver) step() error {
	switch n := m.rng.IntN(100); {
	case n < 50:
		return m.resolve(m.relay(), m.target())
	case n < 54:
		return m.interrupt(m.relay(), m.target())
	case n < 58:
		return m.recheck(m.relay(), m.target())
	case n < 68:
		m.sleep()
	case n < 72:
		m.publish(m.target())
	case n < 80:
		m.attackDNS(m.target())
	case n < 84:
		m.attackHost(m.target())
	case n < 89:
		m.attackStore()
	case n < 93:
		m.plant(m.target())
	case n < 95:
		return m.ambush(m.target())
	case n < 96:
		return m.leap(m.relay(), m.target())
	case n < 98:
		m.jump(m.relay())
	default:
		return m.restart(m.relay())
	}
	return nil
}

// resolve makes a plan and checks it.
func (m *driver) resolve(r *relay, d *domain) error {
	options := [][]policy.Option{nil, nil, nil, {policy.RequireTLS()}, {policy.AtLeast(policy.Encrypted)}}[m.rng.IntN(5)]
	if d.signed && m.rng.IntN(2) == 0 {
		options = []policy.Option{policy.TLSOptional()}
	}
	m.store.mu.Lock()
	unread := m.store.fails
	m.store.mu.Unlock()
	before := r.knows(d)
	plan, err := r.resolver.Resolve(context.Background(), d.name, options...)
	synctest.Wait()
	if err != nil {
		return fmt.Errorf("%s: %s: %w", r.name, d.name, err) // no event causes this
	}
	m.plans++
	m.note("%s: plan for %s, policy %v, first host %v", r.name, d.name, plan.MTASTS.Mode(), plan.Hosts[0].Level)
	if d.signed && plan.Err() != nil && !errors.Is(plan.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("M6: %s: %s is refused: %w", r.name, d.name, plan.Err())
	}
	if plan.Hosts[0].Level == policy.Refused || plan.Hosts[0].By&policy.ByMTASTS != 0 {
		m.bounds++
	}
	if err := r.violation(d, plan, before, unread); err != nil {
		return fmt.Errorf("%s: %s: %w", r.name, d.name, err)
	}
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	return m.store.fault
}

// interrupt cancels a lookup, and checks that this does not affect the next one.
func (m *driver) interrupt(r *relay, d *domain) error {
	m.setSlowDNS(true)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	_, err := r.resolver.Resolve(ctx, d.name)
	cancel()
	synctest.Wait()
	m.setSlowDNS(false)
	m.note("%s: lookup of %s interrupted: %v", r.name, d.name, err)
	plan, err := r.resolver.Resolve(context.Background(), d.name)
	if err == nil {
		err = plan.Err()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("M5: %s: what was interrupted is kept: %w", r.name, err)
	}
	return nil
}

func (m *driver) setSlowDNS(slow bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.slowDNS = slow
}

// recheck lets the relay learn a policy without a call of Resolve.
func (m *driver) recheck(r *relay, d *domain) error {
	_, changed, err := r.resolver.MTASTS().Recheck(context.Background(), d.name)
	synctest.Wait()
	m.note("%s: recheck of %s: changed %v, %v", r.name, d.name, changed, err)
	return m.resolve(r, d)
}

func (m *driver) sleep() {
	longest := []time.Duration{10 * time.Second, 10 * time.Minute, 5 * time.Hour, 30 * time.Hour}[m.rng.IntN(4)]
	for _, r := range m.relays {
		if r.offset != 0 {
			longest = min(longest, time.Hour)
		}
	}
	d := time.Duration(m.rng.Int64N(int64(longest)))
	m.note("%v pass", d)
	time.Sleep(d)
	synctest.Wait()
}

// publish changes the policy of the domain. Its mail host stays in it.
func (m *driver) publish(d *domain) {
	if d.signed {
		return
	}
	mode := []string{"enforce", "enforce", "testing", "none"}[m.rng.IntN(4)]
	mx := []string{"mx: " + d.host(), "mx: *." + d.name, "mx: " + d.host() + "\nmx: mx2." + d.name}[m.rng.IntN(3)]
	age := []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 300 * 24 * time.Hour}[m.rng.IntN(4)]
	m.mu.Lock()
	defer m.mu.Unlock()
	d.id++
	d.policy = fmt.Sprintf("version: STSv1\nmode: %s\n%s\nmax_age: %d\n", mode, mx, int(age.Seconds()))
	d.published[d.policy] = true
	m.note("%s publishes id %d: %q", d.name, d.id, d.policy)
}

func (m *driver) attackDNS(d *domain) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d.forgedMX = m.rng.IntN(2) == 0
	d.record = recordAttack(m.rng.IntN(int(recordAttacks)))
	m.note("DNS of %s: forged MX %v, record %d", d.name, d.forgedMX, d.record)
}

func (m *driver) attackHost(d *domain) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d.cut, d.stalls = m.rng.IntN(3) == 0, m.rng.IntN(4) == 0
	m.note("policy host of %s: cut off %v, stalls %v", d.name, d.cut, d.stalls)
}

func (m *driver) attackStore() {
	m.store.mu.Lock()
	defer m.store.mu.Unlock()
	m.store.fails = m.rng.IntN(3) == 0
	m.store.slow = []time.Duration{0, 0, 0, time.Millisecond, time.Second}[m.rng.IntN(5)]
	m.note("store: fails %v, slow %v", m.store.fails, m.store.slow)
}

// plant writes to the store as the attacker.
func (m *driver) plant(d *domain) {
	if d.signed {
		return
	}
	if m.rng.IntN(3) == 0 {
		m.note("the attacker deletes %s", d.name)
		m.store.remove(d.name, true)
		return
	}
	text := []string{
		"version: STSv1\nmode: none\nmax_age: 31557600\n",
		"version: STSv1\nmode: testing\nmx: " + d.host() + "\nmax_age: 31557600\n",
		"version: STSv1\nmode: enforce\nmx: " + evil + "\nmax_age: 31557600\n",
		strings.Replace(d.policy, "enforce", "testing", 1),
		"version: STSv1\nmode: enforce\nmx: " + d.host() + "\nmax_age: 60\n",
	}[m.rng.IntN(5)]
	fetched := time.Now().Add([]time.Duration{0, 0, time.Second, 24 * time.Hour, 1000 * time.Hour}[m.rng.IntN(5)])
	m.note("the attacker plants for %s, fetched %v: %q", d.name, fetched, text)
	m.store.put(mtasts.Entry{
		Domain: d.name, ID: "planted", Text: text, Fetched: fetched, Expires: fetched.Add(mtasts.MaxAge),
		NextCheck: time.Now().Add(24 * time.Hour), Used: true,
	}, true)
	synctest.Wait()
}

// jump sets the clock of a relay to a wrong time, or corrects it.
func (m *driver) jump(r *relay) {
	const month = 30 * 24 * time.Hour
	offset := []time.Duration{0, 0, 0, month, -month, time.Hour, -time.Hour, 365 * 24 * time.Hour}[m.rng.IntN(8)]
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case offset == 0:
		// What expired according to a wrong clock is kept for a day.
		if !r.wrong.IsZero() && time.Since(r.wrong) > 23*time.Hour {
			for _, d := range m.domains {
				r.fooled[d.name] = true
			}
			clear(r.known)
		}
		r.wrong = time.Time{}
	case r.wrong.IsZero():
		r.wrong = time.Now()
	}
	r.offset = offset
	m.note("%s: its clock is off by %v", r.name, offset)
}

// ambush does at once what the attacker needs: the store has another policy, the
// record is hidden, and the MX records lead to the attacker.
func (m *driver) ambush(d *domain) error {
	m.plant(d)
	m.mu.Lock()
	d.forgedMX, d.record = true, recordHidden
	m.mu.Unlock()
	m.note("ambush at %s", d.name)
	for _, r := range m.relays {
		if err := m.resolve(r, d); err != nil {
			return err
		}
	}
	return nil
}

// leap sets the clock of a relay forward while the attacker hides the policy, and then
// corrects it.
func (m *driver) leap(r *relay, d *domain) error {
	m.mu.Lock()
	d.forgedMX, d.record = true, recordHidden
	m.mu.Unlock()
	for _, offset := range []time.Duration{365 * 24 * time.Hour, 0} {
		r.mu.Lock()
		r.offset = offset
		r.mu.Unlock()
		m.note("%s: its clock is off by %v", r.name, offset)
		if err := m.resolve(r, d); err != nil {
			return err
		}
		m.plant(d)
	}
	return m.resolve(r, d)
}

// restart ends a relay and starts it again without memory, perhaps with a wrong clock.
func (m *driver) restart(r *relay) error {
	m.note("%s restarts", r.name)
	r.stop()
	synctest.Wait()
	return r.start()
}

// TestNeverWeakerThanKnown drives the model: 2,000 steps, or the number in
// MXSEAL_MODEL_STEPS. It finds M1, M2, M3, M5, M6 and M7 when these faults are put back.
func TestNeverWeakerThanKnown(t *testing.T) {
	steps := 2_000
	if text := os.Getenv("MXSEAL_MODEL_STEPS"); text != "" {
		var err error
		if steps, err = strconv.Atoi(text); err != nil {
			t.Fatalf("MXSEAL_MODEL_STEPS: %v", err)
		}
	}
	first := seed.New(t)
	const each = 500 // steps of one run
	for run := range uint64(steps / each) {
		seed := first + run
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Logf("to repeat this run: MXSEAL_SEED=%d MXSEAL_MODEL_STEPS=%d", seed, each)
			synctest.Test(t, func(t *testing.T) { drive(t, seed, each) })
		})
	}
}

func drive(t *testing.T, seed uint64, steps int) {
	w, err := newWorld(4)
	if err != nil {
		t.Fatal(err)
	}
	m := &driver{world: w, t: t, rng: rand.New(rand.NewPCG(seed, 1))}
	for i := range 3 {
		r := &relay{world: w, name: fmt.Sprint("relay", i)}
		if err := r.start(); err != nil {
			t.Fatal(err)
		}
		m.relays = append(m.relays, r)
	}
	for i := range steps {
		if err := m.step(); err != nil {
			t.Errorf("step %d: %v\nthe last events:\n%s", i, err, strings.Join(m.trace[max(0, len(m.trace)-100):], "\n"))
			break
		}
	}
	for _, r := range m.relays {
		r.stop()
	}
	t.Logf("%d plans, %d of them bounded", m.plans, m.bounds)
}
