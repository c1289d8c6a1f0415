package boltstore

import (
	"cmp"
	"encoding/binary"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/internal/fields"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// A batch has a few sums of each of many domains. If each were added to its record, each
// would write a page of the file and those above it. So batches are first written to a
// journal, one after another. When the journal is full, all that it has is added to the
// records, in the order of their keys.

// journalled is the bucket of the journal: additions in the order in which they arrived.
// A value has a checksum, the day, the domain and the form of the addition. Values are
// much smaller than a page, so that few octets are written again with the next batch.
var journalled = []byte("tlsrpt-journal")

const (
	// maxJournal and maxJournalOctets limit the journal, in sums of domains and in octets.
	maxJournal       = 1 << 15
	maxJournalOctets = 8 << 20
)

// dayDomain is the key of sums.
type dayDomain struct {
	day    report.Day
	domain string
}

func (k dayDomain) compare(l dayDomain) int {
	return cmp.Or(cmp.Compare(k.day, l.day), cmp.Compare(k.domain, l.domain))
}

// addition is what to add to the sums of a domain and day. Its form is the number of
// policies, and for each of them its form, its successes and failures, the number of its
// details, and for each detail its form and its sessions.
type addition struct {
	dayDomain
	form string
}

// additions returns what a batch adds.
func additions(b *reporter.Batch) []addition {
	var all []addition
	for i := range b.Sums {
		sums := &b.Sums[i]
		// In the form that is stored, equal policies and details are equal.
		if results := reporter.MergeResults(sums.Domain, nil, sums.Results); len(results) > 0 {
			all = append(all, addition{dayDomain{sums.Day, sums.Domain}, additionForm(results)})
		}
	}
	return all
}

func additionForm(results []report.PolicyResult) string {
	b := binary.AppendUvarint(nil, uint64(len(results)))
	for i := range results {
		r := &results[i]
		b = fields.AppendString(b, policyForm(&r.Policy))
		b = binary.AppendUvarint(b, uint64(max(r.Summary.Successes, 0)))
		b = binary.AppendUvarint(b, uint64(max(r.Summary.Failures, 0)))
		b = binary.AppendUvarint(b, uint64(len(r.Details)))
		for j := range r.Details {
			b = fields.AppendString(b, detailForm(&r.Details[j]))
			b = binary.AppendUvarint(b, uint64(max(r.Details[j].Sessions, 0)))
		}
	}
	return string(b)
}

// journal is what the bucket of the journal has.
type journal struct {
	forms  map[dayDomain][]string
	number int // of additions
	octets int
}

func (j *journal) add(all []addition) {
	if j.forms == nil {
		j.forms = make(map[dayDomain][]string)
	}
	for _, a := range all {
		j.forms[a.dayDomain] = append(j.forms[a.dayDomain], a.form)
		j.number++
		j.octets += len(a.form) + len(a.domain)
	}
}

// hasRoom reports whether the journal has room for more additions.
func (j *journal) hasRoom(all []addition) bool {
	octets := j.octets
	for _, a := range all {
		octets += len(a.form) + len(a.domain)
	}
	return j.number+len(all) <= maxJournal && octets <= maxJournalOctets
}

// sorted returns the keys in the order of the file, which changes the fewest pages.
func (j *journal) sorted() []dayDomain {
	keys := make([]dayDomain, 0, len(j.forms))
	for key := range j.forms {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, dayDomain.compare)
	return keys
}

// hasDayBefore reports whether there is an addition to a day before day.
func (j *journal) hasDayBefore(day report.Day) bool {
	for key := range j.forms {
		if key.day < day {
			return true
		}
	}
	return false
}

// writeJournal appends additions to the bucket of the journal.
func writeJournal(tx *bolt.Tx, all []addition) error {
	b, err := tx.CreateBucketIfNotExists(journalled)
	if err != nil {
		return err
	}
	b.FillPercent = 1 // keys are only appended
	for _, a := range all {
		next, err := b.NextSequence()
		if err != nil {
			return err
		}
		key := binary.BigEndian.AppendUint64(nil, next)
		value := append(make([]byte, 4, 32+len(a.domain)+len(a.form)), dayKey(a.day)...)
		value = append(fields.AppendString(value, a.domain), a.form...)
		if err := b.Put(key, seal(key, value)); err != nil {
			return err
		}
	}
	return nil
}

// readJournal returns what the bucket of the journal has, and how many additions in it are
// damaged and therefore left out.
func readJournal(tx *bolt.Tx) (j journal, damaged int, err error) {
	b := tx.Bucket(journalled)
	if b == nil {
		return j, 0, nil
	}
	err = ascend(b.Cursor(), nil, func(k, v []byte) bool {
		d := unseal(k, v)
		a := addition{dayDomain{dayOf(d.Octets(dayKeySize)), d.String()}, d.Rest}
		if d.Damaged {
			damaged++
		} else {
			j.add([]addition{a})
		}
		return true
	})
	return j, damaged, err
}

// clearJournal deletes the bucket of the journal.
func clearJournal(tx *bolt.Tx) error {
	if tx.Bucket(journalled) == nil {
		return nil
	}
	return tx.DeleteBucket(journalled)
}
