//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltstore

import "os"

// release closes a file that bbolt left open when it panicked. The lock may
// last until the process ends.
func release(f *os.File) { f.Close() }
