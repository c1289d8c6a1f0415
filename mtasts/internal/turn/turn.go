// Package turn bounds the work that untrusted parties can cause at the same time, in
// total and for each of them.
package turn

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// ErrNone means that all turns were taken. It says nothing about the host or domain
// that the turn was for.
var ErrNone = errors.New("too much is being fetched at the same time; it is tried again in a few seconds")

// wait is how long a turn is waited for.
const wait = 5 * time.Second

// Turns is a number of turns for each key. It is safe for concurrent use.
type Turns struct {
	limit int64

	mu   sync.Mutex
	keys map[string]*turns
}

// turns are those of one key that is in use.
type turns struct {
	*semaphore.Weighted
	users int
}

// New returns Turns with limit turns for each key at the same time.
func New(limit int) *Turns { return &Turns{limit: int64(limit), keys: map[string]*turns{}} }

// Take takes a turn for key, and waits a few seconds for one. The error is ErrNone if
// there is none, or that of ctx. The caller calls release, which may be called again.
func (t *Turns) Take(ctx context.Context, key string) (release func(), err error) {
	t.mu.Lock()
	k := t.keys[key]
	if k == nil {
		k = &turns{Weighted: semaphore.NewWeighted(t.limit)}
		t.keys[key] = k
	}
	k.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(t.keys, key)
		}
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if k.Acquire(limited, 1) != nil {
		leave()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, ErrNone
	}
	return sync.OnceFunc(func() {
		k.Release(1)
		leave()
	}), nil
}

// Dialer bounds connections, in total and for each address. A connection has its turns
// until it is closed.
type Dialer struct {
	dial         func(ctx context.Context, network, addr string) (net.Conn, error)
	all, address *Turns
}

// NewDialer returns a Dialer that connects by dial.
func NewDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error), total, perAddress int) *Dialer {
	return &Dialer{dial: dial, all: New(total), address: New(perAddress)}
}

// Dial connects to addr, an address and a port.
func (d *Dialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	// In this order, those that wait for a busy address take no turns from others.
	ofAddress, err := d.address.Take(ctx, addr)
	if err != nil {
		return nil, err
	}
	ofAll, err := d.all.Take(ctx, "")
	if err != nil {
		ofAddress()
		return nil, err
	}
	release := func() { ofAll(); ofAddress() }
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		release()
		return nil, err
	}
	return &turnConn{conn, release}, nil
}

// turnConn gives its turns back when it is closed.
type turnConn struct {
	net.Conn
	release func()
}

func (c *turnConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
