package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/mxseal/mxseal/mtasts"
)

const fullEnv = "BOLTSTORE_TEST_FULL"

// When the disk is full, only new changes are at risk, and Put returns an
// error. When there is space again, all changes are written. A limit on the
// size of files has the same effect as a full disk. It applies to the whole
// process, so the test runs in a process of its own.
func TestFullDiskRisksOnlyNewChanges(t *testing.T) {
	t.Parallel()
	if os.Getenv(fullEnv) != "" {
		if err := fillDisk(os.Getenv(fullEnv)); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := filled(t, 10)
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskRisksOnlyNewChanges$")
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
	// The next one is not given to bbolt, which would read the whole file.
	stats := s.db.Stats().TxStats
	if err := s.Sync(); err == nil {
		return errors.New("a disk that is still full is no error")
	}
	if again := s.db.Stats().TxStats; again.GetSpill() != stats.GetSpill() {
		return errors.New("a commit was tried without room for it")
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

// On a full disk, an older file is not upgraded. Its policies protect, and are upgraded by
// the next Open with room.
func TestFullDiskKeepsOldFile(t *testing.T) {
	t.Parallel()
	if os.Getenv(fullEnv) != "" {
		if err := openOnFullDisk(os.Getenv(fullEnv)); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := version1(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskKeepsOldFile$")
	cmd.Env = append(os.Environ(), fullEnv+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantVersion1(t, open(t, path, Config{}))
}

// openOnFullDisk opens a file of version 1 that cannot grow.
func openOnFullDisk(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := limit(1); err != nil {
		return err
	}
	var log bytes.Buffer
	s, err := Open(path, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		return err
	}
	if !strings.Contains(log.String(), "read-only") {
		return fmt.Errorf("log %q", log.String())
	}
	if e, err := s.Get(context.Background(), entry(0).Domain); err != nil || e.Text != entry(0).Text {
		return fmt.Errorf("%+v, %v", e, err)
	}
	if _, err := s.Get(context.Background(), "unknown.example"); !errors.Is(err, mtasts.ErrNotStored) {
		return err
	}
	s.Put(context.Background(), entry(100))
	if err := s.Sync(); err == nil {
		return errors.New("a put that cannot be written is no error")
	}
	if err := s.Close(); err == nil {
		return errors.New("no error for a lost change")
	}
	return nil
}

// On a full disk, damage to the file is an error and does not end the process, from the
// second commit that fails on: bbolt looks at all pages after the first.
func TestC9DamageOnFullDiskIsAnError(t *testing.T) {
	t.Parallel()
	if os.Getenv(fullEnv) != "" {
		if err := damageOnFullDisk(os.Getenv(fullEnv)); err != nil {
			t.Fatal(err)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestC9DamageOnFullDiskIsAnError$")
	cmd.Env = append(os.Environ(), fullEnv+"="+filled(t, 1000))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// damageOnFullDisk damages the branches of trees between two commits that fail.
func damageOnFullDisk(path string) error {
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
		s.Put(context.Background(), entry(1000+i))
	}
	if err := s.Sync(); err == nil {
		return errors.New("a full disk is no error")
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	page := make([]byte, os.Getpagesize())
	damaged := 0
	for at := int64(metaPages * len(page)); at < info.Size(); at += int64(len(page)) {
		if _, err := file.ReadAt(page, at); err != nil {
			return err
		}
		if number.Uint16(page[8:]) != flagBranch {
			continue
		}
		damaged++
		child := pageHeader + elementHeader - 8
		copy(page[child+elementHeader:][:8], page[child:]) // two elements have the same page
		if _, err := file.WriteAt(page, at); err != nil {
			return err
		}
	}
	if damaged == 0 {
		return errors.New("the test shows nothing: the file has no branch")
	}
	for range 3 {
		if err := s.Sync(); err == nil {
			return errors.New("damage on a full disk is no error")
		}
	}
	return file.Close()
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
