package boltstore

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/internal/test/seed"
)

// filled returns the path of a closed file with n entries.
func filled(t testing.TB, n int) string {
	t.Helper()
	path := tempFile(t)
	s := open(t, path, Config{})
	for i := range n {
		put(t, s, i)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Only the owner can read the file, whatever its permissions were before. No
// temporary files remain.
func TestOnlyOwnerCanReadFile(t *testing.T) {
	t.Parallel()
	path := filled(t, 1)
	for _, mode := range []fs.FileMode{0o600, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		open(t, path, Config{}).Close()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
}

// Only one Store can have the file open, in all processes.
func TestOneStoreHasFileOpen(t *testing.T) {
	t.Parallel()
	path := filled(t, 1)
	s := open(t, path, Config{})
	if _, err := Open(path, Config{MoveDamaged: true}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	wantEntry(t, s, 0)
}

func TestOpenRefusesOtherPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                                  "not a regular file",
		filepath.Join(dir, "none", "a file"): "create the directory " + filepath.Join(dir, "none") + " first",
	} {
		if _, err := Open(path, Config{MoveDamaged: true}); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path+": "+want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// A file of a later version is not read and not treated as damaged. The error names the
// version. A version that no release writes is damage.
func TestLaterVersionIsNotDamage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		version string
		want    error
	}{
		{"3", ErrSchema}, {"10", ErrSchema},
		{"0", ErrDamaged}, {"-1", ErrDamaged}, {"x", ErrDamaged}, {"", ErrDamaged}, {"2\x00", ErrDamaged},
	} {
		path := filled(t, 1)
		s := open(t, path, Config{})
		err := s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(meta).Put(schemaKey, []byte(tt.version)) })
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(path, Config{MoveDamaged: tt.want == ErrSchema})
		if !errors.Is(err, tt.want) || errors.Is(err, ErrSchema) == errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), strconv.Quote(tt.version)) {
			t.Errorf("version %q: error %v", tt.version, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("version %q: the file was changed, %v", tt.version, err)
		}
	}
}

// A damaged file is an error that names the file, and the file is unchanged.
// With MoveDamaged it is renamed and a new file is started.
func TestDamagedFileIsKept(t *testing.T) {
	t.Parallel()
	good := filled(t, 500)
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	overwrite := func(from, to int) []byte {
		b := bytes.Clone(data)
		copy(b[from:to], bytes.Repeat([]byte{0xa5}, to-from))
		return b
	}
	other := tempFile(t)
	db, err := bolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"text":            []byte("this is no database\n"),
		"empty":           {},
		"zeros":           make([]byte, len(data)),
		"another's":       foreign,
		"no meta":         overwrite(0, 2*page),
		"all but meta":    overwrite(2*page, len(data)),
		"the second half": overwrite(len(data)/2, len(data)),
		"cut off":         data[:len(data)/2],
		"cut after meta":  data[:2*page],
		"cut in meta":     data[:100],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := tempFile(t)
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(path, Config{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v", err)
			}
			if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, damaged) {
				t.Errorf("the file was changed, %v", err)
			}
			var log bytes.Buffer
			s := open(t, path, Config{MoveDamaged: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			wantAll(t, s)
			put(t, s, 1)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			moved, _ := filepath.Glob(path + ".*.damaged")
			if len(moved) != 1 || !strings.Contains(log.String(), moved[0]) {
				t.Fatalf("moved to %q, log %q", moved, log.String())
			}
			if b, err := os.ReadFile(moved[0]); err != nil || !bytes.Equal(b, damaged) {
				t.Errorf("the moved file was changed, %v", err)
			}
			wantAll(t, open(t, path, Config{}), 1)
		})
	}
}

// Keys that are not in order, as after damage to a page, end a walk with an error: the
// cursor could go round in a circle.
func TestKeysOutOfOrderEndWalk(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	var keys []string
	fill := func(db *bolt.DB) error {
		return db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("b"))
			for _, key := range []string{"key-one", "key-three", "key-two"} {
				err = errors.Join(err, b.Put([]byte(key), []byte("x")))
			}
			return err
		})
	}
	withDB := func(f func(db *bolt.DB) error) error {
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		return f(db)
	}
	walk := func(db *bolt.DB) error {
		keys = nil
		return db.View(func(tx *bolt.Tx) error {
			return ascend(tx.Bucket([]byte("b")).Cursor(), nil, func(k, _ []byte) bool {
				keys = append(keys, string(k))
				return true
			})
		})
	}
	if err := errors.Join(withDB(fill), withDB(walk)); err != nil || len(keys) != 3 {
		t.Fatalf("%q, %v", keys, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte("key-two"), []byte("key-aaa")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := withDB(walk); !errors.Is(err, ErrDamaged) || len(keys) != 2 {
		t.Errorf("%q, %v; want ErrDamaged after two keys", keys, err)
	}
}

// With arbitrary damage, the result is an error or correct records, and never a
// panic or a policy that was not put.
func TestDamageMakesNoOtherPolicy(t *testing.T) {
	t.Parallel()
	const n = 100
	data, err := os.ReadFile(filled(t, n))
	if err != nil {
		t.Fatal(err)
	}
	random := seed.Rand(t)
	path := tempFile(t)
	for range 100 {
		b := bytes.Clone(data)
		for range 1 + random.IntN(8) {
			b[random.IntN(len(b))] = byte(random.Uint32())
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Config{})
		if err != nil {
			continue
		}
		for e, err := range s.All(t.Context()) {
			if err == nil && (e.Domain == "" || e.Text != entryOf(e).Text) {
				t.Fatalf("%+v was never put", e)
			}
		}
		s.Put(t.Context(), entry(n))
		s.Sync()
		s.Close()
	}
}

// readOnlyDisk opens files as on a read-only file system.
func readOnlyDisk(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if flag&os.O_RDWR != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	return os.OpenFile(name, flag, perm)
}

// On a read-only disk, stored policies still protect. Changes are kept in
// memory, and Put returns an error.
func TestReadOnlyDiskStillProtects(t *testing.T) {
	t.Parallel()
	path := filled(t, 2)
	var log bytes.Buffer
	s := open(t, path, Config{openFile: readOnlyDisk, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), path) {
		t.Errorf("log %q", log.String())
	}
	wantEntry(t, s, 0)
	s.Put(t.Context(), entry(5))
	s.Delete(t.Context(), entry(1).Domain)
	if err := s.Sync(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if err := s.Put(t.Context(), entry(6)); err == nil {
		t.Error("a write to a read-only disk is no error")
	}
	wantAll(t, s, 0, 5, 6)
	if err := s.Close(); err == nil {
		t.Error("no error for a lost change")
	}
	wantAll(t, open(t, path, Config{}), 0, 1)
}

// If the disk begins to fail, only new changes are at risk, and the memory for
// them is bounded.
func TestFailingDiskRisksOnlyNewChanges(t *testing.T) {
	t.Parallel()
	path := filled(t, 1)
	s := open(t, path, Config{openFile: func(name string, _ int, perm fs.FileMode) (*os.File, error) {
		return os.OpenFile(name, os.O_RDONLY, perm) // writes fail
	}})
	s.room = 100
	put(t, s, 1)
	if err := s.Sync(); err == nil {
		t.Fatal("a failed write is no error")
	}
	for i := range 1000 {
		if err := s.Put(t.Context(), entry(i)); err == nil {
			t.Fatal("no error while the disk fails")
		}
	}
	if n := len(s.recent()); n > 2*s.room {
		t.Errorf("%d changes in memory", n)
	}
	wantEntry(t, s, 0)
	wantEntry(t, s, 1)
	if _, err := s.Get(t.Context(), "unknown.example"); err == nil {
		t.Error("no such entry")
	}
}

// While the disk works, a burst of changes waits for it, and no change is lost.
func TestBurstOfChangesIsNotLost(t *testing.T) {
	t.Parallel()
	path := tempFile(t)
	s := open(t, path, Config{})
	s.room = 100
	const n = 1500
	for i := range n {
		put(t, s, i)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Config{})
	count := 0
	for _, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != n {
		t.Errorf("%d entries, want %d", count, n)
	}
}
