// Package fields reads and writes the fields of binary forms: numbers are varints of package
// encoding/binary, and strings are preceded by their length.
package fields

import (
	"encoding/binary"
	"time"
)

// AppendString appends a string.
func AppendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Decoder reads one field after another. After an error, all fields that it reads are
// zero. The zero value has nothing to read.
type Decoder struct {
	// Rest is what was not read yet. Strings that are read are parts of it.
	Rest string
	// Damaged is true after an error.
	Damaged bool
}

// Fail makes the decoder fail.
func (d *Decoder) Fail() { d.Rest, d.Damaged = "", true }

// IsDone reports whether all was read without an error.
func (d *Decoder) IsDone() bool { return d.Rest == "" && !d.Damaged }

// Uint reads an unsigned number, which must not be larger than most.
func (d *Decoder) Uint(most uint64) uint64 {
	v, n := binary.Uvarint(d.head())
	if n <= 0 || v > most {
		d.Fail()
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}

// Int reads a signed number.
func (d *Decoder) Int() int64 {
	v, n := binary.Varint(d.head())
	if n <= 0 {
		d.Fail()
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}

// Time reads a time, in milliseconds since 1970. The zero time is read as such.
func (d *Decoder) Time() (t time.Time) {
	if read := time.UnixMilli(d.Int()); !d.Damaged && !read.IsZero() {
		t = read
	}
	return t
}

// head returns the beginning of the rest, long enough for a number.
func (d *Decoder) head() []byte { return []byte(d.Rest[:min(len(d.Rest), binary.MaxVarintLen64)]) }

// String reads a string.
func (d *Decoder) String() string { return d.Octets(int(d.Uint(uint64(len(d.Rest))))) }

// Octets reads a string of n octets, whose length does not precede it.
func (d *Decoder) Octets(n int) string {
	if n < 0 || n > len(d.Rest) {
		d.Fail()
		return ""
	}
	s := d.Rest[:n]
	d.Rest = d.Rest[n:]
	return s
}
