package boltstore

import (
	"bufio"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/policy/storetest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

const (
	reportsCrashEnv    = "BOLTSTORE_TEST_REPORTS_CRASH"
	reportsCrashRounds = 100
)

// recordForever records sessions. It prints "recorded n" with the number of
// sessions recorded, and "stored n" with the number of sessions that the store
// has confirmed.
func recordForever(path string) error {
	s, err := Open(path, Config{})
	if err != nil {
		return err
	}
	var recorded atomic.Int64
	recorder, err := reporter.NewAggregator(reporter.AggregatorConfig{Store: s.Reports()})
	if err != nil {
		return err
	}
	go func() {
		for {
			recorder.Record(&tlsrpt.Session{
				Domain: reported, Time: storetest.Day().Start(),
				Outcomes: []tlsrpt.Outcome{{Policy: tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: reported}}},
			})
			fmt.Println("recorded", recorded.Add(1))
		}
	}()
	for {
		before := recorded.Load()
		if err := recorder.Flush(context.Background()); err != nil {
			return err
		}
		fmt.Println("stored", before)
	}
}

// A program that is killed repeatedly while it records loses no session that
// was confirmed as stored, and counts none twice.
func TestKilledProgramCountsEachSessionOnce(t *testing.T) {
	t.Parallel()
	random := seed.Rand(t)
	path := tempFile(t)
	var before int64
	for range reportsCrashRounds {
		recorded, stored := recordAndCrash(t, path, time.Duration(random.IntN(20_000))*time.Microsecond)
		s, err := Open(path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		part, err := s.Reports().Sums(t.Context(), storetest.Day(), reported)
		if err != nil {
			t.Fatal(err)
		}
		found := -before
		for _, sum := range part.Sums {
			found += sum.Summary.Successes
		}
		// One session may have been recorded but not yet printed.
		if found < stored || found > recorded+1 {
			t.Errorf("%d sessions are found; %d were recorded and %d stored", found, recorded, stored)
		}
		before += found
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// recordAndCrash runs recordForever and kills it some time after the first
// sessions were stored. It returns how many sessions were recorded and stored.
func recordAndCrash(t *testing.T, path string, after time.Duration) (recorded, stored int64) {
	t.Helper()
	cmd, out := startSelf(t, reportsCrashEnv+"="+path)
	var kill sync.Once
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // the last line is incomplete
		}
		var what string
		var n int64
		if _, err := fmt.Sscan(line, &what, &n); err != nil {
			t.Fatal(err)
		}
		if what == "recorded" {
			recorded = n
			continue
		}
		if stored = n; stored > 0 {
			kill.Do(func() { time.AfterFunc(after, func() { cmd.Process.Kill() }) })
		}
	}
	cmd.Wait()
	if stored == 0 {
		t.Fatal("the process ended by itself")
	}
	return recorded, stored
}
