package message

import (
	"bytes"
	"io"
)

// Properties are what a sender has to know of a message.
type Properties struct {
	// Header is the length of the header in octets, without the empty line that ends
	// it. A message whose first line is not a header field has no header.
	Header int64
	// Body is the offset of the body, after that empty line. Without one, it is the
	// first line that is not a header field, or the end of the message.
	Body int64
	// Size is the number of octets as sent, for the parameter SIZE (RFC 1870
	// section 5): every line ends in CRLF, also the last one; dots that are
	// doubled for transparency and the final dot are not counted.
	Size int64
	// LongestLine is the length of the longest line in octets, without its end.
	// Lines longer than MaxLine may be refused or broken by servers.
	LongestLine int64
	// Header8Bit says that the header has octets above 127, so the message needs
	// SMTPUTF8 (RFC 6531 section 3.5). Headers of parts do not count here, as
	// RFC 6531 section 3.6 permits; they count in Body8Bit.
	Header8Bit bool
	// Body8Bit says that the body has octets above 127, so the message needs
	// 8BITMIME (RFC 6152 section 3), or Convert.
	Body8Bit bool
	// NUL says that there are NUL octets, which RFC 5322 section 4 has no place
	// for and many servers refuse.
	NUL bool
	// TLSOptional says that the header has the field "TLS-Required: No", and has
	// it once: RFC 8689 section 3 knows no other value and no second field.
	TLSOptional bool
}

// Scan reads the message of the given size once and returns its properties.
// The error is an *Error. With ErrBareCR, the properties are valid; such a
// message must not be sent. A reader's error leaves them incomplete.
func Scan(r io.ReaderAt, size int64) (Properties, error) {
	var (
		header   = newTally()
		body     = newTally()
		inHeader = true
		optional tlsRequired
		p        = Properties{Header: size, Body: size}
	)
	lines := newLineReader(r, size)
	lines.read(extent{0, size})
	var last piece
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return p, err
		}
		if inHeader && line.begins {
			switch kind := line.kind(); {
			case kind == blankLine:
				inHeader = false
				p.Header, p.Body = line.at, line.end()
			case kind == otherLine, kind == continuationLine && line.at == 0:
				inHeader = false
				p.Header, p.Body = line.at, line.at
			case kind == fieldLine:
				optional.begin(line.field())
			default:
				optional.more(line.text)
			}
		} else if inHeader {
			optional.more(line.text)
		}
		if inHeader {
			header.add(line)
		} else {
			body.add(line)
		}
		last = line
	}
	p.Size = header.sent + body.sent
	if size > 0 && len(last.ending) == 0 {
		p.Size += int64(len("\r\n"))
	}
	p.LongestLine = max(header.longest, body.longest)
	p.Header8Bit = header.eightBit
	p.Body8Bit = body.eightBit
	p.NUL = header.nul || body.nul
	p.TLSOptional = optional.isNo()
	switch {
	case header.bareCR >= 0:
		return p, &Error{header.bareCR, ErrBareCR}
	case body.bareCR >= 0:
		return p, &Error{body.bareCR, ErrBareCR}
	}
	return p, nil
}

// tlsRequired reads the fields TLS-Required of a header.
type tlsRequired struct {
	fields int
	inside bool    // the lines that follow continue the field
	value  [2]byte // the value without white space around it
	length int     // of value; above 2 it is another one than No
	gap    bool    // white space follows the value
}

// begin reads a field with the beginning of its value.
func (t *tlsRequired) begin(name, value []byte) {
	t.inside = bytes.EqualFold(name, []byte("TLS-Required"))
	if t.inside {
		t.fields++
		t.more(value)
	}
}

// more reads more of the value of the current field.
func (t *tlsRequired) more(text []byte) {
	if !t.inside {
		return
	}
	for _, c := range text {
		switch {
		case isSpace(c):
			t.gap = t.length > 0
		case t.gap || t.length >= len(t.value):
			t.length = len(t.value) + 1
			return
		default:
			t.value[t.length] = c
			t.length++
		}
	}
}

func (t *tlsRequired) isNo() bool {
	return t.fields == 1 && t.length == len(t.value) && bytes.EqualFold(t.value[:], []byte("No"))
}
