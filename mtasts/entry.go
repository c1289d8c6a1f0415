package mtasts

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// entryVersion is the form in which MarshalBinary writes:
//
//	version   1 octet
//	checksum  4 octets, CRC-32C of all that follows, big-endian
//	fields    in the order of Entry; a string has its length before it, a
//	          list its number, and times are milliseconds since 1970.
//
// Numbers are varints of package encoding/binary.
const entryVersion = 1

const entryHeader = 5 // octets of version and checksum

var (
	errEntryVersion = errors.New("mtasts: stored entry of an unknown version")
	errEntryDamaged = errors.New("mtasts: stored entry is damaged")
)

// MarshalBinary returns e in the form that UnmarshalBinary reads. Times are
// rounded down to milliseconds.
func (e Entry) MarshalBinary() ([]byte, error) {
	b := make([]byte, entryHeader, entryHeader+len(e.Domain)+len(e.ID)+len(e.Text)+64)
	for _, s := range []string{e.Domain, e.ID, e.Text} {
		b = appendString(b, s)
	}
	for _, t := range []time.Time{e.Fetched, e.Expires, e.NextCheck, e.FailingSince} {
		b = binary.AppendVarint(b, t.UnixMilli())
	}
	used := uint64(0)
	if e.Used {
		used = 1
	}
	b = binary.AppendUvarint(b, used)
	b = binary.AppendUvarint(b, uint64(max(e.Failed, 0)))
	b = binary.AppendUvarint(b, uint64(len(e.Failures)))
	for _, f := range e.Failures {
		b = binary.AppendVarint(b, f.When.UnixMilli())
		for _, s := range []string{f.ID, string(f.Kind), f.ReasonCode, f.Detail} {
			b = appendString(b, s)
		}
	}
	b[0] = entryVersion
	binary.BigEndian.PutUint32(b[1:], checksum(b[entryHeader:]))
	return b, nil
}

// UnmarshalBinary sets e to what data holds. It keeps no part of data. An error
// leaves e as it was.
func (e *Entry) UnmarshalBinary(data []byte) error {
	switch {
	case len(data) < entryHeader:
		return errEntryDamaged
	case data[0] != entryVersion:
		return errEntryVersion
	case binary.BigEndian.Uint32(data[1:]) != checksum(data[entryHeader:]):
		return errEntryDamaged
	}
	// One copy for all strings.
	d := entryDecoder{rest: string(data[entryHeader:])}
	read := Entry{Domain: d.string(), ID: d.string(), Text: d.string()}
	for _, t := range []*time.Time{&read.Fetched, &read.Expires, &read.NextCheck, &read.FailingSince} {
		*t = d.time()
	}
	read.Used = d.uint() == 1
	read.Failed = int(d.uint())
	for n := d.uint(); n > 0 && !d.damaged; n-- {
		f := Failure{When: d.time(), ID: d.string(), Kind: Kind(d.string()), ReasonCode: d.string(), Detail: d.string()}
		read.Failures = append(read.Failures, f)
	}
	if d.damaged || d.rest != "" {
		return errEntryDamaged
	}
	*e = read
	return nil
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// entryDecoder reads field after field. Once something is wrong all that it
// reads is zero.
type entryDecoder struct {
	rest    string
	damaged bool
}

// head returns enough of the rest for a number.
func (d *entryDecoder) head() []byte { return []byte(d.rest[:min(len(d.rest), binary.MaxVarintLen64)]) }

// skip goes past a number of n octets, which is damaged if n is not positive.
func (d *entryDecoder) skip(n int) {
	if n <= 0 {
		d.damaged, d.rest = true, ""
		return
	}
	d.rest = d.rest[n:]
}

// uint reads a number that is to fit an int32: none of those kept is larger.
func (d *entryDecoder) uint() uint64 {
	v, n := binary.Uvarint(d.head())
	if v > 1<<31-1 {
		n = 0
	}
	d.skip(n)
	if d.damaged {
		return 0
	}
	return v
}

func (d *entryDecoder) time() time.Time {
	v, n := binary.Varint(d.head())
	d.skip(n)
	if d.damaged {
		return time.Time{}
	}
	if t := time.UnixMilli(v); !t.IsZero() {
		return t
	}
	return time.Time{}
}

func (d *entryDecoder) string() string {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.damaged, d.rest = true, ""
	}
	if d.damaged {
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}
