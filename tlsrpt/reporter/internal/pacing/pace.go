package pacing

import (
	"maps"
	"sync"
	"time"
)

// Pace spaces deliveries: all of them, and those to the same host.
type Pace struct {
	every, everyHost time.Duration

	mu    sync.Mutex
	all   time.Time // the next free time for any delivery
	hosts map[string]*hostPace
}

// NewPace returns a Pace with the least time between two deliveries, and between two
// to the same host.
func NewPace(every, everyHost time.Duration) *Pace {
	return &Pace{every: every, everyHost: everyHost, hosts: make(map[string]*hostPace)}
}

// hostPace is the pace of a host. If a host is unknown, both times have passed.
type hostPace struct {
	turn time.Time // the next turn that is not taken
	free time.Time // when the next delivery may begin
}

// maxIdleHosts is the number of hosts that may be kept although their times have
// passed.
const maxIdleHosts = 1 << 12

// Reserve takes the next turn at a host. It fails if that is after limit.
func (p *Pace) Reserve(host string, now, limit time.Time) (turn time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.host(host, now)
	turn = later(known.turn, now)
	if turn.After(limit) {
		return time.Time{}, false
	}
	known.turn = turn.Add(p.everyHost)
	return turn, true
}

// Begin begins a delivery to a host whose turn has come. If a delivery that came late
// was less than the interval ago, Begin returns when the host is free again.
func (p *Pace) Begin(host string, now time.Time) (free time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.host(host, now)
	if known.free.After(now) {
		return known.free, false
	}
	known.free = now.Add(p.everyHost)
	return now, true
}

func (p *Pace) host(host string, now time.Time) *hostPace {
	if p.hosts[host] == nil {
		if len(p.hosts) >= maxIdleHosts {
			maps.DeleteFunc(p.hosts, func(_ string, h *hostPace) bool { return !later(h.turn, h.free).After(now) })
		}
		p.hosts[host] = new(hostPace)
	}
	return p.hosts[host]
}

// Next takes the next free time for any delivery.
func (p *Pace) Next(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := later(p.all, now)
	p.all = at.Add(p.every)
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
