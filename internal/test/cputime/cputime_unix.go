//go:build unix

// Package cputime measures processor time, for benchmarks on machines that are not idle.
package cputime

import (
	"syscall"
	"testing"
	"time"
)

// Used returns the processor time of the process so far. On systems other than Unix, it is
// 0.
func Used(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
