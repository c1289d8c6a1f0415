package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Config configures a Store. The zero value is ready for use. Open reads it once.
type Config struct {
	// MoveDamaged makes Open rename a damaged file and start an empty one. The
	// new name is the old one with the time and ".damaged" appended. The
	// remembered policies are lost until each domain is looked up again. If
	// MoveDamaged is false, Open returns an error, so that an operator can
	// inspect the file.
	MoveDamaged bool
	// MaxSize limits the file to about that many octets: then new domains get no entry
	// until others are deleted, and Put returns [ErrFull]. Entries of known domains are
	// still updated. The sums of TLS reports use three quarters at most; see [Reports].
	// 0 means 2 GiB.
	MaxSize int64
	// Logger logs when a file is moved or opened read-only. nil means that
	// nothing is logged.
	Logger *slog.Logger

	openFile func(name string, flag int, perm fs.FileMode) (*os.File, error) // for tests
	now      func() time.Time                                                // for tests
}

// ErrDamaged means that the file is damaged, or is not a database of this
// package.
var ErrDamaged = errors.New("the file is damaged")

// ErrInUse means that the file is open in another process, or in another Store
// of this process.
var ErrInUse = errors.New("the file is in use by another process")

// ErrSchema means that the file was written by a later version of this package. The error
// names the version of the file and those that this release reads.
var ErrSchema = errors.New("the file was written by an incompatible version")

// ErrFull means that the file has reached Config.MaxSize, or that too many changes are
// waiting to be written.
var ErrFull = errors.New("the store is full")

const (
	lockTimeout    = time.Second
	defaultMaxSize = 2 << 30
)

// The buckets, and the key of the schema version in the bucket meta.
var (
	meta      = []byte("meta")
	schemaKey = []byte("schema")
	policies  = []byte("mtasts-policies")
)

// Open opens the file at path. If the file does not exist, Open creates it, but
// not its directory. Open checks the whole file, which takes about one second
// for a million policies. It upgrades a file that an older version has written.
//
// The error contains the path. It wraps [ErrInUse], [ErrDamaged] or [ErrSchema]
// where that is the reason. A file that cannot be written is opened read-only,
// and every Put returns an error. So is an older file that cannot be upgraded, for
// example because the disk is full.
func Open(path string, config Config) (*Store, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.openFile == nil {
		config.openFile = os.OpenFile
	}
	if config.now == nil {
		config.now = time.Now
	}
	if config.MaxSize < 0 {
		return nil, errors.New("boltstore: Config.MaxSize must not be negative; 0 means the default")
	}
	if config.MaxSize == 0 {
		config.MaxSize = defaultMaxSize
	}
	db, err := openWritable(path, config)
	if errors.Is(err, ErrDamaged) && config.MoveDamaged {
		moved := path + "." + time.Now().UTC().Format("20060102T150405.000000000") + ".damaged"
		config.Logger.Error("boltstore: the file is damaged; it is renamed and an empty one is created", "file", path, "to", moved, "error", err.Error())
		if err := os.Rename(path, moved); err != nil {
			return nil, fmt.Errorf("boltstore: %w", err)
		}
		db, err = openWritable(path, config)
	}
	if isUnwritable(err) {
		readable, failed := openDatabase(path, config, true)
		if failed == nil {
			config.Logger.Error("boltstore: the file cannot be written and is opened read-only; changes are kept in memory", "file", path, "error", err.Error())
			db, err = readable, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("boltstore: %s: %w", path, err)
	}
	s := &Store{
		path: path, room: maxPending, roomBytes: maxPendingBytes, maxSize: config.MaxSize, db: db,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
		pending: make(changes), written: make(chan struct{}),
		clock: newClock(config.now), logger: config.Logger,
	}
	s.reports = &Reports{store: s, group: group{db: db}, before: math.MinInt}
	go s.write()
	return s, nil
}

// isUnwritable reports whether it may still be possible to read the file.
func isUnwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, errUpgrade)
}

// openWritable opens the file for writing and creates it if necessary.
func openWritable(path string, config Config) (*database, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path, config); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() == 0:
		// Some file systems leave such a file after a crash.
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	case info.Mode().Perm()&0o077 != 0:
		// A user who can write to the file can choose the hosts that receive
		// mail.
		if err := os.Chmod(path, 0o600); err != nil && !isUnwritable(err) {
			return nil, err
		}
	}
	db, err := openDatabase(path, config, false)
	if err != nil {
		return nil, err
	}
	if err := upgrade(db, path, config.Logger); err != nil {
		if !errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %w", errUpgrade, err)
		}
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

// create creates an empty database. It is renamed into place when it is
// complete, so a crash leaves no partial file. It does not replace a file that
// another process has created in the meantime.
func create(path string, config Config) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create the directory %s first: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	f.Close()
	defer os.Remove(f.Name())
	db, err := bolt.Open(f.Name(), 0o600, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true})
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
		return writeSchema(b)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
