package reporter

import (
	"crypto/rand"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// Aggregator is a [tlsrpt.Recorder] that counts sessions by UTC day, recipient domain
// and policy, and passes the sums to a [Store]. Its methods are safe for concurrent
// use. It holds resources only while Run is running.
//
// A domain may have a thousand distinct failures and 256 distinct policies a day.
// Further ones are counted as one for each type, with the reason code
// [DetailsOmitted], because mail hosts choose some of the values that distinguish
// them. No session is omitted from the totals.
type Aggregator struct {
	config  AggregatorConfig
	seed    maphash.Seed
	shards  [aggregatorShards]shard
	dropped atomic.Int64
	outbox  outbox
}

const (
	aggregatorShards = 64
	// maxShardDomains limits the domains that wait for the Store.
	maxShardDomains = maxStoredDomains / aggregatorShards
)

// shard has some of the domains, so that sessions with different domains rarely
// compete for a lock.
type shard struct {
	mu      sync.RWMutex // RLock suffices for counting in a known tally
	tallies map[dayDomain]*tally
	_       apart // from the lock of the next shard
}

type dayDomain struct {
	day    report.Day
	domain string
}

// AggregatorConfig configures an [Aggregator]. NewAggregator reads it once.
type AggregatorConfig struct {
	// Store receives the sums. It is required.
	Store Store
	// Now is the clock for sessions without a time. nil means time.Now.
	Now func() time.Time
	// Logger logs errors of the Store. nil means that nothing is logged.
	Logger *slog.Logger
}

// NewAggregator returns an Aggregator. It passes sums to the Store only in Run and
// Flush. NewAggregator returns an error if config has no Store.
func NewAggregator(config AggregatorConfig) (*Aggregator, error) {
	if config.Store == nil {
		return nil, errors.New("reporter: AggregatorConfig.Store is required")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Aggregator{config: config, seed: maphash.MakeSeed(), outbox: outbox{writer: rand.Text()}}
	for i := range a.shards {
		a.shards[i].tallies = make(map[dayDomain]*tally)
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

// Dropped returns the number of outcomes that were not counted because a million
// domains waited for the Store, or because the Store was full.
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
		if !t.count(s, &s.Outcomes[i]) {
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
		if results := t.drain(); len(results) > 0 {
			drained = append(drained, DomainSums{key.day, key.domain, results})
		} else {
			delete(s.tallies, key)
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
	t := shard.tally(a.seed, key)
	if t == nil {
		a.dropped.Add(int64(len(outcomes)))
		return
	}
	for i := range outcomes {
		t.countNew(s, &outcomes[i])
	}
}

// tally returns the tally of a domain. It adds one if there is room, and otherwise
// returns nil.
func (s *shard) tally(seed maphash.Seed, key dayDomain) *tally {
	known := s.tallies[key]
	if known == nil && len(s.tallies) < maxShardDomains {
		known = newTally(seed, key.domain)
		s.tallies[key] = known
	}
	return known
}
