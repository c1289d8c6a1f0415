// Package await waits for what other programs do.
package await

import (
	"testing"
	"time"
)

// limit is more than any program takes on a busy machine.
const limit = 30 * time.Second

// Until waits until a condition holds, and fails the test after 30 seconds. what describes
// the condition in the log.
func Until(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	began := time.Now()
	end := time.After(limit)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-end:
			tb.Fatalf("not within %v: %s", limit, what)
		case <-poll.C:
		}
	}
	tb.Logf("after %v: %s", time.Since(began).Round(time.Millisecond), what)
}
