package upstream

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A check finds out whether a server replies to anything. It asks a question of our own
// that every server can answer from memory. So nobody can make a server seem to fail by
// means of names whose own servers are slow.
const (
	// checkDelay is how long after an overdue reply a check begins, because the reply may
	// be on its way.
	checkDelay = 100 * time.Millisecond
	// checkInterval is the least time between the beginnings of two checks.
	checkInterval = time.Second
	// leastCheck and mostCheck are bounds of the time that a check waits for a reply.
	leastCheck = 600 * time.Millisecond
	mostCheck  = 1800 * time.Millisecond
	// streamDelay is how long a check waits for a reply over UDP before it also asks over
	// TCP.
	streamDelay = 200 * time.Millisecond
)

// doubt arranges a check of a server with an overdue reply, unless there is a sign of
// life before it begins.
func (s *Server) doubt(c *Client, apex string) {
	if c.open.Err() != nil || !s.reserve(time.Now().Add(checkDelay)) {
		return
	}
	time.AfterFunc(checkDelay, func() {
		if s.standsTrial() {
			s.check(c, apex)
		}
	})
}

// review begins a check of a server that failed one.
func (s *Server) review(c *Client, apex string) {
	now := time.Now()
	if s.standing(now) >= failed && s.reserve(now) {
		go s.check(c, apex)
	}
}

// check asks for the SOA record at apex.
func (s *Server) check(c *Client, apex string) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(c.open, s.checkTime())
	defer cancel()
	ask := func(to Attempt) error {
		_, err := c.Query(ctx, to, Question{Name: apex, Type: dns.TypeSOA})
		if s.livesSince(began) {
			cancel()
		}
		return err
	}
	var second sync.WaitGroup
	var overTCP error
	if s.IsTLS() {
		s.streams.renew() // the connection may be what is broken
	} else {
		second.Go(func() {
			delay := time.NewTimer(streamDelay)
			defer delay.Stop()
			select {
			case <-delay.C:
				overTCP = ask(Attempt{Server: s, Stream: true})
			case <-ctx.Done():
			}
		})
	}
	err := ask(Attempt{Server: s})
	second.Wait()
	s.checkedBy(began, cmp.Or(overTCP, err))
}

// reserve reports whether a check may begin at the time. If so, no other one may until
// it has ended.
func (h *health) reserve(at time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checking || at.Sub(h.checked) < checkInterval {
		return false
	}
	h.checking, h.checked = true, at
	return true
}

// standsTrial reports whether a reserved check is still needed.
func (h *health) standsTrial() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.overdue == "" {
		h.checking, h.checked = false, time.Time{}
	}
	return h.checking
}

// checkTime returns how long a check waits for a reply.
func (h *health) checkTime() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return min(max(3*h.average, leastCheck), mostCheck)
}

func (h *health) livesSince(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.heard.Before(t)
}

// checkedBy ends the check that began at the time, with the last error. Without a sign of
// life since then, the server fails until there is one.
func (h *health) checkedBy(began time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checking = false
	if h.heard.Before(began) && isSilence(err) {
		h.failedAt, h.failure = began, err
	}
}
