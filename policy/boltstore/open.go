package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Options say how a file is opened. The zero value is fit for use.
type Options struct {
	// MoveDamaged has a file that is not in order renamed, by the time and
	// ".damaged" at the end of its name, and a new one begun. What it held is
	// unknown then, until each domain is asked for again. Without it, Open
	// returns an error, so that a person can look at the file first.
	MoveDamaged bool
	// Logger gets a line when a file is moved or can only be read. nil logs
	// nothing.
	Logger *slog.Logger

	openFile func(name string, flag int, perm fs.FileMode) (*os.File, error) // for tests
}

// ErrDamaged says that a file is no database, or one that is not in order.
var ErrDamaged = errors.New("the file is damaged")

// ErrInUse says that another process has the file open.
var ErrInUse = errors.New("the file is in use by another process")

// ErrSchema says that a file was written by a later version of this package.
var ErrSchema = errors.New("the file has a schema of another version")

const lockTimeout = time.Second

// The buckets, and what is in the one named meta.
var (
	meta      = []byte("meta")
	schemaKey = []byte("schema")
	policies  = []byte("mtasts-policies")
)

// schema is the version of what is in the file.
const schema = "1"

// Open opens the file, and creates it if there is none. Its directory must
// exist. The whole file is looked through, which for a million policies takes
// about a second.
//
// Errors name the file; some are [ErrInUse], [ErrDamaged] and [ErrSchema]. When
// the file is there but cannot be written to, it is opened all the same, and
// each Put says so.
func Open(path string, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.openFile == nil {
		o.openFile = os.OpenFile
	}
	db, err := openWritable(path, o)
	if errors.Is(err, ErrDamaged) && o.MoveDamaged {
		moved := path + "." + time.Now().UTC().Format("20060102T150405.000000000") + ".damaged"
		o.Logger.Error("boltstore: a damaged file is moved", "file", path, "to", moved, "error", err.Error())
		if err := os.Rename(path, moved); err != nil {
			return nil, fmt.Errorf("boltstore: %w", err)
		}
		db, err = openWritable(path, o)
	}
	if isUnwritable(err) {
		readable, failed := openDB(path, o, true)
		if failed == nil {
			o.Logger.Error("boltstore: the file can only be read", "file", path, "error", err.Error())
			db, err = readable, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("boltstore: %s: %w", path, err)
	}
	s := &Store{
		path: path, room: maxPending, db: db,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
		pending: make(changes), written: make(chan struct{}),
	}
	go s.write()
	return s, nil
}

// isUnwritable reports whether a file can perhaps be read.
func isUnwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// openWritable opens the file for writing, and creates it if there is none.
func openWritable(path string, o Options) (*bolt.DB, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path, o); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("this is no file")
	case info.Size() == 0:
		// This is how a file looks after a crash of some file systems.
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	case info.Mode().Perm()&0o077 != 0:
		// Who can write to the file decides what hosts get mail.
		if err := os.Chmod(path, 0o600); err != nil && !isUnwritable(err) {
			return nil, err
		}
	}
	return openDB(path, o, false)
}

// create makes an empty database. It gets its name when it is complete, so that
// a crash meanwhile leaves none; and another process's is not replaced.
func create(path string, o Options) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	f.Close()
	defer os.Remove(f.Name())
	db, err := bolt.Open(f.Name(), 0o600, &bolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucket(policies); err != nil {
			return err
		}
		b, err := tx.CreateBucket(meta)
		if err != nil {
			return err
		}
		return b.Put(schemaKey, []byte(schema))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// openDB opens a database that is there, and looks it through.
func openDB(path string, o Options, readOnly bool) (db *bolt.DB, err error) {
	var file *os.File
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout: lockTimeout, ReadOnly: readOnly, FreelistType: bolt.FreelistMapType, PreLoadFreelist: true,
			OpenFile: func(name string, flag int, perm fs.FileMode) (f *os.File, err error) {
				file, err = o.openFile(name, flag&^os.O_CREATE, perm)
				return file, err
			},
		})
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, ErrDamaged):
		release(file)
		return nil, err
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, err
	}
	if err := guard(func() error { return check(db) }); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// check looks through the whole database. The check that bbolt has runs in a
// goroutine of its own, where its panics cannot be caught.
func check(db *bolt.DB) error {
	return db.View(func(tx *bolt.Tx) error {
		info, err := os.Stat(db.Path())
		if err != nil {
			return err
		}
		if tx.Size() > info.Size() {
			return fmt.Errorf("%w: it is cut off at %d of %d octets", ErrDamaged, info.Size(), tx.Size())
		}
		if err := checkSchema(tx); err != nil {
			return err
		}
		for _, name := range [][]byte{policies, days, writers} {
			if err := checkRecords(tx.Bucket(name)); err != nil {
				return err
			}
		}
		return checkFree(tx, int(tx.Size())/db.Info().PageSize)
	})
}

// checkRecords makes sure that every record of a bucket, nil for none, and of
// those in it can be reached, in order. What a record says is checked when it is
// read.
func checkRecords(b *bolt.Bucket) error {
	if b == nil {
		return nil
	}
	last := ""
	return b.ForEach(func(k, v []byte) error {
		inner := b.Bucket(k)
		if string(k) <= last || len(v) == 0 && inner == nil {
			return fmt.Errorf("%w: record %q after %q", ErrDamaged, k, last)
		}
		last = string(k)
		return checkRecords(inner)
	})
}

// checkFree makes sure that no page in use counts as free, and would be
// overwritten.
func checkFree(tx *bolt.Tx, pages int) error {
	stats := tx.Cursor().Bucket().Stats() // of all buckets
	used := stats.BranchPageN + stats.BranchOverflowN + stats.LeafPageN + stats.LeafOverflowN
	const metaPages, listPages = 2, 1 // at least
	free := 0
	for id := metaPages; id < pages; id++ {
		if info, err := tx.Page(id); err != nil {
			return err
		} else if info.Type == "free" {
			free++
		}
	}
	if metaPages+listPages+used+free > pages {
		return fmt.Errorf("%w: of %d pages %d are in use and %d free", ErrDamaged, pages, used, free)
	}
	return nil
}

// checkSchema makes sure that this package can read and write what is there.
func checkSchema(tx *bolt.Tx) error {
	b := tx.Bucket(meta)
	if b == nil || tx.Bucket(policies) == nil {
		return fmt.Errorf("%w: it is a database of something else", ErrDamaged)
	}
	if version := b.Get(schemaKey); string(version) != schema {
		return fmt.Errorf("%w: %q, not %q", ErrSchema, version, schema)
	}
	return nil
}

// guard makes an error of a panic and of a fault, which is how bbolt, and the
// mapping of the file into memory, answer to a damaged file.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

// view reads from the database.
func (s *Store) view(f func(*bolt.Tx) error) error {
	return closedError(guard(func() error { return s.db.View(f) }))
}

// closedError returns ErrClosed for what bbolt says of a closed database.
func closedError(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
