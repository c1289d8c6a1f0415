package sums

import (
	"fmt"
	"hash/maphash"
	"reflect"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

var seed = maphash.MakeSeed()

// failing returns a session with a host, and its outcome under a policy with a text.
func failing(host, text string) (*tlsrpt.Session, *tlsrpt.Outcome) {
	return &tlsrpt.Session{MXHost: host}, &tlsrpt.Outcome{
		Policy:   tlsrpt.Policy{Type: tlsrpt.STS, Domain: "example.com", Strings: []string{text}},
		Failures: []tlsrpt.Failure{{Type: tlsrpt.ValidationFailure, ReasonCode: "x"}},
	}
}

// R6: texts take at most half of a Room. In the other half, the totals of further policies
// and domains are counted. What is released can be used again, all of it.
func TestR6RoomDropsTextsFirst(t *testing.T) {
	t.Parallel()
	const octets = 1 << 20
	room := NewRoom(octets)
	var tallies []*Tally
	texts, plain := 0, 0
	for i := 0; ; i++ {
		tally := New(seed, fmt.Sprintf("d%d.example.com", i), room)
		if tally == nil {
			break
		}
		tallies = append(tallies, tally)
		session, outcome := failing("mx.example.com", strings.Repeat("x", 10_000))
		if !tally.CountNew(session, outcome) {
			break
		}
		if !tally.Count(session, outcome) && !tally.CountNew(session, outcome) {
			t.Fatalf("domain %d is counted once, and then not", i)
		}
		result := tally.Results()[0]
		if result.Summary.Failures != 2 {
			t.Fatalf("domain %d: %+v", i, result)
		}
		switch {
		case len(result.Policy.Strings) > 0:
			texts++
			if plain > 0 {
				t.Fatalf("domain %d has a text, and one before it has none", i)
			}
		default:
			plain++
		}
		if room.Used() > octets {
			t.Fatalf("%d octets are in use", room.Used())
		}
	}
	if texts < 40 || plain < 400 || room.Used() < octets-2000 {
		t.Errorf("%d domains with text, %d without, %d octets", texts, plain, room.Used())
	}
	for _, tally := range tallies {
		tally.Release()
	}
	if room.Used() != 0 {
		t.Errorf("%d octets are in use after everything was released", room.Used())
	}
}

// R6: a tally forgets what was not counted since it was drained, so that it takes no more
// than what is in use, and counts the same as one that forgets nothing.
func TestR6DrainForgets(t *testing.T) {
	t.Parallel()
	room := NewRoom(64 << 20)
	tally, all := New(seed, "example.com", room), New(seed, "example.com", nil)
	merged := New(seed, "example.com", nil)
	most := int64(0)
	for round := range 50 {
		for i := range 20 {
			// Some policies and hosts come back, most do not.
			session, outcome := failing(fmt.Sprintf("mx%d.example.com", i%3*round+i), fmt.Sprint("text ", i%2*round))
			for _, counting := range []*Tally{tally, all} {
				if !counting.Count(session, outcome) && !counting.CountNew(session, outcome) {
					t.Fatal("not counted")
				}
			}
		}
		most = max(most, room.Used())
		merged.Merge(tally.Drain())
		for range 2 { // of which the second forgets the rest
			if round%10 == 9 && len(tally.Drain()) > 0 {
				t.Error("sums are drained twice")
			}
		}
	}
	if !reflect.DeepEqual(merged.Results(), all.Results()) {
		t.Errorf("drained are\n%+v, counted were\n%+v", merged.Results(), all.Results())
	}
	if most > 100<<10 || all.octets < 4*int(most) {
		t.Errorf("%d octets were in use, and %d without forgetting", most, all.octets)
	}
	tally.Drain()
	tally.Drain()
	tally.Release()
	if room.Used() != 0 || tally.details != 0 || tally.texts != 0 {
		t.Errorf("%d octets, %d details and %d octets of text are left", room.Used(), tally.details, tally.texts)
	}
}

// The memory of one domain is limited, whatever its hosts and policies say. Merging sums at
// the limit loses no session and soon changes nothing more.
func TestDomainBounds(t *testing.T) {
	t.Parallel()
	tally := New(seed, "example.com", nil)
	const policies, hosts = 400, 20
	for i := range policies {
		for k := range hosts {
			session, outcome := failing(fmt.Sprintf("%s%d-%d.example.com", strings.Repeat("x", 40), i, k), strings.Repeat("y", 700))
			outcome.Policy.Domain = fmt.Sprintf("p%d.example.com", i)
			outcome.Failures[0].Type = tlsrpt.AllResultTypes()[(i+k)%11]
			if !tally.CountNew(session, outcome) {
				t.Fatal("not counted")
			}
		}
	}
	if tally.octets > maxOctets+4*(policyOctets+100) || tally.texts < maxTexts/2 {
		t.Errorf("%d octets, %d of text", tally.octets, tally.texts)
	}
	total := func(results []report.PolicyResult) (n int64) {
		for _, result := range results {
			n += result.Summary.Failures
		}
		return n
	}
	before, merged := tally.Results(), tally.Results()
	for range 4 {
		again := New(seed, "example.com", nil)
		again.Merge(merged)
		before, merged = merged, again.Results()
	}
	if total(tally.Results()) != policies*hosts || total(merged) != policies*hosts || !reflect.DeepEqual(before, merged) {
		t.Errorf("%d failures in %d policies, %d in %d after merging", total(tally.Results()), len(tally.policies), total(merged), len(merged))
	}
}
