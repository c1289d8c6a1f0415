package accept_test

import (
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/mxseal/mxseal/examples/mxseal/internal/accept"
)

// A listener that somebody else closes ends with an error, and no longer counts as a connection that waits.
func TestListenerClosedElsewhereEnds(t *testing.T) {
	served := make(chan struct{})
	taker := accept.New(accept.Config{Most: 1, Serve: func(net.Conn) { close(served) }, Logger: slog.New(slog.DiscardHandler)})
	closed := listen(t)
	closed.Close()
	if err := taker.Listen(closed); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed listener: %v", err)
	}
	other := listen(t)
	ended := make(chan error)
	go func() { ended <- taker.Listen(other) }()
	client, err := net.Dial("tcp", other.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	<-served
	taker.Drain()
	if err := <-ended; err != nil {
		t.Errorf("drained listener: %v", err)
	}
	taker.Wait()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}
