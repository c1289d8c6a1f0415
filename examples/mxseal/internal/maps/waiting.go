package maps

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/socketmap"
	"github.com/mxseal/mxseal/policy"
)

// waiting is a context with a deadline that is made when it is first used. Most answers come from memory
// and wait for nothing: the timers would take longer than the rest of the answer.
type waiting struct {
	context.Context // the parent

	maps     *Maps
	patience time.Duration
	domain   string
	options  []policy.Option

	once   sync.Once
	used   context.Context
	cancel context.CancelFunc
	stay   *time.Timer // calls Maps.stay; nil if the domain stalled recently
}

// start begins to wait, when that is first needed.
func (w *waiting) start() context.Context {
	w.once.Do(func() {
		if w.maps.stalled.has(strings.ToLower(w.domain), w.maps.config.Now()) {
			w.used, w.cancel = context.WithTimeout(w.Context, moment)
			return
		}
		w.used, w.cancel = context.WithTimeout(w.Context, w.patience)
		// A lookup ends when its last caller leaves. This caller stays.
		w.stay = time.AfterFunc(w.patience/4, func() {
			w.maps.stay(context.WithoutCancel(w.Context), w.domain, w.options)
		})
	})
	return w.used
}

// Deadline, Done and Err start the context, and are those of it.
func (w *waiting) Deadline() (time.Time, bool) { return w.start().Deadline() }
func (w *waiting) Done() <-chan struct{}       { return w.start().Done() }
func (w *waiting) Err() error                  { return w.start().Err() }

// end ends the context, and notes a domain that took longer than the patience. The context must not be used
// afterwards.
func (w *waiting) end() {
	w.once.Do(func() {}) // nothing was waited for
	if w.cancel == nil {
		return
	}
	if w.stay != nil {
		if w.stay.Stop() && context.Cause(w.Context) == socketmap.ErrCrowded {
			w.stay.Reset(0) // the client asks again, so the domain is looked up once more
		}
		if w.used.Err() == context.DeadlineExceeded {
			now := w.maps.config.Now()
			w.maps.stalled.add(strings.ToLower(w.domain), now.Add(stallPause), now)
		}
	}
	w.cancel()
}
