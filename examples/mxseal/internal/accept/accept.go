// Package accept accepts connections at any number of listeners, and bounds how many are open at a time.
package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures New.
type Config struct {
	// Most is how many connections of all listeners together may be open.
	Most int
	// Serve serves a connection. The Taker closes it afterwards.
	Serve func(net.Conn)
	// Crowded is called when there is no place for another connection, and then again until there is. It
	// should close one that is idle. nil means that the next connection waits until another ends. It must be
	// safe for concurrent use.
	Crowded func()
	// Logger is required.
	Logger *slog.Logger
}

// crowdedPause is the time between two calls of Config.Crowded.
const crowdedPause = 100 * time.Millisecond

// Taker accepts connections. Make one with New. It is safe for concurrent use.
type Taker struct {
	config   Config
	places   chan struct{} // one for each connection, and for each listener that waits for one
	open     atomic.Int64  // the number of open connections
	draining context.Context
	drain    context.CancelFunc
	running  sync.WaitGroup
}

// New returns a Taker.
func New(config Config) *Taker {
	t := &Taker{config: config, places: make(chan struct{}, config.Most)}
	t.draining, t.drain = context.WithCancel(context.Background())
	return t
}

// Listen accepts the connections of a listener until Drain is called, and then returns nil. It closes the
// listener.
func (t *Taker) Listen(listener net.Listener) error {
	t.running.Add(1)
	defer t.running.Done()
	end := sync.OnceFunc(func() { listener.Close() })
	defer end()
	defer context.AfterFunc(t.draining, end)()
	for pause := time.Duration(0); ; {
		if !t.takePlace() {
			return nil
		}
		conn, err := listener.Accept()
		if err == nil {
			pause = 0
			t.serve(conn)
			continue
		}
		<-t.places
		switch {
		case t.draining.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		// Without file descriptors, Accept fails until another connection ends.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		t.config.Logger.Warn("a connection could not be accepted", "listener", listener.Addr().String(), "error", err)
		select {
		case <-time.After(pause):
		case <-t.draining.Done():
			return nil
		}
	}
}

// takePlace waits for a place, and returns false if Drain was called.
func (t *Taker) takePlace() bool {
	var again <-chan time.Time // never, without Crowded
	for {
		select {
		case t.places <- struct{}{}:
			return true
		default:
		}
		if t.config.Crowded != nil {
			t.config.Crowded()
			again = time.After(crowdedPause)
		}
		select {
		case t.places <- struct{}{}:
			return true
		case <-again:
		case <-t.draining.Done():
			return false
		}
	}
}

func (t *Taker) serve(conn net.Conn) {
	t.open.Add(1)
	t.running.Go(func() {
		defer func() {
			conn.Close()
			t.open.Add(-1)
			<-t.places
		}()
		t.config.Serve(conn)
	})
}

// Connections returns how many connections are open.
func (t *Taker) Connections() int { return int(t.open.Load()) }

// Draining returns a context that is done once Drain has been called. Connections that are served should then
// end.
func (t *Taker) Draining() context.Context { return t.draining }

// Drain ends all listeners.
func (t *Taker) Drain() { t.drain() }

// Wait returns when every listener has ended, and no connection is served any more.
func (t *Taker) Wait() { t.running.Wait() }
