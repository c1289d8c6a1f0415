// Package mark tells at almost no cost that nothing has changed about a domain.
package mark

import (
	"hash/maphash"
	"sync/atomic"
)

// Marks counts the changes of domains. Several domains share a counter. It is safe for
// concurrent use.
type Marks struct {
	seed     maphash.Seed
	counters [1 << 12]atomic.Uint32
}

// Mark is a moment in the life of a domain.
type Mark struct {
	counter *atomic.Uint32
	seen    uint32
}

// New returns Marks.
func New() *Marks { return &Marks{seed: maphash.MakeSeed()} }

// Of returns a Mark that is unchanged now.
func (m *Marks) Of(domain string) Mark {
	c := m.counter(domain)
	return Mark{c, c.Load()}
}

// Change is called after a change of domain.
func (m *Marks) Change(domain string) { m.counter(domain).Add(1) }

// ChangeAll is called after any domain may have changed.
func (m *Marks) ChangeAll() {
	for i := range m.counters {
		m.counters[i].Add(1)
	}
}

func (m *Marks) counter(domain string) *atomic.Uint32 {
	return &m.counters[maphash.String(m.seed, domain)%uint64(len(m.counters))]
}

// Unchanged reports whether there was no change of the domain since, nor of another one
// with the same counter. It is false for the zero Mark.
func (m Mark) Unchanged() bool { return m.counter != nil && m.counter.Load() == m.seen }
