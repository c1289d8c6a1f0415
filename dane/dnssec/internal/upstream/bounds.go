package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"
)

// Bounds are what all questions of a Client, and the lookups that ask them, hold together
// at most. Zero values mean the defaults.
type Bounds struct {
	Sockets   int // 0 means 384
	Exchanges int // 0 means 1024
	Memory    int // octets; 0 means 32 MiB
}

// LookupMemory is what a lookup holds, at least, in octets: the stacks of its goroutines,
// and replies of usual size, which are the last replyMemory of it.
const (
	LookupMemory = 64 << 10
	replyMemory  = 24 << 10
)

// bounds enforces Bounds. Nobody waits for one gate while he holds what others wait for at
// an earlier one: a lookup waits for memory before it starts, an attempt for an exchange
// and then for a socket, and whoever has all three waits for the network only.
type bounds struct {
	sockets, exchanges, memory *gate
}

func newBounds(b Bounds) *bounds {
	if b.Memory > 0 {
		b.Memory = max(b.Memory, LookupMemory)
	}
	return &bounds{
		sockets:   newGate("sockets to DNS servers", b.Sockets, 384),
		exchanges: newGate("exchanges with DNS servers", b.Exchanges, 1024),
		memory:    newGate("octets of memory for DNS lookups", b.Memory, 32<<20),
	}
}

// gate lets a number of units pass until others have left.
type gate struct {
	what  string
	limit int64
	units *semaphore.Weighted
	used  atomic.Int64
}

func newGate(what string, limit, standard int) *gate {
	if limit == 0 {
		limit = standard
	}
	return &gate{what: what, limit: int64(limit), units: semaphore.NewWeighted(int64(limit))}
}

// enter waits until n units may pass.
func (g *gate) enter(ctx context.Context, n int64) error {
	if err := g.units.Acquire(ctx, n); err != nil {
		return &Error{Kind: Busy, Final: true, Detail: fmt.Sprintf("all %d %s are in use", g.limit, g.what), Err: err}
	}
	g.used.Add(n)
	return nil
}

// tryEnter reports whether n units have passed. It does not wait.
func (g *gate) tryEnter(n int64) bool {
	if !g.units.TryAcquire(n) {
		return false
	}
	g.used.Add(n)
	return true
}

func (g *gate) leave(n int64) {
	g.used.Add(-n)
	g.units.Release(n)
}

// hasSpare reports whether a quarter is free. What nobody waits for passes only then.
func (g *gate) hasSpare() bool { return g.used.Load() < (g.limit+1)*3/4 }

// seat is the room of one attempt.
type seat struct {
	*bounds
	socket bool
}

// enter waits for the room of an attempt, which begins after that: a wait for room is not
// held against the server. The error is an *Error, Busy.
func (b *bounds) enter(ctx context.Context, to Attempt) (seat, error) {
	if err := b.exchanges.enter(ctx, 1); err != nil {
		return seat{}, err
	}
	if to.Server.IsTLS() {
		return seat{b, false}, nil
	}
	if err := b.sockets.enter(ctx, 1); err != nil {
		b.exchanges.leave(1)
		return seat{}, err
	}
	return seat{b, true}, nil
}

// tryEnter is enter without waiting. Spare means that the attempt can be left out: it
// leaves the last quarter of the room to others.
func (b *bounds) tryEnter(to Attempt, spare bool) (s seat, ok bool) {
	if spare && !b.hasSpare() || !b.exchanges.tryEnter(1) {
		return seat{}, false
	}
	if to.Server.IsTLS() {
		return seat{b, false}, true
	}
	if !b.sockets.tryEnter(1) {
		b.exchanges.leave(1)
		return seat{}, false
	}
	return seat{b, true}, true
}

func (s seat) leave() {
	if s.socket {
		s.sockets.leave(1)
	}
	s.exchanges.leave(1)
}

// hasSpare reports whether there is room for what nobody waits for.
func (b *bounds) hasSpare() bool {
	return b.sockets.hasSpare() && b.exchanges.hasSpare() && b.memory.hasSpare()
}

// keep takes a socket for a stream, which keeps it while it is open, whether anyone uses
// it or not.
func (b *bounds) keep(ctx context.Context, wait time.Duration, open func(leave func()) (*stream, error)) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	err := b.sockets.enter(ctx, 1)
	cancel()
	if err != nil {
		return nil, err
	}
	leave := func() { b.sockets.leave(1) }
	s, err := open(leave)
	if err != nil {
		leave()
	}
	return s, err
}

// lack returns an *Error if err says that this host, and not the server, lacks what an
// exchange needs, and otherwise nil.
func lack(err error) *Error {
	for _, l := range []struct {
		errno syscall.Errno
		final bool
	}{
		{syscall.EMFILE, true},
		{syscall.ENFILE, true},
		{syscall.ENOBUFS, true},
		{syscall.ENOMEM, true},
		{syscall.EAGAIN, false},        // no free port to this server
		{syscall.EADDRNOTAVAIL, false}, // the same, or no address of the server's family
	} {
		if errors.Is(err, l.errno) {
			return &Error{Kind: Busy, Final: l.final, Err: err}
		}
	}
	return nil
}

// Lease is the memory that one lookup holds. It is safe for concurrent use. A nil Lease has
// all memory.
type Lease struct {
	bounds *bounds

	mu    sync.Mutex
	taken int64
	spent int64
	ended bool
}

// Admit waits until there is memory for one more lookup. The error is that of
// bounds.enter. The caller calls End when the lookup has ended.
func (c *Client) Admit(ctx context.Context) (*Lease, error) {
	if err := c.bounds.memory.enter(ctx, LookupMemory); err != nil {
		return nil, err
	}
	return &Lease{bounds: c.bounds, taken: LookupMemory, spent: LookupMemory - replyMemory}, nil
}

// Grow takes memory for a reply, and fails if there is none: a lookup that waited would
// keep what it holds from others, which may wait likewise.
func (l *Lease) Grow(octets int) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil // nobody keeps the reply
	}
	more := l.spent + int64(octets) - l.taken
	if more > 0 {
		if !l.bounds.memory.tryEnter(more) {
			return &Error{Kind: Busy, Final: true, Detail: fmt.Sprintf("all %d %s are in use", l.bounds.memory.limit, l.bounds.memory.what)}
		}
		l.taken += more
	}
	l.spent += int64(octets)
	return nil
}

// End gives the memory back.
func (l *Lease) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.bounds.memory.leave(l.taken)
}

// HasSpare reports whether there is room for lookups that may turn out not to be needed.
func (c *Client) HasSpare() bool { return c.bounds.hasSpare() }

// InUse returns what is held now.
func (c *Client) InUse() Bounds {
	b := c.bounds
	return Bounds{int(b.sockets.used.Load()), int(b.exchanges.used.Load()), int(b.memory.used.Load())}
}
