package boltstore

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// sums is the record of a domain and day. It is stored as a checksum of four
// octets, the number of ended parts, the number and length of the sealed part,
// the results of the sealed part, and the results of the open part. The results
// are JSON.
type sums struct {
	ended  uint64
	number uint64 // of the sealed part; 0 if there is none
	sealed []byte
	open   []byte
}

// endedUnknown replaces the number of ended parts of a damaged record. It is
// larger than any number in use, so that no report ID is used twice.
const endedUnknown = 1 << 20

func (s *sums) isEmpty() bool { return s.number == 0 && len(s.open) == 0 }

// decode decodes a copy of data. If data is nil, there are no sums.
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

// checked verifies the checksum and returns the data that it covers.
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

// next returns the part to be reported next.
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

// seal seals the open part, unless a part is sealed or the open part is empty.
// It reports whether it did.
func (s *sums) seal() bool {
	if s.number > 0 || len(s.open) == 0 {
		return false
	}
	s.ended++
	s.number, s.sealed, s.open = s.ended, s.open, nil
	return true
}

// remove removes the sealed part if it has this number. It reports whether it
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
