package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// Attacks on Pool: a server that confuses the replies of two messages, a client that uses a
// session which is no longer its own, and a message that inherits something from the one
// before.

// overSession sends a message over the next session of a domain, by net/smtp.
func (p *pooled) overSession(t *testing.T, domain string, use func(*Session) error) error {
	t.Helper()
	for session, err := range p.pool.Sessions(t.Context(), domain) {
		if err != nil {
			return err
		}
		failure := session.Failure(use(session))
		if failure == nil {
			return nil
		}
		if !failure.NextHost {
			return failure.Err
		}
	}
	return errors.New("the loop of sessions ended without an error")
}

func bySMTP(session *Session) error { return sendOver(session.NetConn()) }

// Sessions of a Pool are reused, by any client: its QUIT and its Close do not reach the
// server. They are shared with SendMail.
func TestPoolSharesSessionsOfAnyClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, withTLS(certificates().good))
		for range 3 {
			if err := p.overSession(t, "first.example", bySMTP); err != nil {
				t.Fatal(err)
			}
			if err := p.send(t, "second.example"); err != nil {
				t.Fatal(err)
			}
		}
		for range p.pool.Sessions(t.Context(), "first.example") {
			break // without a word
		}
		if len(p.dialed) != 1 || p.mails("192.0.2.1") != 6 || len(p.recorded) != 1 {
			t.Errorf("dialed %q, %d messages, %d reports", p.dialed, p.mails("192.0.2.1"), len(p.recorded))
		}
		if err := p.pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := verbs(p.said("192.0.2.1")); !strings.HasSuffix(got, "RSET QUIT") || strings.Count(got, "QUIT") != 1 {
			t.Errorf("heard %s", got)
		}
	})
}

// SMTP-36: a session that the server has closed is no failure for a client of Sessions either: the
// next round of its loop has a new session with the same host. That comes once: after a
// new session the next host comes.
func TestPoolSessionsHaveEnded(t *testing.T) {
	t.Parallel()
	for _, ending := range []string{
		"421 4.3.2 bye\r\n", "250 ok\r\n250 ok\r\n", "452 4.5.3 too many messages in this session\r\n", "451 4.3.0 later\r\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			replies := map[string]string{}
			p := newPooled(t, clearThen(replies))
			p.names.Add(t, dnssec.Insecure, "first.example. MX 10 mx.example.net.", "first.example. MX 20 mx2.example.net.")
			p.names.Add(t, dnssec.Secure, "mx2.example.net. A 192.0.2.2")
			p.scripts["192.0.2.2"] = []script{inClearOnly}
			if err := p.send(t, "first.example"); err != nil {
				t.Fatal(err)
			}
			if ending[0] == '4' {
				replies["MAIL"] = ending
			} else {
				replies["RSET"] = ending
			}
			if err := p.overSession(t, "first.example", bySMTP); err != nil {
				t.Error(err)
			}
			want := []string{"192.0.2.1", "192.0.2.1"}
			if ending[0] == '4' {
				want = append(want, "192.0.2.2") // which that reply in a new session leads to
			}
			if !slices.Equal(p.dialed, want) {
				t.Errorf("%q: dialed %q, want %q", ending, p.dialed, want)
			}
		})
	}
}

// A session over which a client has sent more than mail is not reused.
func TestPoolSessionsAreNotInherited(t *testing.T) {
	t.Parallel()
	say := func(lines string, replies int) func(*Session) error {
		return func(s *Session) error {
			client, err := smtp.NewClient(s.NetConn(), "x")
			if err == nil {
				err = client.Hello("sender.example")
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(client.Text.W, "%s\r\n", lines)
			client.Text.W.Flush()
			for range replies {
				if _, _, err := client.Text.ReadResponse(0); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		use    func(*Session) error
		reused bool
	}{
		"nothing":                        {func(*Session) error { return nil }, true},
		"EHLO only":                      {say("NOOP", 1), true},
		"a transaction without an end":   {say("MAIL FROM:<a@example.net>\r\nRCPT TO:<victim@example.org>", 2), true},
		"a message without an end":       {say("MAIL FROM:<a@example.net>\r\nRCPT TO:<victim@example.org>\r\nDATA", 3), false},
		"a command without its reply":    {say("NOOP\r\nNOOP", 1), false},
		"half a command":                 {say("NOOP\r\nMAIL FR", 1), false},
		"another EHLO":                   {say("EHLO other.example", 1), false},
		"HELO, which has no extensions":  {say("HELO other.example", 1), false},
		"XCLIENT":                        {say("XCLIENT ADDR=192.0.2.99", 1), false},
		"XFORWARD":                       {say("XFORWARD NAME=x", 1), false},
		"TURN":                           {say("TURN", 1), false},
		"AUTH":                           {say("AUTH PLAIN AGEAYg==", 1), false},
		"AUTH that does not get through": {say("AUTH PLAIN AGEAYg==", 1), true},
		"an empty line":                  {say("", 1), false},
		"BDAT where it does not exist":   {say("BDAT 4 LAST\r\nNOOP", 1), false},
		"a part of a chunk":              {say("BDAT 40 LAST\r\nNOOP", 0), false},
		"QUIT and more":                  {say("QUIT\r\nMAIL FROM:<a@example.net>", 1), false},
		"QUIT":                           {say("QUIT", 1), true},
		"its own STARTTLS":               {say("STARTTLS", 1), true},
		"QUIT, and then nothing is read": {say("QUIT", 0), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPooled(t, tlsThen(certificates().good, map[string]string{"BDAT": "500 what?\r\n"}))
				if name == "AUTH" { // which reaches only a server that is authenticated, and named by the operator
					named := map[string]policy.Override{"first.example": {NextHop: "[mx.example.net]"}}
					p.dialer.Resolver = p.resolver(t, p.names, policy.Config{Floor: policy.Authenticated, Overrides: named})
				}
				p.overSession(t, "first.example", tt.use)
				if err := p.send(t, "first.example"); err != nil {
					t.Fatal(err)
				}
				if reused := len(p.dialed) == 1; reused != tt.reused {
					t.Errorf("reused %v, want %v; heard %q", reused, tt.reused, p.said("192.0.2.1"))
				}
				lines := p.said("192.0.2.1")
				for i, line := range lines {
					if line == "MAIL FROM:<s@example.net>" && tt.reused && lines[i-1] != "RSET" {
						t.Errorf("heard %q", lines)
					}
				}
			})
		})
	}
}

// A client that keeps the connection after its loop has ended cannot reach the session,
// which serves others then: neither by commands nor by a deadline or by closing it.
func TestPoolSessionsAreOutOfReach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(slowly("DATA", time.Minute))
		p := &pooled{world: w, names: fakedns.Answers{}, dialer: w.dialer()}
		p.names.Add(t, dnssec.Insecure, "first.example. MX 10 mx.example.net.")
		p.names.Add(t, dnssec.Insecure, "mx.example.net. A 192.0.2.1")
		p.names.Deny(dnssec.Insecure, "mx.example.net. AAAA")
		p.dialer.Resolver = p.resolver(t, p.names, policy.Config{})
		p.pool = &Pool{Dialer: p.dialer}
		defer p.pool.Close(t.Context())
		var kept *Session
		var client *smtp.Client
		for session, err := range p.pool.Sessions(t.Context(), "first.example") {
			if err != nil {
				t.Fatal(err)
			}
			kept = session
			if client, err = smtp.NewClient(session.NetConn(), "x"); err != nil {
				t.Fatal(err)
			}
			if err := client.Noop(); err != nil {
				t.Fatal(err)
			}
			break
		}
		sent := make(chan error)
		go func() { sent <- p.send(t, "first.example") }()
		synctest.Wait() // the message waits for the reply to DATA
		if err := client.Reset(); err == nil {
			t.Error("a command reached the session")
		}
		if _, err := kept.NetConn().Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		for _, set := range []func(time.Time) error{kept.NetConn().SetDeadline, kept.NetConn().SetReadDeadline, kept.NetConn().SetWriteDeadline} {
			if err := set(time.Now().Add(-time.Hour)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("SetDeadline: %v", err)
			}
		}
		client.Quit()
		client.Close()
		kept.Close()
		kept.NetConn().Close()
		if err := <-sent; err != nil {
			t.Errorf("the message: %v", err)
		}
		if got, want := verbs(p.said("192.0.2.1")), "EHLO RSET MAIL RCPT DATA ."; got != want || len(p.dialed) != 1 {
			t.Errorf("heard %s, want %s; dialed %q", got, want, p.dialed)
		}
	})
}

// A context that ends as soon as the message is delivered does not close the connection
// under the message of another.
func TestPoolContextEndsLate(t *testing.T) {
	t.Parallel()
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			p := newPooled(t, withTLS(certificates().good))
			ctx, cancel := context.WithCancel(t.Context())
			p.dialer.Delivered = func(Delivery) { cancel() }
			var sending sync.WaitGroup
			for i := range 4 {
				sending.Go(func() {
					with := t.Context()
					if i == 0 {
						with = ctx
					}
					err := p.pool.SendMail(with, "s@example.net", []string{"x@first.example"}, []byte(letter))
					if err != nil && i > 0 {
						t.Error(err)
					}
				})
			}
			sending.Wait()
			cancel()
		})
	}
	// The same in the loop of Sessions.
	synctest.Test(t, func(t *testing.T) {
		p := newPooled(t, withTLS(certificates().good))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for session, err := range p.pool.Sessions(ctx, "first.example") {
			if err != nil || session.Failure(sendOver(session.NetConn())) != nil {
				t.Fatal(err)
			}
			cancel()
			break
		}
		if err := p.send(t, "first.example"); err != nil {
			t.Error(err)
		}
		if len(p.dialed) != 2 {
			t.Errorf("a connection that a context closes was kept; dialed %q", p.dialed)
		}
	})
}

// SMTP-35: a reply that was left over from one message is not taken for one of the next: no
// recipient gets the verdict on another, and no message counts as delivered that is not.
// The server has no PIPELINING, so that replies are taken one by one.
func TestPoolRepliesAreNotInherited(t *testing.T) {
	t.Parallel()
	for name, stray := range map[string]struct {
		at    string // after the reply to this
		text  string
		delay time.Duration
	}{
		"with the last reply":   {".", "250 2.0.0 ok\r\n", 0},
		"while it is idle":      {".", "250 2.0.0 ok\r\n", time.Second},
		"a refusal, while idle": {".", "550 5.1.1 nobody\r\n", time.Second},
		"half of one":           {".", "250", time.Second},
		"421, while it is idle": {".", "421 4.4.2 idle for too long\r\n", time.Second},
		"with that to RSET":     {"RSET", "250 2.0.0 ok\r\n", 0},
		"a prompt":              {".", "354 go ahead\r\n", time.Second},
	} {
		for _, inTLS := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, inTLS), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					p := newPooled(t, strays(inTLS, stray.at, stray.text, stray.delay))
					if err := p.send(t, "first.example"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Second)
					result, err := p.pool.Send(t.Context(), mailOf(letter, "good1@second.example", "bad@second.example", "good2@second.example"))
					var failed *SendError
					if !errors.As(err, &failed) || len(failed.Undelivered) != 1 || !slices.Equal(failed.Undelivered[0].Recipients, []string{"bad@second.example"}) {
						t.Errorf("not delivered: %v", err)
					}
					if len(result.Delivered) != 1 || !slices.Equal(result.Delivered[0].Recipients, []string{"good1@second.example", "good2@second.example"}) {
						t.Errorf("delivered: %+v", result)
					}
					time.Sleep(time.Second) // until the server has noticed
				})
			})
		}
	}
}

// strays is a host that refuses recipients whose address begins with "bad", and sends
// something more after its first reply to a verb.
func strays(inTLS bool, at, text string, delay time.Duration) script {
	var once sync.Once
	return func(s *server) {
		s.say(greeting)
		if inTLS {
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
			if !s.handshake(certificates().good) {
				return
			}
		}
		async := newAsyncConn(s.conn)
		defer close(async.queue)
		for inMessage := false; ; {
			line, ok := s.hear()
			if !ok {
				return
			}
			verb, _, _ := strings.Cut(line, " ")
			if verb == "RSET" {
				time.Sleep(50 * time.Millisecond) // its own reply comes after what was left over
			}
			switch {
			case inMessage && verb != ".":
				continue
			case inMessage:
				inMessage = false
				io.WriteString(async, "250 2.0.0 taken\r\n")
			case verb == "DATA":
				inMessage = true
				io.WriteString(async, "354 go ahead\r\n")
			case strings.HasPrefix(line, "RCPT TO:<bad"):
				io.WriteString(async, "550 5.1.1 nobody\r\n")
			default:
				io.WriteString(async, "250 2.0.0 ok\r\n")
			}
			if verb == at {
				once.Do(func() {
					time.Sleep(delay)
					io.WriteString(async, text)
				})
			}
		}
	}
}

// After something odd in a message, the session is not kept, even if the message was
// delivered.
func TestPoolKeepsNothingOdd(t *testing.T) {
	t.Parallel()
	for name, replies := range map[string]map[string]string{
		"lines that disagree":            {"RCPT": "251-ok\r\n250 ok\r\n"},
		"lines that disagree at the end": {".": "251-ok\r\n250 ok\r\n"},
		"a prompt for no recipient":      {"EHLO": "250-mx\r\n250 PIPELINING\r\n", "RCPT": "550 5.1.1 nobody\r\n"},
		"two replies":                    {".": "250 ok\r\n250 ok\r\n"},
		"an outcome that is not known":   {".": "354 what?\r\n"},
		"no reply":                       {".": "what?\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPooled(t, clearThen(replies), inClearOnly)
				p.send(t, "first.example")
				if err := p.send(t, "second.example"); err != nil {
					t.Fatal(err)
				}
				if len(p.dialed) != 2 {
					t.Errorf("dialed %q, heard %q", p.dialed, p.said("192.0.2.1"))
				}
			})
		})
	}
}

// A client that says QUIT and does not wait for the reply leaves a session that is kept:
// the server has heard nothing of it. One that leaves a reply of the server unread does not.
func TestPoolKeepsASessionAfterQUIT(t *testing.T) {
	t.Parallel()
	for last, connections := range map[string]int{"QUIT\r\n": 1, "RSET\r\nQUIT\r\n": 2, "MAIL FROM:<s@example.net>\r\nQUIT\r\n": 2, "QUIT\r\nNOOP\r\n": 2} {
		for name, end := range map[string]func(*Session){
			"Close":     func(s *Session) { s.NetConn().Close() },
			"the loop":  func(*Session) {},
			"Failure":   func(s *Session) { s.Failure(nil) },
			"a goodbye": func(s *Session) { s.Close() },
		} {
			synctest.Test(t, func(t *testing.T) {
				p := newPooled(t, withTLS(certificates().good))
				err := p.overSession(t, "first.example", func(s *Session) error {
					client, err := smtp.NewClient(s.NetConn(), "x")
					if err != nil {
						return err
					}
					if err := transact(client); err != nil {
						return err
					}
					io.WriteString(s.NetConn(), last)
					end(s)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := p.send(t, "second.example"); err != nil {
					t.Error(err)
				}
				if len(p.dialed) != connections {
					t.Errorf("%q, then %s: %d connections, want %d", last, name, len(p.dialed), connections)
				}
				if got := verbs(p.said("192.0.2.1")); connections == 1 && strings.Contains(got, "QUIT") {
					t.Errorf("heard %s", got)
				}
			})
		}
	}
}

// A context that ends when the server has accepted the message, and before Send knows it,
// closes the connection in a moment: the next message must not be on it then.
func TestPoolContextEndsInTheLastStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		closing := make(chan struct{})
		closeNow := sync.OnceFunc(func() { close(closing) })
		p := newPooled(t, func(s *server) {
			s.say(greeting)
			for messages := 0; ; {
				line, ok := s.hear()
				switch {
				case !ok:
					return
				case line == "DATA" && messages == 1:
					closeNow() // under the message
					io.Copy(io.Discard, s.conn)
				case line == "DATA":
					messages++
					s.say("354 go\r\n")
					s.message()
					s.say("250 taken\r\n")
				default:
					s.say("250 ok\r\n")
				}
			}
		}, inClearOnly)
		p.pipe = func() (net.Conn, net.Conn) {
			ours, theirs := net.Pipe()
			if ctx.Err() != nil {
				return ours, theirs
			}
			return &lateConn{Conn: ours, cancel: cancel, closing: closing}, theirs
		}
		err := p.pool.SendMail(ctx, "s@example.net", []string{"x@first.example"}, []byte(letter))
		if err != nil || ctx.Err() == nil {
			t.Fatalf("error %v, context %v", err, ctx.Err())
		}
		if err := p.send(t, "first.example"); err != nil || p.mails("192.0.2.1") != 2 {
			t.Errorf("dialed %q, MAIL %d times, error %v", p.dialed, p.mails("192.0.2.1"), err)
		}
		closeNow()
	})
}

// lateConn ends a context when it has read that a message was taken, and takes some time
// for the Close that follows.
type lateConn struct {
	net.Conn
	cancel  func()
	closing chan struct{} // closed when that Close goes on
	over    atomic.Bool
}

func (c *lateConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.Contains(p[:n], []byte("taken")) {
		c.cancel()
		synctest.Wait()
	}
	return n, err
}

func (c *lateConn) Close() error {
	if !c.over.Swap(true) {
		<-c.closing
	}
	return c.Conn.Close()
}

// A server that ends every session at its second message, or refuses that, is dialed once
// more each time, and no more often. The session that it refuses ends with QUIT.
func TestPoolWithAServerThatWantsOneMessage(t *testing.T) {
	t.Parallel()
	for _, refusal := range []string{"421 4.7.0 one message for each connection\r\n", "452 4.5.3 one message for each connection\r\n"} {
		synctest.Test(t, func(t *testing.T) { wantsOneMessage(t, refusal) })
	}
}

// wantsOneMessage has a server with that reply to the second MAIL over a connection.
func wantsOneMessage(t *testing.T, refusal string) {
	const several = 5
	var started atomic.Int32
	together := make(chan struct{}) // closed when several sessions are in use
	p := newPooled(t, func(s *server) {
		s.say(greeting)
		mails := 0
		for {
			line, ok := s.hear()
			if !ok {
				return
			}
			verb, _, _ := strings.Cut(line, " ")
			switch verb {
			case "MAIL":
				if mails++; mails == 1 {
					if started.Add(1) == several {
						close(together)
					}
					<-together
				}
				if mails > 1 {
					s.say(refusal)
					if refusal[:3] == "421" {
						return
					}
					continue
				}
				s.say("250 ok\r\n")
			case "DATA":
				s.say("354 go\r\n")
				s.message()
				s.say("250 ok\r\n")
			default:
				s.say("250 ok\r\n")
			}
		}
	})
	// Several sessions are idle.
	var sending sync.WaitGroup
	for range several {
		sending.Go(func() {
			if err := p.send(t, "first.example"); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	dialed, mails := len(p.dialed), p.mails("192.0.2.1")
	for range 4 {
		if err := p.send(t, "first.example"); err != nil {
			t.Error(err)
		}
	}
	if len(p.dialed) != dialed+4 {
		t.Errorf("%d connections for 4 messages", len(p.dialed)-dialed)
	}
	// No other idle session is asked before the new connection.
	if got := p.mails("192.0.2.1") - mails; got != 8 {
		t.Errorf("MAIL %d times for 4 messages", got)
	}
	if got := strings.Count(strings.Join(p.said("192.0.2.1"), "\n"), "QUIT"); got != 4 && refusal[:3] != "421" {
		t.Errorf("%d QUIT", got)
	}
}
