package valkeystore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"
)

// beat is the interval between pings. It is also the time until a lost
// connection is restored when the server is back.
const beat = 500 * time.Millisecond

// link maintains the connection to the server. While there is no connection,
// calls fail at once.
type link struct {
	options valkey.ClientOption
	timeout time.Duration
	lost    func() // called when contact is lost
	found   func() // called when contact is restored and all later notices will arrive

	doubt chan struct{} // requests a check; has capacity one
	tried chan struct{} // closed after the first attempt to connect

	mu     sync.Mutex
	client valkey.Client // nil while there is no contact
	err    error         // why client is nil
	missed bool          // notices may have been missed since the last call of found

	stop    context.CancelFunc
	workers sync.WaitGroup
}

// start starts to connect.
func (l *link) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.doubt = make(chan struct{}, 1)
	l.tried = make(chan struct{})
	l.missed = true
	l.workers.Go(func() { l.run(ctx) })
}

// close closes the connection and waits until that is done.
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

// check connects if necessary and pings the server. If the ping fails, the
// client is dropped, and the next check looks up the server again.
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

// drop closes client, which may be nil.
func (l *link) drop(client valkey.Client, err error) {
	l.set(nil, fmt.Errorf("no contact with the server: %w", err))
	if client == nil {
		return
	}
	l.miss()
	l.workers.Go(client.Close) // waits for calls in progress
}

// miss records that notices may have been missed.
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

// caughtUp reports whether notices were missed before now, and resets the
// record.
func (l *link) caughtUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	missed := l.missed
	l.missed = false
	return missed
}

// ask requests a check of the connection soon.
func (l *link) ask() {
	select {
	case l.doubt <- struct{}{}:
	default:
	}
}

// do sends a command to the server.
func (l *link) do(ctx context.Context, command func(valkey.Builder) valkey.Completed) valkey.ValkeyResult {
	return l.doAll(ctx, func(b valkey.Builder) []valkey.Completed { return []valkey.Completed{command(b)} })[0]
}

// doAll sends commands to the server in one pipeline.
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
