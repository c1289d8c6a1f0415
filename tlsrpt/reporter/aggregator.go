package reporter

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter/internal/sums"
)

// Aggregator is a [tlsrpt.Recorder] that counts sessions by UTC day, recipient domain
// and policy, and passes the sums to a [Store]. Its methods are safe for concurrent
// use. It holds resources only while Run is running.
//
// A domain may have a thousand distinct failures and 256 distinct policies a day, and
// 256 KiB of texts. Further ones are counted as one for each type, with the reason code
// [DetailsOmitted], because mail hosts choose some of the values that distinguish
// them. No session is omitted from the totals.
//
// The sums that wait for the Store are limited by AggregatorConfig.MaxOctets. While half of
// that is in use, all that is new is counted without texts; the totals come last.
type Aggregator struct {
	config  AggregatorConfig
	seed    maphash.Seed
	room    *sums.Room
	shards  [aggregatorShards]shard
	dropped atomic.Int64
	outbox  outbox
}

const (
	aggregatorShards = 64
	defaultMaxOctets = 256 << 20
	minMaxOctets     = 1 << 20
)

// shard has some of the domains, so that sessions with different domains rarely
// compete for a lock.
type shard struct {
	mu      sync.RWMutex // RLock suffices for counting in a known tally
	tallies map[dayDomain]*sums.Tally
	_       [64]byte // keeps the lock of the next shard in another cache line
}

type dayDomain struct {
	day    report.Day
	domain string
}

// DetailsOmitted is the reason code of the sum of several failures of one type that
// were too many to be listed one by one.
const DetailsOmitted = sums.DetailsOmitted

// AggregatorConfig configures an [Aggregator]. NewAggregator reads it once.
type AggregatorConfig struct {
	// Store receives the sums. It is required.
	Store Store
	// MaxOctets limits the memory for the sums that wait for the Store, with those of the
	// last second. 0 means 256 MiB, enough for the totals of 300,000 domains. The minimum is
	// 1 MiB.
	MaxOctets int
	// Now is the clock for sessions without a time. nil means time.Now.
	Now func() time.Time
	// Logger logs errors of the Store. nil means that nothing is logged.
	Logger *slog.Logger
}

// NewAggregator returns an Aggregator. It passes sums to the Store only in Run and
// Flush. NewAggregator returns an error if config has no Store, or MaxOctets is below its
// minimum.
func NewAggregator(config AggregatorConfig) (*Aggregator, error) {
	if config.Store == nil {
		return nil, errors.New("reporter: AggregatorConfig.Store is required")
	}
	if config.MaxOctets != 0 && config.MaxOctets < minMaxOctets {
		return nil, fmt.Errorf("reporter: AggregatorConfig.MaxOctets is less than %d; 0 means the default", minMaxOctets)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Aggregator{
		config: config, seed: maphash.MakeSeed(), outbox: outbox{writer: rand.Text()},
		room: sums.NewRoom(cmp.Or(config.MaxOctets, defaultMaxOctets)),
	}
	for i := range a.shards {
		a.shards[i].tallies = make(map[dayDomain]*sums.Tally)
	}
	return a, nil
}

// Record counts a session. It does no I/O and does not wait for the Store. It
// allocates only for outcomes that were not counted recently. A session that carries
// a report, or has a malformed domain, is not counted.
func (a *Aggregator) Record(s *tlsrpt.Session) {
	if s.CarriesReport || len(s.Outcomes) == 0 {
		return
	}
	when := s.Time
	if when.IsZero() {
		when = a.config.Now()
	}
	key := dayDomain{report.DayOf(when), s.Domain}
	if known := a.countKnown(key, s); known < len(s.Outcomes) {
		a.countNew(key, s, s.Outcomes[known:])
	}
}

// Dropped returns the number of outcomes that were not counted because MaxOctets were in
// use, or because the Store was full.
func (a *Aggregator) Dropped() int64 { return a.dropped.Load() }

// shard returns the shard of a canonical domain.
func (a *Aggregator) shard(domain string) *shard {
	return &a.shards[maphash.String(a.seed, domain)%aggregatorShards]
}

// countKnown counts the outcomes before the first new one, and returns their number.
func (a *Aggregator) countKnown(key dayDomain, s *tlsrpt.Session) int {
	shard := a.shard(key.domain)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	t := shard.tallies[key]
	if t == nil {
		return 0
	}
	for i := range s.Outcomes {
		if !t.Count(s, &s.Outcomes[i]) {
			return i
		}
	}
	return len(s.Outcomes)
}

// drain returns the sums since the last call. It keeps the tallies of the domains
// that have some, so that their next sessions are counted quickly.
func (s *shard) drain() []DomainSums {
	s.mu.Lock()
	defer s.mu.Unlock()
	var drained []DomainSums
	for key, t := range s.tallies {
		if results := t.Drain(); len(results) > 0 {
			drained = append(drained, DomainSums{key.day, key.domain, results})
		} else {
			delete(s.tallies, key)
			t.Release()
		}
	}
	return drained
}

// countNew counts outcomes that are new in part, or are not in canonical form.
func (a *Aggregator) countNew(key dayDomain, s *tlsrpt.Session, outcomes []tlsrpt.Outcome) {
	domain, err := names.Canonical(key.domain)
	if err != nil {
		return
	}
	key.domain = domain
	shard := a.shard(key.domain)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	t := shard.tallies[key]
	if t == nil {
		if t = sums.New(a.seed, key.domain, a.room); t == nil {
			a.dropped.Add(int64(len(outcomes)))
			return
		}
		key.domain = t.Domain() // the other one may be part of a long text
		shard.tallies[key] = t
	}
	for i := range outcomes {
		if !t.CountNew(s, &outcomes[i]) {
			a.dropped.Add(1)
		}
	}
}

// MergeResults returns the total of two sums of the same domain and day, within the
// limits of what is counted for one domain. It is for a [Store] that keeps the sums
// of a domain in one piece. The total has the texts of the sums, not copies.
func MergeResults(domain string, before, added []report.PolicyResult) []report.PolicyResult {
	return sums.Merged(domain, before, added)
}
