package reporter_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// batchStore keeps the number of domains of each batch. It refuses batches with a domain.
type batchStore struct {
	reporter.MemoryStore
	refused string
	batches []int
}

func (s *batchStore) Add(ctx context.Context, b *reporter.Batch) error {
	s.batches = append(s.batches, len(b.Sums))
	if slices.ContainsFunc(b.Sums, func(d reporter.DomainSums) bool { return d.Domain == s.refused }) {
		return reporter.ErrStoreFull
	}
	return s.MemoryStore.Add(ctx, b)
}

// limitedStore takes batches of at most 300 domains.
type limitedStore struct{ batchStore }

func (*limitedStore) MaxBatch() int { return 300 }

func recordMany(a *reporter.Aggregator, domains int) {
	for i := range domains {
		s := session(met(tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: "example.com"}))
		s.Domain = fmt.Sprintf("d%d.example", i)
		a.Record(s)
	}
}

// C1: a flush is one batch of up to 10,000 domains, or as many as the Store takes.
func TestC1FlushIsOneBatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		limited bool
		domains int
		want    []int
	}{
		{false, 10_000, []int{10_000}},
		{false, 10_001, []int{10_000, 1}},
		{true, 700, []int{300, 300, 100}},
	} {
		store := new(limitedStore)
		var target reporter.Store = &store.batchStore
		if tt.limited {
			target = store
		}
		a := newAggregator(t, reporter.AggregatorConfig{Store: target})
		recordMany(a, tt.domains)
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(store.batches, tt.want) {
			t.Errorf("%d domains, limited: %v: batches of %v domains, want %v", tt.domains, tt.limited, store.batches, tt.want)
		}
	}
}

// C1: if the Store has no room for one domain of many, that one is dropped, with few
// batches.
func TestC1DomainWithoutRoomIsDropped(t *testing.T) {
	t.Parallel()
	const domains = 1000
	store := &batchStore{refused: "d321.example"}
	a := newAggregator(t, reporter.AggregatorConfig{Store: store})
	recordMany(a, domains)
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, err := range store.Domains(t.Context(), today) {
		if err != nil {
			t.Fatal(err)
		}
		stored++
	}
	if stored != domains-1 || a.Dropped() != 1 || len(store.batches) > 25 {
		t.Errorf("%d domains are stored and %d outcomes dropped, in %d batches", stored, a.Dropped(), len(store.batches))
	}
}
