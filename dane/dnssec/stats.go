package dnssec

import (
	"time"

	"github.com/mxseal/mxseal/dane/dnssec/internal/private"
	"github.com/mxseal/mxseal/dane/dnssec/internal/upstream"
	"github.com/mxseal/mxseal/internal/tally"
)

// Stats are numbers for metrics. Counts begin when the Validator or Trusting is made and
// never decrease. A Stats is a copy. Its numbers are read one after the other, so lookups
// that end meanwhile may be in some and not in others.
type Stats struct {
	// Cached counts lookups that the cache answered, including those that failed
	// because it has a failure. All others are counted by their outcome. Of equal
	// lookups at the same time each is counted.
	Cached uint64
	// Secure and Insecure are answers of that status.
	Secure, Insecure Latencies
	// Bogus are errors of that status.
	Bogus Latencies
	// Failed are all errors that the other fields do not count.
	Failed Latencies
	// Busy are errors with that reason.
	Busy Latencies
	// Canceled are lookups whose caller stopped waiting. A caller whose context ends by
	// its deadline counts as Failed.
	Canceled Latencies
	// Servers are those that are asked now, in the order of the configuration, and then
	// those of private zones, in any order.
	Servers []ServerStats
	// InUse is what the lookups hold now. Its fields do not exceed the Bounds.
	InUse Bounds
}

// Latencies are numbers of lookups by the time that their callers waited.
type Latencies struct {
	Count uint64        // the sum of Buckets
	Total time.Duration // of all lookups
	// Buckets counts those that took more than the bound before and at most the bound at
	// the same place of [LatencyBounds]. The last one has no bound.
	Buckets [14]uint64
}

// LatencyBounds returns the bounds of Latencies.Buckets, except for the last bucket: 1, 2,
// 5, 10, 20, 50, 100, 200 and 500 milliseconds, and 1, 2, 5 and 10 seconds.
func LatencyBounds() [13]time.Duration { return tally.Limits() }

// ServerStats are the queries to one server.
type ServerStats struct {
	Server string // in the form of Config.Servers
	// Zone is the private zone that the server is asked about, with final dot, or empty.
	Zone string
	// Queries are those that were sent. A question that was given up, because its lookup
	// ended without its reply, is in none of the other fields.
	Queries  uint64
	Replies  uint64 // whatever they say
	Timeouts uint64
	Failures uint64 // the connection failed, or the reply was malformed or too large
}

// outcomes are histograms of lookups by outcome.
type outcomes struct {
	secure, insecure, bogus, failed, busy, canceled tally.Histogram
}

// of returns where an outcome is counted.
func (t *outcomes) of(a *Answer, err error) *tally.Histogram {
	if err == nil {
		if a.Status == Secure {
			return &t.secure
		}
		return &t.insecure
	}
	switch e := asError(question{}, err); {
	case e.Status == Bogus:
		return &t.bogus
	case e.Reason == Busy:
		return &t.busy
	case e.Reason == Canceled:
		return &t.canceled
	default:
		return &t.failed
	}
}

func (f *front) stats(zones private.Zones) Stats {
	s := Stats{
		Cached:   f.cache.Recalled(),
		Secure:   Latencies(f.outcomes.secure.Read()),
		Insecure: Latencies(f.outcomes.insecure.Read()),
		Bogus:    Latencies(f.outcomes.bogus.Read()),
		Failed:   Latencies(f.outcomes.failed.Read()),
		Busy:     Latencies(f.outcomes.busy.Read()),
		Canceled: Latencies(f.outcomes.canceled.Read()),
		InUse:    Bounds(f.client.Room.InUse()),
	}
	servers, _ := f.client.Servers()
	s.add(servers, "")
	for name, zone := range zones {
		s.add(zone.Servers, name)
	}
	return s
}

func (s *Stats) add(servers []*upstream.Server, zone string) {
	for _, server := range servers {
		n := server.Counts()
		s.Servers = append(s.Servers, ServerStats{server.String(), zone, n.Queries, n.Replies, n.Timeouts, n.Failures})
	}
}
