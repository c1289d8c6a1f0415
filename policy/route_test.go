package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/tlsrpt"
)

func hostNames(hosts []*Host) []string {
	var list []string
	for _, h := range hosts {
		list = append(list, h.Name)
	}
	return list
}

func TestNullMX(t *testing.T) {
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

// DANE-12, NMX-7, NMX-10: a failed MX lookup is neither an implicit MX nor a
// null MX nor a bounce.
func TestFailedMXLookupWaits(t *testing.T) {
	f := newFakeDNS()
	f.fail("example.org", dnssec.TypeMX)
	f.addHost(t, dnssec.Secure, "example.org")
	_, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	var failure *Error
	if !errors.As(err, &failure) || failure.Permanent || failure.Reason != tlsrpt.DNSSECInvalid || failure.Code() != 451 {
		t.Fatalf("%v", err)
	}
	if !errors.Is(err, errBroken) {
		t.Errorf("the cause is lost: %v", err)
	}
	if f.wasAsked("example.org", dnssec.TypeA) {
		t.Error("the address of the domain was asked for")
	}
}

func TestMXThatDoNotExist(t *testing.T) {
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
func TestAddressAsExchange(t *testing.T) {
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
func TestPreferences(t *testing.T) {
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
func TestAliasedDomain(t *testing.T) {
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
func TestTooManyHosts(t *testing.T) {
	f := newFakeDNS()
	var records []string
	for i := range 500 {
		records = append(records, fmt.Sprintf("example.org. MX %d mx%d.example.org.", i, i))
	}
	f.add(t, dnssec.Secure, records...)
	plan, err := f.newResolver(t, Config{}).Resolve(t.Context(), "example.org")
	if err != nil || len(plan.Hosts) != maxHosts || plan.Hosts[0].Name != "mx0.example.org" {
		t.Fatalf("%v %v", plan, err)
	}
	if n := f.lookups.Load(); n > 4*maxHosts {
		t.Errorf("%d lookups", n)
	}
}

// DANE-2, DANE-3: an answer of a resolver that says nothing of its security is
// no answer.
func TestAnswerWithoutStatus(t *testing.T) {
	f := newFakeDNS()
	f.add(t, dnssec.Indeterminate, "example.org. MX 10 mx.example.org.")
	if plan, err := f.newResolver(t, Config{}).Resolve(context.Background(), "example.org"); err == nil {
		t.Errorf("%+v", plan)
	}
}
