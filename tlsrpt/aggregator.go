package tlsrpt

import (
	"crypto/rand"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Aggregator is a [Recorder] that counts sessions by UTC day, recipient domain
// and policy, and hands the sums to a [Store]. Its methods are safe for
// concurrent use.
//
// A domain may have a thousand distinct failures and 256 distinct policies a
// day. Since mail hosts choose part of what tells these apart, what goes beyond
// is summed up by type, with the reason code [DetailsOmitted]; no session is left
// out of the totals.
type Aggregator struct {
	cfg     AggregatorConfig
	seed    maphash.Seed
	shards  [aggregatorShards]shard
	dropped atomic.Int64
	outbox  outbox
}

const (
	aggregatorShards = 64
	// maxShardDomains bounds the domains that wait for the Store.
	maxShardDomains = maxStoredDomains / aggregatorShards
)

// shard has some of the domains, so that sessions with different ones seldom
// meet at a lock.
type shard struct {
	mu      sync.RWMutex // for counting what is known, RLock is enough
	tallies map[dayDomain]*tally
	_       apart // from the lock of the next shard
}

type dayDomain struct {
	day    Day
	domain string
}

// AggregatorConfig says where an [Aggregator] hands its sums.
type AggregatorConfig struct {
	// Store takes the sums. It is required.
	Store Store
	// Now is the clock for sessions without a time; nil stands for time.Now.
	Now func() time.Time
	// Logger is told when the Store does not take sums; nil tells nobody.
	Logger *slog.Logger
}

// NewAggregator returns an Aggregator. It hands nothing to the Store by itself:
// that is done by Run and Flush.
func NewAggregator(cfg AggregatorConfig) *Aggregator {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Aggregator{cfg: cfg, seed: maphash.MakeSeed(), outbox: outbox{writer: rand.Text()}}
	for i := range a.shards {
		a.shards[i].tallies = make(map[dayDomain]*tally)
	}
	return a
}

// Record counts a session. It does no I/O, and neither blocks nor allocates if
// one like it was counted since the flush before the last. A session that
// carries a report, or whose domain is none, is not counted.
func (a *Aggregator) Record(s *Session) {
	if s.CarriesReport || len(s.Outcomes) == 0 {
		return
	}
	when := s.Time
	if when.IsZero() {
		when = a.cfg.Now()
	}
	key := dayDomain{DayOf(when), s.Domain}
	if known := a.countKnown(key, s); known < len(s.Outcomes) {
		a.countNew(key, s, s.Outcomes[known:])
	}
}

// Dropped returns how many outcomes were not counted because a million domains
// waited for the Store, or because the Store was full.
func (a *Aggregator) Dropped() int64 { return a.dropped.Load() }

// shard returns the shard of a canonical domain.
func (a *Aggregator) shard(domain string) *shard {
	return &a.shards[maphash.String(a.seed, domain)%aggregatorShards]
}

// countKnown counts the outcomes up to the first that is new, and returns how
// many these are.
func (a *Aggregator) countKnown(key dayDomain, s *Session) int {
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

// drain returns what was counted since the last time. The tallies of domains with
// sessions meanwhile stay, so that counting the next one is quick.
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

// countNew counts outcomes of which something is new, or is not in canonical
// form.
func (a *Aggregator) countNew(key dayDomain, s *Session, outcomes []Outcome) {
	if key.domain = canonicalName(key.domain); key.domain == "" {
		return
	}
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

// tally returns the tally of a domain, which is made if there is room for it.
func (s *shard) tally(seed maphash.Seed, key dayDomain) *tally {
	known := s.tallies[key]
	if known == nil && len(s.tallies) < maxShardDomains {
		known = newTally(seed, key.domain)
		s.tallies[key] = known
	}
	return known
}
