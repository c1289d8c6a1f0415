package report

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// MaxSize is the greatest size of a report that [Parse] reads, in octets. It
// applies to the received octets and to the decompressed text.
const MaxSize = 16 << 20

// ErrTooLarge means that a report is larger than [MaxSize], or has too many
// elements for its values to be kept in memory.
var ErrTooLarge = errors.New("report: the report is too large")

// Parse reads a report in the form in which it was received: JSON, JSON compressed
// with gzip, or a mail message that contains one of these. It determines the form
// from the octets. Media types and file names matter less, because senders often
// set them wrong.
//
// It accepts common deviations from RFC 8460: a string in place of an array of
// one, null for an absent value, times without a zone (read as UTC), numbers in
// quotes, malformed addresses (left out), and unregistered result types, for which
// [tlsrpt.ResultType.Valid] is false. The content of the report is authoritative,
// not the header of the message (RFC 8460 section 5.6).
//
// Parse returns an [*Error] for a message without a report, and for a report
// without policies, without dates or with invalid counts. It returns [ErrTooLarge]
// for a report that exceeds the limits.
func Parse(r io.Reader) (*Report, error) {
	data, err := readBounded(r)
	if err != nil {
		return nil, err
	}
	if !isGzip(data) && !isJSON(data) {
		if data, err = findReport(data); err != nil {
			return nil, err
		}
	}
	if isGzip(data) {
		if data, err = decompress(data); err != nil {
			return nil, err
		}
	}
	return parseJSON(data)
}

// readBounded reads r to the end, but not more than MaxSize octets.
func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	switch {
	case err != nil:
		return nil, &Error{"", fmt.Errorf("reading: %w", err)}
	case len(data) > MaxSize:
		return nil, ErrTooLarge
	default:
		return data, nil
	}
}

// isGzip reports whether data begins with the octets that RFC 1952 requires.
func isGzip(data []byte) bool { return bytes.HasPrefix(data, []byte{0x1f, 0x8b}) }

func isJSON(data []byte) bool { return bytes.HasPrefix(trimmed(data), []byte("{")) }

// trimmed returns data without byte order mark and surrounding white space.
func trimmed(data []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
}

func decompress(data []byte) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, &Error{"", fmt.Errorf("reading: %w", err)}
	}
	return readBounded(unzipped)
}
