package limits

import (
	"context"
	"sync"
	"time"
)

const (
	// AtOnce bounds the deliveries of one message that run side by side, not counting
	// those that take longer than Patience. InAll counts them too.
	AtOnce = 16
	InAll  = 256
	// Patience is how long others wait for a delivery that may be stalling.
	Patience = 5 * time.Second
)

// Turns bounds the deliveries of one message that run at the same time. One that
// stalls keeps its turn from others only for a short time.
type Turns struct{ quick, all chan struct{} }

// NewTurns returns the turns for one message.
func NewTurns() Turns {
	return Turns{make(chan struct{}, AtOnce), make(chan struct{}, InAll)}
}

// Take waits for a turn. The caller ends it by calling done.
func (t Turns) Take() (done func()) {
	t.all <- struct{}{}
	t.quick <- struct{}{}
	giveBack := sync.OnceFunc(func() { <-t.quick })
	timer := time.AfterFunc(Patience, giveBack)
	return func() {
		timer.Stop()
		giveBack()
		<-t.all
	}
}

// Limiter bounds what goes on at the same time for each key. The zero value is ready
// for use. It is safe for concurrent use.
type Limiter struct {
	mu   sync.Mutex
	keys map[string]*places
}

// places are those of one key.
type places struct {
	taken chan struct{}
	users int       // that hold a place or wait for one
	moved time.Time // when one was last taken or left
}

// Enter waits for a place, for a short time at most, and not at all if the others
// have been there for longer than that. The caller calls leave if ok is true.
func (l *Limiter) Enter(ctx context.Context, key string, most int) (leave func(), ok bool) {
	p, stalling := l.use(key, most)
	if !stalling {
		timer := time.NewTimer(Patience)
		defer timer.Stop()
		select {
		case p.taken <- struct{}{}:
			l.move(p)
			return func() {
				<-p.taken
				l.move(p)
				l.drop(key, p)
			}, true
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	l.drop(key, p)
	return nil, false
}

// use returns the places of a key, and whether all of them have been taken for long.
func (l *Limiter) use(key string, most int) (p *places, stalling bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p = l.keys[key]
	if p == nil {
		p = &places{taken: make(chan struct{}, most), moved: time.Now()}
		if l.keys == nil {
			l.keys = make(map[string]*places)
		}
		l.keys[key] = p
	}
	p.users++
	return p, len(p.taken) == cap(p.taken) && time.Since(p.moved) > Patience
}

func (l *Limiter) move(p *places) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.moved = time.Now()
}

// drop ends the use of places. Without users they are forgotten.
func (l *Limiter) drop(key string, p *places) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(l.keys, key)
	}
}

// Len returns the number of keys that hold places or wait for one.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys)
}
