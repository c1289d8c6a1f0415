package message

import (
	"bytes"
	"io"
	"strings"
)

// maxDepth bounds the multiparts and messages inside each other.
const maxDepth = 32

// Convert writes the message of the given size to w with all of its text in
// 7-bit form, for a server without 8BITMIME (RFC 6152 section 3), and returns
// the number of octets written. Every line written ends in CRLF; dots are not
// doubled.
//
// Parts with 8-bit text, NUL octets or lines over MaxLine are encoded as
// quoted-printable if they are text, and as base64 otherwise. Their field
// Content-Transfer-Encoding says so, and the "8bit" and "binary" of other parts
// become "7bit". Embedded messages are converted in the same way. Everything else
// is unchanged, apart from line ends. Quoted-printable is replaced by base64 where
// it would make a line that reads like a boundary.
//
// Signatures that cover the whole message, such as DKIM-Signature, do not
// verify after the conversion, neither those of the message nor those of an
// embedded message that has 8-bit text. Text inside multipart/signed is not
// converted.
//
// The error is an *Error with ErrNotMIME, ErrSigned, ErrHeader8Bit,
// ErrMalformed, ErrLimit or ErrBareCR if the message cannot be converted, an
// *Error if it cannot be read, or the error of w. Part of the message has then
// been written. A caller that must not write a part converts to io.Discard
// first, which also returns the size.
func Convert(w io.Writer, r io.ReaderAt, size int64) (int64, error) {
	out := NewLineWriter(w)
	c := converter{w: out, lines: newLineReader(r, size)}
	err := c.entity(place{extent: extent{0, size}, isMessage: true})
	if err == nil {
		err = out.Close()
	}
	return out.Written(), err
}

// A converter writes the entities of one message. It reads one extent at a time.
type converter struct {
	w     io.Writer
	lines lineReader
}

// A place is an entity and what encloses it.
type place struct {
	extent
	isMessage  bool     // has the header of a message, not of a part
	inDigest   bool     // directly in multipart/digest
	depth      int      // of nesting
	delimiters [][]byte // of all the multiparts around it, "--" included
}

// entity writes a message or a part.
func (c *converter) entity(e place) error {
	h, err := c.header(e.extent)
	switch {
	case err != nil:
		return err
	case h.eightBit:
		return &Error{e.start, ErrHeader8Bit}
	case e.isMessage && !h.isMIME() && h.fault != ErrLimit:
		return c.opaque(e.extent, ErrNotMIME)
	case h.fault != nil:
		return c.opaque(e.extent, h.fault)
	}
	switch h.transferEncoding() {
	case "7bit", "8bit", "binary":
	default:
		return c.opaque(e.extent, ErrMalformed)
	}
	fallback := "text/plain" // RFC 2045 section 5.2
	if e.inDigest {
		fallback = "message/rfc822" // RFC 2046 section 5.1.5
	}
	mediaType := h.mediaType(fallback)
	switch {
	case mediaType == "":
		return c.opaque(e.extent, ErrMalformed)
	case mediaType == "multipart/signed":
		if err := c.fields(&h, "7bit"); err != nil {
			return err
		}
		return c.opaque(h.body, ErrSigned)
	case strings.HasPrefix(mediaType, "multipart/"):
		boundary := h.boundary()
		if boundary == "" {
			return c.opaque(e.extent, ErrMalformed)
		}
		if e.depth >= maxDepth {
			return c.opaque(e.extent, ErrLimit)
		}
		if err := c.fields(&h, "7bit"); err != nil {
			return err
		}
		return c.multipart(h.body, []byte("--"+boundary), mediaType == "multipart/digest", e)
	case mediaType == "message/rfc822":
		if e.depth >= maxDepth {
			return c.opaque(e.extent, ErrLimit)
		}
		if err := c.fields(&h, "7bit"); err != nil {
			return err
		}
		return c.entity(place{extent: h.body, isMessage: true, depth: e.depth + 1, delimiters: e.delimiters})
	case strings.HasPrefix(mediaType, "message/") && !strings.HasPrefix(mediaType, "message/global"):
		// Such as message/partial: no encoding is permitted (RFC 2046 section
		// 5.2). The types of RFC 6532 and RFC 6533, message/global and those
		// that begin with it, may have any.
		return c.opaque(e.extent, ErrMalformed)
	default:
		return c.leaf(&h, mediaType, e.delimiters)
	}
}

// multipart writes the body of a multipart (RFC 2046 section 5.1.1).
func (c *converter) multipart(body extent, delim []byte, isDigest bool, e place) error {
	next, err := c.delimiter(body, delim)
	if err != nil {
		return err
	}
	if err := c.opaque(extent{body.start, next.start}, ErrMalformed); err != nil { // the preamble
		return err
	}
	// Siblings share the array, but only one of them uses it at a time.
	inside := append(e.delimiters, delim)
	for {
		if err := c.copy(next.extent); err != nil {
			return err
		}
		rest := extent{next.end, body.end}
		if next.isLast {
			return c.opaque(rest, ErrMalformed) // the epilogue
		}
		if next.isMissing {
			return nil
		}
		if next, err = c.delimiter(rest, delim); err != nil {
			return err
		}
		part := place{
			extent:     extent{rest.start, next.start},
			inDigest:   isDigest,
			depth:      e.depth + 1,
			delimiters: inside,
		}
		if err := c.entity(part); err != nil {
			return err
		}
	}
}

// A delimiter is a delimiter line, with the line end before it, which belongs
// to it. A missing one is at the end of the multipart.
type delimiter struct {
	extent
	isLast    bool // "--boundary--"
	isMissing bool
}

// delimiter finds the first delimiter line in e. White space may follow the boundary. A
// line that only begins like a delimiter is not one: it may be one of an inner
// multipart with a longer boundary.
func (c *converter) delimiter(e extent, delim []byte) (delimiter, error) {
	var before int64 // length of the line end before the line
	c.lines.read(e)
	for {
		line, err := c.lines.next()
		if err == io.EOF {
			return delimiter{extent: extent{e.end, e.end}, isMissing: true}, nil
		}
		if err != nil {
			return delimiter{}, err
		}
		if line.begins && bytes.HasPrefix(line.text, delim) {
			rest, isLast := bytes.CutPrefix(line.text[len(delim):], []byte("--"))
			if onlySpace(rest) && (len(line.ending) > 0 || line.end() == e.end) {
				return delimiter{extent: extent{line.at - before, line.end()}, isLast: isLast}, nil
			}
		}
		before = int64(len(line.ending))
	}
}

func onlySpace(text []byte) bool {
	for _, c := range text {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

// opaque writes e unchanged. If it has 8-bit octets, the result is fault.
func (c *converter) opaque(e extent, fault error) error {
	t, err := c.tally(e)
	if err != nil {
		return err
	}
	if t.eightBit {
		return &Error{e.start, fault}
	}
	return c.copy(e)
}

// fields writes the header of h, with encoding in place of another one.
// "7bit" is not added where there is no field.
func (c *converter) fields(h *header, encoding string) error {
	end := h.body.start
	if h.transferEncoding() == encoding {
		return c.copy(extent{h.fields.start, end})
	}
	before, after := extent{h.fields.start, h.encoding.at.start}, extent{h.encoding.at.end, end}
	field := h.encoding.name + ": " + encoding
	if h.encoding.count == 0 {
		before.end, after.start = h.fields.end, h.fields.end
		field += "\r\n"
	}
	if err := c.copy(before); err != nil {
		return err
	}
	if _, err := io.WriteString(c.w, field); err != nil {
		return err
	}
	return c.copy(after)
}

// copy writes e unchanged.
func (c *converter) copy(e extent) error {
	return c.each(e, func(line piece) error {
		if i := bytes.IndexByte(line.text, '\r'); i >= 0 {
			return &Error{line.at + int64(i), ErrBareCR}
		}
		if _, err := c.w.Write(line.text); err != nil {
			return err
		}
		_, err := c.w.Write(line.ending)
		return err
	})
}

// tally returns the tally of e.
func (c *converter) tally(e extent) (tally, error) {
	t := newTally()
	err := c.each(e, func(line piece) error {
		t.add(line)
		return nil
	})
	return t, err
}

// each calls f for each piece of e.
func (c *converter) each(e extent, f func(piece) error) error {
	c.lines.read(e)
	for {
		line, err := c.lines.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = f(line)
		}
		if err != nil {
			return err
		}
	}
}
