package reporter

import (
	"maps"
	"sync"
	"time"
)

// pace spaces deliveries: all of them, and those to the same host.
type pace struct {
	every, everyHost time.Duration

	mu    sync.Mutex
	all   time.Time // the next free time for any delivery
	hosts map[string]*hostPace
}

// hostPace is the pace of a host. If a host is unknown, both times have passed.
type hostPace struct {
	turn time.Time // the next turn that is not taken
	free time.Time // when the next delivery may begin
}

// maxIdleHosts is the number of hosts that may be kept although their times have
// passed.
const maxIdleHosts = 1 << 12

// reserve takes the next turn at a host. It fails if that is after limit.
func (p *pace) reserve(host string, now, limit time.Time) (turn time.Time, ok bool) {
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

// begin begins a delivery to a host whose turn has come. If a delivery that came late
// was less than the interval ago, begin returns when the host is free again.
func (p *pace) begin(host string, now time.Time) (free time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.host(host, now)
	if known.free.After(now) {
		return known.free, false
	}
	known.free = now.Add(p.everyHost)
	return now, true
}

func (p *pace) host(host string, now time.Time) *hostPace {
	if p.hosts[host] == nil {
		if len(p.hosts) >= maxIdleHosts {
			maps.DeleteFunc(p.hosts, func(_ string, h *hostPace) bool { return !later(h.turn, h.free).After(now) })
		}
		p.hosts[host] = new(hostPace)
	}
	return p.hosts[host]
}

// next takes the next free time for any delivery.
func (p *pace) next(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := later(p.all, now)
	p.all = at.Add(p.every)
	return at
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
