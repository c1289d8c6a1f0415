package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// pipeStream is a stream over memory, and its far end.
func pipeStream() (*stream, net.Conn) {
	near, far := net.Pipe()
	return newStream(context.Background(), near, func() {}), far
}

func streamQuery() *query {
	q, _ := newQuery(Question{Name: "mx.example.com.", Type: dns.TypeA}, false)
	return q
}

// An unused connection is closed after a while. A connection in use is not.
func TestIdleConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, far := pipeStream()
		go func() {
			for {
				wire, err := receiveStream(far)
				if err != nil {
					return
				}
				time.Sleep(idleTime + time.Second)
				far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
			}
		}()
		for range 2 {
			if _, err := askStream(t, s); err != nil {
				t.Error(err)
			}
			time.Sleep(idleTime - time.Second)
		}
		if !s.takesMore() {
			t.Error("closed while in use")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s.takesMore() {
			t.Error("not closed")
		}
		if _, err := askStream(t, s); !errors.Is(err, net.ErrClosed) {
			t.Errorf("error is %v", err)
		}
	})
}

func askStream(t *testing.T, s *stream) ([]byte, error) {
	return s.ask(t.Context(), streamQuery())
}

// A caller that gives up does not affect the others, and the late reply is dropped.
// After a timeout the connection takes no more questions.
func TestAbandonedQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, far := pipeStream()
		var queries [][]byte
		go func() {
			for {
				wire, err := receiveStream(far)
				if err != nil {
					return
				}
				queries = append(queries, wire)
			}
		}()
		ctx, cancel := context.WithCancel(t.Context())
		outcomes := make(chan error, 2)
		go func() {
			_, err := s.ask(ctx, streamQuery())
			outcomes <- err
		}()
		synctest.Wait()
		go func() {
			_, err := s.ask(t.Context(), streamQuery())
			outcomes <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-outcomes; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		for _, wire := range queries {
			far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...))
		}
		if err := <-outcomes; err != nil {
			t.Errorf("the other question: %v", err)
		}
		if !s.takesMore() || len(s.waiting) > 0 {
			t.Errorf("%d questions wait", len(s.waiting))
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.ask(ctx, streamQuery()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if s.takesMore() {
			t.Error("a silent connection takes more questions")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if s.failure() == nil {
			t.Error("a silent connection stays open")
		}
	})
}

// A connection ends if the server sends a reply that was not asked for, or one that
// cannot be read.
func TestBrokenStream(t *testing.T) {
	t.Parallel()
	for _, sent := range [][]byte{{0, 1, 7}, {0, 0}, {0, 2, 0, 0}, {0, 9, 1}, nil} {
		s, far := pipeStream()
		go func() {
			wire, _ := receiveStream(far)
			if len(sent) == 4 {
				sent[2], sent[3] = ^wire[0], wire[1]
			}
			far.Write(sent)
			far.Close()
		}()
		if reply, err := askStream(t, s); err == nil {
			t.Errorf("sent %v, got %v", sent, reply)
		}
		if s.takesMore() {
			t.Errorf("%v: not closed", sent)
		}
	}
}

// Questions that arrive while a connection is being opened wait for it. If there are
// too many, the rest uses another connection.
func TestFullStream(t *testing.T) {
	t.Parallel()
	s, far := pipeStream()
	defer far.Close()
	for range maxWaiting {
		if _, err := s.enter(streamQuery()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.enter(streamQuery()); !errors.Is(err, errFull) {
		t.Errorf("error is %v", err)
	}
	s.close(net.ErrClosed)
	if _, err := s.enter(streamQuery()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error is %v", err)
	}
}

// A connection may be established while the Client is closed. It is then closed at
// once, and the program goes on.
func TestClosedWhileOpening(t *testing.T) {
	t.Parallel()
	closed, cancel := context.WithCancel(context.Background())
	cancel()
	for range 200 {
		near, far := net.Pipe()
		s := newStream(closed, near, func() {})
		if _, err := far.Read(make([]byte, 1)); err == nil {
			t.Fatal("the connection is open")
		}
		if _, err := askStream(t, s); !errors.Is(err, net.ErrClosed) {
			t.Errorf("error is %v", err)
		}
	}
}
