package tlsrpt

import (
	"sync"
	"time"
)

// pace hands out times that lie apart: of all, and of those with the same key.
type pace struct {
	every, everyKey time.Duration

	mu   sync.Mutex
	all  time.Time            // the next free time of all
	keys map[string]time.Time // of a key; absent: now
}

// maxIdleKeys bounds the keys that are kept though their time has come.
const maxIdleKeys = 1 << 12

// reserve takes the next free time of a key, or none if that is after limit.
func (p *pace) reserve(key string, now, limit time.Time) (at time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at = p.keys[key]; at.Before(now) {
		at = now
	}
	if at.After(limit) {
		return time.Time{}, false
	}
	p.forgetIdle(now)
	p.keys[key] = at.Add(p.everyKey)
	return at, true
}

func (p *pace) forgetIdle(now time.Time) {
	if len(p.keys) < maxIdleKeys {
		return
	}
	for key, at := range p.keys {
		if !at.After(now) {
			delete(p.keys, key)
		}
	}
}

// next takes the next free time of all.
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
