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

// Room enforces Bounds. It is safe for concurrent use. There is one order of waiting: a
// lookup waits for memory before it starts, and an attempt for an exchange and then for a
// socket. Their holders wait only for the network, so all of them become free again.
type Room struct {
	sockets, exchanges, memory *gate
	// lacked is when this host last had no file for a socket, in Unix nanoseconds.
	lacked atomic.Int64
}

func newRoom(b Bounds) *Room {
	if b.Memory > 0 {
		b.Memory = max(b.Memory, LookupMemory)
	}
	return &Room{
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

// hasSpare reports whether a quarter is free. Questions that nobody waits for are sent
// only then.
func (g *gate) hasSpare() bool { return g.used.Load() < (g.limit+1)*3/4 }

// seat is the room of one attempt.
type seat struct {
	*Room
	socket bool
}

// enter waits for the room of an attempt, which begins after that: a wait for room is not
// held against the server. The error is an *Error, Busy.
func (r *Room) enter(ctx context.Context, to Attempt) (seat, error) {
	if err := r.exchanges.enter(ctx, 1); err != nil {
		return seat{}, err
	}
	if to.Server.IsTLS() {
		return seat{r, false}, nil
	}
	if err := r.sockets.enter(ctx, 1); err != nil {
		r.exchanges.leave(1)
		return seat{}, err
	}
	return seat{r, true}, nil
}

// tryEnter is enter without waiting. spare means that the attempt can be left out: it
// leaves the last quarter of the room to others.
func (r *Room) tryEnter(to Attempt, spare bool) (s seat, ok bool) {
	if spare && !r.HasSpare() || !r.exchanges.tryEnter(1) {
		return seat{}, false
	}
	if to.Server.IsTLS() {
		return seat{r, false}, true
	}
	if !r.sockets.tryEnter(1) {
		r.exchanges.leave(1)
		return seat{}, false
	}
	return seat{r, true}, true
}

func (s seat) leave() {
	if s.socket {
		s.sockets.leave(1)
	}
	s.exchanges.leave(1)
}

// HasSpare reports whether there is room for what may turn out not to be needed: a quarter
// of everything.
func (r *Room) HasSpare() bool {
	return !r.lacksFiles(time.Now()) && r.sockets.hasSpare() && r.exchanges.hasSpare() && r.memory.hasSpare()
}

// hasSocket reports whether a socket is free, and nobody waits for one.
func (r *Room) hasSocket() bool {
	free := r.sockets.tryEnter(1)
	if free {
		r.sockets.leave(1)
	}
	return free
}

// lackTime is how long an attempt waits between two tries to open a socket.
const lackTime = 20 * time.Millisecond

// lacksFiles reports whether attempts wait because this host has too many files open.
func (r *Room) lacksFiles(now time.Time) bool {
	at := r.lacked.Load()
	return at != 0 && now.Sub(time.Unix(0, at)).Abs() < 5*lackTime
}

// keep takes a socket for a stream, which keeps it while it is open, whether anyone uses
// it or not.
func (r *Room) keep(ctx context.Context, wait time.Duration, open func(leave func()) (*stream, error)) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	err := r.sockets.enter(ctx, 1)
	cancel()
	if err != nil {
		return nil, err
	}
	leave := func() { r.sockets.leave(1) }
	s, err := open(leave)
	if err != nil {
		leave()
	}
	return s, err
}

// tooManyFiles reports whether err says that this host, or the program, has too many files
// open.
func tooManyFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Lease is the memory that one lookup holds. It is safe for concurrent use. A nil Lease has
// all memory.
type Lease struct {
	room *Room

	mu    sync.Mutex
	taken int64
	spent int64
	ended bool
}

// Admit waits until there is memory for one more lookup, at most for wait. The error
// is an *Error, Busy. The caller calls End when the lookup has ended.
func (r *Room) Admit(ctx context.Context, wait time.Duration) (*Lease, error) {
	if ctx.Err() != nil || !r.memory.tryEnter(LookupMemory) {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		if err := r.memory.enter(ctx, LookupMemory); err != nil {
			return nil, err
		}
	}
	return &Lease{room: r, taken: LookupMemory, spent: LookupMemory - replyMemory}, nil
}

// Grow takes memory for a reply, and fails if there is none: a lookup that waited would
// keep what it holds from others, which may wait for it.
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
		if !l.room.memory.tryEnter(more) {
			return &Error{Kind: Busy, Final: true, Detail: fmt.Sprintf("all %d %s are in use", l.room.memory.limit, l.room.memory.what)}
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
	l.room.memory.leave(l.taken)
}

// InUse returns what is held now.
func (r *Room) InUse() Bounds {
	return Bounds{int(r.sockets.used.Load()), int(r.exchanges.used.Load()), int(r.memory.used.Load())}
}
