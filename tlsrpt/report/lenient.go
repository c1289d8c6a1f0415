package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The types of this file read JSON values that have a wrong type.

// oneOrMore is an array that may also be written as its only element. RFC 8460
// has mx-host as an array in section 4.4 and as a string in appendix B.
type oneOrMore[T any] []T

func (l *oneOrMore[T]) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '[', 'n': // null
		return json.Unmarshal(data, (*[]T)(l))
	default:
		*l = make([]T, 1)
		return json.Unmarshal(data, &(*l)[0])
	}
}

// text is a string. A number is read as its digits, and null as "". For an object or an
// array wrong is true, so that its reader can say where it is.
type text struct {
	string
	wrong bool
}

func (t *text) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '"':
		return json.Unmarshal(data, &t.string)
	case '{', '[':
		t.wrong = true
	case 'n': // null
	default:
		t.string = string(data)
	}
	return nil
}

// get returns the text without space around it, or an error.
func (t text) get() (string, error) {
	if t.wrong {
		return "", errors.New("is not a string")
	}
	return strings.TrimSpace(t.string), nil
}

// count is a number that may be in quotes. Some senders write "5", " 5 ", 5.0, "" or null.
type count string

func (c *count) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	*c = count(data)
	if data[0] == '"' {
		return json.Unmarshal(data, (*string)(c))
	}
	return nil
}

// get returns the number. One that is absent or empty is 0.
func (c count) get() (int64, error) {
	digits := strings.TrimSpace(string(c))
	if digits == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil && isCount(n) {
		return n, nil
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n >= 0 && n <= maxCount) || n != math.Trunc(n) {
		return 0, fmt.Errorf("%.64q is not a count", digits)
	}
	return int64(n), nil
}

// timeLayouts are those of RFC 3339 section 5.6, what other formats of ISO 8601 and the
// programming languages of senders make of it, and that of mail (RFC 5322 section 3.3).
// Those without a zone are in UTC.
var timeLayouts = [...]string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00",
	"2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z0700",
	"2006-01-02T15:04:05", "2006-01-02 15:04:05",
	"2006-01-02T15:04:05 Z07:00", "2006-01-02 15:04:05 Z07:00",
	"2006-01-02T15:04:05 Z0700", "2006-01-02 15:04:05 Z0700",
	"2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00",
	"2006-01-02T15:04", "2006-01-02 15:04",
	"20060102T150405Z0700", "20060102T150405", "20060102",
	time.DateOnly,
	"Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04:05", "2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05",
	"Mon Jan _2 15:04:05 2006",
}

// firstYear is before all reports. A time without a value is often 1970 or the year 1.
const firstYear = 2000

// parseTime parses a time in one of the forms of timeLayouts, or as seconds or
// milliseconds since 1970. Some senders write the end of a day as 24:00:00.
func parseTime(written string) (time.Time, error) {
	s := strings.ToUpper(strings.TrimSpace(written))
	s = strings.TrimSuffix(strings.TrimSuffix(s, " UTC"), " GMT")
	days := 0
	if date, after, found := strings.Cut(s, "24:00:00"); found && len(date) == len("2006-01-02T") {
		s, days = date+"00:00:00"+after, 1
	}
	t, ok := parseLayouts(s)
	if !ok {
		t, ok = parseUnix(s)
	}
	if !ok || t.Year() < firstYear {
		return time.Time{}, fmt.Errorf("%.64q is not a time", written)
	}
	return t.AddDate(0, 0, days).UTC(), nil
}

func parseLayouts(s string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func parseUnix(s string) (time.Time, bool) {
	n, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !(n >= 0 && n < 1e13):
		return time.Time{}, false
	case n >= 1e11:
		return time.UnixMilli(int64(n)), true
	default:
		return time.Unix(int64(n), 0), true
	}
}

// parseAddr returns the zero Addr for a malformed address. Some senders write
// "unknown".
func parseAddr(s string) netip.Addr {
	addr, err := netip.ParseAddr(strings.Trim(s, "[] "))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
