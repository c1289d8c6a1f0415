package reporter

import (
	"cmp"
	"context"
	"crypto/rand"
	"hash/maphash"
	"iter"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter/internal/sums"
)

// defaultStoredOctets is the default of MemoryStore.MaxOctets.
const defaultStoredOctets = 256 << 20

// MemoryStore is a [Store] in memory, for programs that may lose the sums of a day
// at a restart. It is also a [Leaser], for several Reporters in one program. The
// zero value is ready for use. Its methods are safe for concurrent use.
//
// The sums of a domain and day are limited as those of an [Aggregator].
type MemoryStore struct {
	// MaxOctets limits the memory of all sums. When half of it is in use, new policies and
	// failures are counted by type, without their text. When all is, no domains are added.
	// It must not be changed after the first call of Add. 0 means 256 MiB, enough for the
	// totals of 300,000 domains.
	MaxOctets int

	mu      sync.Mutex
	seed    maphash.Seed
	room    *sums.Room
	days    map[report.Day]map[string]*domainDay
	writers map[string]int64 // the last Number of each Writer
	leases  map[dayDomain]*memoryLease
	before  *report.Day // of the last call of DeleteBefore
	id      string      // empty if nobody has asked for it
	running int         // leases that had not ended when the others were deleted last
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

// domainDay has the sums of a domain and day.
type domainDay struct {
	sealed *sums.Tally // the part with the number ended; nil if no part is sealed
	open   *sums.Tally // added since; nil for nothing
	ended  int         // number of parts that were sealed
}

// next returns the part that is to be reported next.
func (d *domainDay) next() Part {
	switch {
	case d.sealed != nil:
		return Part{d.ended, d.sealed.Results()}
	case d.open != nil:
		return Part{d.ended + 1, d.open.Results()}
	default:
		return Part{}
	}
}

// removeSealed removes the sealed part.
func (d *domainDay) removeSealed() {
	if d.sealed != nil {
		d.sealed.Release()
		d.sealed = nil
	}
}

// Add implements [Store].
func (m *MemoryStore) Add(_ context.Context, b *Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writers == nil {
		m.seed, m.room = maphash.MakeSeed(), sums.NewRoom(cmp.Or(m.MaxOctets, defaultStoredOctets))
		m.writers = make(map[string]int64)
		m.days = make(map[report.Day]map[string]*domainDay)
	}
	if b.Number <= m.writers[b.Writer] {
		return nil
	}
	needed := 0
	for i := range b.Sums {
		needed += sums.Least(b.Sums[i].Domain, b.Sums[i].Results)
	}
	if !m.room.Has(needed) && !m.knowsAll(b.Sums) {
		return ErrStoreFull
	}
	for i := range b.Sums {
		m.add(&b.Sums[i])
	}
	m.writers[b.Writer] = b.Number
	return nil
}

// knowsAll reports whether what is added needs no room: there are sums of all domains, and
// of their policies and failures, at least by type.
func (m *MemoryStore) knowsAll(all []DomainSums) bool {
	for i := range all {
		d := m.days[all[i].Day][all[i].Domain]
		if d == nil || d.open == nil || !d.open.Knows(all[i].Results) {
			return false
		}
	}
	return true
}

// add adds sums, for which there is room.
func (m *MemoryStore) add(added *DomainSums) {
	domains := m.days[added.Day]
	if domains == nil {
		domains = make(map[string]*domainDay)
		m.days[added.Day] = domains
	}
	d := domains[added.Domain]
	if d == nil {
		d = new(domainDay)
		domains[strings.Clone(added.Domain)] = d
	}
	if d.open == nil {
		d.open = sums.New(m.seed, added.Domain, m.room)
	}
	d.open.Merge(added.Results)
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
		if d.sealed != nil || d.open != nil {
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
	return d.next(), nil
}

// Seal implements [Store].
func (m *MemoryStore) Seal(_ context.Context, day report.Day, domain string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.days[day][domain]
	if d == nil {
		return 0, nil
	}
	if d.sealed == nil && d.open != nil {
		d.sealed, d.open = d.open, nil
		d.ended++
	}
	if d.sealed == nil {
		return 0, nil
	}
	return d.ended, nil
}

// Delete implements [Store].
func (m *MemoryStore) Delete(_ context.Context, day report.Day, domain string, number int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.days[day][domain]; d != nil && d.ended == number {
		d.removeSealed()
	}
	return nil
}

// DeleteBefore implements [Store]. It deletes only what the call before has asked for too,
// because a clock that jumps for a moment must not delete sums.
func (m *MemoryStore) DeleteBefore(_ context.Context, day report.Day) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := m.before
	m.before = &day
	if asked == nil {
		return nil
	}
	for known, domains := range m.days {
		if known >= min(day, *asked) {
			continue
		}
		for _, d := range domains {
			d.removeSealed()
			if d.open != nil {
				d.open.Release()
			}
		}
		delete(m.days, known)
	}
	for key := range m.leases {
		if key.day < min(day, *asked) {
			delete(m.leases, key)
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
