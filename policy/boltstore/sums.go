package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// sums is the record of a domain and day: four octets of checksum, how many parts
// were ended, the number and length of the sealed part, its results, and the
// results that were added since, in JSON. What is not there is empty.
type sums struct {
	ended  uint64
	number uint64 // of the sealed part; 0 if there is none
	sealed []byte
	open   []byte
}

// endedUnknown stands for the number of parts of a record that is damaged. It is
// far from those that were given, so that no report has the ID of another.
const endedUnknown = 1 << 20

func (s *sums) isEmpty() bool { return s.number == 0 && len(s.open) == 0 }

// decode reads a record, nil for none. What it keeps is a copy.
func (s *sums) decode(domain string, data []byte) error {
	if data == nil {
		*s = sums{}
		return nil
	}
	rest, ok := checked(domain, data)
	var header [3]uint64
	for i := range header {
		n := 0
		if ok {
			header[i], n = binary.Uvarint(rest)
			ok = n > 0
		}
		if ok {
			rest = rest[n:]
		}
	}
	if !ok || header[2] > uint64(len(rest)) {
		return &recordError{domain, errDamagedSums}
	}
	rest = append([]byte(nil), rest...)
	*s = sums{ended: header[0], number: header[1], sealed: rest[:header[2]:header[2]], open: rest[header[2]:]}
	return nil
}

func (s *sums) encode(domain string) []byte {
	data := make([]byte, 4, 32+len(s.sealed)+len(s.open))
	data = binary.AppendUvarint(data, s.ended)
	data = binary.AppendUvarint(data, s.number)
	data = binary.AppendUvarint(data, uint64(len(s.sealed)))
	data = append(append(data, s.sealed...), s.open...)
	binary.BigEndian.PutUint32(data, checksum(domain, data[4:]))
	return data
}

// checked returns what the checksum is of, if it is right.
func checked(domain string, data []byte) (rest []byte, ok bool) {
	if len(data) < 4 || binary.BigEndian.Uint32(data) != checksum(domain, data[4:]) {
		return nil, false
	}
	return data[4:], true
}

func checksum(domain string, data []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum([]byte(domain), table), table, data)
}

// next is the part that is to be reported next.
func (s *sums) next() (reporter.Part, error) {
	switch {
	case s.number > 0:
		results, err := decodeResults(s.sealed)
		return reporter.Part{Number: int(s.number), Sums: results}, err
	case len(s.open) > 0:
		results, err := decodeResults(s.open)
		return reporter.Part{Number: int(s.ended + 1), Sums: results}, err
	default:
		return reporter.Part{}, nil
	}
}

// seal ends the part that is open, if none is sealed. It reports whether it did.
func (s *sums) seal() bool {
	if s.number > 0 || len(s.open) == 0 {
		return false
	}
	s.ended++
	s.number, s.sealed, s.open = s.ended, s.open, nil
	return true
}

// remove removes the sealed part, if it has that number. It reports whether it
// did.
func (s *sums) remove(number int) bool {
	if s.number == 0 || s.number != uint64(number) {
		return false
	}
	s.number, s.sealed = 0, nil
	return true
}

func (s *sums) openResults() ([]report.PolicyResult, error) { return decodeResults(s.open) }

func (s *sums) setOpen(results []report.PolicyResult) (err error) {
	s.open = nil
	if len(results) > 0 {
		s.open, err = json.Marshal(results)
	}
	return err
}

func decodeResults(data []byte) (results []report.PolicyResult, err error) {
	if len(data) > 0 {
		err = json.Unmarshal(data, &results)
	}
	return results, err
}
