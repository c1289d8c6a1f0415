package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// database is a bbolt database that returns damage as an error. bbolt panics on a
// damaged file, and access to the memory mapping faults.
type database struct {
	*bolt.DB
	file *os.File
	// broken is true after a commit panicked. bbolt's lock for writing is held
	// forever then.
	broken atomic.Bool
	// failed counts the commits that have failed since the last one that succeeded.
	failed atomic.Int32
}

const (
	// leastRoom is how many octets a commit must have room for after one that failed. It
	// doubles with each failure, at most doublings times.
	leastRoom = 1 << 20
	doublings = 4
)

// errBroken is the error of writes after a commit panicked.
var errBroken = fmt.Errorf("%w while it is open; nothing can be written until the program starts again", ErrDamaged)

// openDatabase checks an existing database and opens it.
func openDatabase(path string, config Config, readOnly bool) (*database, error) {
	db, err := openBolt(path, config, &bolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	err = guard(func() error {
		info, err := db.file.Stat()
		if err != nil {
			return err
		}
		if err := checkPages(db.file, info.Size(), db.Info().PageSize); err != nil {
			return err
		}
		return db.View(checkSchema)
	})
	if err == nil && readOnly {
		return db, nil
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return openBolt(path, config, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
}

// openBolt opens an existing database. Without ReadOnly, it must have been checked.
func openBolt(path string, config Config, options *bolt.Options) (*database, error) {
	db := new(database)
	options.Timeout = lockTimeout
	options.OpenFile = func(name string, flag int, perm fs.FileMode) (f *os.File, err error) {
		db.file, err = config.openFile(name, flag&^os.O_CREATE, perm)
		return db.file, err
	}
	err := guard(func() (err error) {
		db.DB, err = bolt.Open(path, 0o600, options)
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, ErrDamaged):
		release(db.file)
		return nil, err
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, err
	}
	return db, nil
}

// view runs f in a read transaction.
func (db *database) view(f func(*bolt.Tx) error) error {
	return closedError(guard(func() error { return db.View(f) }))
}

// update runs f in a write transaction. If f returns an error or panics, nothing is
// changed, and bbolt does not read the whole file to find out what is free.
func (db *database) update(f func(*bolt.Tx) error) error {
	if db.broken.Load() {
		return errBroken
	}
	var tx *bolt.Tx
	err := guard(func() (err error) {
		tx, err = db.Begin(true)
		return err
	})
	if err != nil {
		return closedError(err)
	}
	err = guard(func() error {
		if err := db.makeRoom(tx); err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil {
		return errors.Join(err, guard(tx.Rollback))
	}
	ended := false
	err = guard(func() error {
		err := tx.Commit()
		ended = true
		return err
	})
	switch {
	case !ended:
		db.broken.Store(true)
	case err != nil:
		db.failed.Add(1)
	default:
		db.failed.Store(0)
	}
	return err
}

// makeRoom makes sure that the disk has room for a commit, after one that has failed. On a
// full disk, bbolt would read the whole file for each that fails, and end the process if
// some of it is damaged. The octets after the last page are not in use.
func (db *database) makeRoom(tx *bolt.Tx) error {
	failed := db.failed.Load()
	if failed == 0 {
		return nil
	}
	zeros := make([]byte, leastRoom)
	end := tx.Size() + leastRoom<<min(failed-1, doublings)
	for at := tx.Size(); at < end; at += leastRoom {
		if _, err := db.file.WriteAt(zeros, at); err != nil {
			return fmt.Errorf("no room for a commit, after one that has failed: %w", err)
		}
	}
	return nil
}

// close closes the file.
func (db *database) close() error {
	if db.broken.Load() {
		release(db.file)
		return nil
	}
	return guard(db.Close)
}

// guard calls f and returns its panics and memory faults as errors.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

var errNotInOrder = fmt.Errorf("%w: its keys are not in order", ErrDamaged)

// ascend calls visit for the keys of a cursor's bucket that follow after, in order, until
// it returns false. In a damaged file a cursor can come back to keys that it has
// passed, and would never end.
func ascend(c *bolt.Cursor, after []byte, visit func(k, v []byte) bool) error {
	last := slices.Clone(after)
	k, v := c.Seek(last)
	if bytes.Equal(k, last) {
		k, v = c.Next()
	}
	for ; k != nil; k, v = c.Next() {
		if bytes.Compare(k, last) <= 0 {
			return errNotInOrder
		}
		last = append(last[:0], k...)
		if !visit(k, v) {
			break
		}
	}
	return nil
}

// closedError returns ErrClosed for bbolt's error about a closed database, and
// other errors unchanged.
func closedError(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}
