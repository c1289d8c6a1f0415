package upstream

import (
	"cmp"
	"context"
	"errors"
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
	checkInterval = 500 * time.Millisecond
	// checkTime is how long a check waits for a reply. A server that takes less for all its
	// replies is slow, but works.
	checkTime = 1300 * time.Millisecond
	// streamDelay is how long a check waits for a reply over UDP before it also asks over
	// TCP.
	streamDelay = 200 * time.Millisecond
	// verdictTime is how long after its beginning a failed check keeps questions from a
	// server. Until then, the next check has ended, if there are lookups.
	verdictTime = 1950 * time.Millisecond
)

// doubt arranges a check of a server that may fail, unless there is a sign of life before
// it begins.
func (s *Server) doubt(c *Client, apex string) {
	now := time.Now()
	begin := now.Add(checkDelay)
	if c.open.Err() != nil || !s.reserve(begin) {
		return
	}
	time.AfterFunc(checkDelay, func() {
		if s.livesSince(now) {
			s.release(begin)
		} else {
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

// check asks for the SOA record at apex. A check over TLS may need a socket. That it gets no
// reply says nothing about the server if it had to wait for one.
func (s *Server) check(c *Client, apex string) {
	began := time.Now()
	waited := s.IsTLS() && !c.Room.hasSocket()
	ctx, cancel := context.WithTimeout(c.open, checkTime)
	defer cancel()
	ask := func(to Attempt) error {
		// It takes no room, because questions to a server that fails may have it all.
		_, err := c.send(ctx, to, Question{Name: apex, Type: dns.TypeSOA})
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
			if waits(ctx, streamDelay) {
				overTCP = ask(Attempt{Server: s, Stream: true})
			}
		})
	}
	err := ask(Attempt{Server: s})
	second.Wait()
	if !waited {
		s.checkedBy(began, cmp.Or(overTCP, err))
	}
}

// reserve reports whether a check may begin at the time.
func (h *health) reserve(at time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.Sub(h.checked) < checkInterval {
		return false
	}
	h.checked = at
	return true
}

// release undoes reserve.
func (h *health) release(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checked.Equal(at) {
		h.checked = time.Time{}
	}
}

func (h *health) livesSince(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.heard.Before(t)
}

// checkedBy ends the check that began at the time, with the last error.
func (h *health) checkedBy(began time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := new(Error); h.heard.Before(began) && isSilence(err) && errors.As(err, &e) {
		h.failedAt, h.failure = began, e
	}
}
