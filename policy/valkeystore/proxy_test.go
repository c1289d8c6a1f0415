package valkeystore

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between a Store and its server, and can let nothing through,
// as a network that is cut does: nobody is told.
type proxy struct {
	addr   string
	target string

	mu   sync.Mutex
	cond *sync.Cond
	cut  bool
	over bool
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target}
	p.cond = sync.NewCond(&p.mu)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.over = true
		p.cond.Broadcast()
		p.mu.Unlock()
		conns.Wait()
	})
	return p
}

// setCut cuts the network, or mends it.
func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	p.cond.Broadcast()
}

// pass returns when the network is there. ok is false when the test is over.
func (p *proxy) pass() (ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.cut && !p.over {
		p.cond.Wait()
	}
	return !p.over
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	if !p.pass() {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			p.copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
	client.Close()
	server.Close()
	<-done
}

func (p *proxy) copy(from io.Reader, to io.Writer) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !p.pass() {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
