package pacing

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// SlowOwners has the owners of endpoints that were slow in the last hour. An owner is a
// registrable domain. The zero value is ready for use.
type SlowOwners struct {
	mu    sync.Mutex
	known *simplelru.LRU[string, time.Time] // when each is forgotten
}

const (
	maxSlow = 1 << 13
	slowFor = time.Hour
)

// Contains reports whether an endpoint of the owner was slow.
func (s *SlowOwners) Contains(owner string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return false
	}
	until, known := s.known.Get(owner)
	return known && now.Before(until)
}

// Set notes whether the last delivery to an endpoint of the owner was slow.
func (s *SlowOwners) Set(owner string, now time.Time, isSlow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case isSlow && s.known == nil:
		s.known, _ = simplelru.NewLRU[string, time.Time](maxSlow, nil) // fails only for sizes below 1
		fallthrough
	case isSlow:
		s.known.Add(owner, now.Add(slowFor))
	case s.known != nil:
		s.known.Remove(owner)
	}
}
