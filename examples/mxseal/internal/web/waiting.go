package web

import (
	"container/list"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/names"
)

const (
	// maxWaits bounds the domains that are remembered.
	maxWaits = 1000
	// maxReason bounds a reason in octets.
	maxReason = 500
)

// Wait says that mail to a domain was not sent.
type Wait struct {
	Domain string
	// Reason is why it was not sent the last time: one line of printable ASCII.
	Reason      string
	First, Last time.Time
	Count       int
}

// Waits are the domains for which mail was not sent last. The zero value is empty. They are safe for
// concurrent use.
type Waits struct {
	mu     sync.Mutex
	order  list.List                // of *Wait, the latest last
	places map[string]*list.Element // by domain
}

// Note notes that mail to a domain was not sent now, and why.
func (w *Waits) Note(domain, reason string, now time.Time) {
	domain = names.Printable(domain, maxName)
	w.mu.Lock()
	defer w.mu.Unlock()
	place := w.places[domain]
	if place == nil {
		if w.places == nil {
			w.places = make(map[string]*list.Element)
		}
		if w.order.Len() >= maxWaits {
			delete(w.places, w.order.Remove(w.order.Front()).(*Wait).Domain)
		}
		place = w.order.PushBack(&Wait{Domain: domain, First: now})
		w.places[domain] = place
	}
	wait := place.Value.(*Wait)
	wait.Reason, wait.Last = names.Printable(reason, maxReason), now
	wait.Count++
	w.order.MoveToBack(place)
}

// Latest yields the domains, the latest first.
func (w *Waits) Latest() iter.Seq[Wait] {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Wait
	for place := w.order.Back(); place != nil; place = place.Prev() {
		all = append(all, *place.Value.(*Wait))
	}
	return slices.Values(all)
}

// Of returns what is remembered about a domain.
func (w *Waits) Of(domain string) (Wait, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	place := w.places[domain]
	if place == nil {
		return Wait{}, false
	}
	return *place.Value.(*Wait), true
}
