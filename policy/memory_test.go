package policy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane"
	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/policydns"
)

// changingStore is a store whose only entry is that of example.org, and which fails.
type changingStore struct {
	mtasts.Store
	entry *mtasts.Entry // nil for none
	err   error
}

func (s *changingStore) Get(_ context.Context, domain string) (mtasts.Entry, error) {
	switch {
	case s.err != nil:
		return mtasts.Entry{}, s.err
	case s.entry == nil || domain != "example.org":
		return mtasts.Entry{}, mtasts.ErrNotStored
	}
	return *s.entry, nil
}

func (s *changingStore) Put(_ context.Context, e mtasts.Entry) error { return s.err }

// set sets the entry of example.org, fetched now.
func (s *changingStore) set(mode mtasts.Mode, host string) {
	text := "version: STSv1\nmode: " + string(mode) + "\nmx: " + host + "\nmax_age: 604800\n"
	s.entry = &mtasts.Entry{
		Domain: "example.org", ID: "1", Text: text, Fetched: time.Now(), Expires: time.Now().Add(7 * 24 * time.Hour),
		NextCheck: time.Now().Add(time.Hour), Used: true,
	}
}

// failRefresh makes the entry one whose refresh failed.
func (s *changingStore) failRefresh(at time.Time) {
	s.entry.FailingSince, s.entry.Failed = at, 1
	s.entry.Failures = []mtasts.Failure{{ID: "2", When: at, Kind: mtasts.KindFetch, ReasonCode: "http-timeout"}}
}

func resolve(t *testing.T, r *Resolver, domain string, options ...Option) *Plan {
	t.Helper()
	plan, err := r.Resolve(t.Context(), domain, options...)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// forged is DNS in which an attacker has replaced the MX records of example.org and
// hidden its MTA-STS record. The other domains are not attacked.
func forged(t *testing.T) *fakeDNS {
	f := newFakeDNS()
	f.add(t, dnssec.Insecure, "example.org. MX 1 mx.evil.example.")
	f.addHost(t, dnssec.Insecure, "mx.evil.example")
	f.add(t, dnssec.Insecure, "other.example. MX 1 mx.other.example.")
	f.addHost(t, dnssec.Insecure, "mx.other.example")
	f.add(t, dnssec.Secure, "dane.example. MX 1 mx.dane.example.")
	f.addHost(t, dnssec.Secure, "mx.dane.example", someKey)
	return f
}

// M1: while the store cannot be read, mail waits unless DANE decides, and the plan is
// made again as soon as the store can be read.
func TestM1MailWaitsWithoutTheStore(t *testing.T) {
	for _, recovery := range []string{"another lookup", "time"} {
		t.Run(recovery, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &changingStore{err: errBroken}
				store.set(mtasts.Enforce, "mx.example.org")
				r := forged(t).newResolver(t, Config{Store: store})
				for _, options := range [][]Option{nil, {RequireTLS()}, {AtLeast(Encrypted)}} {
					plan := resolve(t, r, "example.org", options...)
					host := plan.Hosts[0]
					if host.Level != Refused || host.Refusal.Permanent || !errors.Is(host.Refusal, ErrPolicyUnknown) || !errors.Is(host.Refusal, mtasts.ErrStoreUnread) {
						t.Errorf("%s: %v, %v", plan.Key(), host.Level, host.Refusal)
					}
					if left := time.Until(plan.Expires); left > 5*time.Second {
						t.Errorf("%s: it is kept for %v", plan.Key(), left)
					}
				}
				if host := resolve(t, r, "dane.example").Hosts[0]; host.Level != Authenticated {
					t.Errorf("DANE: %v", host.Refusal)
				}
				if host := resolve(t, r, "example.org", TLSOptional()).Hosts[0]; host.Level != Opportunistic {
					t.Errorf("TLSOptional: %v", host.Refusal)
				}
				store.err = nil
				if recovery == "time" {
					time.Sleep(5 * time.Second)
				} else {
					resolve(t, r, "other.example")
				}
				if host := resolve(t, r, "example.org").Hosts[0]; host.Level != Refused || !errors.Is(host.Refusal, ErrNotListed) {
					t.Errorf("after the store has recovered: %v, %v", host.Level, host.Refusal)
				}
			})
		})
	}
}

// M1: while the store cannot be read, its earlier answers still count, and
// Config.ProceedUnread lets other mail proceed.
func TestM1EarlierAnswersOfStoreCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(changingStore)
		f := forged(t)
		answered := f.newResolver(t, Config{Store: store})
		resolve(t, answered, "other.example")
		store.err = errBroken
		for range 10 {
			time.Sleep(time.Hour)
			if host := resolve(t, answered, "other.example").Hosts[0]; host.Level != Opportunistic {
				t.Fatalf("%v", host.Refusal)
			}
		}
		proceeds := f.newResolver(t, Config{Store: store, ProceedUnread: true})
		plan := resolve(t, proceeds, "other.example")
		if plan.Hosts[0].Level != Opportunistic || time.Until(plan.Expires) > 5*time.Second {
			t.Errorf("%v, until %v", plan.Hosts[0].Refusal, plan.Expires)
		}
	})
}

// M3: a plan holds only while its policy is the one in force, whatever call found
// another one.
func TestM3PlanFollowsThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(changingStore)
		r := forged(t).newResolver(t, Config{Store: store})
		bring := func() {
			t.Helper()
			if _, _, err := r.MTASTS().Recheck(t.Context(), "example.org"); err != nil {
				t.Fatal(err)
			}
		}
		before := resolve(t, r, "example.org")
		if before.Hosts[0].Level != Opportunistic {
			t.Fatal(before.Hosts[0].Refusal)
		}
		store.set(mtasts.Testing, "mx.example.org")
		bring()
		testing := resolve(t, r, "example.org")
		if testing == before || testing.MTASTS.Mode() != mtasts.Testing {
			t.Errorf("%+v", testing.MTASTS)
		}
		if again := resolve(t, r, "example.org"); again != testing {
			t.Error("a plan that holds was made again")
		}
		if !r.Holds(testing) || r.Holds(before) {
			t.Error("Holds does not say so")
		}
		bring() // which changes nothing
		if again := resolve(t, r, "example.org"); again != testing {
			t.Error("a plan that holds was made again")
		}
	})
}

// M5: what was interrupted by Config.Timeout is not kept.
func TestM5InterruptedPlanIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeDNS()
		f.add(t, dnssec.Secure, "example.org. MX 1 mx.example.org.")
		f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
		stalls := true
		r := newFakeDNS().newResolver(t, Config{Timeout: time.Minute})
		r.dns = resolverFunc(func(ctx context.Context, name string, qtype dnssec.Type) (*dnssec.Answer, error) {
			if qtype != dnssec.TypeMX && stalls {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return f.Lookup(ctx, name, qtype)
		})
		for range 2 {
			if plan, err := r.Resolve(t.Context(), "example.org"); err == nil && plan.Err() == nil {
				t.Fatal("the hosts are known")
			}
		}
		stalls = false
		if err := resolve(t, r, "example.org").Err(); err != nil {
			t.Errorf("the next caller got %v", err)
		}
	})
}

// M8: without CA certificates New fails and says what to do, unless MTA-STS is off or
// RootCAs are given. Package x509 reads the system's roots once, so the test runs in a
// process of its own.
func TestM8NewFailsWithoutRoots(t *testing.T) {
	const child = "MXSEAL_TEST_NO_ROOTS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestM8NewFailsWithoutRoots$")
		cmd.Env = append(os.Environ(), child+"=1", "SSL_CERT_FILE=/nonexistent", "SSL_CERT_DIR=/nonexistent")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if _, err := New(Config{DNS: newFakeDNS()}); err == nil || !strings.Contains(err.Error(), "ca-certificates") || !strings.Contains(err.Error(), "NoMTASTS") {
		t.Errorf("no roots: %v", err)
	}
	for name, config := range map[string]Config{"NoMTASTS": {NoMTASTS: true}, "own roots": {RootCAs: x509.NewCertPool()}} {
		config.DNS = newFakeDNS()
		r, err := New(config)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r.Close()
	}
}

// M13: a resolver that returns neither an answer nor an error, for any type, is an
// error and no panic.
func TestM13NoAnswerIsAnError(t *testing.T) {
	types := []dnssec.Type{dnssec.TypeMX, dnssec.TypeA, dnssec.TypeAAAA, dnssec.TypeTLSA, dnssec.TypeTXT}
	for _, broken := range types {
		f := forged(t)
		f.addHost(t, dnssec.Insecure, "mta-sts.other.example")
		f.add(t, dnssec.Insecure, `_mta-sts.other.example. TXT "v=STSv1; id=1;"`)
		r := newFakeDNS().newResolver(t, Config{})
		r.dns = resolverFunc(func(ctx context.Context, name string, qtype dnssec.Type) (*dnssec.Answer, error) {
			if qtype == broken {
				return nil, nil
			}
			return f.Lookup(ctx, name, qtype)
		})
		for _, domain := range []string{"dane.example", "other.example"} {
			plan, err := r.Resolve(t.Context(), domain)
			var failure *Error
			switch {
			case err != nil && (!errors.As(err, &failure) || failure.Permanent):
				t.Errorf("%s, %v: %v", domain, broken, err)
			case broken == dnssec.TypeMX && err == nil:
				t.Errorf("%s: a route without MX records", domain)
			case broken == dnssec.TypeTLSA && domain == "dane.example" && plan.Err() == nil:
				t.Errorf("%s: no TLSA records", domain)
			}
		}
		resolver := policydns.Resolver{DNS: resolverFunc(func(context.Context, string, dnssec.Type) (*dnssec.Answer, error) { return nil, nil })}
		if _, err := resolver.LookupTXT(t.Context(), "example."); err == nil {
			t.Error("TXT: no error")
		}
		if _, err := resolver.LookupNetIP(t.Context(), "ip", "example."); err == nil {
			t.Error("addresses: no error")
		}
	}
}

// M4: a plan in which hosts with large answers are refused, and its errors, keep names,
// types, status and text, and no answers.
func TestM4RefusedPlanIsSmall(t *testing.T) {
	t.Parallel()
	const hosts, addresses = 12, 500
	f := forged(t)
	var exchanges []string
	for i := range hosts {
		name := fmt.Sprintf("mx%d.hostile.example", i)
		exchanges = append(exchanges, fmt.Sprintf("hostile.example. MX 1 %s.", name))
		var records []string
		for j := range addresses {
			records = append(records, fmt.Sprintf("%s. A 11.%d.%d.%d", name, i, j/250, j%250))
		}
		f.add(t, dnssec.Secure, records...)
		f.fail("_25._tcp."+name, dnssec.TypeTLSA)
	}
	f.add(t, dnssec.Secure, exchanges...)
	r := f.newResolver(t, Config{})
	plan := resolve(t, r, "hostile.example")
	for _, h := range plan.Hosts {
		var failed *dane.Error
		if h.Level != Refused || !errors.As(h.Refusal, &failed) || len(failed.Lookups) == 0 {
			t.Fatalf("%s: %v, %v", h.Name, h.Level, h.Refusal)
		}
		for _, l := range failed.Lookups {
			if l.Answer != nil && (len(l.Answer.Records) > 0 || cap(l.Answer.Records) > 0) {
				t.Errorf("%s %v: an error has %d records", l.Name, l.Type, len(l.Answer.Records))
			}
		}
	}
	if own, shared := plan.size(); own+shared < hosts*1000 || own+shared > hosts*5000 {
		t.Errorf("the size counts as %d and %d", own, shared)
	}
}

// M6: reports to a domain are exempt from what the operator requires, as RFC 8460 section
// 3 wants, and other mail with TLS-Required: No is not.
func TestM6ReportsAreExempt(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]Config{
		"RequireDANE":   {RequireDANE: true},
		"RequireRoute":  {RequireRoute: true},
		"Floor":         {Floor: Authenticated},
		"override":      {Overrides: map[string]Override{"other.example": {RequireDANE: true, Floor: Authenticated}}},
		"host override": {HostOverrides: map[string]HostOverride{"mx.other.example": {Floor: Authenticated}}},
	} {
		r := forged(t).newResolver(t, config)
		if h := resolve(t, r, "other.example", Report()).Hosts[0]; h.Level != Opportunistic {
			t.Errorf("%s: a report is sent at level %v: %v", name, h.Level, h.Refusal)
		}
		if h := resolve(t, r, "other.example", TLSOptional()).Hosts[0]; h.Level == Opportunistic {
			t.Errorf("%s: other mail is exempt", name)
		}
		if h := resolve(t, r, "other.example", Report(), AtLeast(Authenticated)).Hosts[0]; h.Level != Authenticated {
			t.Errorf("%s: AtLeast changes nothing: %v", name, h.Level)
		}
		if h := resolve(t, r, "other.example", Report(), RequireTLS()).Hosts[0]; h.Level != Refused {
			t.Errorf("%s: RequireTLS changes nothing: %v", name, h.Level)
		}
	}
}

// M12: the operator hears when DANE appears, weakens and disappears, also if a lookup
// failed in between, and what happens to MTA-STS policies.
func TestM12OperatorHearsOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const unusable = "0 0 1 0000000000000000000000000000000000000000000000000000000000000000"
		var kinds []EventKind
		store := &changingStore{}
		f := newFakeDNS()
		r := f.newResolver(t, Config{Store: store, OnEvent: func(e Event) {
			if e.Domain != "example.org" && e.Domain != "other.example" || (e.Kind == PolicyEvent) != (e.MTASTS != nil) || (e.Kind == PolicyEvent) == (e.Plan != nil) {
				t.Errorf("%+v", e)
			}
			kinds = append(kinds, e.Kind)
		}})
		for i, step := range []struct {
			mx   dnssec.Status
			tlsa []string // nil: the lookup fails
			want EventKind
		}{
			{dnssec.Secure, []string{}, ""},
			{dnssec.Secure, []string{someKey}, DANEAppeared},
			{dnssec.Secure, []string{someKey}, ""},
			{dnssec.Insecure, []string{someKey}, DANEWeakened},
			{dnssec.Secure, []string{someKey}, ""},
			{dnssec.Secure, nil, ""},
			{dnssec.Secure, []string{unusable}, DANEWeakened},
			{dnssec.Secure, nil, ""},
			{dnssec.Secure, []string{}, DANEDisappeared},
		} {
			f.add(t, step.mx, "other.example. MX 1 mx.other.example.")
			f.addHost(t, dnssec.Secure, "mx.other.example", step.tlsa...)
			if step.tlsa == nil {
				f.fail("_25._tcp.mx.other.example", dnssec.TypeTLSA)
			}
			resolve(t, r, "other.example")
			resolve(t, r, "other.example", RequireTLS())
			var want []EventKind
			if step.want != "" {
				want = []EventKind{step.want}
			}
			if !slices.Equal(kinds, want) {
				t.Errorf("step %d: events %q, want %q", i, kinds, want)
			}
			kinds = nil
			time.Sleep(2 * time.Hour)
		}
		f.add(t, dnssec.Insecure, "example.org. MX 1 mx.other.example.")
		resolve(t, r, "example.org")
		store.set(mtasts.Testing, "mx.example.org")
		if _, _, err := r.MTASTS().Recheck(t.Context(), "example.org"); err != nil || !slices.Equal(kinds, []EventKind{PolicyEvent}) {
			t.Errorf("events %q, %v", kinds, err)
		}
	})
}
