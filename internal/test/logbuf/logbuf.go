// Package logbuf provides a buffer for the output of programs and loggers under
// test.
package logbuf

import (
	"bytes"
	"sync"
)

// Buffer is like a bytes.Buffer, but is safe for concurrent use. The zero value is
// an empty buffer.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends p to the buffer. It does not fail.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String returns everything that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
