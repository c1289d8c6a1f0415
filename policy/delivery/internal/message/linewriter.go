package message

import (
	"bufio"
	"bytes"
	"io"
)

// A LineWriter writes text with CRLF at the end of every line, even where LF was
// written. It refuses a CR without LF with ErrBareCR.
//
// Close must be called at the end. A LineWriter is not safe for concurrent use.
type LineWriter struct {
	w       *bufio.Writer
	written int64
	last    byte // written to the LineWriter; CR is held back
}

// NewLineWriter returns a LineWriter that writes to w in blocks.
func NewLineWriter(w io.Writer) *LineWriter {
	return &LineWriter{w: bufio.NewWriter(w), last: '\n'}
}

// Write writes text. The number of octets it returns is that of text.
func (l *LineWriter) Write(text []byte) (int, error) {
	for rest := text; len(rest) > 0; {
		line, after, ends := bytes.Cut(rest, []byte("\n"))
		if l.last == '\r' && (len(line) > 0 || !ends) {
			return len(text) - len(rest), ErrBareCR
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
			l.last = '\r'
		} else if n > 0 {
			l.last = line[n-1]
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			return len(text) - len(rest), ErrBareCR
		}
		if _, err := l.w.Write(line); err != nil {
			return len(text) - len(rest), err
		}
		l.written += int64(len(line))
		if ends {
			if err := l.endLine(); err != nil {
				return len(text) - len(rest), err
			}
		}
		rest = after
	}
	return len(text), nil
}

// Close ends the last line if it has no end yet, and writes what is buffered.
// It does not close the underlying writer.
func (l *LineWriter) Close() error {
	switch l.last {
	case '\n':
	case '\r':
		return ErrBareCR
	default:
		if err := l.endLine(); err != nil {
			return err
		}
	}
	return l.w.Flush()
}

// Written returns the number of octets written, with CRLF for each line end.
func (l *LineWriter) Written() int64 { return l.written }

func (l *LineWriter) endLine() error {
	l.last = '\n'
	l.written += int64(len("\r\n"))
	_, err := l.w.WriteString("\r\n")
	return err
}
