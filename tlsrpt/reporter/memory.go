package reporter

import (
	"context"
	"crypto/rand"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

// maxStoredDomains limits the domains of a MemoryStore on one day.
const maxStoredDomains = 1 << 20

// MemoryStore is a [Store] in memory, for programs that may lose the sums of a day
// at a restart. It is also a [Leaser], for several Reporters in one program. The
// zero value is ready for use. Its methods are safe for concurrent use.
type MemoryStore struct {
	mu      sync.Mutex
	days    map[report.Day]map[string]*domainDay
	writers map[string]int64 // the last Number of each Writer
	leases  map[dayDomain]*memoryLease
	running int    // leases that had not ended when the others were deleted last
	id      string // empty if nobody has asked for it
}

// ID implements [Identifier].
func (m *MemoryStore) ID(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id == "" {
		m.id = rand.Text()[:12]
	}
	return m.id, nil
}

// domainDay has the sums of a domain and day. The slices are read-only.
type domainDay struct {
	sealed Part                  // Number is 0 if no part is sealed
	open   []report.PolicyResult // added since
	ended  int                   // number of parts that were sealed
}

func (d *domainDay) isEmpty() bool { return d.sealed.Number == 0 && len(d.open) == 0 }

// next returns the part that is to be reported next.
func (d *domainDay) next() Part {
	switch {
	case d.sealed.Number > 0:
		return d.sealed
	case len(d.open) > 0:
		return Part{d.ended + 1, d.open}
	default:
		return Part{}
	}
}

// Add implements [Store]. The store accepts a million domains for each day.
func (m *MemoryStore) Add(_ context.Context, b *Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writers == nil {
		m.writers = make(map[string]int64)
		m.days = make(map[report.Day]map[string]*domainDay)
	}
	if b.Number <= m.writers[b.Writer] {
		return nil
	}
	if !m.hasRoom(b.Sums) {
		return ErrStoreFull
	}
	for _, added := range b.Sums {
		d := m.domainDay(added.Day, added.Domain)
		d.open = MergeResults(added.Domain, d.open, added.Results)
	}
	m.writers[b.Writer] = b.Number
	return nil
}

func (m *MemoryStore) hasRoom(sums []DomainSums) bool {
	unknown := make(map[report.Day]int)
	for _, added := range sums {
		if domains := m.days[added.Day]; domains[added.Domain] == nil {
			unknown[added.Day]++
			if len(domains)+unknown[added.Day] > maxStoredDomains {
				return false
			}
		}
	}
	return true
}

func (m *MemoryStore) domainDay(day report.Day, domain string) *domainDay {
	domains := m.days[day]
	if domains == nil {
		domains = make(map[string]*domainDay)
		m.days[day] = domains
	}
	if domains[domain] == nil {
		domains[domain] = new(domainDay)
	}
	return domains[domain]
}

// Domains implements [Store].
func (m *MemoryStore) Domains(_ context.Context, day report.Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, domain := range m.domains(day) {
			if !yield(domain, nil) {
				return
			}
		}
	}
}

func (m *MemoryStore) domains(day report.Day) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var domains []string
	for domain, d := range m.days[day] {
		if !d.isEmpty() {
			domains = append(domains, domain)
		}
	}
	return domains
}

// Sums implements [Store].
func (m *MemoryStore) Sums(_ context.Context, day report.Day, domain string) (Part, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.days[day][domain]
	if d == nil {
		return Part{}, nil
	}
	return clonePart(d.next()), nil
}

// Seal implements [Store].
func (m *MemoryStore) Seal(_ context.Context, day report.Day, domain string) (Part, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.days[day][domain]
	if d == nil {
		return Part{}, nil
	}
	if d.sealed.Number == 0 && len(d.open) > 0 {
		d.sealed, d.open = d.next(), nil
		d.ended++
	}
	return clonePart(d.sealed), nil
}

// clonePart copies a part for the caller.
func clonePart(p Part) Part {
	p.Sums = slices.Clone(p.Sums)
	return p
}

// Delete implements [Store].
func (m *MemoryStore) Delete(_ context.Context, day report.Day, domain string, number int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.days[day][domain]; d != nil && d.sealed.Number == number {
		d.sealed = Part{}
	}
	return nil
}

// DeleteBefore implements [Store].
func (m *MemoryStore) DeleteBefore(_ context.Context, day report.Day) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for known := range m.days {
		if known < day {
			delete(m.days, known)
		}
	}
	return nil
}

// maxEndedLeases is the number of leases that may be kept although they have ended.
const maxEndedLeases = 1 << 12

// memoryLease is compared by its address, so that releasing an expired lease does not
// release the next one.
type memoryLease struct{ until time.Time }

// Lease implements [Leaser].
func (m *MemoryStore) Lease(_ context.Context, day report.Day, domain string, d time.Duration) (release func(), ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key, now := dayDomain{day, domain}, time.Now()
	if held := m.leases[key]; held != nil && now.Before(held.until) {
		return nil, false, nil
	}
	if m.leases == nil {
		m.leases = make(map[dayDomain]*memoryLease)
	}
	if len(m.leases) > maxEndedLeases && len(m.leases) > 2*m.running {
		maps.DeleteFunc(m.leases, func(_ dayDomain, held *memoryLease) bool { return !now.Before(held.until) })
		m.running = len(m.leases)
	}
	lease := &memoryLease{now.Add(d)}
	m.leases[key] = lease
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.leases[key] == lease {
			delete(m.leases, key)
		}
	}, true, nil
}
