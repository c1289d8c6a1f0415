package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// MaxReportSize is the size in octets up to which [ParseReport] reads a report,
// both as it comes and decompressed.
const MaxReportSize = 16 << 20

// What a report of that size may be made of, so that its values do not take
// many times the memory of its text.
const (
	maxObjects  = 1 << 17
	maxElements = 1 << 20
)

// ErrReportTooLarge says that a report is larger than [ParseReport] reads.
var ErrReportTooLarge = errors.New("tlsrpt: the report is too large")

// ParseReport reads a report as it was received: as JSON, compressed with gzip,
// or as a mail message that holds one of these. Which one it is shows in the
// octets; media types and file names count for less, since senders err in them.
//
// It takes what senders really send: a string for an array of one, null for
// nothing, times without a zone (which are UTC), numbers in quotes, addresses
// that are none (which are left out), and unregistered result types, for which
// [ResultType.Valid] is false. The strings are those of a stranger and may hold
// anything. What the report says of itself counts, not what the header of the
// message says (RFC 8460 section 5.6).
//
// A message without report, and a report without policies, without a date or
// with counts that are none, is an error that says so.
func ParseReport(r io.Reader) (*Report, error) {
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

// readBounded reads what is not larger than a report may be.
func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxReportSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("tlsrpt: reading a report: %w", err)
	case len(data) > MaxReportSize:
		return nil, ErrReportTooLarge
	default:
		return data, nil
	}
}

// isGzip reports whether data begins like RFC 1952.
func isGzip(data []byte) bool { return bytes.HasPrefix(data, []byte{0x1f, 0x8b}) }

func isJSON(data []byte) bool { return bytes.HasPrefix(trimmed(data), []byte("{")) }

// trimmed returns data without a byte order mark and white space around it.
func trimmed(data []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
}

func decompress(data []byte) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("tlsrpt: reading a report: %w", err)
	}
	return readBounded(unzipped)
}
