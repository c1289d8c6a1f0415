package boltstore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/mtasts"
)

const (
	crashEnv     = "BOLTSTORE_TEST_FILE" // tells the test binary to write to this file until it is killed
	crashDomains = 300
	crashRounds  = 200
)

func TestMain(m *testing.M) {
	for env, run := range map[string]func(path string) error{crashEnv: writeForever, reportsCrashEnv: recordForever} {
		if path := os.Getenv(env); path != "" {
			fmt.Fprintln(os.Stderr, run(path))
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// crashEntry returns the i-th entry to put. Domains repeat.
func crashEntry(i int) mtasts.Entry {
	e := entry(i)
	e.Domain = entry(i % crashDomains).Domain
	return e
}

// writeForever puts entries, starting with the first that is not in the file.
// After each Sync, it prints how many entries are on disk.
func writeForever(path string) error {
	s, err := Open(path, Config{})
	if err != nil {
		return err
	}
	next := 0
	for e, err := range s.All(context.Background()) {
		if err != nil {
			return err
		}
		i, err := strconv.Atoi(e.ID)
		if err != nil {
			return err
		}
		next = max(next, i+1)
	}
	for ; ; next++ {
		if err := s.Put(context.Background(), crashEntry(next)); err != nil {
			return err
		}
		if next%20 == 0 {
			if err := s.Sync(); err != nil {
				return err
			}
			fmt.Println(next)
		}
	}
}

// startSelf starts the test binary with an additional environment variable and
// returns its standard output.
func startSelf(t *testing.T, variable string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// crash runs writeForever and kills it. It returns how many entries are on
// disk.
func crash(t *testing.T, path string, after time.Duration) int {
	t.Helper()
	cmd, out := startSelf(t, crashEnv+"="+path)
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the process ended by itself")
	}
	synced, _ := strconv.Atoi(lines.Text())
	time.AfterFunc(after, func() { cmd.Process.Kill() })
	for lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil { // the last line may be incomplete
			synced = n
		}
	}
	cmd.Wait()
	return synced
}

// A program is killed 200 times while it writes. Each time the file is valid,
// it contains all entries that were reported as written, and it contains no
// other entries.
func TestKilledProgramLeavesValidFile(t *testing.T) {
	t.Parallel()
	random := seed.Rand(t)
	path := tempFile(t)
	for range crashRounds {
		synced := crash(t, path, time.Duration(random.IntN(10_000))*time.Microsecond)
		s, err := Open(path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]int{}
		for e, err := range s.All(t.Context()) {
			i, _ := strconv.Atoi(e.ID)
			if want := crashEntry(i); err != nil || e.Domain != want.Domain || e.Text != want.Text || !e.Fetched.Equal(want.Fetched) {
				t.Fatalf("%+v, %v", e, err)
			}
			found[e.Domain] = i
		}
		for i := max(0, synced-crashDomains+1); i <= synced; i++ {
			if got, ok := found[crashEntry(i).Domain]; !ok || got < i {
				t.Fatalf("%d of %d is lost", i, synced)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
