package web

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/names"
)

const (
	// maxEvents bounds the events that are remembered.
	maxEvents = 1000
	// maxEventText bounds the text of one, in octets.
	maxEventText = 500
	// maxName is the length of the longest domain name that is shown.
	maxName = 255
)

// Event is a line of the log.
type Event struct {
	// Number counts the events, from 1 on.
	Number uint64
	Time   time.Time
	Bad    bool // a warning or an error
	// Domain is what it is about, or empty.
	Domain string
	// Text is one line of printable ASCII.
	Text string
}

// Events are the latest events. The zero value is empty. They are safe for concurrent use.
type Events struct {
	mu     sync.Mutex
	events []Event // a ring
	oldest int
	count  uint64 // of all events so far
}

// Latest yields the events, the latest first.
func (e *Events) Latest() iter.Seq[Event] {
	e.mu.Lock()
	all := append(slices.Clone(e.events[e.oldest:]), e.events[:e.oldest]...)
	e.mu.Unlock()
	return func(yield func(Event) bool) {
		for _, each := range slices.Backward(all) {
			if !yield(each) {
				return
			}
		}
	}
}

func (e *Events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count++
	event.Number = e.count
	if len(e.events) < maxEvents {
		e.events = append(e.events, event)
		return
	}
	e.events[e.oldest] = event
	e.oldest = (e.oldest + 1) % maxEvents
}

// Handler returns a handler that remembers what is logged, from slog.LevelInfo on, and passes it on to next.
func (e *Events) Handler(next slog.Handler) slog.Handler { return &eventHandler{next: next, events: e} }

// eventHandler implements slog.Handler.
type eventHandler struct {
	next   slog.Handler
	events *Events
	attrs  []slog.Attr
	group  string // the prefix of the names of further attributes
}

func (h *eventHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.next.Enabled(ctx, level)
}

func (h *eventHandler) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelInfo {
		h.events.add(h.event(record))
	}
	if !h.next.Enabled(ctx, record.Level) {
		return nil
	}
	return h.next.Handle(ctx, record)
}

func (h *eventHandler) event(record slog.Record) Event {
	event := Event{Time: record.Time, Bad: record.Level >= slog.LevelWarn}
	var details []string
	note := func(a slog.Attr) {
		if text := textOf(a.Value.Resolve()); a.Key == "domain" {
			event.Domain = names.Printable(text, maxName)
		} else if text != "" {
			details = append(details, names.Printable(a.Key+"="+text, maxEventText))
		}
	}
	for _, a := range h.attrs {
		note(a)
	}
	record.Attrs(func(a slog.Attr) bool {
		a.Key = h.group + a.Key
		note(a)
		return true
	})
	event.Text = names.Printable(cmp.Or(record.Message, "?"), maxEventText)
	if details != nil {
		event.Text = names.Printable(event.Text+" ("+strings.Join(details, ", ")+")", maxEventText)
	}
	return event
}

// textOf returns the text of a value of the log.
func textOf(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return v.Time().UTC().Format(time.RFC3339)
	}
	return v.String()
}

func (h *eventHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.next, next.attrs = h.next.WithAttrs(attrs), slices.Clone(h.attrs)
	for _, a := range attrs {
		a.Key = h.group + a.Key
		next.attrs = append(next.attrs, a)
	}
	return &next
}

func (h *eventHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.next, next.group = h.next.WithGroup(name), h.group+name+"."
	return &next
}

// eventRow is an event.
type eventRow struct {
	Time         moment
	Bad          bool
	Domain, Text string
}

func (s *server) eventRow(e Event) eventRow {
	return eventRow{s.moment(e.Time), e.Bad, e.Domain, e.Text}
}

// events shows the latest events, the latest first. Each event keeps its key, so that new ones do not move the
// next page.
func (s *server) events(_ context.Context, q query) (string, any) {
	return "events", look(s.Events.Latest(), q, func(e Event) (key, domain string, ok bool) {
		return fmt.Sprintf("%020d", math.MaxUint64-e.Number), e.Domain, true
	}, s.eventRow)
}
