package delivery

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// end is a way in which a server ends a conversation, at a step and over raw, the
// connection below TLS.
type end struct {
	name string
	does func(s *server, raw io.Writer)
	// nothing means that the server says nothing in SMTP.
	nothing bool
}

// ends are those in which a server gives no reply.
var ends = [...]end{
	{"closes", func(*server, io.Writer) {}, true},
	{"is silent", func(s *server, _ io.Writer) { io.Copy(io.Discard, s.conn) }, true},
	{"says close_notify", func(s *server, _ io.Writer) {
		if c, ok := s.conn.(*tls.Conn); ok {
			c.CloseWrite()
		}
	}, true},
	{"says close_notify and goes on", func(s *server, _ io.Writer) {
		if c, ok := s.conn.(*tls.Conn); ok {
			c.CloseWrite()
		}
		io.Copy(io.Discard, s.conn)
	}, true},
	{"sends an alert in clear", func(_ *server, raw io.Writer) { raw.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }, false},
	{"sends handshake_failure in clear", func(_ *server, raw io.Writer) { raw.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }, false},
	{"breaks TLS", func(_ *server, raw io.Writer) { raw.Write([]byte("what?\r\n")) }, false},
	{"says half a code", func(s *server, _ io.Writer) { s.say("25") }, false},
	{"says a code without an end", func(s *server, _ io.Writer) { s.say("250") }, false},
	{"says a line without an end", func(s *server, _ io.Writer) { s.say("250 ok") }, false},
	{"says CR only", func(s *server, _ io.Writer) { s.say("250 ok\r") }, false},
	{"says half a reply", func(s *server, _ io.Writer) { s.say("250-ok\r\n") }, false},
	{"says half a reply and is silent", func(s *server, _ io.Writer) { s.say("250-ok\r\n"); io.Copy(io.Discard, s.conn) }, false},
	{"says an empty line", func(s *server, _ io.Writer) { s.say("\r\n\r\n") }, false},
	{"says NUL", func(s *server, _ io.Writer) { s.say("\x00\x00\x00\x00\r\n") }, false},
	{"says a code of one digit too many", func(s *server, _ io.Writer) { s.say("2500 ok\r\n") }, false},
	{"says a code out of range", func(s *server, _ io.Writer) { s.say("199 ok\r\n") }, false},
	{"says a code above the range", func(s *server, _ io.Writer) { s.say("600 ok\r\n") }, false},
	{"says an underscore", func(s *server, _ io.Writer) { s.say("250_ok\r\n") }, false},
	{"says a space first", func(s *server, _ io.Writer) { s.say(" 250 ok\r\n") }, false},
	{"says too much", func(s *server, _ io.Writer) { s.say("250 " + strings.Repeat("x", 70<<10) + "\r\n") }, false},
	{"never ends its reply", func(s *server, _ io.Writer) {
		for range 20_000 {
			if _, err := io.WriteString(s.conn, "250-x\r\n"); err != nil {
				return
			}
		}
	}, false},
	{"drips", func(s *server, _ io.Writer) {
		for range 100 {
			if _, err := io.WriteString(s.conn, "250-x\r\n"); err != nil {
				return
			}
			time.Sleep(time.Minute)
		}
	}, false},
}

// endingAt is a host with TLS, or without, that ends the conversation at a step: a verb,
// "greeting", "TLS", "EHLO in TLS", or "." for the end of the message.
func endingAt(withTLS bool, step string, how end) script {
	return func(s *server) {
		raw := s.conn
		inTLS := ""
		for line, ok := "greeting", true; ok; line, ok = s.hear() {
			verb, _, _ := strings.Cut(line, " ")
			reply := map[string]string{"greeting": greeting, "EHLO": "250-mx\r\n250 SIZE\r\n", "STARTTLS": "220 go\r\n", "DATA": "354 go\r\n"}[verb]
			switch {
			case verb == "EHLO" && inTLS != "":
				verb += inTLS
			case verb == "EHLO" && withTLS:
				reply = "250-mx\r\n250 STARTTLS\r\n"
			case reply == "":
				reply = "250 ok\r\n"
			}
			if verb == step {
				how.does(s, raw)
				return
			}
			s.say(reply)
			if verb == "DATA" {
				s.message()
				if step == "." {
					how.does(s, raw)
					return
				}
				s.say("250 2.0.0 taken\r\n")
			}
			if verb == "STARTTLS" {
				if inTLS = " in TLS"; step == "TLS" {
					s.lines.ReadByte() // the ClientHello has begun
					how.does(s, raw)
					return
				}
				if !s.handshake(certificates().good) {
					return
				}
			}
		}
	}
}

// S7, S14, S16: however a server ends the conversation before the message, the next host
// gets the mail, once; where TLS is mandatory, it gets it in TLS, and nothing goes out
// in cleartext before. After the message, the outcome is unknown and no other host gets
// it. None of this is permanent, except with RequireTLS if an alert in the handshake says
// that the server lacks the TLS that is needed (S19), or if the server lacks REQUIRETLS.
func TestEveryEndAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, how := range ends {
		for _, step := range []string{"greeting", "EHLO", "STARTTLS", "TLS", "EHLO in TLS", "MAIL", "RCPT", "DATA", "."} {
			for _, level := range []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated} {
				if level == policy.Encrypted && !how.nothing {
					continue // as for Authenticated
				}
				for _, withTLS := range []bool{true, false} {
					if !withTLS && (level != policy.Opportunistic || strings.Contains(step, "TLS")) {
						continue
					}
					t.Run(fmt.Sprintf("%s at %s, %v, TLS %v", how.name, step, level, withTLS), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { holdToEnd(t, how, step, level, withTLS) })
					})
				}
			}
		}
	}
}

func holdToEnd(t *testing.T, how end, step string, level policy.Level, inTLS bool) {
	defer time.Sleep(24 * time.Hour) // until the servers have given up
	const bad, good = "192.0.2.1", "192.0.2.2"
	plays := map[string][]script{bad: {endingAt(inTLS, step, how)}, good: {withTLS(certificates().good)}}
	w := newWorld(plays)
	got := w.send(t, at(level, bad), at(level, good))
	first, second := w.said(bad), w.said(good)
	messages := strings.Count(verbs(second), ".")
	for i, line := range first {
		mail := strings.HasPrefix(line, "MAIL")
		if mail && level > policy.Opportunistic && !slices.Contains(first[:i], "TLS") {
			t.Errorf("the first host heard %q in cleartext", first)
		}
	}
	switch {
	case step == ".":
		if got != "x@example.org: 451 4.4.2" || len(second) > 0 {
			t.Errorf("got %q, and the second host heard %q", got, second)
		}
	case got != "":
		t.Errorf("got %q", got)
	case messages+strings.Count(verbs(first), ".") != 1:
		t.Errorf("the hosts heard %q and %q", first, second)
	case level > policy.Opportunistic && !slices.Contains(second, "TLS"):
		t.Errorf("the second host heard %q", second)
	}

	w = newWorld(map[string][]script{bad: plays[bad]})
	d := w.dialer()
	d.Resolver = w.published(t, at(level, bad))
	_, err := d.Send(t.Context(), mailOf(letter, "x@example.org"))
	var failed *SendError
	switch lessTLS := level == policy.Opportunistic && strings.Contains(step, "TLS") && how.nothing; {
	case lessTLS && err != nil:
		t.Errorf("alone, without TLS: %v", err)
	case lessTLS:
	case !errors.As(err, &failed) || failed.Undelivered[0].Err.Permanent || failed.Undelivered[0].OutcomeUnknown != (step == "."):
		if level > policy.Opportunistic || !strings.Contains(step, "TLS") {
			t.Errorf("alone: %v", err)
		}
	}
	if level == policy.Authenticated {
		w = newWorld(map[string][]script{bad: plays[bad]})
		w.options = []policy.Option{policy.RequireTLS()}
		permanent := step == "TLS" && how.name == "sends handshake_failure in clear"
		// The servers lack REQUIRETLS, where they get so far.
		permanent = permanent || slices.Contains([]string{"MAIL", "RCPT", "DATA", "."}, step)
		if got := w.send(t, at(level, bad)); strings.Contains(got, ": 5") != permanent {
			t.Errorf("with RequireTLS: %q, want a permanent failure: %v", got, permanent)
		}
	}
}

// S7, S14: the server's machine resets the connection, over TCP: what the server sent
// before is lost, and both reading and writing fail.
func TestResetAtEveryStep(t *testing.T) {
	t.Parallel()
	pipe := tcpPipe(t)
	for _, step := range []string{"greeting", "EHLO", "STARTTLS", "TLS", "EHLO in TLS", "MAIL", "RCPT", "DATA", "."} {
		for _, level := range []policy.Level{policy.Opportunistic, policy.Authenticated} {
			for name, how := range map[string]end{
				"resets":                {does: func(*server, io.Writer) {}},
				"replies and resets":    {does: func(s *server, _ io.Writer) { s.say("421 4.3.2 bye\r\n") }},
				"half reply and resets": {does: func(s *server, _ io.Writer) { s.say("250") }},
			} {
				w := newWorld(map[string][]script{"192.0.2.1": {endingAt(true, step, how)}, "192.0.2.2": {withTLS(certificates().good)}})
				w.pipe = pipe
				d := w.dialer()
				d.Resolver = w.published(t, at(level, "192.0.2.1"), at(level, "192.0.2.2"))
				result, err := d.Send(t.Context(), mailOf(letter, "x@example.org"))
				var failed *SendError
				switch errors.As(err, &failed); {
				case step == ".":
					u := failed.Undelivered[0]
					if len(result.Delivered) > 0 || u.Err.Permanent || !u.OutcomeUnknown && u.Reply.Code != 421 {
						t.Errorf("%s at %s, %v: %v", name, step, level, err)
					}
				case err != nil || len(result.Delivered) != 1:
					t.Errorf("%s at %s, %v: %v", name, step, level, err)
				case level == policy.Authenticated && result.Delivered[0].TLS == nil:
					t.Errorf("%s at %s: delivered in cleartext", name, step)
				}
			}
		}
	}
}

// tcpPipe returns a function that makes TCP connections. Closing the server's end resets
// the connection.
func tcpPipe(t *testing.T) func() (ours, theirs net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return func() (ours, theirs net.Conn) {
		ours, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Error(err)
			return net.Pipe()
		}
		theirs, err = listener.Accept()
		if err != nil {
			t.Error(err)
			return net.Pipe()
		}
		theirs.(*net.TCPConn).SetLinger(0)
		return ours, theirs
	}
}
