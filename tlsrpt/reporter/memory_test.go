package reporter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy/storetest"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

func TestMemoryStoreIsAStore(t *testing.T) {
	t.Parallel()
	stores := make(map[string]*reporter.MemoryStore)
	storetest.Reports(t, func(_ *testing.T, name string) reporter.Store {
		if stores[name] == nil {
			stores[name] = new(reporter.MemoryStore)
		}
		return stores[name]
	})
}

// A lease expires, so a domain gets its report even if the Reporter that held
// the lease has died.
func TestMemoryStoreLeaseEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var store reporter.MemoryStore
		first, ok, err := store.Lease(t.Context(), today, "example.com", time.Minute)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		time.Sleep(time.Minute - 1)
		if _, ok, _ := store.Lease(t.Context(), today, "example.com", time.Minute); ok {
			t.Error("a lease before the end of the first")
		}
		time.Sleep(time.Nanosecond)
		if _, ok, _ := store.Lease(t.Context(), today, "example.com", time.Minute); !ok {
			t.Error("no lease after the end of the first")
		}
		first()
		if _, ok, _ := store.Lease(t.Context(), today, "example.com", time.Minute); ok {
			t.Error("releasing the first lease ended the second")
		}
	})
}

// R6: when half of the memory is in use, sessions are counted by type, without texts. When
// all is, no domain is added, and sessions with known domains are still counted. What is
// reported or too old makes room again.
func TestR6MemoryStoreIsBounded(t *testing.T) {
	t.Parallel()
	store := reporter.MemoryStore{MaxOctets: 1 << 20}
	number := int64(0)
	add := func(domain string) error {
		number++
		r := report.PolicyResult{Policy: stsPolicy, Summary: report.Summary{Failures: 1}, Details: []report.Detail{detail(selfSigned, 1)}}
		r.Policy.Domain = domain
		r.Policy.Strings = append([]string{strings.Repeat("x", 5000)}, r.Policy.Strings...)
		return store.Add(t.Context(), &reporter.Batch{Writer: "w", Number: number, Sums: []reporter.DomainSums{
			{Day: today, Domain: domain, Results: []report.PolicyResult{r}},
		}})
	}
	name := func(i int) string { return fmt.Sprintf("d%d.example", i) }
	total, firstWithout := 0, 0
	for ; add(name(total)) == nil; total++ {
		part, err := store.Sums(t.Context(), today, name(total))
		if err != nil || len(part.Sums) != 1 || part.Sums[0].Summary.Failures != 1 {
			t.Fatalf("%+v, %v", part, err)
		}
		isWithout := len(part.Sums[0].Policy.Strings) == 0
		if isWithout && firstWithout == 0 {
			firstWithout = total
		}
		if isWithout != (firstWithout > 0) {
			t.Fatalf("domain %d has a text, and domain %d has none", total, firstWithout)
		}
	}
	if firstWithout < 50 || firstWithout > 150 || total < firstWithout+300 || total > firstWithout+1000 {
		t.Errorf("%d domains are accepted, the last with a text is %d", total, firstWithout-1)
	}
	for _, i := range []int{0, total - 1} {
		if err := add(name(i)); err != nil {
			t.Errorf("a known domain: %v", err)
		}
	}
	if err := add(name(total)); !errors.Is(err, reporter.ErrStoreFull) {
		t.Errorf("error %v, want ErrStoreFull", err)
	}
	for i := range 10 {
		number, err := store.Seal(t.Context(), today, name(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Delete(t.Context(), today, name(i), number); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(name(total)); err != nil {
		t.Errorf("after ten reports: %v", err)
	}
	for range 2 {
		if err := store.DeleteBefore(t.Context(), today+1); err != nil {
			t.Fatal(err)
		}
	}
	for i := range total {
		if err := add(name(i)); err != nil {
			t.Fatalf("domain %d of another day: %v", i, err)
		}
	}
}
