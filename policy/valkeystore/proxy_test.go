package valkeystore

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is between a Store and its server. It can stop forwarding, like a
// broken network path that closes no connection.
type proxy struct {
	addr   string
	target string

	mu   sync.Mutex
	cond *sync.Cond
	cut  bool
	over bool
	lost string // the beginning of the reply to lose, after an EVAL
	sent bool   // the EVAL was forwarded
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

// setCut stops or resumes forwarding.
func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	p.cond.Broadcast()
}

// loseReply breaks the connection after the next script was executed, if its
// reply begins with the given octets. The reply does not arrive.
func (p *proxy) loseReply(reply string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost, p.sent = reply, false
}

// isLost reports whether octets are the reply to lose.
func (p *proxy) isLost(octets []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost == "" {
		return false
	}
	if bytes.Contains(octets, []byte("\r\nEVAL\r\n")) {
		p.sent = true
		return false
	}
	for pong := []byte("+PONG\r\n"); bytes.HasPrefix(octets, pong); { // the reply to an earlier PING
		octets = octets[len(pong):]
	}
	if p.sent && bytes.HasPrefix(octets, []byte(p.lost)) {
		p.lost = ""
		return true
	}
	return false
}

// pass waits until forwarding is on. ok is false if the test has ended.
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
		if err != nil || !p.pass() || p.isLost(buf[:n]) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
