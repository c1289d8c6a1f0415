package valkeystore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/mxseal/mxseal/mtasts"
)

// clockSkew is the maximum difference between the clocks of relays. A policy
// that was fetched later than that in the future was fetched by a relay with a
// wrong clock and can be replaced.
const clockSkew = time.Minute

// keepExpired is how long the server keeps a policy that has expired.
const keepExpired = 24 * time.Hour

// Store stores policies on a server that several relays share. It implements
// [mtasts.Store], [mtasts.Leaser], [mtasts.FailureSharer] and [mtasts.Watcher]. It is safe
// for concurrent use.
type Store struct {
	keys  keys
	now   func() time.Time
	cache *cache
	link  *link

	reports *Reports

	closed chan struct{}
	close  func()

	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

var (
	_ mtasts.Store   = (*Store)(nil)
	_ mtasts.Leaser  = (*Store)(nil)
	_ mtasts.Watcher = (*Store)(nil)

	_ mtasts.FailureSharer = (*Store)(nil)
)

// New returns a Store. It connects in the background, so the server need not be
// reachable yet. New returns an error only if config is invalid.
func New(config Config) (*Store, error) { return newStore(config, formVersion) }

func newStore(config Config, version string) (*Store, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		keys:     newKeys(config.Prefix, version),
		now:      config.Now,
		cache:    newCache(config.MaxCached),
		closed:   make(chan struct{}),
		watchers: make(map[*watcher]struct{}),
	}
	s.reports = newReports(s)
	s.close = sync.OnceFunc(func() {
		close(s.closed)
		s.link.close()
	})
	s.link = &link{
		options: config.options(s.keys.policies, s.invalidated),
		timeout: config.Timeout,
		lost:    s.cache.lost,
		found:   func() { s.tell("") },
	}
	s.link.start()
	return s, nil
}

// Close closes the connection. Later calls, and calls of Watch in progress,
// return [ErrClosed]. Calling Close again has no effect.
func (s *Store) Close() error {
	s.close()
	return nil
}

// Get returns the entry of domain, or [mtasts.ErrNotStored]. It uses what is in memory, the
// absence of an entry included, if the server has not announced a change since it was read.
// It uses an entry in memory even while the server is unreachable.
func (s *Store) Get(ctx context.Context, domain string) (mtasts.Entry, error) {
	if e, ok, err := s.cache.fresh(domain); ok {
		return e, err
	}
	asked := s.cache.moment()
	e, err := s.read(ctx, domain)
	last, lost, known := s.cache.last(domain)
	switch {
	case errors.Is(err, errDamaged):
		s.cache.remove(domain)
	case err != nil && !errors.Is(err, mtasts.ErrNotStored):
		if known {
			return last, nil
		}
	case known && lost && last.Fetched.After(e.Fetched) && s.now().Before(last.Expires):
		// The server has lost the entry, or never received it.
		_ = s.Put(ctx, last) // if this fails, the next Get retries
		return last, nil
	case err == nil:
		s.cache.read(e, asked)
	default:
		s.cache.missed(domain, asked)
	}
	return e, s.failed("get", domain, err)
}

// read reads the entry of domain from the server.
func (s *Store) read(ctx context.Context, domain string) (mtasts.Entry, error) {
	value, err := s.value(ctx, s.keys.policy(domain))
	if err != nil {
		return mtasts.Entry{}, err
	}
	return decode(domain, value)
}

// value reads at most maxValue octets. The error is mtasts.ErrNotStored if there is no
// such key.
func (s *Store) value(ctx context.Context, key string) ([]byte, error) {
	value, err := s.link.do(ctx, func(b valkey.Builder) valkey.Completed {
		return b.Getrange().Key(key).Start(0).End(maxValue).Build()
	}).AsBytes()
	refusal, refused := valkey.IsValkeyErr(err)
	switch {
	case refused && strings.HasPrefix(refusal.Error(), "WRONGTYPE"):
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	case err != nil:
		return nil, err
	case len(value) == 0:
		return nil, mtasts.ErrNotStored
	}
	return value, nil
}

// Put replaces the entry of e.Domain, unless the server has an entry with a
// later Fetched, which another relay has put. The server removes the entry a day
// after the time from e.Fetched to e.Expires has passed on its own clock: the
// relay's may be wrong. If Put cannot write the entry, it returns an error and keeps
// the entry in memory. The entry is written when the server is back and the
// domain is read again, as [mtasts.Client.Run] does.
func (s *Store) Put(ctx context.Context, e mtasts.Entry) error {
	value, err := encode(e)
	if err != nil {
		return s.failed("put", e.Domain, err)
	}
	asked := s.cache.moment()
	s.cache.unwritten(e)
	did, err := s.run(ctx, putScript, s.keys.policy(e.Domain),
		value,
		strconv.FormatInt(e.Fetched.UnixMilli(), 10),
		strconv.FormatInt(milliseconds(min(max(e.Expires.Sub(e.Fetched), 0), mtasts.MaxAge)+keepExpired), 10),
		strconv.FormatInt(s.now().Add(clockSkew).UnixMilli(), 10),
		strconv.FormatInt(milliseconds(clockSkew), 10),
	)
	switch {
	case err != nil:
		return s.failed("put", e.Domain, err)
	case did == 0:
		s.cache.changed(e.Domain)
	default:
		s.cache.wrote(e, asked)
	}
	return nil
}

// Delete removes the entry of domain, unless the server has an entry that was
// fetched later than the one that this Store has last read or put.
func (s *Store) Delete(ctx context.Context, domain string) error {
	latest := int64(math.MaxInt64)
	if last, _, ok := s.cache.last(domain); ok {
		latest = last.Fetched.UnixMilli()
	}
	s.cache.remove(domain)
	_, err := s.run(ctx, deleteScript, s.keys.policy(domain), strconv.FormatInt(latest, 10))
	s.cache.remove(domain) // may have been read in the meantime
	return s.failed("delete", domain, err)
}

// PutFailed implements [mtasts.FailureSharer]. The server measures d.
func (s *Store) PutFailed(ctx context.Context, e mtasts.Entry, d time.Duration) error {
	value, err := e.MarshalBinary()
	if err == nil {
		err = s.link.do(ctx, func(b valkey.Builder) valkey.Completed {
			return b.Set().Key(s.keys.failure(e.Domain)).Value(string(value)).PxMilliseconds(max(milliseconds(d), 1)).Build()
		}).Error()
	}
	return s.failed("put the failure of", e.Domain, err)
}

// Failed implements [mtasts.FailureSharer].
func (s *Store) Failed(ctx context.Context, domain string) (e mtasts.Entry, err error) {
	value, err := s.value(ctx, s.keys.failure(domain))
	if err == nil {
		if err = e.UnmarshalBinary(value); err == nil && e.Domain != domain {
			e, err = mtasts.Entry{}, errDamaged
		}
	}
	return e, s.failed("get the failure of", domain, err)
}

// run runs a script.
func (s *Store) run(ctx context.Context, script, key string, args ...string) (int64, error) {
	return s.link.do(ctx, func(b valkey.Builder) valkey.Completed {
		return b.Eval().Script(script).Numkeys(1).Key(key).Arg(args...).Build()
	}).AsInt64()
}

// failed adds the operation and the domain to an error.
func (s *Store) failed(doing, domain string, err error) error {
	switch {
	case err == nil, errors.Is(err, mtasts.ErrNotStored):
		return err
	case errors.Is(err, ErrClosed):
		return ErrClosed
	case domain != "":
		doing = fmt.Sprintf("%s %.260q", doing, domain)
	}
	return &failure{doing, err}
}
