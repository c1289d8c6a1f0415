package boltstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// The bucket of a day has, for each domain, a header and the records of its parts:
//
//	domain                                       header
//	domain 0 part 'p' policy                     successes, failures, form of the policy
//	domain 0 part 'd' policy detail              sessions, form of the detail
//
// The part is its number in four octets, and policies and details are in the key as the
// beginning of the SHA-256 of their forms. All values have a checksum. So what is added to
// a domain costs as much as it is large, however much the domain has.
const (
	kindPolicy = 'p'
	kindDetail = 'd'
	idSize     = 12

	// maxPolicies and maxDetails limit the open part of a domain and day, as in an
	// Aggregator, and maxOctets the size of its forms. What exceeds them is added up by
	// type.
	maxPolicies = 256
	maxDetails  = 1000
	maxOctets   = 256 << 10
)

var errDamagedSums = errors.New("the sums are damaged")

// header is what is known of the sums of a domain and day.
type header struct {
	ended  uint64 // number of parts that were sealed
	number uint64 // of the sealed part; 0 if there is none
	sealed uint64 // number of its records
	// The open part has the number ended+1.
	policies, details, octets uint64
}

// endedUnknown replaces the number of ended parts of a damaged header. It is
// larger than any number in use, so that no report ID is used twice.
const endedUnknown = 1 << 20

func (h *header) isEmpty() bool { return h.number == 0 && h.policies == 0 }

// domainSums are the sums of a domain in the bucket of a day.
type domainSums struct {
	header
	cursor *bolt.Cursor // in the bucket of the day; nil if there is none
	domain string
}

// readSums reads the header of a domain. If there is none, there are no sums. Calls one
// after another may share a cursor: a new one costs more than its use.
func readSums(cursor *bolt.Cursor, domain string) (*domainSums, error) {
	s := &domainSums{cursor: cursor, domain: domain}
	if cursor == nil {
		return s, nil
	}
	if value := s.get([]byte(domain)); value != nil && !s.decode(value) {
		return s, s.damaged()
	}
	return s, nil
}

// get returns the value of a key, or nil if there is none.
func (s *domainSums) get(key []byte) []byte {
	if k, value := s.cursor.Seek(key); bytes.Equal(k, key) {
		return value
	}
	return nil
}

// put puts a value, whose checksum it sets.
func (s *domainSums) put(key, value []byte) error {
	return s.cursor.Bucket().Put(key, seal(key, value))
}

func isDamagedSums(err error) bool { return errors.Is(err, errDamagedSums) }

func (s *domainSums) damaged() error { return &recordError{s.domain, errDamagedSums} }

// decode decodes the value of the header, and reports whether it is valid.
func (s *domainSums) decode(value []byte) bool {
	d := unseal([]byte(s.domain), value)
	h := header{d.number(), d.number(), d.number(), d.number(), d.number(), d.number()}
	if d.IsDone() {
		s.header = h
	}
	return d.IsDone()
}

// write writes the header.
func (s *domainSums) write() error {
	b := make([]byte, 4, 32)
	for _, n := range []uint64{s.ended, s.number, s.sealed, s.policies, s.details, s.octets} {
		b = binary.AppendUvarint(b, n)
	}
	return s.put([]byte(s.domain), b)
}

// recordKey returns the key of a record.
func (s *domainSums) recordKey(part uint64, kind byte, ids string) []byte {
	key := make([]byte, 0, len(s.domain)+6+len(ids))
	key = append(append(key, s.domain...), 0)
	key = binary.BigEndian.AppendUint32(key, uint32(part))
	return append(append(key, kind), ids...)
}

func idOf(form string) string {
	sum := sha256.Sum256([]byte(form))
	return string(sum[:idSize])
}

// add adds to the open part. Without room, it adds up what is new by type. It returns an
// error that wraps errDamagedSums if a record is damaged.
func (s *domainSums) add(forms []string, room bool) error {
	for _, p := range combine(forms) {
		id, err := s.addPolicy(p, room)
		if err != nil {
			return err
		}
		for _, d := range p.details {
			if err := s.addDetail(id, d, room); err != nil {
				return err
			}
		}
	}
	return s.write()
}

func (s *domainSums) addPolicy(p *policySum, room bool) (id string, err error) {
	isFull := func(form string) bool {
		return !room || s.policies >= maxPolicies || s.octets+uint64(len(form)) > maxOctets
	}
	form := p.form
	id = idOf(form)
	key := s.recordKey(s.ended+1, kindPolicy, id)
	old := s.get(key)
	if old == nil && isFull(form) {
		d := decoderOf(form)
		form = policyForm(&tlsrpt.Policy{Type: d.policy().Type, Domain: s.domain})
		id = idOf(form)
		key = s.recordKey(s.ended+1, kindPolicy, id)
		old = s.get(key)
	}
	successes, failures := p.successes, p.failures
	if old == nil {
		s.policies++
		s.octets += uint64(len(form))
	} else {
		d := unseal(key, old)
		successes += d.count()
		failures += d.count()
		if d.Damaged {
			return "", s.damaged()
		}
	}
	value := make([]byte, 4, 4+2*binary.MaxVarintLen64+len(form))
	value = binary.AppendUvarint(binary.AppendUvarint(value, uint64(successes)), uint64(failures))
	return id, s.put(key, append(value, form...))
}

func (s *domainSums) addDetail(policy string, added detailSum, room bool) error {
	isFull := func(form string) bool {
		return !room || s.details >= maxDetails || s.octets+uint64(len(form)) > maxOctets
	}
	form := added.form
	key := s.recordKey(s.ended+1, kindDetail, policy+idOf(form))
	old := s.get(key)
	if old == nil && isFull(form) {
		d := decoderOf(form)
		form = detailForm(&report.Detail{Type: d.detail().Type, ReasonCode: reporter.DetailsOmitted})
		key = s.recordKey(s.ended+1, kindDetail, policy+idOf(form))
		old = s.get(key)
	}
	sessions := added.sessions
	if old == nil {
		s.details++
		s.octets += uint64(len(form))
	} else {
		d := unseal(key, old)
		if sessions += d.count(); d.Damaged {
			return s.damaged()
		}
	}
	value := binary.AppendUvarint(make([]byte, 4, 4+binary.MaxVarintLen64+len(form)), uint64(sessions))
	return s.put(key, append(value, form...))
}

// policySum and detailSum are what to add, with the forms of policy and detail.
type policySum struct {
	form                string
	successes, failures int64
	details             []detailSum
}

type detailSum struct {
	form     string
	sessions int64
}

// combine returns the total of several additions.
func combine(forms []string) []*policySum {
	var order []*policySum
	policies := make(map[string]*policySum)
	details := make(map[[2]string]int)
	for _, form := range forms {
		d := decoderOf(form)
		for n := d.number(); n > 0 && !d.Damaged; n-- {
			text := d.String()
			p := policies[text]
			if p == nil {
				p = &policySum{form: text}
				policies[text] = p
				order = append(order, p)
			}
			p.successes += d.count()
			p.failures += d.count()
			for m := d.number(); m > 0 && !d.Damaged; m-- {
				key := [2]string{text, d.String()}
				at, known := details[key]
				if !known {
					at = len(p.details)
					details[key] = at
					p.details = append(p.details, detailSum{form: key[1]})
				}
				p.details[at].sessions += d.count()
			}
		}
	}
	return order
}

// next returns the part to be reported next. waiting are additions that are not in the
// file's records yet.
func (s *domainSums) next(waiting []string) (reporter.Part, error) {
	number, records := s.number, s.sealed
	if number > 0 {
		waiting = nil
	} else {
		number, records = s.ended+1, s.policies+s.details
	}
	results, found, err := s.read(number, records)
	if err != nil {
		return reporter.Part{}, err
	}
	if found != records {
		return reporter.Part{}, s.damaged()
	}
	if len(waiting) > 0 {
		for _, p := range combine(waiting) {
			results = append(results, p.result())
		}
		results = reporter.MergeResults(s.domain, nil, results)
	}
	if len(results) == 0 {
		return reporter.Part{}, nil
	}
	return reporter.Part{Number: int(number), Sums: results}, nil
}

// result returns the sums of a policy as part of a report.
func (p *policySum) result() report.PolicyResult {
	d := decoderOf(p.form)
	r := report.PolicyResult{Policy: d.policy(), Summary: report.Summary{Successes: p.successes, Failures: p.failures}}
	for _, added := range p.details {
		d := decoderOf(added.form)
		detail := d.detail()
		detail.Sessions = added.sessions
		r.Details = append(r.Details, detail)
	}
	return r
}

// read returns the content of a part, and the number of its records, which should be records.
func (s *domainSums) read(part, records uint64) (results []report.PolicyResult, found uint64, err error) {
	if s.cursor == nil {
		return nil, 0, nil
	}
	prefix := s.partPrefix(part)
	// Details come before policies, and both are in the order of the IDs of the policies.
	var details []policyDetails
	valid := true
	err = ascend(s.cursor, prefix, func(k, v []byte) bool {
		ids, isOfPart := bytes.CutPrefix(k, prefix)
		if !isOfPart {
			return false
		}
		found++
		d := unseal(k, v)
		switch {
		case len(ids) == 1+2*idSize && ids[0] == kindDetail:
			sessions, id := d.count(), [idSize]byte(ids[1:])
			detail := d.detail()
			detail.Sessions = sessions
			if len(details) == 0 || details[len(details)-1].id != id { // few policies have more than 8
				details = append(details, policyDetails{id, make([]report.Detail, 0, min(8, records))})
			}
			of := &details[len(details)-1]
			of.details = append(of.details, detail)
		case len(ids) == 1+idSize && ids[0] == kindPolicy:
			r := report.PolicyResult{Summary: report.Summary{Successes: d.count(), Failures: d.count()}}
			r.Policy = d.policy()
			if len(details) > 0 && details[0].id == [idSize]byte(ids[1:]) {
				r.Details, details = details[0].details, details[1:]
			}
			results = append(results, r)
		default:
			valid = false
		}
		valid = valid && d.IsDone()
		return valid
	})
	if err == nil && (!valid || len(details) > 0) {
		err = s.damaged()
	}
	return results, found, err
}

// policyDetails are the details of the policy with an ID.
type policyDetails struct {
	id      [idSize]byte
	details []report.Detail
}

// partPrefix returns the beginning of the keys of a part's records.
func (s *domainSums) partPrefix(part uint64) []byte {
	key := s.recordKey(part, 0, "")
	return key[:len(key)-1]
}

// seal seals the open part, unless a part is sealed or the open part is empty.
// It reports whether it did.
func (s *domainSums) seal() bool {
	if s.number > 0 || s.policies == 0 {
		return false
	}
	s.ended++
	s.number, s.sealed = s.ended, s.policies+s.details
	s.policies, s.details, s.octets = 0, 0, 0
	return true
}

// remove removes the sealed part if it has this number.
func (s *domainSums) remove(number int) error {
	if s.number == 0 || s.number != uint64(number) {
		return nil
	}
	if err := s.deleteKeys(s.partPrefix(s.number)); err != nil {
		return err
	}
	s.number, s.sealed = 0, 0
	return s.write()
}

// replace removes all sums of a domain, some of which are damaged. They must not prevent
// later ones from being counted, under a part number that was not used before.
func (s *domainSums) replace() error {
	if err := s.deleteKeys(append([]byte(s.domain), 0)); err != nil {
		return err
	}
	ended := s.ended + 1
	if value := s.get([]byte(s.domain)); value == nil || !s.decode(value) {
		ended = endedUnknown
	}
	s.header = header{ended: ended}
	return nil
}

// deleteKeys deletes all keys with a prefix. In a damaged file, a deleted key can come back.
func (s *domainSums) deleteKeys(prefix []byte) error {
	var last []byte
	for k, _ := s.cursor.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = s.cursor.Seek(prefix) {
		if last != nil && bytes.Compare(k, last) <= 0 {
			return errNotInOrder
		}
		last = append(last[:0], k...)
		if err := s.cursor.Delete(); err != nil {
			return err
		}
	}
	return nil
}
