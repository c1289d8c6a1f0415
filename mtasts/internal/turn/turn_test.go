package turn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// M10: the turns of one key are bounded, those of others are not affected, and nothing
// is kept of a key that is not in use.
func TestM10TurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := New(3)
		var inUse, most, none atomic.Int64
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				release, err := turns.Take(t.Context(), "a")
				if err != nil {
					if !errors.Is(err, ErrNone) {
						t.Error(err)
					}
					none.Add(1)
					return
				}
				most.Store(max(most.Load(), inUse.Add(1)))
				time.Sleep(4 * time.Second)
				inUse.Add(-1)
				release()
				release()
			})
		}
		synctest.Wait()
		start := time.Now()
		release, err := turns.Take(t.Context(), "b")
		if err != nil || time.Since(start) != 0 {
			t.Errorf("another key: %v after %v", err, time.Since(start))
		}
		release()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.Take(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller who left got %v", err)
		}
		group.Wait()
		if most.Load() != 3 || none.Load() != 20-2*3 || len(turns.keys) != 0 {
			t.Errorf("%d at once, %d without a turn, %d keys left", most.Load(), none.Load(), len(turns.keys))
		}
	})
}

// M10: connections are bounded in total and for each address, and one busy address takes
// no turns from others.
func TestM10ConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDialer(func(_ context.Context, _, addr string) (net.Conn, error) {
			if addr == "broken" {
				return nil, errors.New("refused")
			}
			conn, _ := net.Pipe()
			return conn, nil
		}, 4, 2)
		for range 10 { // a failed connection keeps no turn
			if _, err := d.Dial(t.Context(), "tcp", "broken"); err == nil || errors.Is(err, ErrNone) {
				t.Fatal(err)
			}
		}
		var conns []net.Conn
		for i, want := range []error{nil, nil, ErrNone, nil, nil, ErrNone} {
			conn, err := d.Dial(t.Context(), "tcp", fmt.Sprint("host", i/3))
			if !errors.Is(err, want) {
				t.Errorf("connection %d: %v, want %v", i, err, want)
			}
			if conn != nil {
				conns = append(conns, conn)
			}
		}
		if _, err := d.Dial(t.Context(), "tcp", "third"); !errors.Is(err, ErrNone) {
			t.Errorf("more than in total: %v", err)
		}
		for range 2 {
			conns[0].Close()
		}
		if _, err := d.Dial(t.Context(), "tcp", "host1"); !errors.Is(err, ErrNone) {
			t.Errorf("more than for the address: %v", err)
		}
		if _, err := d.Dial(t.Context(), "tcp", "third"); err != nil {
			t.Errorf("after one was closed: %v", err)
		}
	})
}
