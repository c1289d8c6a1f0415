package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mxseal/mxseal/tlsrpt/report/internal/envelope"
)

// MaxSize is the greatest size of what [Parse] reads, in octets. It applies to the
// received octets and to the decompressed text.
const MaxSize = 16 << 20

var (
	// ErrTooLarge means that a report is larger than [MaxSize], or has too many
	// elements for its values to be kept in memory.
	ErrTooLarge = errors.New("report: the report is too large")
	// ErrNoReport means that a mail message has no report. It is the Err of an [Error].
	ErrNoReport = envelope.ErrNoReport
)

// Parse reads a report in the form in which it was received: JSON, JSON compressed with
// gzip, or a mail message that contains one of these, which may be forwarded. It
// determines the form from the octets. Media types and file names matter less, because
// senders often set them wrong. If there are several reports, it returns the first; see
// [Read] for the others.
//
// It accepts what senders write in place of what RFC 8460 demands: a string in place of
// an array of one, null or no value, numbers in quotes, a number in place of a string,
// times in many forms (without a zone they are UTC), malformed addresses (left out), and
// unregistered result types, for which [tlsrpt.ResultType.Valid] is false. The content of
// the report is authoritative, not the header of the message (RFC 8460 section 5.6).
//
// Parse returns an [*Error] that names the part of the report that is wrong if the report
// has no policies, no dates, or dates or counts that make no sense, and if a name is there
// twice. For a message without a report it wraps [ErrNoReport]. It returns [ErrTooLarge]
// for a report that exceeds the limits.
func Parse(r io.Reader) (*Report, error) {
	data, err := readBounded(r)
	if err != nil {
		return nil, err
	}
	texts, err := open(data)
	if len(texts) == 0 {
		return nil, err
	}
	report, rest, err := parseJSON(texts[0])
	if err == nil && len(rest) > 0 && !envelope.IsJSON(rest) {
		return nil, &Error{"", fmt.Errorf("there is something after the report: %.32q", rest)}
	}
	return report, err
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

// open returns the JSON texts in what was received.
func open(data []byte) ([][]byte, error) {
	texts, err := envelope.Open(data, MaxSize)
	switch {
	case err == nil:
		return texts, nil
	case errors.Is(err, envelope.ErrTooLarge):
		return texts, ErrTooLarge
	default:
		return texts, &Error{"", err}
	}
}

// trimmed returns data without white space and padding around it.
func trimmed(data []byte) []byte { return bytes.Trim(data, " \t\r\n\x00") }
