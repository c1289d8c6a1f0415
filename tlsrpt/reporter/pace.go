package reporter

import (
	"maps"
	"sync"
	"time"
)

// pace spaces deliveries: all of them, and those with the same key.
type pace struct {
	every, everyKey time.Duration

	mu   sync.Mutex
	all  time.Time            // the next free time for any delivery
	keys map[string]time.Time // the next free time of each key; if absent, now
}

// maxIdleKeys is the number of keys that may be kept although their time has passed.
const maxIdleKeys = 1 << 12

// reserve takes the next free time of a key. It fails if that is after limit.
func (p *pace) reserve(key string, now, limit time.Time) (at time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at = p.keys[key]; at.Before(now) {
		at = now
	}
	if at.After(limit) {
		return time.Time{}, false
	}
	if len(p.keys) >= maxIdleKeys {
		maps.DeleteFunc(p.keys, func(_ string, free time.Time) bool { return !free.After(now) })
	}
	p.keys[key] = at.Add(p.everyKey)
	return at, true
}

// next takes the next free time for any delivery.
func (p *pace) next(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.all
	if at.Before(now) {
		at = now
	}
	p.all = at.Add(p.every)
	return at
}
