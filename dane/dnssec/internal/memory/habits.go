package memory

import (
	"sync/atomic"
	"time"
)

// Habits is how often what was looked up below the apex of a signed zone turned out to
// be inside the zone, and how often in a zone of its own. It guides guesses, and proves
// nothing. It is safe for concurrent use.
type Habits struct {
	Records  atomic.Uint32 // RRsets in the zone
	Denials  atomic.Uint32 // names in the zone, more than one label below its apex, that do not exist
	Signed   atomic.Uint32 // delegations
	Unsigned atomic.Uint32
}

// HoldsNames reports whether a name below is more likely to be in the zone than in one
// of its own.
func (h *Habits) HoldsNames() bool {
	inside := h.Records.Load() + h.Denials.Load()
	return inside > 0 && inside >= h.Signed.Load()+h.Unsigned.Load()
}

// Delegates reports whether a name directly below is likely to be a zone.
func (h *Habits) Delegates() bool {
	return h.Signed.Load()+h.Unsigned.Load() > 0 && !h.HoldsNames()
}

// MostlyUnsigned reports whether the keys of a delegation are probably not needed.
func (h *Habits) MostlyUnsigned() bool {
	unsigned := h.Unsigned.Load()
	return unsigned >= 16 && unsigned/8 > h.Signed.Load()
}

// Habits returns the habits of a signed zone.
func (c *Cache) Habits(apex string, now time.Time) *Habits {
	key := Key{Name: apex, Kind: usual}
	if known, ok := c.Get(key, now).(*Habits); ok {
		return known
	}
	h := new(Habits)
	c.Put(key, h, 16, now.Add(24*time.Hour), now)
	return h
}
