//go:build !unix

package dnssec

import "time"

// began is when the tests began.
var began = time.Now()

// cpuTime is about the processor time of the process so far, if nothing else runs.
func cpuTime() time.Duration { return time.Since(began) }
