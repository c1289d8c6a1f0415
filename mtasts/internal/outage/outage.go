// Package outage notices that no policy host at all can be reached, so that the reason is
// likely to be on this side.
package outage

import (
	"sync"
	"time"
)

const (
	// minDomains is how many unrelated domains must be concerned: the policy hosts of one
	// owner may all be down.
	minDomains = 5
	// minTime is how long no policy host was reached.
	minTime = 10 * time.Minute
)

// Watch notes which fetches reach a policy host. The zero Watch is ready for use. It is
// safe for concurrent use.
type Watch struct {
	mu      sync.Mutex
	since   time.Time // of the first failure since a policy host was reached
	domains map[string]bool
	told    bool
}

// Reached notes that a policy host was reached and verified.
func (w *Watch) Reached() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.domains, w.told = time.Time{}, nil, false
}

// Failed notes that the policy host of a registrable domain was not reached. It returns true
// once for each outage, and when it began.
func (w *Watch) Failed(domain string, now time.Time) (since time.Time, news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() || now.Before(w.since) {
		w.since = now
	}
	if w.domains == nil {
		w.domains = map[string]bool{}
	}
	if len(w.domains) < minDomains {
		w.domains[domain] = true
	}
	news = !w.told && len(w.domains) >= minDomains && now.Sub(w.since) >= minTime
	w.told = w.told || news
	return w.since, news
}
