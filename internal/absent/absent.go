// Package absent remembers for which domains a store said that it has no entry.
package absent

import (
	"hash/maphash"
	"sync"
)

// Set is a set of domains, bounded in number: those that were not added or found for
// long are forgotten. It keeps hashes with a secret seed, so two domains are
// confused with a chance of about one in 2^40, which nobody can influence. It is safe
// for concurrent use.
type Set struct {
	seed  maphash.Seed
	limit int // of each generation

	mu         sync.Mutex
	young, old map[uint64]struct{}
}

// NewSet returns an empty Set for at least limit domains.
func NewSet(limit int) *Set {
	return &Set{seed: maphash.MakeSeed(), limit: limit, young: map[uint64]struct{}{}}
}

// Add adds domain.
func (s *Set) Add(domain string) {
	h := maphash.String(s.seed, domain)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(h)
}

// keep is called with mu held. The older generation is forgotten when the younger is
// full.
func (s *Set) keep(h uint64) {
	if _, ok := s.young[h]; !ok && len(s.young) >= s.limit {
		s.young, s.old = map[uint64]struct{}{}, s.young
	}
	s.young[h] = struct{}{}
}

// Has reports whether domain was added and neither removed nor forgotten.
func (s *Set) Has(domain string) bool {
	h := maphash.String(s.seed, domain)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, young := s.young[h]
	_, old := s.old[h]
	if young || old {
		s.keep(h)
	}
	return young || old
}

// Clear removes all domains.
func (s *Set) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.young, s.old = map[uint64]struct{}{}, nil
}

// Remove removes domain.
func (s *Set) Remove(domain string) {
	h := maphash.String(s.seed, domain)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, h)
	delete(s.old, h)
}
