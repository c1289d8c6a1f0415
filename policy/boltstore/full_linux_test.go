package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

const fullEnv = "BOLTSTORE_TEST_FULL"

// When the disk is full, only new changes are at risk, and Put returns an
// error. When there is space again, all changes are written. A limit on the
// size of files has the same effect as a full disk. It applies to the whole
// process, so the test runs in a process of its own.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getenv(fullEnv) != "" {
		if err := fillDisk(os.Getenv(fullEnv)); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := filled(t, 10)
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFull$")
	cmd.Env = append(os.Environ(), fullEnv+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := open(t, path, Config{})
	for i := range 1010 {
		wantEntry(t, s, i)
	}
}

// fillDisk puts a thousand entries while the file cannot grow.
func fillDisk(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := Open(path, Config{})
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := limit(uint64(info.Size())); err != nil {
		return err
	}
	for i := range 1000 {
		s.Put(context.Background(), entry(10+i))
	}
	if err := s.Sync(); err == nil {
		return errors.New("a full disk is no error")
	}
	if err := s.Put(context.Background(), entry(10)); err == nil {
		return errors.New("a put while the disk is full is no error")
	}
	for i := range 1010 {
		if e, err := s.Get(context.Background(), entry(i).Domain); err != nil || e.Text != entry(i).Text {
			return fmt.Errorf("%d while the disk is full: %v", i, err)
		}
	}
	if err := limit(1 << 30); err != nil {
		return err
	}
	if err := s.Sync(); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	return s.Close()
}

// limit sets the maximum size of files that this process writes.
func limit(size uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = size
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
}
