package pacing

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/mxseal/mxseal/internal/names"
)

// SlowHosts has the hosts that were slow in the last hour, by registrable domain. The
// zero value is ready for use.
type SlowHosts struct {
	mu    sync.Mutex
	known *simplelru.LRU[string, time.Time] // when each is forgotten
}

const (
	maxSlow = 1 << 13
	slowFor = time.Hour
)

// Contains reports whether the host, or another one of its owner, was slow.
func (s *SlowHosts) Contains(host string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		return false
	}
	until, known := s.known.Get(names.Registrable(host))
	return known && now.Before(until)
}

// Set notes whether the last delivery to a host was slow.
func (s *SlowHosts) Set(host string, now time.Time, isSlow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	domain := names.Registrable(host)
	switch {
	case isSlow && s.known == nil:
		s.known, _ = simplelru.NewLRU[string, time.Time](maxSlow, nil) // fails only for sizes below 1
		fallthrough
	case isSlow:
		s.known.Add(domain, now.Add(slowFor))
	case s.known != nil:
		s.known.Remove(domain)
	}
}
