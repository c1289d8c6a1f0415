package policy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/source"
	"github.com/mxseal/mxseal/policy/internal/survey"
)

// remembering is DNS with a cache in front of it, which may have other answers than DNS has
// by now.
type remembering struct {
	*fakeDNS
	cache map[string]remembered
}

type remembered struct {
	answer *dnssec.Answer
	err    error
	until  time.Time
}

func (r *remembering) Recall(of dnssec.Resolver, name string, t dnssec.Type) (*dnssec.Answer, bool, error) {
	known, found := r.cache[key(name, t)]
	if !found || of != dnssec.Resolver(r) || !r.now().Before(known.until) {
		return nil, false, nil
	}
	return known.answer, true, known.err
}

func (r *remembering) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	if answer, ok, err := r.Recall(r, name, t); ok {
		return answer, err
	}
	return r.fakeDNS.Lookup(ctx, name, t)
}

// remember puts an answer for MX records into the cache, or a failure.
func (r *remembering) remember(t *testing.T, status dnssec.Status, until time.Time, records ...string) {
	a := fakedns.Answers{}
	a.Add(t, status, records...)
	for key, answer := range a {
		answer.Expires = until
		r.cache[key] = remembered{answer, nil, until}
	}
}

// oneDomain is a store with one entry, or a failure.
type oneDomain struct {
	mtasts.Store
	entry mtasts.Entry
	err   error
}

func (s *oneDomain) Get(context.Context, string) (mtasts.Entry, error) { return s.entry, s.err }
func (s *oneDomain) Put(context.Context, mtasts.Entry) error           { return nil }

// chance is true n times in ten.
func chance(r *rand.Rand, n int) bool { return r.IntN(10) < n }

// C8: whatever is in memory, still valid or not, a plan that is made of it alone is the one
// to which lookups lead.
func TestC8AtOnceIsWhatLookupsLeadTo(t *testing.T) {
	t.Parallel()
	random := seed.Rand(t)
	var made, secure, enforced, failed, missed int
	for range 3000 {
		synctest.Test(t, func(t *testing.T) {
			plan, failure, complete := atOnceAndByLookups(t, random)
			switch {
			case !complete:
				missed++
			case failure != nil:
				failed++
			default:
				made++
				if plan.MXStatus == dnssec.Secure {
					secure++
				}
				if plan.MTASTS.Mode() == mtasts.Enforce {
					enforced++
				}
			}
		})
	}
	t.Logf("%d plans at once, %d of them by secure MX records and %d with a policy, %d failures, %d by lookups", made, secure, enforced, failed, missed)
	if min(made, secure, enforced, failed, missed) == 0 {
		t.Error("one of these cases was not tested")
	}
}

// atOnceAndByLookups makes memory, and what DNS and the store have, by chance. It reports
// what follows from memory alone, and whether that is complete. Then it compares it with
// what lookups lead to.
func atOnceAndByLookups(t *testing.T, random *rand.Rand) (*Plan, *Error, bool) {
	const domain, life = "example.org", 10 * time.Minute
	start := time.Now()
	now := start
	clock := func() time.Time { return now }
	dns := &remembering{newFakeDNS(), map[string]remembered{}}
	dns.now, dns.fakeDNS.now = clock, clock
	lifetime := func() time.Duration {
		if chance(random, 3) {
			return life - time.Minute // over by the time of the plan
		}
		return 2 * life
	}
	status := func() dnssec.Status {
		if chance(random, 5) {
			return dnssec.Secure
		}
		return dnssec.Insecure
	}
	store := &oneDomain{err: mtasts.ErrNotStored}
	config := Config{
		DNS: dns, Store: store, Now: clock, Memory: minMemory, RootCAs: x509.NewCertPool(),
		Dial:                func(context.Context, string, string) (net.Conn, error) { return nil, errBroken },
		NoDANEForInsecureMX: chance(random, 2), RequireRoute: chance(random, 2), RequireDANE: chance(random, 2),
	}
	if chance(random, 3) {
		config.Precedence = RequireBoth
	}
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()

	// At first, memory learns of some hosts, and of a policy or its absence.
	var mx []string
	for i := range 1 + random.IntN(2) {
		host := fmt.Sprintf("mx%d.%s", i, domain)
		mx = append(mx, fmt.Sprintf("%s. MX %d %s.", domain, i, host))
		var tlsa []string
		if chance(random, 5) {
			tlsa = []string{someKey}
		}
		dns.addHost(t, status(), host, tlsa...)
		dns.ttl = lifetime()
		if chance(random, 9) {
			survey.Ask(t.Context(), dns, r.hosts, []survey.Host{{Name: host, Port: 25}, {Name: host, NoTLSA: true}}, clock, func() {})
		}
	}
	if chance(random, 2) {
		mx = append(mx, domain+". MX 9 192.0.2.1.") // not a host, as is known at once
	}
	switch random.IntN(5) {
	case 0:
		store.err = errBroken
	case 1:
		dns.fail("_mta-sts."+domain, dnssec.TypeTXT)
	case 2, 3:
		store.err, store.entry = nil, mtasts.Entry{
			Domain: domain, ID: "1", Fetched: start.Add(-time.Hour), NextCheck: start.Add(lifetime()), Used: true,
			Text: "version: STSv1\nmode: enforce\nmx: mx0.example.org\nmax_age: 604800\n",
		}
	}
	dns.ttl = lifetime()
	if chance(random, 9) {
		r.mtasts.Lookup(t.Context(), domain)
	}
	until := start.Add(lifetime())
	switch random.IntN(12) {
	case 0: // not in the cache
	case 1:
		dns.cache[key(domain, dnssec.TypeMX)] = remembered{nil, &dnssec.Error{Name: domain + ".", Type: dnssec.TypeMX, Status: dnssec.Bogus, Reason: dnssec.SignatureInvalid}, until}
	case 2, 6:
		dns.cache[key(domain, dnssec.TypeMX)] = remembered{&dnssec.Answer{Name: domain + ".", NXDomain: chance(random, 5), Status: status(), Expires: until}, nil, until}
	case 3:
		dns.remember(t, status(), until, domain+". MX 0 .")
	case 4:
		dns.cache[key(domain, dnssec.TypeMX)] = remembered{new(dnssec.Answer), nil, until} // which no Resolver may return
	default:
		dns.remember(t, status(), until, mx...)
	}

	// Later, DNS and the store have something else.
	now = start.Add(life)
	dns.answers, dns.ttl = fakedns.Answers{}, time.Hour
	dns.add(t, status(), domain+". MX 5 mx0."+domain+".", domain+". MX 6 mx7."+domain+".")
	for _, host := range []string{"mx0.", "mx1.", "mx7."} {
		dns.addHost(t, status(), host+domain)
		dns.add(t, dnssec.Insecure, host+domain+". A 192.0.2.7")
	}
	store.err = mtasts.ErrNotStored
	if chance(random, 5) { // another relay has stored a policy
		store.err, store.entry = nil, mtasts.Entry{
			Domain: domain, ID: "2", Fetched: now, NextCheck: now.Add(time.Hour), Used: true,
			Text: "version: STSv1\nmode: enforce\nmx: mx7.example.org\nmax_age: 604800\n",
		}
	}
	asked := request{domain: domain}
	if chance(random, 3) {
		var failure *Error
		options := []Option{RequireTLS(), TLSOptional(), IPv6Only(), AtLeast(Authenticated), Report()}
		if asked, failure = asked.with(options[random.IntN(len(options)):][:1], Opportunistic, 25); failure != nil {
			t.Fatal(failure)
		}
	}
	q, failure := r.question(asked)
	if failure != nil {
		t.Fatal(failure)
	}
	memory := &source.Memory{DNS: dns, MTASTS: r.mtasts, Hosts: r.hosts, Now: clock}
	lookups := dns.lookups.Load()
	plan, failure := r.makePlan(t.Context(), memory, q)
	if n := dns.lookups.Load(); n != lookups {
		t.Errorf("memory alone: DNS was asked %d times", n-lookups)
	}
	if memory.Missed() {
		return nil, nil, false
	}
	want, wantFailure := r.makePlan(t.Context(), &source.Lookups{DNS: dns, MTASTS: r.mtasts, Hosts: r.hosts, Now: clock}, q)
	if !reflect.DeepEqual(plan, want) || !reflect.DeepEqual(failure, wantFailure) {
		t.Errorf("at once: %s, %v\nby lookups: %s, %v", explained(plan), failure, explained(want), wantFailure)
	}
	return plan, failure, true
}

func explained(plan *Plan) string {
	if plan == nil {
		return "no plan"
	}
	var b strings.Builder
	if err := plan.Explain(&b); err != nil {
		return err.Error()
	}
	return b.String()
}

// C8: with all facts in memory, a plan that was forgotten, or one with other options, is
// made without a question to DNS. When a fact has expired, it is looked up.
func TestC8WarmPlanAsksNobody(t *testing.T) {
	t.Parallel()
	dns := &remembering{newFakeDNS(), map[string]remembered{}}
	start := time.Now()
	now := start
	dns.now = func() time.Time { return now }
	dns.remember(t, dnssec.Secure, start.Add(time.Minute), "example.org. MX 1 mx.example.org.")
	dns.add(t, dnssec.Secure, "example.org. MX 1 other.example.org.")
	dns.addHost(t, dnssec.Secure, "mx.example.org", someKey)
	dns.addHost(t, dnssec.Secure, "other.example.org", someKey)
	r, err := New(Config{DNS: dns, RootCAs: x509.NewCertPool(), Now: dns.now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	resolve(t, r, "example.org")
	before := dns.lookups.Load()
	r.Forget("example.org")
	if h := resolve(t, r, "example.org").Hosts[0]; h.Name != "mx.example.org" || h.Level != Authenticated {
		t.Errorf("%+v", h)
	}
	if p := resolve(t, r, "example.org", RequireTLS()); !p.RequireTLS || p.Err() != nil {
		t.Errorf("%+v", p)
	}
	if n := dns.lookups.Load(); n != before {
		t.Errorf("%d questions", n-before)
	}
	if s := r.Stats(); s.OK.Count != 3 || s.Plans != 2 {
		t.Errorf("%+v", s)
	}
	now = start.Add(time.Minute)
	if h := resolve(t, r, "example.org").Hosts[0]; h.Name != "other.example.org" {
		t.Errorf("%s after the MX records have expired", h.Name)
	}
	if dns.lookups.Load() == before {
		t.Error("no question")
	}
}

// C8: what the operator says, and its failure, count for the domain whether or not the plan
// is made at once.
func TestC8AtOnceAsksTheOperator(t *testing.T) {
	t.Parallel()
	dns := &remembering{newFakeDNS(), map[string]remembered{}}
	dns.remember(t, dnssec.Insecure, time.Now().Add(time.Hour), "example.org. MX 0 .")
	override := Override{RequireDANE: true}
	r, err := New(Config{DNS: dns, RootCAs: x509.NewCertPool(), OverrideFor: func(string) (Override, bool) { return override, true }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var failure *Error
	if _, err := r.Resolve(t.Context(), "example.org"); !errors.As(err, &failure) || failure.Permanent || !errors.Is(err, ErrNullMX) || failure.Domain != "example.org" {
		t.Errorf("%v", err)
	}
	override.Floor = 99
	if _, err := r.Resolve(t.Context(), "example.org"); !errors.Is(err, ErrConfig) {
		t.Errorf("%v", err)
	}
	if n := dns.lookups.Load(); n != 0 {
		t.Errorf("%d questions", n)
	}
}

// C8: a call whose options change nothing gets the plan that is kept, without a question.
func TestC8OptionsWithoutEffectShareThePlan(t *testing.T) {
	t.Parallel()
	dns := newFakeDNS()
	dns.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
	dns.addHost(t, dnssec.Secure, "mx.example.org", someKey)
	r, err := New(Config{DNS: dns, RootCAs: x509.NewCertPool()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	first := resolve(t, r, "example.org")
	before := dns.lookups.Load()
	for name, option := range map[string]Option{"Bounce": Bounce(), "AtLeast": AtLeast(Opportunistic)} {
		if resolve(t, r, "example.org", option) != first {
			t.Errorf("%s: another plan", name)
		}
	}
	if n := dns.lookups.Load() - before; n != 0 {
		t.Errorf("%d questions", n)
	}
}

// strict is a Resolver that embeds one with a memory, and refuses insecure MX records.
type strict struct{ *remembering }

var errStrict = errors.New("MX records must be secure")

func (s strict) Lookup(ctx context.Context, name string, t dnssec.Type) (*dnssec.Answer, error) {
	a, err := s.remembering.Lookup(ctx, name, t)
	if err == nil && t == dnssec.TypeMX && a.Status != dnssec.Secure {
		return nil, errStrict
	}
	return a, err
}

// C8: what an embedded Resolver remembers does not pass by the Lookup of the one that embeds it.
func TestC8EmbeddedMemoryIsNotAsked(t *testing.T) {
	t.Parallel()
	dns := &remembering{newFakeDNS(), map[string]remembered{}}
	hour := time.Now().Add(time.Hour)
	dns.remember(t, dnssec.Secure, hour, "good.example. MX 1 mx.shared.example.")
	dns.remember(t, dnssec.Insecure, hour, "insecure.example. MX 1 mx.shared.example.")
	dns.addHost(t, dnssec.Secure, "mx.shared.example", someKey)
	r, err := New(Config{DNS: strict{dns}, NoMTASTS: true, RootCAs: x509.NewCertPool()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	resolve(t, r, "good.example") // the host is known
	if plan, err := r.Resolve(t.Context(), "insecure.example"); !errors.Is(err, errStrict) {
		t.Errorf("Lookup refuses, and yet: %v, %v", plan, err)
	}
}
