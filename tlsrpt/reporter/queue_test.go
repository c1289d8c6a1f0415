package reporter

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

// listed is a Store that has domains of one day.
type listed struct {
	MemoryStore
	domains []string
}

func (l *listed) Domains(context.Context, report.Day) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, domain := range l.domains {
			if !yield(domain, nil) {
				return
			}
		}
	}
}

// R3: the queue has few of many domains at a time, and the names of one owner are begun after
// all others, even if the Store has them first. Every domain is begun at once.
func TestR3QueueHoldsFew(t *testing.T) {
	t.Parallel()
	const many, others = 3 * maxFresh, 2 * maxFresh
	var store listed
	for i := range many {
		store.domains = append(store.domains, fmt.Sprintf("n%d.many.example", i))
	}
	for i := range others {
		store.domains = append(store.domains, fmt.Sprintf("d%d.example", i))
	}
	q := newQueue()
	s := scanner{store: &store, days: []report.Day{1}, again: true}
	begun := make(map[string]bool)
	early, passes := 0, 0 // names of the one owner before the last of the others
	for s.hasMore() {
		if passes++; passes > 1000 {
			t.Fatal("no end")
		}
		more := s.fill(t.Context(), &q)
		if len(q.pending) > maxFresh || q.owners["many.example"].fresh > maxOwnerFresh {
			t.Fatalf("%d jobs, %d of one owner", len(q.pending), q.owners["many.example"].fresh)
		}
		for _, p := range q.due(time.Now()) {
			if more && q.isHalfEmpty() {
				break
			}
			if !q.begin(p) || begun[p.domain] {
				t.Fatalf("%s is begun twice", p.domain)
			}
			begun[p.domain] = true
			if strings.HasSuffix(p.domain, ".many.example") && len(begun)-early < others {
				early++
			}
			q.remove(p)
			q.end(p)
		}
		store.domains = without(store.domains, begun)
	}
	if len(begun) != many+others || early > 16 {
		t.Errorf("%d of %d begun, %d of the one owner before the last of the others", len(begun), many+others, early)
	}
	if len(q.pending)+len(q.owners)+q.all.fresh+q.all.begun > 0 {
		t.Errorf("%d jobs are left, %d owners, %+v", len(q.pending), len(q.owners), q.all)
	}
}

// without returns the domains that are not reported yet, in a list of its own, since an
// iteration over the old one goes on.
func without(domains []string, reported map[string]bool) []string {
	var left []string
	for _, domain := range domains {
		if !reported[domain] {
			left = append(left, domain)
		}
	}
	return left
}

// R3: jobs that wait for another attempt are bounded, for each owner and in total. A job
// whose part remains to be deleted is never forgotten, because it would be sent again.
func TestR3WaitingJobsAreBounded(t *testing.T) {
	t.Parallel()
	q := newQueue()
	released := 0
	try := func(domain string, over bool) {
		t.Helper()
		if !q.add(job{1, domain}) {
			t.Fatalf("%s is not added", domain)
		}
		p := q.pending[job{1, domain}]
		q.begin(p)
		p.over, p.release = over, func() { released++ }
		q.postpone(p, time.Now().Add(time.Hour))
		q.end(p)
	}
	for i := range maxOwnerBegun + 10 {
		try(fmt.Sprintf("n%d.many.example", i), false)
	}
	if q.owners["many.example"].begun != maxOwnerBegun || released != 10 {
		t.Errorf("%+v of one owner, %d leases returned", q.owners["many.example"], released)
	}
	for i := range maxBegun {
		try(fmt.Sprintf("d%d.example", i), false)
	}
	if len(q.pending) != maxBegun || q.all != (owned{0, maxBegun}) || len(q.later) > maxBegun {
		t.Errorf("%d jobs, counted as %+v, %d in the heap", len(q.pending), q.all, len(q.later))
	}
	before := released
	try("over.example", true)
	if q.pending[job{1, "over.example"}] == nil || released != before {
		t.Error("a job that is over was forgotten")
	}
}

// Jobs are due when their times have come, unless they were removed.
func TestJobsAreDueAtTheirTimes(t *testing.T) {
	t.Parallel()
	q := newQueue()
	now := time.Now()
	for i := range 100 {
		j := job{1, fmt.Sprintf("d%d.example", i)}
		q.add(j)
		p := q.pending[j]
		q.begin(p)
		q.postpone(p, now.Add(time.Duration(i*37%100)*time.Second))
		q.end(p)
	}
	q.removeIf(func(p *progress) bool { return strings.HasPrefix(p.domain, "d1") }) // eleven
	for _, seconds := range []int{0, 10, 50, 98, 99} {
		until := now.Add(time.Duration(seconds) * time.Second)
		want := 0
		for i := range 100 {
			if i != 1 && i/10 != 1 && i*37%100 <= seconds {
				want++
			}
		}
		due := q.due(until)
		for _, p := range due {
			if p.next.After(until) || strings.HasPrefix(p.domain, "d1") {
				t.Errorf("%s is due after %d s, and not before %v", p.domain, seconds, p.next.Sub(now))
			}
		}
		if len(due) != want {
			t.Errorf("%d jobs are due after %d s, want %d", len(due), seconds, want)
		}
	}
}
