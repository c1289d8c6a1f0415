package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func isBusy(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Busy && e.Final
}

// D10: a lookup that needs more memory than there is fails, and does not wait with what it
// holds. All of it is given back.
func TestD10Lease(t *testing.T) {
	t.Parallel()
	const more = 1000
	room := newRoom(Bounds{Memory: 2*LookupMemory + more})
	one, err := room.Admit(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Grow(replyMemory); err != nil || room.InUse().Memory != LookupMemory {
		t.Errorf("what is reserved for replies: %v, %+v", err, room.InUse())
	}
	two, err := room.Admit(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Grow(more); err != nil || room.InUse().Memory != 2*LookupMemory+more {
		t.Errorf("more for replies: %v, %+v", err, room.InUse())
	}
	if err := two.Grow(replyMemory + 1); !isBusy(err) {
		t.Errorf("more than there is: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := room.Admit(ended, time.Minute); !isBusy(err) {
		t.Errorf("a third lookup: %v", err)
	}
	one.End()
	if err := two.Grow(replyMemory + 1); err != nil {
		t.Errorf("after the end of another: %v", err)
	}
	if err := one.Grow(1 << 30); err != nil || room.InUse().Memory != LookupMemory+1 {
		t.Errorf("a reply that comes after the end: %v, %+v", err, room.InUse())
	}
	two.End()
	if used := room.InUse(); used != (Bounds{}) {
		t.Errorf("%+v is in use", used)
	}
}

// D10: what can be left out is left out while less than a quarter is free, and while this
// host has no files.
func TestD10Spare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, err := ParseServer("192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		to := Attempt{Server: server}
		room := newRoom(Bounds{Sockets: 8, Exchanges: 100})
		var seats []seat
		for i := range 8 {
			if _, ok := room.tryEnter(to, true); ok != (i < 6) {
				t.Errorf("with %d of 8 sockets in use: %v", i, ok)
			} else if ok {
				room.sockets.leave(1)
				room.exchanges.leave(1)
			}
			s, err := room.enter(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			seats = append(seats, s)
		}
		waiting, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := room.enter(waiting, to); !isBusy(err) {
			t.Errorf("a ninth socket: %v", err)
		}
		for _, s := range seats {
			s.leave()
		}
		if used := room.InUse(); used != (Bounds{}) || !room.HasSpare() {
			t.Errorf("%+v is in use", used)
		}
		room.lacked.Store(time.Now().UnixNano())
		if room.HasSpare() {
			t.Error("there is room to spare without files")
		}
		time.Sleep(time.Second)
		if !room.HasSpare() {
			t.Error("a lack of files lasts")
		}
	})
}

// D10: a connection over TLS has a socket while it is open, and none if it cannot be
// opened.
func TestD10StreamKeepsSocket(t *testing.T) {
	t.Parallel()
	room := newRoom(Bounds{Sockets: 1})
	near, far := net.Pipe()
	defer far.Close()
	s, err := room.keep(t.Context(), time.Second, func(leave func()) (*stream, error) { return newStream(t.Context(), near, leave), nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := room.keep(t.Context(), time.Millisecond, nil); !isBusy(err) {
		t.Errorf("a second socket: %v", err)
	}
	s.close(net.ErrClosed)
	s.close(net.ErrClosed)
	if used := room.InUse().Sockets; used != 0 {
		t.Errorf("%d sockets are in use", used)
	}
	if _, err := room.keep(t.Context(), time.Second, func(func()) (*stream, error) { return nil, io.EOF }); err != io.EOF || room.InUse().Sockets != 0 {
		t.Errorf("%v, %+v", err, room.InUse())
	}
}

// D10: a server over TLS does not fail because its check waits for a socket: others would
// then be asked that are easier to attack.
func TestD10CheckWaitsForSocket(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, err := New(Config{Servers: []string{"tls://192.0.2.1"}, Bounds: Bounds{Sockets: 1}, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if full && !c.Room.sockets.tryEnter(1) {
				t.Fatal("no socket")
			}
			servers, _ := c.Servers()
			s := servers[0]
			s.missed("example.com.", time.Now(), time.Now())
			s.check(c, ".")
			if fails := s.standing(time.Now()) == failing; fails == full {
				t.Errorf("all sockets in use: %v, the server fails: %v", full, fails)
			}
			synctest.Wait()
		})
	}
}
