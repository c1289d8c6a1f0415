package parking

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"
)

// Config is what a Lot is made from. All bounds are greater than 0.
type Config[S any] struct {
	// Most, PerHost and PerDomain bound the sessions. An idle session counts for the
	// domain that it served last.
	Most, PerHost, PerDomain int
	// IdleTime is how long a session is kept without use.
	IdleTime time.Duration
	// Patience is how long Enter waits.
	Patience time.Duration
	// Leave ends an idle session, and Hurry ends one without waiting for the server,
	// because another one needs its place. They must not use the Lot. They are called by
	// several goroutines.
	Leave, Hurry func(S)
}

// Place is what a session counts for.
type Place struct{ Host, Domain string }

// Lot has places for sessions S, and keeps idle ones by key K. It is safe for concurrent
// use.
//
// Each session in use has a place, from Enter or Take to Exit or Park. Before a call has
// to wait or a bound is exceeded, the session that has been idle for longest is ended.
type Lot[K comparable, S any] struct {
	config Config[S]

	mu      sync.Mutex
	closed  bool
	open    int // sessions, in use and idle
	hosts   map[string]int
	domains map[string]int
	idle    *list.List // of *entry, the one that has been idle for longest first
	keys    map[K][]*entry[K, S]
	waiting []*waiter
}

// entry is an idle session.
type entry[K comparable, S any] struct {
	session S
	key     K
	place   Place
	at      *list.Element
	timer   *time.Timer
}

// waiter is a call of Enter.
type waiter struct {
	place Place
	ready chan struct{} // closed when it has the place
}

// New returns an empty Lot.
func New[K comparable, S any](config Config[S]) *Lot[K, S] {
	return &Lot[K, S]{
		config: config, hosts: make(map[string]int), domains: make(map[string]int),
		idle: list.New(), keys: make(map[K][]*entry[K, S]),
	}
}

// Enter takes a place for a new session, and waits for one if all are in use. It
// reports false if there was none in time. The caller calls Exit or Park.
func (l *Lot[K, S]) Enter(ctx context.Context, p Place) bool {
	l.mu.Lock()
	surplus := l.makeRoom(p)
	var w *waiter
	if l.open < l.config.Most {
		l.count(p, 1)
	} else {
		w = &waiter{p, make(chan struct{})}
		l.waiting = append(l.waiting, w)
	}
	l.mu.Unlock()
	l.hurry(surplus)
	if w == nil {
		return true
	}
	timer := time.NewTimer(l.config.Patience)
	defer timer.Stop()
	select {
	case <-w.ready:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.waiting, w)
	if at < 0 {
		return true // it got the place meanwhile
	}
	l.waiting = slices.Delete(l.waiting, at, at+1)
	return false
}

// Take returns an idle session with a place, the one that was used last among those that
// fit. fits must be quick and must not use the Lot. The caller calls Exit or Park.
func (l *Lot[K, S]) Take(key K, p Place, fits func(S) bool) (session S, ok bool) {
	l.mu.Lock()
	for _, e := range slices.Backward(l.keys[key]) {
		if !fits(e.session) {
			continue
		}
		l.remove(e)
		l.count(e.place, -1)
		surplus := l.makeRoom(p)
		l.count(p, 1)
		l.mu.Unlock()
		l.hurry(surplus)
		return e.session, true
	}
	l.mu.Unlock()
	return session, false
}

// Park keeps a session that has a place. If it reports false, the session is not kept:
// the Lot is closed, or another call needs the place. The caller ends the session and
// calls Exit.
func (l *Lot[K, S]) Park(key K, p Place, session S) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting) > 0 {
		return false
	}
	e := &entry[K, S]{session: session, key: key, place: p}
	e.at = l.idle.PushBack(e)
	l.keys[key] = append(l.keys[key], e)
	e.timer = time.AfterFunc(l.config.IdleTime, func() { l.expire(e) })
	return true
}

// Exit gives a place back after its session has ended.
func (l *Lot[K, S]) Exit(p Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(p, -1)
	l.serve()
}

// Close ends the idle sessions, and returns when they have ended. Sessions in use go on,
// and are not kept afterwards.
func (l *Lot[K, S]) Close() {
	l.mu.Lock()
	l.closed = true
	var all []*entry[K, S]
	for l.idle.Len() > 0 {
		e := l.idle.Front().Value.(*entry[K, S])
		l.remove(e)
		all = append(all, e)
	}
	l.mu.Unlock()
	var leaving sync.WaitGroup
	for _, e := range all {
		leaving.Go(func() {
			l.config.Leave(e.session)
			l.Exit(e.place)
		})
	}
	leaving.Wait()
}

// expire ends a session that was idle for too long.
func (l *Lot[K, S]) expire(e *entry[K, S]) {
	l.mu.Lock()
	taken := e.at == nil // meanwhile
	if !taken {
		l.remove(e)
	}
	l.mu.Unlock()
	if !taken {
		l.config.Leave(e.session)
		l.Exit(e.place)
	}
}

// makeRoom removes idle sessions until there is room for another, and returns them for
// the caller to end before it opens one. There is no room if all are in use.
func (l *Lot[K, S]) makeRoom(p Place) (surplus []S) {
	for _, bound := range []struct {
		exceeded func() bool
		concerns func(Place) bool
	}{
		{func() bool { return l.hosts[p.Host] >= l.config.PerHost }, func(q Place) bool { return q.Host == p.Host }},
		{func() bool { return l.domains[p.Domain] >= l.config.PerDomain }, func(q Place) bool { return q.Domain == p.Domain }},
		{func() bool { return l.open >= l.config.Most }, func(Place) bool { return true }},
	} {
		var next *list.Element
		for at := l.idle.Front(); at != nil && bound.exceeded(); at = next {
			next = at.Next()
			if e := at.Value.(*entry[K, S]); bound.concerns(e.place) {
				l.remove(e)
				l.count(e.place, -1)
				surplus = append(surplus, e.session)
			}
		}
	}
	return surplus
}

// remove removes an idle session, and leaves its place.
func (l *Lot[K, S]) remove(e *entry[K, S]) {
	e.timer.Stop()
	l.idle.Remove(e.at)
	e.at = nil
	same := l.keys[e.key]
	at := slices.Index(same, e)
	if same = slices.Delete(same, at, at+1); len(same) == 0 {
		delete(l.keys, e.key)
	} else {
		l.keys[e.key] = same
	}
}

// serve gives free places to those who wait, in turn.
func (l *Lot[K, S]) serve() {
	for len(l.waiting) > 0 && l.open < l.config.Most {
		first := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.count(first.place, 1)
		close(first.ready)
	}
}

// count adds sessions to what a place counts for.
func (l *Lot[K, S]) count(p Place, n int) {
	l.open += n
	for _, c := range []struct {
		counts map[string]int
		key    string
	}{{l.hosts, p.Host}, {l.domains, p.Domain}} {
		if c.counts[c.key] += n; c.counts[c.key] == 0 {
			delete(c.counts, c.key)
		}
	}
}

func (l *Lot[K, S]) hurry(sessions []S) {
	for _, session := range sessions {
		l.config.Hurry(session)
	}
}
