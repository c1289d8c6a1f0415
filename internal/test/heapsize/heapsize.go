// Package heapsize measures the memory in use, for tests of bounds in octets.
package heapsize

import "runtime"

// Used returns the octets of the heap that are in use. It collects garbage twice: what is in
// a sync.Pool survives the first time.
func Used() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
