package policytest

import (
	"context"
	"net"
	"sync"
)

// gate connects Dial to the hosts. All connections go over one listener on the
// loopback interface, because a listener for each host would limit their number.
// The two ends of a connection find each other by the client's port.
type gate struct {
	listener net.Listener

	mu       sync.Mutex
	expected map[string]func(net.Conn) // what serves a connection, by client address
	arrived  map[string]net.Conn       // connections that nothing serves yet
}

func newGate() (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &gate{listener: l, expected: make(map[string]func(net.Conn)), arrived: make(map[string]net.Conn)}, nil
}

// connect returns a connection whose other end is passed to serve. It does not
// take a context, because a connection that is abandoned halfway would confuse
// the gate, and the loopback interface does not delay.
func (g *gate) connect(serve func(net.Conn)) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(context.Background(), "tcp", g.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	client := c.LocalAddr().String()
	g.mu.Lock()
	other := g.arrived[client]
	delete(g.arrived, client)
	if other == nil {
		g.expected[client] = serve
	}
	g.mu.Unlock()
	if other != nil {
		serve(other)
	}
	return c, nil
}

// run accepts connections until the listener is closed.
func (g *gate) run() {
	for {
		c, err := g.listener.Accept()
		if err != nil {
			return
		}
		client := c.RemoteAddr().String()
		g.mu.Lock()
		serve := g.expected[client]
		delete(g.expected, client)
		if serve == nil {
			g.arrived[client] = c
		}
		g.mu.Unlock()
		if serve != nil {
			serve(c)
		}
	}
}

// close stops run, and closes the connections that nothing serves.
func (g *gate) close() error {
	err := g.listener.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.arrived {
		c.Close()
	}
	return err
}
