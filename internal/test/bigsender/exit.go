//go:build linux

package bigsender

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/policy/policytest"
)

// exit is a proxy by which the relays reach the hosts, whose addresses exist only inside
// the test. A client sends one line with the network and the address, and gets one line
// with the error, or an empty one. The attacker is here: it can connect the relays to its
// own host instead of a mail host.
type exit struct {
	listener net.Listener
	world    *world
	hijack   atomic.Bool
	running  sync.WaitGroup
	ctx      context.Context
	fetches  atomic.Int64 // connections to policy hosts
	sessions atomic.Int64 // connections to mail hosts
}

func newExit(tb policytest.TB, w *world) *exit {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &exit{listener: l, world: w, ctx: ctx}
	e.running.Go(e.run)
	tb.Cleanup(func() {
		cancel()
		l.Close()
		e.running.Wait()
	})
	return e
}

func (e *exit) run() {
	for {
		c, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.running.Go(func() { e.serve(c) })
	}
}

// serve connects one client.
func (e *exit) serve(client net.Conn) {
	defer client.Close()
	stop := context.AfterFunc(e.ctx, func() { client.Close() })
	defer stop()
	in := bufio.NewReader(client)
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	network, addr, _ := strings.Cut(strings.TrimSpace(line), " ")
	// The client does not say when it gives up.
	ctx, cancel := context.WithTimeout(e.ctx, 30*time.Second)
	defer cancel()
	server, err := e.connect(ctx, network, addr)
	if err != nil {
		fmt.Fprintf(client, "%s\n", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	defer server.Close()
	if _, err := io.WriteString(client, "\n"); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(server, in)
		server.Close()
	})
	io.Copy(client, server)
	client.Close()
	both.Wait()
}

var errUnreachable = errors.New("no route to host")

// connect connects to a host, or to the attacker's.
func (e *exit) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	target, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	switch {
	case target.Port() == 443 && e.world.policyHostsDown.Load():
		return nil, errUnreachable
	case target.Port() == 443:
		e.fetches.Add(1)
	case e.hijack.Load():
		addr = evilHost + ":25"
		network = "tcp4"
		fallthrough
	default:
		e.sessions.Add(1)
	}
	return e.world.inet.Dial(ctx, network, addr)
}

// through returns the dial function of a relay whose exit is at a real address.
func through(exit string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		target, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, err
		}
		c, err := new(net.Dialer).DialContext(ctx, "tcp", exit)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
		err = request(c, network, addr)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			c.Close()
			return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(target), Err: err}
		}
		return &exitConn{Conn: c, remote: net.TCPAddrFromAddrPort(target)}, nil
	}
}

// request asks the exit to connect. It reads the reply octet by octet, because the octets
// after it belong to the host.
func request(c net.Conn, network, addr string) error {
	if _, err := fmt.Fprintf(c, "%s %s\n", network, addr); err != nil {
		return err
	}
	var reply []byte
	for octet := make([]byte, 1); ; {
		if _, err := io.ReadFull(c, octet); err != nil {
			return err
		}
		if octet[0] == '\n' {
			break
		}
		reply = append(reply, octet[0])
	}
	if len(reply) > 0 {
		return errors.New(string(reply))
	}
	return nil
}

// exitConn is a connection with the address of the host in it.
type exitConn struct {
	net.Conn
	remote net.Addr
}

func (c *exitConn) RemoteAddr() net.Addr { return c.remote }
