package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/policy/storetest"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// C1: a flush is one transaction with two syncs, whatever the number of its domains, and
// few octets are written for each session, those for a journal that becomes full included.
func TestC1FewOctetsWritten(t *testing.T) {
	t.Parallel()
	const domains, perSecond, halves = 4000, 100, 680
	s := open(t, tempFile(t), Config{})
	tr := newTraffic(t, s, domains)
	mergeJournal(t, s.Reports())
	octets, syncs := octetsWritten(t, s)
	merged := false
	for range halves {
		before := s.Reports().journal.number
		tr.half(t, perSecond)
		merged = merged || s.Reports().journal.number < before
	}
	octetsAfter, syncsAfter := octetsWritten(t, s)
	if each := (octetsAfter - octets) / (halves * perSecond / 2); each > 4<<10 || !merged {
		t.Errorf("%d octets were written for each session, want at most 4096; the journal was full: %v", each, merged)
	}
	if n := syncsAfter - syncs; n != 2*halves {
		t.Errorf("%d syncs in %d flushes", n, halves)
	}
	for i := range 10_000 {
		tr.recorder.Record(succeeding(i))
	}
	tr.flush(t)
	var sessions int64
	for domain, err := range s.Reports().Domains(t.Context(), storetest.Day()) {
		if err != nil {
			t.Fatal(err)
		}
		part, err := s.Reports().Sums(t.Context(), storetest.Day(), domain)
		if err != nil {
			t.Fatal(err)
		}
		sessions += part.Sums[0].Summary.Successes + part.Sums[0].Summary.Failures
	}
	if want := int64(2*domains + halves*perSecond/2 + 10_000); sessions != want {
		t.Errorf("%d sessions are in the file, want %d", sessions, want)
	}
	if _, n := octetsWritten(t, s); n != syncsAfter+2 {
		t.Errorf("%d syncs for a batch of 10,000 domains", n-syncsAfter)
	}
}

// C1: the file is used again, day after day.
func TestC1FileIsReused(t *testing.T) {
	t.Parallel()
	s := open(t, tempFile(t), Config{})
	r := s.Reports()
	number := int64(0)
	sizes := make(map[report.Day]int64)
	const days = 12
	for i := range report.Day(days) {
		day := storetest.Day() + i
		for range 4 {
			b := &reporter.Batch{Writer: "w", Number: number + 1, Sums: nil}
			number++
			for d := range 1000 {
				b.Sums = append(b.Sums, reporter.DomainSums{
					Day: day, Domain: fmt.Sprintf("d%d-%d.example", d, i), Results: []report.PolicyResult{former.sts, former.none},
				})
			}
			add(t, r, b)
		}
		for range 2 {
			if err := r.DeleteBefore(t.Context(), day-1); err != nil {
				t.Fatal(err)
			}
		}
		mergeJournal(t, r)
		info, err := os.Stat(s.path)
		if err != nil {
			t.Fatal(err)
		}
		sizes[i] = info.Size()
	}
	if sizes[days-1] > sizes[3]*5/4 {
		t.Errorf("the file grows: %v", sizes)
	}
}

// The journal outlives restarts, in any state. Damaged entries are logged and not counted;
// all others are counted.
func TestJournalOutlivesRestart(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	s := open(t, path, Config{})
	add(t, s.Reports(), batch(1, 1, reported))
	mergeJournal(t, s.Reports())
	add(t, s.Reports(), batch(2, 2, reported))
	add(t, s.Reports(), batch(3, 4, "other.example"))
	err := s.db.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(journalled)
		k, v := b.Cursor().Last()
		v = bytes.Clone(v)
		v[len(v)-1] ^= 1
		return b.Put(bytes.Clone(k), v)
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s = open(t, path, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	wantSessions(t, s.Reports(), reported, 1, 3)
	wantPart(t, s.Reports(), storetest.Day(), "other.example", 0)
	if !strings.Contains(log.String(), path) || !strings.Contains(log.String(), "number=1") {
		t.Errorf("the log says %q", log.String())
	}
	mergeJournal(t, s.Reports())
	wantSessions(t, s.Reports(), reported, 1, 3)
	add(t, s.Reports(), batch(10, 1, reported))
	wantSessions(t, s.Reports(), reported, 1, 4)

	// After an error, it is not known whether the journal in the file has changed.
	if err := s.db.update(func(tx *bolt.Tx) error { return writeJournal(tx, additions(batch(11, 1, reported))) }); err != nil {
		t.Fatal(err)
	}
	s.maxSize = 1
	if err := s.Reports().Add(t.Context(), batch(12, 1, "new.example")); !errors.Is(err, reporter.ErrStoreFull) {
		t.Errorf("Add to a full file: %v", err)
	}
	wantSessions(t, s.Reports(), reported, 1, 5)
}

// R5: what is added to a domain costs as much as it is large, however much the domain has.
// Its text is limited in octets, and no session is lost.
func TestR5LargeDomainCostsNoMore(t *testing.T) {
	t.Parallel()
	s := open(t, tempFile(t), Config{})
	r := s.Reports()
	number := int64(0)
	addResults := func(results ...report.PolicyResult) {
		number++
		add(t, r, &reporter.Batch{Writer: "w", Number: number, Sums: []reporter.DomainSums{
			{Day: storetest.Day(), Domain: reported, Results: results},
		}})
	}
	var failures int64
	addFull := func(variant int) {
		full := atLimits(reported)
		for i := range full {
			full[i].Policy.Strings[0] += fmt.Sprint(variant)
			full[i].Policy.Strings = append(full[i].Policy.Strings, strings.Repeat("0", 4000))
			failures += full[i].Summary.Failures
		}
		addResults(full...)
		mergeJournal(t, r)
	}
	for variant := range 3 {
		addFull(variant)
	}
	size := partSize(t, s, reported)
	if size > 2*maxOctets {
		t.Errorf("the records of the domain have %d octets", size)
	}
	addFull(4)
	if n := partSize(t, s, reported); n > size+10<<10 {
		t.Errorf("the records of the domain have grown from %d to %d octets", size, n)
	}

	before, _ := octetsWritten(t, s)
	one := atLimits(reported)[:1]
	one[0].Summary.Failures, one[0].Details = 1, one[0].Details[:1]
	addResults(one...)
	mergeJournal(t, r)
	failures++
	if after, _ := octetsWritten(t, s); after-before > 100<<10 {
		t.Errorf("%d octets are written for one session", after-before)
	}
	part, err := r.Sums(t.Context(), storetest.Day(), reported)
	if err != nil {
		t.Fatal(err)
	}
	var counted, listed int64
	for _, result := range part.Sums {
		counted += result.Summary.Failures
		for _, d := range result.Details {
			listed += d.Sessions
		}
	}
	if counted != failures || listed != failures {
		t.Errorf("%d failures are counted and %d listed, want %d", counted, listed, failures)
	}
}

// partSize returns the octets of all records of a domain.
func partSize(t *testing.T, s *Store, domain string) (octets int) {
	t.Helper()
	err := s.db.view(func(tx *bolt.Tx) error {
		return ascend(dayBucket(tx, storetest.Day()).Cursor(), []byte(domain), func(k, v []byte) bool {
			isOfDomain := bytes.HasPrefix(k, append([]byte(domain), 0))
			if isOfDomain {
				octets += len(k) + len(v)
			}
			return isOfDomain
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// R6: when the file is half full, sessions are counted by type, without texts. When it is
// three quarters full, no domain is added. The rest is for policies.
func TestR6FullFileCountsWithoutTexts(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "policies.db"), Config{MaxSize: 2 << 20})
	r := s.Reports()
	add(t, r, batch(1, 1, reported))
	number, firstWithout := int64(1), int64(0)
	fill := func() error {
		number++
		b := &reporter.Batch{Writer: "test", Number: number, Sums: []reporter.DomainSums{
			{Day: storetest.Day(), Domain: fmt.Sprintf("d%d.example", number), Results: atLimits("example.com")[:64]},
		}}
		for i := 0; i < 100 && firstWithout > 0; i++ { // it is faster
			b.Sums = append(b.Sums, reporter.DomainSums{
				Day: storetest.Day(), Domain: fmt.Sprintf("d%d-%d.example", number, i), Results: []report.PolicyResult{former.sts},
			})
		}
		err := r.Add(t.Context(), b)
		mergeJournal(t, r)
		return err
	}
	textless := func(p reporter.Part) bool {
		for _, result := range p.Sums {
			if len(result.Policy.Strings) > 0 {
				return false
			}
		}
		return len(p.Sums) > 0
	}
	var err error
	for err == nil && number < 20_000 {
		err = fill()
		part, failed := r.Sums(t.Context(), storetest.Day(), fmt.Sprintf("d%d.example", number))
		if failed != nil {
			t.Fatal(failed)
		}
		if err == nil && textless(part) && firstWithout == 0 {
			firstWithout = number
		} else if err == nil && textless(part) != (firstWithout > 0) {
			t.Fatalf("domain %d has texts, and domain %d has none", number, firstWithout)
		}
	}
	if !errors.Is(err, reporter.ErrStoreFull) || firstWithout < 3 {
		t.Fatalf("after %d domains: %v; the first without texts is number %d", number, err, firstWithout)
	}
	info, err := os.Stat(s.path)
	if err != nil || info.Size() > 3<<20 {
		t.Errorf("%d octets, %v", info.Size(), err)
	}
	add(t, r, batch(number+1, 1, reported)) // a known domain
	wantSessions(t, r, reported, 1, 2)
	put(t, s, 1)
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
	put(t, s, 2) // there is room for policies
}

// R7: a clock that is ahead for one reading deletes nothing.
func TestR7NothingDeletedAtOnce(t *testing.T) {
	t.Parallel()
	r := open(t, tempFile(t), Config{}).Reports()
	add(t, r, batch(1, 1, reported))
	exists := true
	for i, ahead := range []report.Day{1000, -2, 0, 1000, 0, 1, 1} {
		if err := r.DeleteBefore(t.Context(), storetest.Day()+ahead); err != nil {
			t.Fatal(err)
		}
		exists = exists && i < 6
		part, err := r.Sums(t.Context(), storetest.Day(), reported)
		if err != nil || (part.Number == 1) != exists {
			t.Errorf("after call %d: %+v, %v; want sums: %v", i, part, err, exists)
		}
	}
}
