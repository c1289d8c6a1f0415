package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/internal/test/interop"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/internal/test/seed"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// cut is where a connection ends: after a number of octets in one direction.
type cut struct {
	fromServer bool
	octets     int
}

func (c cut) String() string {
	if c.fromServer {
		return fmt.Sprintf("after %d octets from the server", c.octets)
	}
	return fmt.Sprintf("after %d octets from the client", c.octets)
}

// cutConn is a connection through a proxy that cuts it. What the client writes after
// that is lost without an error, as in a real proxy.
type cutConn struct {
	net.Conn
	cut cut

	mu            sync.Mutex
	read, written int
	sent          []byte // what got through to the server
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut.fromServer && c.read+n > c.cut.octets {
		n = max(c.cut.octets-c.read, 0)
		c.Conn.Close()
	}
	c.read += n
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	through := p
	if !c.cut.fromServer && c.written+len(p) > c.cut.octets {
		through = p[:max(c.cut.octets-c.written, 0)]
		defer c.Conn.Close()
	}
	n, err := c.Conn.Write(through)
	c.written += n
	c.sent = append(c.sent, p[:n]...)
	if err != nil {
		return n, err
	}
	return len(p), nil
}

// begun reports whether a part of a message in cleartext got through.
func (c *cutConn) begun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, message, found := strings.Cut(string(c.sent), "\r\nDATA\r\n")
	return found && message != ""
}

// A real Postfix is behind a proxy that cuts every connection to the first mail host
// after some octets. The second host is the same Postfix without the proxy. Each
// recipient gets the message once if it is reported delivered, at most once if the
// outcome is unknown, and none is lost. MXSEAL_SEED repeats a run.
func TestCutConnectionsLoseNoMail(t *testing.T) {
	identity := mailserver.NewServer(t, nil, "mx.example.org")
	server := mailserver.StartPostfix(t, []mailserver.Entrance{
		{Addr: selfSigned, Chain: identity.File(t)}, {Addr: noTLS},
	})
	random := seed.Rand(t)
	cuts := 20
	if interop.Complete() {
		cuts = 120
	}
	s := &severed{t: t, server: server, identity: identity, verdicts: make(map[string]string)}
	for _, mode := range []struct {
		name                   string
		addr                   string // of the entrance
		status                 dnssec.Status
		fromClient, fromServer int // octets of a whole conversation, about
	}{
		{"clear", noTLS, dnssec.Insecure, 6000, 700},
		{"opportunistic", selfSigned, dnssec.Insecure, 9000, 3000},
		{"dane", selfSigned, dnssec.Secure, 9000, 3000},
	} {
		for i := range cuts {
			c := cut{fromServer: i%2 == 1, octets: random.IntN(mode.fromClient)}
			if c.fromServer {
				c.octets = random.IntN(mode.fromServer)
			} else if i%4 == 0 {
				c.octets = random.IntN(3000) // before the message, or shortly after its beginning
			}
			s.send(fmt.Sprintf("%s-%d", mode.name, i), mode.addr, mode.status, c)
		}
	}
	s.check()
}

// severed sends messages over connections that are cut.
type severed struct {
	t        *testing.T
	server   *mailserver.Postfix
	identity mailserver.Identity
	verdicts map[string]string // by recipient: delivered or unknown
}

// send sends one message to two recipients.
func (s *severed) send(name, addr string, status dnssec.Status, c cut) {
	s.t.Helper()
	names := fakedns.Answers{}
	names.Add(s.t, status, "example.org. MX 10 first.example.org.", "example.org. MX 20 second.example.org.")
	for host, ip := range map[string]string{"first": "192.0.2.101", "second": "192.0.2.102"} {
		names.Add(s.t, status, host+".example.org. A "+ip)
		names.Deny(status, host+".example.org. AAAA")
		if status == dnssec.Secure {
			names.Add(s.t, status, fmt.Sprintf("_25._tcp.%s.example.org. TLSA 3 1 1 %s", host, s.identity.TLSAKey()))
		}
	}
	var conns []*cutConn
	resolver, err := policy.New(policy.Config{DNS: names, NoMTASTS: true, Dial: func(ctx context.Context, _, to string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.server.Ports[addr])))
		if err != nil || !strings.HasPrefix(to, "192.0.2.101:") {
			return conn, err
		}
		conns = append(conns, &cutConn{Conn: conn, cut: c})
		return conns[len(conns)-1], nil
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	dialer := delivery.Dialer{Resolver: resolver, LocalName: "sender.example", Delivered: func(d delivery.Delivery) {
		for _, to := range d.Recipients {
			s.report(to, "delivered")
		}
	}}
	to := []string{name + "-a@example.org", name + "-b@example.org"}
	text := fmt.Sprintf("From: s@example.net\r\nSubject: %s\r\n\r\n%s", name, strings.Repeat("a line of the message\r\n", 200))
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	err = dialer.SendMail(ctx, "s@example.net", to, []byte(text))
	var failed *delivery.SendError
	if err != nil && !errors.As(err, &failed) {
		s.t.Fatal(err)
	}
	if failed != nil {
		for _, each := range failed.Undelivered {
			for _, recipient := range each.Recipients {
				if !each.OutcomeUnknown {
					s.t.Errorf("%s, cut %v: %v", name, c, each.Err)
				}
				s.report(recipient, "unknown")
			}
			if addr == noTLS && !conns[len(conns)-1].begun() {
				s.t.Errorf("%s, cut %v: the outcome is unknown, although no part of the message was sent", name, c)
			}
		}
	}
	for _, recipient := range to {
		if s.verdicts[recipient] == "" {
			s.t.Errorf("%s, cut %v: nothing is reported about %s", name, c, recipient)
		}
	}
}

func (s *severed) report(recipient, verdict string) {
	if before := s.verdicts[recipient]; before != "" {
		s.t.Errorf("%s is reported %s and %s", recipient, before, verdict)
	}
	s.verdicts[recipient] = verdict
}

// check waits for the messages and counts the copies.
func (s *severed) check() {
	s.send("last", noTLS, dnssec.Insecure, cut{octets: 1 << 20})
	await.Until(s.t, "every recipient that is reported delivered has the message", func() bool {
		copies := make(map[string]int)
		for _, text := range s.server.Messages(s.t) {
			_, rest, _ := strings.Cut(text, "\nDelivered-To: ")
			recipient, _, _ := strings.Cut(rest, "\n")
			copies[recipient]++
		}
		missing, delivered, unknown := 0, 0, 0
		for recipient, verdict := range s.verdicts {
			switch {
			case verdict == "unknown":
				unknown++
			case copies[recipient] == 0:
				missing++
			default:
				delivered++
			}
			if copies[recipient] > 1 {
				s.t.Fatalf("%s, reported %s, got %d copies", recipient, verdict, copies[recipient])
			}
		}
		if missing == 0 && (delivered == 0 || unknown == 0) {
			s.t.Errorf("the cuts do not show both outcomes: %d recipients delivered, %d unknown", delivered, unknown)
		}
		return missing == 0
	})
}
