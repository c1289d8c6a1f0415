// Package await waits for what other programs do.
package await

import (
	"testing"
	"time"
)

// limit is more than any program takes on a busy machine. A condition that never holds costs that much only in a test
// that fails.
const limit = 3 * time.Minute

// Until waits until a condition holds, and fails the test after three minutes. what describes
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
