//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltstore

import "os"

// release closes a file that bbolt left open when it panicked. The lock may last
// as long as the process.
func release(f *os.File) { f.Close() }
