package message

import (
	"bytes"
	"errors"
	"io"
)

const (
	// bufferSize bounds the memory of a reader. A header field name or a
	// boundary is recognized only if it fits.
	bufferSize = 32 << 10
	// MaxLine is the longest line of a message, in octets without the line end
	// (RFC 5321 section 4.5.3.1.6). 8BITMIME does not permit longer ones.
	MaxLine = 998
)

// An extent is a range of a message: the octets from start up to end.
type extent struct{ start, end int64 }

// A piece is a line or, of a line that does not fit into the buffer, a part.
// It is valid until the next piece is read.
type piece struct {
	text   []byte // without the line end
	ending []byte // LF, CRLF, or empty
	at     int64  // offset of text in the message
	begins bool   // text begins a line
}

// end returns the offset after the piece.
func (p piece) end() int64 { return p.at + int64(len(p.text)+len(p.ending)) }

// A lineReader reads the lines of extents of a message, one extent at a time.
type lineReader struct {
	r      io.ReaderAt
	size   int64 // of the message
	buf    []byte
	filled extent // what buf holds; it serves the next extents too
	rest   extent // what was not returned of the current extent
	inside bool   // the last piece did not end its line
}

func newLineReader(r io.ReaderAt, size int64) lineReader {
	return lineReader{r: r, size: size, buf: make([]byte, max(0, min(bufferSize, size)))}
}

// read makes l read e instead of what it has read so far.
func (l *lineReader) read(e extent) { l.rest, l.inside = e, false }

// next returns the next piece, or io.EOF. A piece never ends between CR and LF.
func (l *lineReader) next() (piece, error) {
	if l.rest.start >= l.rest.end {
		return piece{}, io.EOF
	}
	octets := l.buffered()
	lf := bytes.IndexByte(octets, '\n')
	if lf < 0 && int64(len(octets)) < l.rest.end-l.rest.start {
		if err := l.fill(); err != nil {
			return piece{}, err
		}
		octets = l.buffered()
		lf = bytes.IndexByte(octets, '\n')
	}
	text := len(octets)
	switch {
	case lf >= 0:
		octets, text = octets[:lf+1], lf
		if lf > 0 && octets[lf-1] == '\r' {
			text--
		}
	case octets[text-1] == '\r' && int64(text) < l.rest.end-l.rest.start:
		text--
		octets = octets[:text]
	}
	p := piece{text: octets[:text], ending: octets[text:], at: l.rest.start, begins: !l.inside}
	l.rest.start += int64(len(octets))
	l.inside = lf < 0
	return p, nil
}

// buffered returns what buf holds of the beginning of the rest.
func (l *lineReader) buffered() []byte {
	if l.rest.start < l.filled.start || l.rest.start >= l.filled.end {
		return nil
	}
	return l.buf[l.rest.start-l.filled.start : min(l.filled.end, l.rest.end)-l.filled.start]
}

// fill reads as much as fits into buf, from the beginning of the rest.
func (l *lineReader) fill() error {
	at := l.rest.start
	want := min(int64(len(l.buf)), l.size-at)
	n, err := l.r.ReadAt(l.buf[:want], at)
	l.filled = extent{at, at + int64(n)}
	if int64(n) == want {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &Error{l.filled.end, err}
}

// A lineKind says what a line is where a header may continue.
type lineKind int

const (
	blankLine        lineKind = iota // ends the header
	continuationLine                 // of the field before
	fieldLine
	otherLine // ends the header too, and belongs to the body
)

// kind classifies a line by the piece that begins it.
func (p piece) kind() lineKind {
	switch {
	case len(p.text) == 0:
		return blankLine
	case isSpace(p.text[0]):
		return continuationLine
	case bytes.IndexByte(p.text, ':') >= 0:
		return fieldLine
	default:
		return otherLine
	}
}

// field returns the name and the first part of the value of a fieldLine.
// White space after the name is obsolete syntax (RFC 5322 section 4.5).
func (p piece) field() (name, value []byte) {
	name, value, _ = bytes.Cut(p.text, []byte(":"))
	return bytes.TrimRight(name, " \t"), value
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// A tally counts what a text has of everything that servers restrict.
type tally struct {
	eightBit bool
	nul      bool
	longest  int64 // line, in octets without the line end
	sent     int64 // octets with CRLF at the end of each line
	bareCR   int64 // offset of the first one, or -1
	line     int64 // length of the line so far
}

func newTally() tally { return tally{bareCR: -1} }

func (t *tally) add(p piece) {
	if p.begins {
		t.line = 0
	}
	t.line += int64(len(p.text))
	t.longest = max(t.longest, t.line)
	t.sent += int64(len(p.text))
	if len(p.ending) > 0 {
		t.sent += int64(len("\r\n"))
	}
	t.eightBit = t.eightBit || !isASCII(p.text)
	t.nul = t.nul || bytes.IndexByte(p.text, 0) >= 0
	if t.bareCR < 0 {
		if i := bytes.IndexByte(p.text, '\r'); i >= 0 {
			t.bareCR = p.at + int64(i)
		}
	}
}

// is7Bit reports whether the text is 7-bit data (RFC 2045 section 2.7).
func (t *tally) is7Bit() bool { return !t.eightBit && !t.nul && t.longest <= MaxLine }

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
