package report

import "time"

// Day is a UTC day, the period of a report (RFC 8460 section 4.1), counted from
// January 1, 1970, which is the zero value.
type Day int64

const secondsPerDay = 24 * 60 * 60

// DayOf returns the UTC day of t.
func DayOf(t time.Time) Day {
	seconds := t.Unix()
	day := seconds / secondsPerDay
	if seconds%secondsPerDay < 0 {
		day--
	}
	return Day(day)
}

// Start returns the first second of the day.
func (d Day) Start() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// End returns the last second of the day, 23:59:59.
func (d Day) End() time.Time { return (d + 1).Start().Add(-time.Second) }

// MarshalText returns the date, as String does.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a date such as "2026-03-01". If text is not a date, d stays as it is.
func (d *Day) UnmarshalText(text []byte) error {
	date, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return err
	}
	*d = DayOf(date)
	return nil
}

// String returns the date, for example "2026-03-01".
func (d Day) String() string { return d.Start().Format(time.DateOnly) }
