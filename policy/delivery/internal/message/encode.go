package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
)

// leaf writes a part that has no parts.
func (c *converter) leaf(h *header, mediaType string, delimiters [][]byte) error {
	t, err := c.tally(h.body)
	if err != nil {
		return err
	}
	if t.is7Bit() {
		if err := c.fields(h, "7bit"); err != nil {
			return err
		}
		return c.copy(h.body)
	}
	// Quoted-printable is for lines of text; its writer would take a CR for a
	// line end.
	if strings.HasPrefix(mediaType, "text/") && !t.nul && t.bareCR < 0 {
		find := &delimiterFinder{delimiters: delimiters}
		if err := c.quote(find, h.body); err != nil {
			return err
		}
		if !find.found {
			if err := c.fields(h, "quoted-printable"); err != nil {
				return err
			}
			return c.quote(c.w, h.body)
		}
	}
	if err := c.fields(h, "base64"); err != nil {
		return err
	}
	return c.encode(h.body, h.transferEncoding() == "binary")
}

// quote writes e to w as quoted-printable (RFC 2045 section 6.7).
func (c *converter) quote(w io.Writer, e extent) error {
	q := quotedprintable.NewWriter(w)
	err := c.each(e, func(line piece) error {
		if _, err := q.Write(line.text); err != nil {
			return err
		}
		_, err := q.Write(line.ending) // written as CRLF
		return err
	})
	if err != nil {
		return err
	}
	return q.Close()
}

// encode writes e as base64 (RFC 2045 section 6.8). Unless it is binary, it is
// made of lines, and their ends are CRLF.
func (c *converter) encode(e extent, binary bool) error {
	crlf := []byte("\r\n")
	b := base64.NewEncoder(base64.StdEncoding, &lineBreaker{w: c.w, ending: crlf})
	err := c.each(e, func(line piece) error {
		if _, err := b.Write(line.text); err != nil {
			return err
		}
		ending := line.ending
		if !binary && len(ending) > 0 {
			ending = crlf
		}
		_, err := b.Write(ending)
		return err
	})
	if err != nil {
		return err
	}
	return b.Close()
}

// A lineBreaker ends a line after 76 characters if more follow.
type lineBreaker struct {
	w      io.Writer
	ending []byte
	line   int
}

func (l *lineBreaker) Write(text []byte) (int, error) {
	const width = 76
	for rest := text; len(rest) > 0; {
		if l.line == width {
			if _, err := l.w.Write(l.ending); err != nil {
				return 0, err
			}
			l.line = 0
		}
		n := min(width-l.line, len(rest))
		if _, err := l.w.Write(rest[:n]); err != nil {
			return 0, err
		}
		l.line += n
		rest = rest[n:]
	}
	return len(text), nil
}

// A delimiterFinder looks at quoted-printable text, whose soft line breaks and
// encoded octets can make a line that begins like a delimiter.
type delimiterFinder struct {
	delimiters [][]byte
	line       []byte
	found      bool
}

func (f *delimiterFinder) Write(text []byte) (int, error) {
	for rest := text; len(rest) > 0 && len(f.delimiters) > 0 && !f.found; {
		line, after, ends := bytes.Cut(rest, []byte("\n"))
		f.line = append(f.line, line...) // no more than 76 characters and CR
		for _, d := range f.delimiters {
			f.found = f.found || bytes.HasPrefix(f.line, d)
		}
		if ends {
			f.line = f.line[:0]
		}
		rest = after
	}
	return len(text), nil
}
