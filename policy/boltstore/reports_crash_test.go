package boltstore

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/storetest"
	"github.com/mxseal/mxseal/tlsrpt"
)

const (
	reportsCrashEnv    = "BOLTSTORE_TEST_REPORTS_CRASH"
	reportsCrashRounds = 20
)

// recordForEver records sessions, and says of each when it was recorded.
func recordForEver(path string) error {
	s, err := Open(path, Options{})
	if err != nil {
		return err
	}
	recorder := tlsrpt.NewAggregator(tlsrpt.AggregatorConfig{Store: s.Reports()})
	go recorder.Run(context.Background())
	ticker := time.NewTicker(time.Millisecond)
	for range ticker.C {
		recorder.Record(&tlsrpt.Session{
			Domain: reported, Time: storetest.Day().Start(),
			Outcomes: []tlsrpt.Outcome{{Policy: tlsrpt.Policy{Type: tlsrpt.NoPolicyFound, Domain: reported}}},
		})
		fmt.Println(time.Now().UnixNano())
	}
	return nil
}

// A program that is killed while it records loses no session but those of its
// last second, and counts none twice, however often that happens.
func TestReportsCrash(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	path := tempFile(t)
	before := int64(0)
	for range reportsCrashRounds {
		recorded := recordAndCrash(t, path, 500*time.Millisecond+time.Duration(random.IntN(600))*time.Millisecond)
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		part, err := s.Reports().Sums(t.Context(), storetest.Day(), reported)
		if err != nil {
			t.Fatal(err)
		}
		stored := -before
		for _, sum := range part.Sums {
			stored += sum.Summary.Successes
		}
		killed, old := recorded[len(recorded)-1], int64(0)
		for _, at := range recorded {
			if killed.Sub(at) > time.Second {
				old++
			}
		}
		// One more may be recorded than was printed.
		if stored < old || stored > int64(len(recorded)+1) {
			t.Errorf("%d sessions are stored of %d, of which %d were more than a second old", stored, len(recorded), old)
		}
		before += stored
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if before == 0 {
		t.Error("nothing was ever stored")
	}
}

// recordAndCrash runs recordForEver and kills it. It returns when sessions were
// recorded.
func recordAndCrash(t *testing.T, path string, after time.Duration) (recorded []time.Time) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), reportsCrashEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a last line that is cut off is not counted
		}
		var at int64
		if _, err := fmt.Sscan(line, &at); err != nil {
			t.Fatal(err)
		}
		if recorded = append(recorded, time.Unix(0, at)); len(recorded) == 1 {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	if len(recorded) == 0 {
		t.Fatal("the process ended by itself")
	}
	return recorded
}
