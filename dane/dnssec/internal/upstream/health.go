package upstream

import (
	"sync"
	"time"
)

// Times of server selection. A server may be slow only for one name, so they are short:
// being wrong costs one more query.
const (
	// firstPatience is how long a server of which nothing is known may take before the
	// next one is asked in parallel.
	firstPatience = 250 * time.Millisecond
	// leastPatience and mostPatience are bounds of this time for other servers. Even a
	// near one has to ask others.
	leastPatience = 150 * time.Millisecond
	mostPatience  = 400 * time.Millisecond

	// quietTime is how long a sign of life says that a server works.
	quietTime = time.Second
	// poorTime is how long a server whose replies were of no use comes last.
	poorTime = 30 * time.Second
)

// standing is how well a server does. Servers of a lower standing are asked first.
type standing uint8

const (
	works    standing = iota
	doubtful          // replies for different names are overdue, or were of no use
	failed            // did not reply to a check, but that was a while ago
	failing           // did not reply to a check just now
)

// health is what is known about how a server does.
type health struct {
	mu        sync.Mutex
	average   time.Duration // from query to reply, decaying; 0 means unknown
	deviation time.Duration // from the average, decaying
	heard     time.Time     // the last sign of life
	overdue   string        // a name for which a reply is overdue since then
	suspected bool          // replies for different names are overdue

	checked  time.Time // when the last check began
	failedAt time.Time // when the last check began that failed; zero if there was a sign of life since
	failure  *Error    // that of this check

	poor      string // the name of the last reply of no use
	poorAt    time.Time
	poorUntil time.Time
}

// replied adds the time that a reply took to the estimate, with the weights of RFC 6298
// section 2.
func (h *health) replied(took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	took = max(took, 1)
	if h.average == 0 {
		h.average, h.deviation = took, took/2
		return
	}
	h.deviation += ((h.average - took).Abs() - h.deviation) / 4
	h.average += (took - h.average) / 8
}

// lives notes a sign of life: the server sent something, whatever it is.
func (h *health) lives(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard, h.overdue, h.suspected, h.failedAt, h.failure = now, "", false, time.Time{}, nil
}

// patience returns how long the server may take before a reply is overdue, and the next one
// is asked in parallel.
func (h *health) patience() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.failedAt.IsZero():
		return leastPatience
	case h.average == 0:
		return firstPatience
	default:
		return min(max(h.average+4*h.deviation, leastPatience), mostPatience)
	}
}

// failsChecks reports whether the server did not reply to a check, and there was no sign of
// life since.
func (h *health) failsChecks() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.failedAt.IsZero()
}

// missed notes that the reply to a question about the name is overdue, or that there is
// none. It reports whether this may concern all names: there was no sign of life since
// the question was sent, or none recently.
func (h *health) missed(name string, sent, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.quietSince(sent, now) {
		return false
	}
	h.suspected = h.suspected || h.overdue != "" && h.overdue != name
	h.overdue = name
	return true
}

// isQuiet reports whether there was no sign of life since a time, or none recently.
func (h *health) isQuiet(since, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.quietSince(since, now)
}

// quietSince is isQuiet, with mu held.
func (h *health) quietSince(since, now time.Time) bool {
	return h.heard.Before(since) || now.Sub(h.heard) >= quietTime
}

// Poor notes that a reply about the name was of no use in a way that concerns all names:
// the server refuses to answer, or does not return signatures. If this happens for
// different names, the server comes after others for a while.
func (h *health) Poor(name string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.poor != name && now.Sub(h.poorAt) < poorTime {
		h.poorUntil = now.Add(poorTime)
	}
	h.poor, h.poorAt = name, now
}

// standing returns how well the server does. It fails if neither a check nor a question
// about another name brought a sign of life.
func (h *health) standing(now time.Time) standing {
	h.mu.Lock()
	defer h.mu.Unlock()
	fails := !h.failedAt.IsZero() && h.overdue != ""
	switch {
	case fails && now.Sub(h.failedAt) < verdictTime:
		return failing
	case fails:
		return failed
	case h.suspected, now.Before(h.poorUntil):
		return doubtful
	default:
		return works
	}
}
