//go:build linux

package bigsender

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/tlsrpt"
)

// queue is the queue of the sender. It gives messages to the relays, and again if
// they were deferred, and remembers the result of each.
type queue struct {
	mu       sync.Mutex
	messages []*message
	due      []*message // those that no relay has, in the order of their time
	inFlight map[*process]map[*message]bool
	changed  chan struct{}

	// sessions is what the reports of the day must contain, and unsure what may be
	// missing, or there in addition, because a relay was killed.
	sessions map[counted]tally
	recent   map[*process][]recentSession
	unsure   map[counted]int64

	deferrals, delivered, bounced atomic.Int64
}

type message struct {
	number int
	to     domain
	state  string // "", "delivered" or "bounced"
	detail string // of the last deferral
	again  time.Time
	// mayRepeat is true if the relay that had the message was killed.
	mayRepeat bool
	attempts  int
}

// recentSession is a session that a relay has recorded in the last seconds, and may not
// have passed to the store.
type recentSession struct {
	at   time.Time
	what []counted
}

// window is how long it takes until the sessions of a relay are in the store.
const window = 15 * time.Second

func newQueue() *queue {
	return &queue{
		inFlight: make(map[*process]map[*message]bool), changed: make(chan struct{}, 1),
		sessions: make(map[counted]tally), recent: make(map[*process][]recentSession), unsure: make(map[counted]int64),
	}
}

// add adds a message and gives it to a relay.
func (q *queue) add(to domain, p *process) *message {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := &message{number: len(q.messages), to: to}
	q.messages = append(q.messages, m)
	q.give(m, p)
	return m
}

func (q *queue) give(m *message, p *process) {
	m.attempts++
	if q.inFlight[p] == nil {
		q.inFlight[p] = make(map[*message]bool)
	}
	q.inFlight[p][m] = true
}

// retryAfter is the time until a deferred message is tried again.
const retryAfter = 2 * time.Second

// result is called when a relay reports the result for a message.
func (q *queue) result(number int, result, detail string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.messages[number]
	for _, held := range q.inFlight {
		delete(held, m)
	}
	switch result {
	case "deferred":
		q.deferrals.Add(1)
		m.detail, m.again = detail, time.Now().Add(retryAfter)
		q.due = append(q.due, m)
	case "delivered":
		q.delivered.Add(1)
		m.state = result
	default:
		q.bounced.Add(1)
		m.state, m.detail = result, detail
	}
	q.wake()
}

func (q *queue) wake() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// session counts a session that a relay has recorded.
func (q *queue) session(p *process, words []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var what []counted
	for i := 1; i+1 < len(words); i += 2 {
		by := counted{words[0], tlsrpt.PolicyType(words[i])}
		sum := q.sessions[by]
		if words[i+1] == "met" {
			sum.met++
		} else {
			sum.failed++
		}
		q.sessions[by] = sum
		what = append(what, by)
	}
	recent := q.recent[p]
	for len(recent) > 0 && time.Since(recent[0].at) > window {
		recent = recent[1:]
	}
	q.recent[p] = append(recent, recentSession{time.Now(), what})
}

// take gives the next message that is due to a relay, or returns nil.
func (q *queue) take(p *process) *message {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.due) == 0 || q.due[0].again.After(time.Now()) {
		return nil
	}
	m := q.due[0]
	q.due = q.due[1:]
	q.give(m, p)
	return m
}

func (q *queue) held(p *process) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.inFlight[p])
}

// lostBy is called when a relay was killed. Its messages are sent again, and what it
// recorded last may not be in the reports.
func (q *queue) lostBy(p *process) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for m := range q.inFlight[p] {
		m.mayRepeat = true
		for _, t := range []tlsrpt.PolicyType{tlsrpt.TLSA, tlsrpt.STS, tlsrpt.NoPolicyFound} {
			q.unsure[counted{m.to.name(), t}] += 2 // what it recorded and could not say
		}
	}
	for _, s := range q.recent[p] {
		for _, by := range s.what {
			q.unsure[by]++
		}
	}
	q.release(p)
}

// released is called when a relay has ended as ordered.
func (q *queue) released(p *process) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.release(p)
}

func (q *queue) release(p *process) {
	for m := range q.inFlight[p] {
		m.again = time.Time{}
	}
	q.due = append(slices.Collect(maps.Keys(q.inFlight[p])), q.due...)
	delete(q.inFlight, p)
	q.wake()
}

// traffic is what the queue gets while it runs.
type traffic struct {
	zipf     *rand.Zipf
	order    []domain // by popularity
	atOnce   int      // messages that a relay has at the same time
	generate bool     // add messages whenever a relay has nothing to do
}

// run gives messages to the relays until a time.
func (q *queue) run(f *fleet, tr traffic, until time.Time) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(until) {
		for _, p := range f.relays {
			q.feed(p, tr)
		}
		select {
		case <-q.changed:
		case <-tick.C:
		}
	}
}

// feed gives messages to one relay until it has enough.
func (q *queue) feed(p *process, tr traffic) {
	select {
	case <-p.ended:
		return
	default:
	}
	for q.held(p) < tr.atOnce {
		m := q.take(p)
		if m == nil && tr.generate {
			m = q.add(tr.order[tr.zipf.Uint64()], p)
		}
		if m == nil {
			return
		}
		p.order("send %d %s", m.number, m.to.name())
	}
}

// pending returns the messages that have not arrived and will, unless something is
// wrong.
func (q *queue) pending() (waiting []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		if m.state == "" && m.to.ending() == arrives {
			waiting = append(waiting, fmt.Sprintf("%d to %s (%s): %s", m.number, m.to.name(), m.to.kind(), m.detail))
		}
	}
	return waiting
}

// drain gives the relays what is left until all messages have arrived that can, or the
// time is over.
func (q *queue) drain(f *fleet, tr traffic, most time.Duration) {
	tr.generate = false
	for end := time.Now().Add(most); time.Now().Before(end) && len(q.pending()) > 0; {
		q.run(f, tr, time.Now().Add(time.Second))
	}
}
