// Package envelope finds the JSON texts of TLS reports in what a recipient got: JSON,
// gzip, base64, and mail messages, in each other. It goes by the octets. Media types and
// file names matter less, because senders often set them wrong, and mail programs and
// archives change them.
package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
)

var (
	// ErrNoReport means that a mail message has no report.
	ErrNoReport = errors.New("the message contains no report")
	// ErrUnknownForm means that the octets are in none of the forms.
	ErrUnknownForm = errors.New("neither JSON nor gzip nor a mail message")
	// ErrTooLarge means that the decompressed texts are larger than allowed.
	ErrTooLarge = errors.New("too large")
)

const (
	maxParts = 100 // entities that are searched
	maxDepth = 8   // nested multiparts, messages and compressions
)

// Open returns the JSON texts in data, at least one unless the error is not nil. If a
// part of a message cannot be read, both are returned. All texts together have at most
// limit octets.
func Open(data []byte, limit int) (texts [][]byte, err error) {
	o := opener{budget: &budget{parts: maxParts, octets: limit}}
	if err := o.open(data, 0); err != nil {
		return o.texts, err
	}
	if len(o.texts) == 0 {
		o.texts = o.inline
	}
	if len(o.texts) == 0 && o.broken == nil {
		return nil, ErrNoReport
	}
	return o.texts, o.broken
}

// opener opens what contains reports.
type opener struct {
	*budget
	texts  [][]byte // the reports that were found
	inline [][]byte // reports in the parts of messages that are for people
	broken error    // why a part that should be a report is not one
}

// budget is what may still be done.
type budget struct {
	parts  int // entities to search
	octets int // octets to decompress
}

// open opens what was received, or what is in a gzip file.
func (o *opener) open(data []byte, depth int) error {
	if depth > maxDepth {
		return errors.New("packed too deep")
	}
	data = unmarked(data)
	switch {
	case IsJSON(data):
		o.texts = append(o.texts, data)
		return nil
	case isGzip(data):
		text, err := o.decompress(data)
		if err != nil {
			return err
		}
		return o.open(text, depth+1)
	case isBase64Gzip(data):
		return o.open(decodeBase64(data), depth+1)
	}
	switch err := o.message(data, depth); {
	case err == nil:
		return nil
	case !errors.Is(err, ErrUnknownForm):
		return fmt.Errorf("reading a message: %w", err)
	case depth > 0:
		o.texts = append(o.texts, data) // its parser says what is wrong with it
		return nil
	default:
		return err
	}
}

// openPart returns the texts in the content of a part of a message, none if the content is
// in another form.
func (o *opener) openPart(data []byte, depth int) ([][]byte, error) {
	data = unmarked(data)
	if !IsJSON(data) && !isGzip(data) && !isBase64Gzip(data) {
		return nil, nil
	}
	inner := opener{budget: o.budget}
	err := inner.open(data, depth+1)
	return inner.texts, err
}

// likelyReports returns the texts that look like reports. Messages have other attachments.
func likelyReports(texts [][]byte) [][]byte {
	return slices.DeleteFunc(texts, func(text []byte) bool { return !bytes.Contains(text, []byte(`"policies"`)) })
}

// IsJSON reports whether data is a JSON object, from its first octet.
func IsJSON(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
}

// isGzip reports whether data begins with the octets that RFC 1952 requires.
func isGzip(data []byte) bool { return bytes.HasPrefix(data, []byte{0x1f, 0x8b}) }

// isBase64Gzip reports whether data begins with those octets in base64.
func isBase64Gzip(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("H4sI"))
}

// unmarked returns data without a byte order mark. Text in UTF-16, as some editors write
// it, becomes UTF-8.
func unmarked(data []byte) []byte {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:]
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		return fromUTF16(data[2:], 0, 1)
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		return fromUTF16(data[2:], 1, 0)
	default:
		return data
	}
}

// fromUTF16 decodes UTF-16 in which the octets low and high of each unit have these
// positions.
func fromUTF16(data []byte, low, high int) []byte {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = uint16(data[2*i+low]) | uint16(data[2*i+high])<<8
	}
	return []byte(string(utf16.Decode(units)))
}

// fail remembers why a part is not a report. The first reason is kept.
func (o *opener) fail(format string, args ...any) {
	if o.broken == nil {
		o.broken = fmt.Errorf(format, args...)
	}
}
