package valkeystore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"
)

// beat is how often the server is asked whether it is there. It is how soon
// changes are heard of again after the connection was lost.
const beat = 500 * time.Millisecond

// link keeps the connection to the server. While there is none, nobody has to
// wait to learn that.
type link struct {
	options valkey.ClientOption
	timeout time.Duration
	lost    func() // is called when contact was lost
	found   func() // is called when there is contact again and nothing is missed from now on

	doubt chan struct{} // has room for one
	tried chan struct{} // is closed after the first attempt

	mu     sync.Mutex
	client valkey.Client // nil while there is no contact
	err    error         // why
	missed bool          // since found was called last

	stop    context.CancelFunc
	workers sync.WaitGroup
}

// start begins to connect.
func (l *link) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.doubt = make(chan struct{}, 1)
	l.tried = make(chan struct{})
	l.missed = true
	l.workers.Go(func() { l.run(ctx) })
}

// close ends the connection, and returns when that has happened.
func (l *link) close() {
	l.stop()
	l.workers.Wait()
}

func (l *link) run(ctx context.Context) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	l.check(ctx)
	close(l.tried)
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
		case <-l.doubt:
		case <-ctx.Done():
			continue
		}
		l.check(ctx)
	}
	client, _ := l.get()
	l.drop(client, ErrClosed)
}

// check connects if necessary and checks whether the server answers. A client
// without an answer in time is closed: a new one resolves the name of the server
// again.
func (l *link) check(ctx context.Context) {
	client, _ := l.get()
	if client == nil {
		var err error
		if client, err = valkey.NewClient(l.options); err != nil {
			l.drop(client, err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	if err := client.Do(ctx, client.B().Ping().Build()).Error(); err != nil {
		l.drop(client, err)
		return
	}
	l.set(client, nil)
	if l.caughtUp() {
		l.found()
	}
}

func (l *link) get() (valkey.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client, l.err
}

func (l *link) set(client valkey.Client, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client, l.err = client, err
}

// drop gives client up, which may be nil.
func (l *link) drop(client valkey.Client, err error) {
	l.set(nil, fmt.Errorf("no contact with the server: %w", err))
	if client == nil {
		return
	}
	l.miss()
	l.workers.Go(client.Close) // which waits for calls under way
}

// miss notes that changes may have been missed.
func (l *link) miss() {
	l.mu.Lock()
	l.missed = true
	connected := l.client != nil
	l.mu.Unlock()
	l.lost()
	if connected {
		l.ask()
	}
}

// caughtUp reports whether changes were missed before now.
func (l *link) caughtUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	missed := l.missed
	l.missed = false
	return missed
}

// ask has it found out soon whether the server is there.
func (l *link) ask() {
	select {
	case l.doubt <- struct{}{}:
	default:
	}
}

// do calls the server.
func (l *link) do(ctx context.Context, command func(valkey.Builder) valkey.Completed) valkey.ValkeyResult {
	return l.doAll(ctx, func(b valkey.Builder) []valkey.Completed { return []valkey.Completed{command(b)} })[0]
}

// doAll calls the server with commands in one go.
func (l *link) doAll(ctx context.Context, commands func(valkey.Builder) []valkey.Completed) []valkey.ValkeyResult {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	select {
	case <-l.tried:
	case <-ctx.Done():
		return []valkey.ValkeyResult{valkey.NewErrorResult(ctx.Err())}
	}
	client, err := l.get()
	if client == nil {
		return []valkey.ValkeyResult{valkey.NewErrorResult(err)}
	}
	results := client.DoMulti(ctx, commands(client.B())...)
	for _, r := range results {
		if r.NonValkeyError() != nil {
			l.ask()
			break
		}
	}
	return results
}
