package mtasts

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/guarded"
	"github.com/mxseal/mxseal/internal/lack"
	"github.com/mxseal/mxseal/internal/tally"
	"github.com/mxseal/mxseal/mtasts/internal/cause"
	"github.com/mxseal/mxseal/mtasts/internal/memory"
	"github.com/mxseal/mxseal/mtasts/internal/turn"
)

// Stats are numbers for metrics. Counts begin with [New] and never decrease. A Stats is a
// copy. Its numbers are read one after the other, so what happens meanwhile may be in some
// and not in others.
type Stats struct {
	// Fetches of policies, by what came of them.
	Fetches FetchStats
	// NoTurn counts the fetches that were put off, because too much was being fetched at
	// the same time; see Config.MaxFetches.
	NoTurn uint64
	// Store has the calls of the [Store].
	Store StoreStats
	// Events counts the events of each kind. It has all kinds.
	Events map[EventKind]uint64
	// Policies counts the policies in force in memory. It has all modes.
	Policies map[Mode]int
	// Domains are all domains in memory, and Octets what they take.
	Domains, Octets int
	// FailingSince is when the first fetch failed of the policy whose fetches have failed
	// for the longest time; zero if the last fetch of every policy in memory succeeded.
	// Policies of mode none do not count.
	FailingSince time.Time
}

// FetchStats are fetches by what came of them.
type FetchStats struct {
	Changed   Latencies // a policy that was not in force before
	Unchanged Latencies // the policy in force
	DNS       Latencies // the policy host's addresses could not be looked up, or there are none
	Connect   Latencies // no connection to the policy host, or only to addresses that are not permitted
	TLS       Latencies // the handshake failed, or the certificate is not valid
	HTTP      Latencies // another response than a policy
	Invalid   Latencies // the text is not a valid policy
	Timeout   Latencies // Config.FetchTimeout passed
}

// StoreStats are the calls of the [Store], which may be zero.
type StoreStats struct {
	Get, Put, Delete, Lease CallStats
}

// CallStats are calls of one method.
type CallStats struct {
	Latencies        // of all calls
	Failed    uint64 // calls that returned an error other than ErrNotStored
}

// Latencies are numbers of calls by the time that they took.
type Latencies struct {
	Count uint64        // the sum of Buckets
	Total time.Duration // of all calls
	// Buckets counts those that took more than the bound before and at most the bound at
	// the same place of [LatencyBounds]. The last one has no bound.
	Buckets [14]uint64
}

// LatencyBounds returns the bounds of Latencies.Buckets, except for the last bucket: 1, 2,
// 5, 10, 20, 50, 100, 200 and 500 milliseconds, and 1, 2, 5 and 10 seconds.
func LatencyBounds() [13]time.Duration { return tally.Limits() }

// Known is what memory has of a domain that has a policy.
type Known struct {
	Result
	// Own is true if this Client has fetched the policy, and false if it came from the
	// Store.
	Own bool
	// Used is true if the domain was looked up since the policy was fetched. A policy that
	// is not used is not fetched again.
	Used bool
	// FailingSince is when the first fetch since then failed; zero if the last one
	// succeeded. Failed is how many have failed.
	FailingSince time.Time
	Failed       int
}

// Policies yields what memory has of each domain with a policy in force, in no order. What
// only the [Store] has is left out; Store.All yields it. The Client may be used meanwhile.
func (c *Client) Policies() iter.Seq[Known] {
	return func(yield func(Known) bool) {
		now := c.config.Now()
		for s := range c.memory.All(memory.Protected, memory.Large) {
			if !s.inForce(now) {
				continue
			}
			k := Known{Own: s.own, Used: s.used}
			s.report(&k.Result)
			if s.problems.failing() {
				k.FailingSince, k.Failed = s.problems.since, s.problems.failed
			}
			if !yield(k) {
				return
			}
		}
	}
}

// Stats returns what the Client did so far, and what it holds now. It reads all policies in
// memory, which takes some milliseconds for a hundred thousand.
func (c *Client) Stats() Stats {
	f := &c.fetcher.took
	s := Stats{
		Fetches: FetchStats{
			Latencies(f[fetchChanged].Read()), Latencies(f[fetchUnchanged].Read()), Latencies(f[fetchDNS].Read()), Latencies(f[fetchConnect].Read()),
			Latencies(f[fetchTLS].Read()), Latencies(f[fetchHTTP].Read()), Latencies(f[fetchInvalid].Read()), Latencies(f[fetchTimeout].Read()),
		},
		NoTurn:   f[fetchNoTurn].Read().Count,
		Store:    StoreStats{c.storage.gets.stats(), c.storage.puts.stats(), c.storage.deletes.stats(), c.storage.leases.stats()},
		Events:   c.events.numbers(),
		Policies: map[Mode]int{Enforce: 0, Testing: 0, None: 0},
	}
	for _, class := range []memory.Class{memory.Without, memory.BackingOff, memory.Large, memory.Protected} {
		domains, octets := c.memory.Use(class)
		s.Domains, s.Octets = s.Domains+domains, s.Octets+octets
	}
	for k := range c.Policies() {
		s.Policies[k.Policy.Mode]++
		if k.Policy.Mode != None && !k.FailingSince.IsZero() && (s.FailingSince.IsZero() || k.FailingSince.Before(s.FailingSince)) {
			s.FailingSince = k.FailingSince
		}
	}
	return s
}

// fetchOutcome is what came of a fetch.
type fetchOutcome uint8

const (
	fetchChanged fetchOutcome = iota
	fetchUnchanged
	fetchDNS
	fetchConnect
	fetchTLS
	fetchHTTP
	fetchInvalid
	fetchTimeout
	fetchNoTurn
	fetchOutcomes
)

// outcomeOf returns what came of a fetch that ended with err, nil for a policy that was not
// in force before.
func outcomeOf(ctx context.Context, err error) fetchOutcome {
	var invalid *Error
	var dial *guarded.Error
	switch {
	case err == nil:
		return fetchChanged
	case errors.Is(err, turn.ErrNone) || lack.Of(err):
		return fetchNoTurn
	case errors.As(err, &invalid) && invalid.Kind == KindPolicy:
		return fetchInvalid
	case ctx.Err() != nil || cause.IsTimeout(err):
		return fetchTimeout
	case !errors.As(err, &dial):
		return fetchHTTP
	case dial.Step == guarded.Handshake:
		return fetchTLS
	case dial.Step == guarded.Resolve && !errors.Is(err, guarded.ErrSpecialAddress):
		return fetchDNS
	default:
		return fetchConnect
	}
}

// calls counts the calls of a method of the store.
type calls struct {
	took   tally.Histogram
	failed atomic.Uint64
}

// ended counts a call, and the time since it began.
func (c *calls) ended(began time.Time, err error) {
	c.took.Add(time.Since(began))
	if err != nil && !errors.Is(err, ErrNotStored) {
		c.failed.Add(1)
	}
}

func (c *calls) stats() CallStats { return CallStats{Latencies(c.took.Read()), c.failed.Load()} }
