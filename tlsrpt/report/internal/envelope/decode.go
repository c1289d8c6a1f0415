package envelope

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
)

// decompress returns the text in a gzip file with one or more members. What follows the
// last member is ignored: padding, or what a mail server appended.
func (o *opener) decompress(data []byte) ([]byte, error) {
	source := bytes.NewReader(data)
	member, err := gzip.NewReader(source)
	var text bytes.Buffer
	if err != nil {
		return nil, fmt.Errorf("reading gzip: %w", err)
	}
	for {
		member.Multistream(false)
		n, err := io.Copy(&text, io.LimitReader(member, int64(o.octets)+1))
		if n > int64(o.octets) {
			return nil, ErrTooLarge
		}
		if err != nil {
			return nil, fmt.Errorf("reading gzip: %w", err)
		}
		o.octets -= int(n)
		if err := member.Reset(source); err != nil {
			return text.Bytes(), nil
		}
	}
}

// decoded returns a body without its Content-Transfer-Encoding (RFC 2045 section 6).
func decoded(encoding string, body []byte) []byte {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		return decodeBase64(body)
	case "quoted-printable":
		// What precedes an error is kept, and judged by its reader.
		text, _ := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body)))
		return text
	default:
		return body
	}
}

// decodeBase64 decodes base64 as RFC 2045 section 6.8 demands: all other octets are
// ignored. Padding may be missing, and it may be in the middle, where a sender encoded
// pieces one by one.
func decodeBase64(body []byte) []byte {
	text := make([]byte, 0, len(body)/4*3)
	digits := make([]byte, 0, len(body))
	flush := func() {
		if len(digits)%4 == 1 {
			digits = digits[:len(digits)-1] // cut off in the middle of an octet
		}
		var err error
		if text, err = base64.RawStdEncoding.AppendDecode(text, digits); err != nil {
			panic(err) // only digits are in it
		}
		digits = digits[:0]
	}
	for _, c := range body {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			digits = append(digits, c)
		case c == '=':
			flush()
		}
	}
	flush()
	return text
}
