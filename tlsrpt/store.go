package tlsrpt

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"
)

// Store keeps the sums of the days until they are reported. [MemoryStore] is
// one; package policy/boltstore has one that outlives restarts. Most programs
// only pass it on and never call it.
//
// Domains are recipient domains in A-labels, lower case, without final dot.
// Methods are safe for concurrent use, also by several programs if the Store is
// shared, and return soon after ctx is done. An error means that nothing is
// known, never that there is nothing.
//
// A Store that several Reporters share must also be a [Leaser], or else each of
// them sends the reports.
type Store interface {
	// Add adds to the sums of a domain and day, all of it or nothing. Additions
	// by several programs are all counted.
	Add(ctx context.Context, day Day, domain string, added []PolicyResult) error
	// Sums returns the sums of a domain and day; none is not an error.
	Sums(ctx context.Context, day Day, domain string) ([]PolicyResult, error)
	// Domains yields the domains that have sums on a day, in any order. An error
	// ends the iteration. The sums of a domain may be deleted meanwhile.
	Domains(ctx context.Context, day Day) iter.Seq2[string, error]
	// Delete removes the sums of a domain and day, which were reported or will
	// never be.
	Delete(ctx context.Context, day Day, domain string) error
	// DeleteBefore removes all sums of the days before day.
	DeleteBefore(ctx context.Context, day Day) error
}

// Leaser is a [Store] that sees to it that of all Reporters that share it one
// sends the reports.
type Leaser interface {
	// Lease gives the right to report to a domain for at most d. ok is false if
	// another Reporter has it. release, not nil if ok, gives it back.
	Lease(ctx context.Context, domain string, d time.Duration) (release func(), ok bool, err error)
}

// maxStoredDomains bounds the domains of a MemoryStore on one day.
const maxStoredDomains = 1 << 20

// ErrStoreFull says that a [Store] takes no more domains.
var ErrStoreFull = errors.New("tlsrpt: the store is full")

// MemoryStore is a [Store] in memory, for programs that need not report what
// was before a restart. The zero value is ready for use.
type MemoryStore struct {
	mu   sync.Mutex
	days map[Day]map[string][]PolicyResult // the slices are never written to
}

// Add implements [Store]. A day takes a million domains.
func (m *MemoryStore) Add(_ context.Context, day Day, domain string, added []PolicyResult) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	domains := m.days[day]
	if domains == nil {
		if m.days == nil {
			m.days = make(map[Day]map[string][]PolicyResult)
		}
		domains = make(map[string][]PolicyResult)
		m.days[day] = domains
	}
	sums, known := domains[domain]
	if !known && len(domains) >= maxStoredDomains {
		return ErrStoreFull
	}
	domains[domain] = MergeResults(domain, sums, added)
	return nil
}

// Sums implements [Store].
func (m *MemoryStore) Sums(_ context.Context, day Day, domain string) ([]PolicyResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.days[day][domain]), nil
}

// Domains implements [Store].
func (m *MemoryStore) Domains(_ context.Context, day Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		m.mu.Lock()
		domains := make([]string, 0, len(m.days[day]))
		for domain := range m.days[day] {
			domains = append(domains, domain)
		}
		m.mu.Unlock()
		for _, domain := range domains {
			if !yield(domain, nil) {
				return
			}
		}
	}
}

// Delete implements [Store].
func (m *MemoryStore) Delete(_ context.Context, day Day, domain string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.days[day], domain)
	if len(m.days[day]) == 0 {
		delete(m.days, day)
	}
	return nil
}

// DeleteBefore implements [Store].
func (m *MemoryStore) DeleteBefore(_ context.Context, day Day) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for known := range m.days {
		if known < day {
			delete(m.days, known)
		}
	}
	return nil
}
