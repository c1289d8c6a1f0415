package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/mtasts"
	"github.com/mxseal/mxseal/policy/internal/hop"
	"github.com/mxseal/mxseal/policy/internal/source"
)

func hostNames(hosts []*Host) []string {
	var list []string
	for _, h := range hosts {
		list = append(list, h.Name)
	}
	return list
}

func TestNullMXAcceptsNoMail(t *testing.T) {
	for _, test := range []struct {
		clause  string
		records []string
		hosts   []string // nil: the domain accepts no mail
	}{
		{"NMX-1 to NMX-3", []string{"example.org. MX 0 ."}, nil},
		{"NMX-5 a lone dot of another preference", []string{"example.org. MX 10 ."}, nil},
		{"several dots", []string{"example.org. MX 0 .", "example.org. MX 10 ."}, nil},
		{"NMX-4 a dot among hosts is unusable", []string{"example.org. MX 0 .", "example.org. MX 10 mx.example.org."}, []string{"mx.example.org"}},
	} {
		t.Run(test.clause, func(t *testing.T) {
			f := newFakeDNS()
			f.add(t, dnssec.Secure, test.records...)
			f.addHost(t, dnssec.Insecure, "mx.example.org")
			f.addHost(t, dnssec.Insecure, "example.org")
			plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
			if test.hosts != nil {
				if err != nil || !slices.Equal(hostNames(plan.Hosts), test.hosts) {
					t.Fatalf("%v, %v", plan, err)
				}
				return
			}
			// NMX-2, NMX-6, NMX-8
			var failure *Error
			if !errors.As(err, &failure) || !failure.Permanent || failure.Code() != 556 || failure.Status != "5.1.10" || !errors.Is(err, ErrNullMX) {
				t.Fatalf("%v", err)
			}
			if f.wasAsked("example.org", dnssec.TypeA) || f.wasAsked("_mta-sts.example.org", dnssec.TypeTXT) {
				t.Errorf("asked for more: %v", f.asked)
			}
		})
	}
}

// oneEntry is a store of policies that has one entry for every domain, or fails.
type oneEntry struct {
	mtasts.Store
	mode mtasts.Mode // empty for no entry
	err  error
}

func (s oneEntry) Get(ctx context.Context, domain string) (mtasts.Entry, error) {
	switch {
	case ctx.Err() != nil:
		return mtasts.Entry{}, ctx.Err()
	case s.err != nil:
		return mtasts.Entry{}, s.err
	case s.mode == "":
		return mtasts.Entry{}, mtasts.ErrNotStored
	}
	text := "version: STSv1\nmode: " + string(s.mode) + "\nmx: mx.example.org\nmax_age: 604800\n"
	now := time.Now()
	return mtasts.Entry{Domain: domain, ID: "1", Text: text, Fetched: now, Expires: now.Add(7 * 24 * time.Hour)}, nil
}

func (oneEntry) Put(context.Context, mtasts.Entry) error { return nil }

// RFC 7672 section 2.2.1, RFC 8461 section 5.1: an answer that is not secure does
// not bounce mail that DANE or a remembered policy protects, nor while it is not
// known whether a policy is remembered.
func TestForgedDenialWaits(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk full")
	for _, test := range []struct {
		name   string
		config Config
		by     Mechanism // 0: the failure is permanent even if the answer is not secure
	}{
		{"no policy", Config{Store: oneEntry{}}, 0},
		{"no store", Config{}, 0},
		{"testing", Config{Store: oneEntry{mode: mtasts.Testing}}, 0},
		{"enforce", Config{Store: oneEntry{mode: mtasts.Enforce}}, ByMTASTS},
		{"enforce, switched off", Config{Store: oneEntry{mode: mtasts.Enforce}, NoMTASTS: true}, 0},
		{"store cannot be read", Config{Store: oneEntry{err: broken}}, ByMTASTS},
		{"store cannot be read, switched off", Config{Store: oneEntry{err: broken}, NoMTASTS: true}, 0},
		{"DANE required", Config{RequireDANE: true}, ByOperator | ByDANE},
	} {
		for _, status := range []dnssec.Status{dnssec.Secure, dnssec.Insecure} {
			f := newFakeDNS()
			f.add(t, status, "null.example. MX 0 .")
			f.add(t, status, "loop.example. MX 1 me.example.")
			f.deny(status, "gone.example", dnssec.TypeMX, true)
			test.config.Self = []string{"me.example"}
			r := f.newResolver(t, test.config)
			for domain, want := range map[string]error{"null.example": ErrNullMX, "loop.example": ErrLoop, "gone.example": ErrNoDomain} {
				_, err := r.Resolve(t.Context(), domain)
				var failure *Error
				if !errors.As(err, &failure) || !errors.Is(err, want) {
					t.Fatalf("%s: %s, %v: %v", test.name, domain, status, err)
				}
				permanent := status == dnssec.Secure || test.by == 0
				if failure.Permanent != permanent || !permanent && (failure.By != test.by || failure.Code() != 451 || failure.EnhancedCode()[0] != 4) {
					t.Errorf("%s: %s, %v: %+v", test.name, domain, status, failure)
				}
			}
		}
	}
}

// A plan is not made for longer than Config.Timeout, nor for callers that have
// left; nor is the store read for them.
func TestStoreIsReadForTheCaller(t *testing.T) {
	t.Parallel()
	f := newFakeDNS()
	f.add(t, dnssec.Insecure, "null.example. MX 0 .")
	r := f.newResolver(t, Config{Store: oneEntry{}})
	q, failure := r.question(request{domain: "null.example"})
	if failure != nil {
		t.Fatal(failure)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, failure := r.findRoute(ctx, &source.Lookups{DNS: r.dns, MTASTS: r.mtasts, Hosts: r.hosts, Now: r.now}, q); failure == nil || failure.Permanent || !errors.Is(failure, context.Canceled) {
		t.Errorf("%+v", failure)
	}
}

// DANE-12, NMX-7, NMX-10: a failed MX lookup is neither an implicit MX nor a
// null MX nor a bounce.
func TestFailedMXLookupWaits(t *testing.T) {
	f := newFakeDNS()
	f.fail("example.org", dnssec.TypeMX)
	f.addHost(t, dnssec.Secure, "example.org")
	_, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	var failure *Error
	if !errors.As(err, &failure) || failure.Permanent || failure.Reason != "" || failure.Code() != 451 {
		t.Fatalf("%v", err)
	}
	if !errors.Is(err, errBroken) {
		t.Errorf("the cause is lost: %v", err)
	}
	if f.wasAsked("example.org", dnssec.TypeA) {
		t.Error("the address of the domain was asked for")
	}
}

func TestMissingMXIsImplicitOrNoDomain(t *testing.T) {
	t.Run("NMX-10 no such domain is permanent", func(t *testing.T) {
		_, err := newFakeDNS().newResolver(t, Config{}).Resolve(t.Context(), "example.org")
		var failure *Error
		if !errors.As(err, &failure) || !failure.Permanent || failure.Status != "5.1.2" || !errors.Is(err, ErrNoDomain) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("NMX-11 DANE-52 field note 6: the implicit MX is a DANE destination", func(t *testing.T) {
		f := newFakeDNS()
		f.deny(dnssec.Secure, "example.org", dnssec.TypeMX, false)
		f.addHost(t, dnssec.Secure, "example.org", someKey)
		plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
		if err != nil || !plan.ImplicitMX || plan.Hosts[0].Name != "example.org" || plan.Hosts[0].By != ByDANE {
			t.Fatalf("%+v, %v", plan, err)
		}
	})
	t.Run("NMX-9 with MX records the domain's own address is no host", func(t *testing.T) {
		f := newFakeDNS()
		f.add(t, dnssec.Insecure, "example.org. MX 10 gone.example.org.")
		f.addHost(t, dnssec.Insecure, "example.org")
		plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
		if err != nil || plan.Err() == nil || plan.Allows("example.org") {
			t.Fatalf("%+v, %v", plan, err)
		}
	})
}

// DANE-36, field note 7: an address in place of an exchange is not connected
// to, and the other hosts are judged on their own.
func TestAddressAsExchangeIsNotDialed(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Secure, "example.org. MX 10 192.0.2.7.", "example.org. MX 20 mx.example.org.", `example.org. MX 5 bad\010name.example.org.`)
	f.addHost(t, dnssec.Secure, "mx.example.org", someKey)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Level{Refused, Refused, Authenticated} {
		if plan.Hosts[i].Level != want {
			t.Errorf("%s: %v, want %v", plan.Hosts[i].Name, plan.Hosts[i].Level, want)
		}
	}
	if f.wasAsked("192.0.2.7", dnssec.TypeA) {
		t.Error("an address was looked up as a name")
	}
}

// DANE-39 to DANE-42, NMX-12.
func TestHostsAreInOrderOfPreference(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Secure,
		"example.org. MX 20 c.example.org.", "example.org. MX 10 a.example.org.", "example.org. MX 10 b.example.org.",
		"example.org. MX 30 dane.example.org.", "example.org. MX 30 A.example.org.")
	for _, name := range []string{"a", "b", "c"} {
		f.addHost(t, dnssec.Insecure, name+".example.org")
	}
	f.addHost(t, dnssec.Secure, "dane.example.org", someKey)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	firsts := map[string]bool{}
	for range 100 {
		order := hostNames(plan.Order())
		if len(order) != 4 || order[2] != "c.example.org" || order[3] != "dane.example.org" {
			t.Fatalf("%v", order)
		}
		firsts[order[0]] = true
	}
	if !firsts["a.example.org"] || !firsts["b.example.org"] {
		t.Errorf("equal preferences are not shuffled: %v", firsts)
	}
}

// RFC 5321 section 5.1, DANE-41: the list ends before the sender's own entry.
func TestSelfEndsTheList(t *testing.T) {
	for _, test := range []struct {
		self string
		want []string // nil: a loop
	}{
		{"elsewhere.example", []string{"a.example.org", "b.example.org", "c.example.org"}},
		{"C.example.org.", []string{"a.example.org", "b.example.org"}},
		{"b.example.org", []string{"a.example.org"}},
		{"a.example.org", nil},
	} {
		f := newFakeDNS()
		f.add(t, dnssec.Insecure, "example.org. MX 1 a.example.org.", "example.org. MX 2 b.example.org.", "example.org. MX 3 c.example.org.")
		plan, err := f.newResolver(t, Config{Self: []string{test.self}}).Resolve(t.Context(), "example.org")
		if test.want == nil {
			var failure *Error
			if !errors.As(err, &failure) || failure.Status != "5.4.6" || !failure.Permanent || !errors.Is(err, ErrLoop) {
				t.Errorf("%s: %v", test.self, err)
			}
			continue
		}
		if err != nil || !slices.Equal(hostNames(plan.Hosts), test.want) {
			t.Errorf("%s: %v, %v", test.self, plan, err)
		}
	}
	// An equal preference goes as well.
	f := newFakeDNS()
	f.add(t, dnssec.Insecure, "example.org. MX 1 a.example.org.", "example.org. MX 1 me.example.org.")
	if _, err := f.newResolver(t, Config{Self: []string{"me.example.org"}}).Resolve(t.Context(), "example.org"); err == nil {
		t.Error("a host of equal preference was kept")
	}
}

// DANE-43, DANE-89 to DANE-91, DANE-94, STS-1: an alias as recipient domain.
func TestAliasedDomainHasNamesOfItsAliases(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Secure, "hosting.example. MX 10 mx.hosting.example.")
	answer := f.answers[key("hosting.example", dnssec.TypeMX)]
	answer.Aliases = []dnssec.Alias{
		{Name: "example.org.", Target: "between.example.", Status: dnssec.Secure},
		{Name: "between.example.", Target: "hosting.example.", Status: dnssec.Secure},
	}
	f.answers[key("example.org", dnssec.TypeMX)] = answer
	f.addHost(t, dnssec.Secure, "mx.hosting.example", someKey)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"mx.hosting.example", "example.org", "hosting.example"}
	if got := plan.Hosts[0].ReferenceNames; !slices.Equal(got, want) {
		t.Errorf("reference names %v, want %v", got, want)
	}

	f = newFakeDNS()
	insecure := *answer
	insecure.Status = dnssec.Insecure
	f.answers[key("example.org", dnssec.TypeMX)] = &insecure
	f.addHost(t, dnssec.Secure, "mx.hosting.example", someKey)
	plan, err = f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.Hosts[0].ReferenceNames; !slices.Equal(got, []string{"mx.hosting.example"}) {
		t.Errorf("DANE-92: reference names %v by an insecure route", got)
	}
	if !f.wasAsked("_mta-sts.example.org", dnssec.TypeTXT) || f.wasAsked("_mta-sts.hosting.example", dnssec.TypeTXT) {
		t.Errorf("the policy domain is the one that the mail is for: %v", f.asked)
	}
}

// A hostile RRset of hundreds of hosts costs no more than the bound.
func TestHostsOfPlanAreBounded(t *testing.T) {
	f := newFakeDNS()
	var records []string
	for i := range 500 {
		records = append(records, fmt.Sprintf("example.org. MX %d mx%d.example.org.", i, i))
	}
	f.add(t, dnssec.Secure, records...)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil || len(plan.Hosts) != hop.MaxHosts || plan.Hosts[0].Name != "mx0.example.org" {
		t.Fatalf("%v %v", plan, err)
	}
	if n := f.lookups.Load(); n > 4*hop.MaxHosts {
		t.Errorf("%d lookups", n)
	}
}

// DANE-2, DANE-3: an answer of a resolver that says nothing of its security is
// no answer.
func TestAnswerWithoutStatusIsNoAnswer(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Indeterminate, "example.org. MX 10 mx.example.org.")
	if plan, err := f.newResolver(t, Config{}).Resolve(context.Background(), "example.org"); err == nil {
		t.Errorf("%+v", plan)
	}
}

// A domain whose list of hosts was cut short does not fail permanently: a host that
// was left out may take the mail.
func TestOmittedHostsMayTakeTheMail(t *testing.T) {
	final := &Error{Permanent: true, Status: "5.3.2"}
	if e := (&Plan{}).Failed(final); !e.Permanent || e.Status != "5.3.2" {
		t.Errorf("all hosts: %v", e)
	}
	if e := (&Plan{omitted: 1}).Failed(final); e.Permanent || e.Status != "4.3.2" {
		t.Errorf("one host left out: %v", e)
	}
}
