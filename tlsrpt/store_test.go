package tlsrpt_test

import (
	"slices"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var store tlsrpt.MemoryStore
	one := []tlsrpt.PolicyResult{{Policy: noPolicy, Summary: tlsrpt.Summary{Successes: 1}}}
	for _, domain := range []string{"a.example", "b.example", "b.example"} {
		for _, d := range []tlsrpt.Day{today, today + 1} {
			if err := store.Add(ctx, d, domain, one); err != nil {
				t.Fatal(err)
			}
		}
	}
	domains := func(d tlsrpt.Day) (list []string) {
		for domain, err := range store.Domains(ctx, d) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, domain)
		}
		slices.Sort(list)
		return list
	}
	if got := domains(today); !slices.Equal(got, []string{"a.example", "b.example"}) {
		t.Errorf("domains %q", got)
	}
	if got, err := store.Sums(ctx, today, "b.example"); err != nil || len(got) != 1 || got[0].Summary.Successes != 2 {
		t.Errorf("sums %+v, %v", got, err)
	}
	if one[0].Summary.Successes != 1 {
		t.Error("the store wrote to what it was given")
	}
	// Deleting while iterating is allowed.
	for domain := range store.Domains(ctx, today) {
		if err := store.Delete(ctx, today, domain); err != nil {
			t.Error(err)
		}
	}
	if got, err := store.Sums(ctx, today, "b.example"); err != nil || got != nil || domains(today) != nil {
		t.Errorf("after Delete: %+v, %v", got, err)
	}
	if err := store.DeleteBefore(ctx, today+1); err != nil || len(domains(today+1)) != 2 {
		t.Errorf("DeleteBefore: %v, left %q", err, domains(today+1))
	}
	if err := store.DeleteBefore(ctx, today+2); err != nil || domains(today+1) != nil {
		t.Errorf("DeleteBefore: %v, left %q", err, domains(today+1))
	}
}
