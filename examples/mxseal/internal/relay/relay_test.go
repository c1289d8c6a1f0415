package relay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/policytest"
)

// The client gets the reply of the recipient's mail host, or a temporary error
// if the host does not meet the policy.
func TestRelayReturnsReplyOfMailHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.mailHost("dane.test")
	w.Domain("stripped.test", policytest.Unsigned).MX("mx.stripped.test").Policy("enforce", "mx.stripped.test")
	stripped := w.Host("mx.stripped.test", policytest.NoSTARTTLS)
	w.Domain("full.test").MX("mx.full.test")
	w.Host("mx.full.test", policytest.Reply("RCPT", "550 5.1.1 \x1b[2Jno such user"))
	w.Domain("busy.test").MX("mx.busy.test")
	w.Host("mx.busy.test", policytest.Reply("RCPT", "421 4.3.2 going down"))
	w.Domain("null.test").Add("@ MX 0 .")
	w.Domain("own.test").MX("relay.sender.test")
	relay := w.start(t, false)
	for _, test := range []struct {
		to   string
		code int
		text string
	}{
		{"you@dane.test", 0, ""},
		{"you@stripped.test", 451, "4.7.4 "},
		{"you@full.test", 550, `5.1.1 full.test: host mx.full.test: the server refuses the recipient you@full.test: 550 5.1.1 \x1b[2Jno such user`},
		{"you@busy.test", 451, "4."},
		{"you@null.test", 556, "5.1.10"},
		{"you@own.test", 550, "5.4.6"},
		{"you@nowhere.test", 550, "5.1.2"},
	} {
		err := relay.send(test.to, greeting)
		var reply *textproto.Error
		switch {
		case test.code == 0 && err == nil:
		case !errors.As(err, &reply) || reply.Code != test.code || !strings.HasPrefix(reply.Msg, test.text):
			t.Errorf("%s: %v, want %d %s", test.to, err, test.code, test.text)
		}
	}
	if n := len(stripped.Messages()); n > 0 {
		t.Errorf("%d messages went out in clear", n)
	}
	messages := good.Messages()
	if len(messages) != 1 {
		t.Fatalf("%d messages", len(messages))
	}
	m := messages[0]
	if m.From != "me@sender.test" || m.Session.TLS == nil || m.Session.Helo != "relay.sender.test" {
		t.Errorf("%+v", m)
	}
	text := string(m.Data)
	if !strings.HasPrefix(text, "Received: from localhost ([127.0.0.1])\r\n\tby relay.sender.test with UTF8SMTP id ") || !strings.HasSuffix(text, "\r\n"+greeting) {
		t.Errorf("%q", text)
	}
	if _, err := textproto.NewReader(bufio.NewReader(strings.NewReader(text))).ReadMIMEHeader(); err != nil {
		t.Error(err)
	}
	if log := relay.log.String(); !strings.Contains(log, `msg=delivered to=you@dane.test host=mx.dane.test level=authenticated by=DANE route_authenticated=true tls="TLS 1.3" reply="250 `) {
		t.Errorf("the log does not say how the message was delivered:\n%s", log)
	}
}

// In SMTP a message has one reply, so it has one recipient.
func TestOneRecipientPerMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.mailHost("good.test")
	replies := w.start(t, false).converse(t, crlf("EHLO client.test",
		"MAIL FROM:<me@sender.test>", "RCPT TO:<one@good.test>", "RCPT TO:<two@good.test>", "DATA", "Subject: first", "", ".",
		"MAIL FROM:<me@sender.test>", "RCPT TO:<two@good.test>", "DATA", "Subject: second", "", ".", "QUIT"))
	for _, want := range []string{"LIMITS RCPTMAX=1\r\n", "452 4.5.3 "} {
		if strings.Count(replies, want) != 1 {
			t.Errorf("%q is not there once: %s", want, replies)
		}
	}
	messages := mx.Messages()
	if len(messages) != 2 || fmt.Sprint(messages[0].To, messages[1].To) != "[one@good.test] [two@good.test]" {
		t.Errorf("%+v", messages)
	}
}

// LMTP has a reply for each recipient.
func TestLMTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mx := w.mailHost("good.test")
	w.mailHost("attacked.test").Break(policytest.Impostor)
	w.Domain("null.test").Add("@ MX 0 .")
	replies := w.start(t, true).converse(t, crlf("LHLO client.test", "MAIL FROM:<>", "RCPT TO:<one@good.test>",
		"RCPT TO:<you@attacked.test>", "RCPT TO:<you@null.test>", "RCPT TO:<two@good.test>", "DATA", "Subject: hello", "", ".", "QUIT"))
	_, replies, _ = strings.Cut(replies, "\r\n354 ")
	var got []string
	for _, line := range strings.Split(replies, "\r\n")[1:] {
		code, _, _ := strings.Cut(line, " attacked.test:")
		code, _, _ = strings.Cut(code, " null.test:")
		code, _, _ = strings.Cut(code, ", said: ")
		got = append(got, code)
	}
	want := []string{"250 2.0.0 <one@good.test> mx.good.test, authenticated by DANE, TLS 1.3", "451 4.7.5 <you@attacked.test>", "556 5.1.10 <you@null.test>",
		"250 2.0.0 <two@good.test> mx.good.test, authenticated by DANE, TLS 1.3", "221 2.0.0 Bye", ""}
	if !slices.Equal(got, want) {
		t.Errorf("replies %q, want %q", got, want)
	}
	if messages := mx.Messages(); len(messages) != 1 || messages[0].From != "" || len(messages[0].To) != 2 {
		t.Errorf("%+v", messages)
	}
}

// gate delays connections to mail hosts until open is called.
func (w *world) gate() (waiting <-chan struct{}, open func()) {
	at, opened := make(chan struct{}, 10), make(chan struct{})
	dial := w.config.Dial
	w.config.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":25") {
			at <- struct{}{}
			select {
			case <-opened:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return dial(ctx, network, addr)
	}
	return at, func() { close(opened) }
}

// On shutdown, the relay waits for deliveries in progress, but not for idle
// clients.
func TestShutdownWaitsForDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mailHost("slow.test")
	waiting, open := w.gate()
	relay := w.start(t, false)
	silent := make(chan string, 2)
	for _, said := range []string{"", "EHLO client.test\r\nMAIL FROM:<me@sender.test>\r\nRCPT TO:<you@slow.test>\r\nDATA\r\nSubj"} {
		go func() { silent <- relay.converse(t, said) }()
	}
	result := make(chan error, 1)
	go func() { result <- relay.send("you@slow.test", greeting) }()
	<-waiting
	relay.stop()
	for range 2 {
		if replies := <-silent; !strings.Contains(replies, "\r\n421 ") {
			t.Errorf("a silent client gets %q", replies)
		}
	}
	open()
	if err := <-result; err != nil {
		t.Error(err)
	}
	relay.end(t)
}

// A delivery that exceeds the time limit is a temporary error for the client.
func TestInterruptedDeliveryIsTemporary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mailHost("slow.test")
	waiting, _ := w.gate()
	w.grace = time.Millisecond
	relay := w.start(t, false)
	result := make(chan error, 1)
	go func() { result <- relay.send("you@slow.test", greeting) }()
	<-waiting
	relay.stop()
	var reply *textproto.Error
	if err := <-result; !errors.As(err, &reply) || reply.Code != 451 {
		t.Errorf("%v", err)
	}
	relay.end(t)
}

func TestReplyForUndeliveredMail(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  policy.Error
		want string
	}{
		{policy.Error{Domain: "a.test", Status: "4.7.5"}, "451 [4 7 5] a.test (4.7.5)"},
		{policy.Error{Domain: "a.test", Status: "4.7.5", Permanent: true}, "550 [5 0 0] a.test (4.7.5)"},
		{policy.Error{Domain: "a.test", ReplyCode: 421, Status: "4.3.2"}, "451 [4 3 2] a.test (4.3.2)"},
		{policy.Error{Domain: "a.test", Permanent: true, Detail: "a\r\n250 b"}, "550 [5 0 0] a.test: a; 250 b"},
		{policy.Error{Domain: "a.test", Detail: strings.Repeat("x", 1000)}, "451 [4 0 0] a.test: " + strings.Repeat("x", maxReply-len("a.test: ...")) + "..."},
	} {
		reply := undelivered(&test.err)
		if got := fmt.Sprint(reply.code, " ", reply.status, " ", reply.text); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
