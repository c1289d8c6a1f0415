package message

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// RFC 5321 section 2.3.8: lines end in CRLF. Where writes begin and end does
// not matter.
func TestLineWriter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":             "",
		"\n":           "\r\n",
		"\r\n":         "\r\n",
		"\n\n":         "\r\n\r\n",
		"a":            "a\r\n",
		"a\nb\r\nc":    "a\r\nb\r\nc\r\n",
		"a\r\n\r\nb\n": "a\r\n\r\nb\r\n",
		"a\rb":         "error",
		"\r":           "error",
		"a\r\r\n":      "error",
		"\r\rb\n":      "error",
	} {
		for size := 1; size <= len(text)+1; size++ {
			var out bytes.Buffer
			w := NewLineWriter(&out)
			_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader([]byte(text))}, make([]byte, size))
			if err == nil {
				err = w.Close()
			}
			switch {
			case want == "error":
				if !errors.Is(err, ErrBareCR) {
					t.Errorf("%q by %d: %q, %v", text, size, out.String(), err)
				}
			case err != nil || out.String() != want || w.Written() != int64(len(want)):
				t.Errorf("%q by %d: %q, %d, %v", text, size, out.String(), w.Written(), err)
			}
		}
	}
}

func TestLineWriterErrors(t *testing.T) {
	t.Parallel()
	w := NewLineWriter(brokenPipe{})
	_, err := w.Write(bytes.Repeat([]byte("a\n"), 1<<16))
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Write: %v", err)
	}
	if err := w.Close(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Close: %v", err)
	}
}

// brokenPipe is a writer that always fails.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
