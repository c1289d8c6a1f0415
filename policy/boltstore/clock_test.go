package boltstore

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/mtasts"
)

// M7: what has expired is deleted a day later, and not because of a clock that jumps.
func TestM7ExpiredIsDeletedLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policies.db")
	synctest.Test(t, func(t *testing.T) {
		var jump time.Duration
		s, err := Open(path, Config{now: func() time.Time { return time.Now().Add(jump) }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		const day, week = 24 * time.Hour, 7 * 24 * time.Hour
		start := time.Now()
		for domain, fetched := range map[string]time.Duration{"old.example": 0, "new.example": 5 * day, "future.example": 1000 * day} {
			e := mtasts.Entry{Domain: domain, ID: "1", Text: "x", Fetched: start.Add(fetched), Expires: start.Add(fetched + week)}
			if domain == "future.example" {
				e.Noticed = start
			}
			if err := s.Put(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			at     time.Duration // since the start
			jump   time.Duration
			exists map[string]bool
		}{
			{0, 1000 * day, map[string]bool{"old.example": true, "new.example": true, "future.example": true}},
			{10 * time.Minute, 0, map[string]bool{"old.example": true, "new.example": true, "future.example": true}},
			{6 * day, 0, map[string]bool{"old.example": true, "new.example": true, "future.example": true}},
			{6 * day, 20 * day, map[string]bool{"old.example": true, "new.example": true, "future.example": true}},
			{6*day + time.Hour, 20 * day, map[string]bool{"old.example": true, "new.example": true, "future.example": true}},
			{6*day + 2*time.Hour, 0, map[string]bool{"old.example": true, "new.example": true, "future.example": true}},
			{8 * day, 0, map[string]bool{"old.example": true, "new.example": true, "future.example": true}},
			{8*day + 1, 0, map[string]bool{"old.example": false, "new.example": true, "future.example": false}},
			{14 * day, 0, map[string]bool{"old.example": false, "new.example": false, "future.example": false}},
		} {
			time.Sleep(time.Until(start.Add(step.at)))
			jump = step.jump
			for range 2 {
				for _, err := range s.All(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			for domain, exists := range step.exists {
				if _, err := s.Get(t.Context(), domain); (err == nil) != exists || err != nil && !errors.Is(err, mtasts.ErrNotStored) {
					t.Errorf("after %v, ahead by %v: %s exists: %v, want %v (%v)", step.at, step.jump, domain, !exists, exists, err)
				}
			}
		}
	})
}
