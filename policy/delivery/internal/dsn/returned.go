package dsn

import (
	"errors"
	"io"
	"mime/quotedprintable"

	"github.com/mxseal/mxseal/policy/delivery/internal/message"
)

// returnedPart is what a report returns of the message.
type returnedPart struct {
	outer       string // the field Content-Transfer-Encoding of the report, or ""
	contentType string // "" if nothing is returned
	encoding    string // the field Content-Transfer-Encoding of the part, or ""
	isQuoted    bool   // as quoted-printable
	content     *io.SectionReader
}

// returned decides what is returned of the message.
func (r *Report) returned() (returnedPart, error) {
	if r.Message == nil {
		return returnedPart{}, nil
	}
	whole, err := message.Scan(r.Message, r.Size)
	isBroken := errors.Is(err, message.ErrBareCR)
	if err != nil && !isBroken {
		return returnedPart{}, err
	}
	if r.has(Failed) && r.Return != ReturnHeaders && !r.RequireTLS && (r.MaxSize == 0 || r.Size <= r.MaxSize) &&
		!isBroken && !whole.Header8Bit && !whole.NUL && whole.LongestLine <= message.MaxLine {
		part := returnedPart{contentType: "message/rfc822", content: io.NewSectionReader(r.Message, 0, r.Size)}
		if whole.Body8Bit {
			part.outer = "Content-Transfer-Encoding: 8bit\r\n"
			part.encoding = part.outer
		}
		return part, nil
	}
	header, err := message.Scan(r.Message, whole.Header)
	switch {
	case errors.Is(err, message.ErrBareCR), whole.Header == 0:
		return returnedPart{}, nil
	case err != nil:
		return returnedPart{}, err
	}
	part := returnedPart{contentType: "text/rfc822-headers", content: io.NewSectionReader(r.Message, 0, whole.Header)}
	if header.Header8Bit || header.NUL || header.LongestLine > message.MaxLine { // RFC 6522 section 4
		part.isQuoted = true
		part.encoding = "Content-Transfer-Encoding: quoted-printable\r\n"
	}
	return part, nil
}

// write writes the content of the part.
func (p returnedPart) write(w io.Writer) error {
	encoder := io.WriteCloser(nopCloser{w})
	if p.isQuoted {
		encoder = quotedprintable.NewWriter(w)
	}
	n, err := io.Copy(encoder, p.content)
	if err != nil {
		return err
	}
	if n < p.content.Size() {
		return io.ErrUnexpectedEOF
	}
	return encoder.Close()
}

// nopCloser is a Writer with a Close that does nothing.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
