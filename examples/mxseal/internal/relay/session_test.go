package relay

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
	"github.com/mxseal/mxseal/policy/policytest"
)

// sent is what the relay hands to delivery.
type sent struct {
	mail       delivery.Mail
	text       string
	requireTLS bool
	left       time.Duration // until it must end
}

// recording is a relay whose deliveries are recorded, and its results.
func recording(t *testing.T, config Config) (r *Relay, all <-chan sent) {
	t.Helper()
	mails := make(chan sent, 100)
	config.Name, config.Logger = "relay.sender.test", discard
	config.ClientTimeout, config.MaxSize = 20*time.Minute, cmp.Or(config.MaxSize, 25<<20)
	config.Send = func(ctx context.Context, mail delivery.Mail, options ...policy.Option) (delivery.Result, error) {
		deadline, _ := ctx.Deadline()
		text, err := io.ReadAll(io.NewSectionReader(mail.Message, 0, mail.Size))
		mails <- sent{mail, string(text), len(options) > 0, time.Until(deadline)}
		return delivery.Result{}, errors.Join(err, errors.New("not sent"))
	}
	r, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Shutdown(context.Background()) })
	return r, mails
}

// talk is a client in step with a relay.
type talk struct {
	t    *testing.T
	conn net.Conn
	text *textproto.Conn
}

func (r *Relay) talk(t *testing.T, lmtp bool) *talk {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		newSession(r, server, lmtp).run()
		server.Close()
	}()
	t.Cleanup(func() { client.Close(); <-done })
	c := &talk{t, client, textproto.NewConn(client)}
	c.expect("220 relay.sender.test")
	return c
}

// say sends a line, and expects a reply that begins with want.
func (c *talk) say(line, want string) string {
	c.t.Helper()
	if err := c.text.PrintfLine("%s", line); err != nil {
		c.t.Fatal(err)
	}
	return c.expect(want)
}

func (c *talk) expect(want string) string {
	c.t.Helper()
	code, text, err := c.text.ReadResponse(0)
	if got := fmt.Sprintf("%d %s", code, text); err != nil && code == 0 || !strings.HasPrefix(got, want) {
		c.t.Fatalf("%q, %v, want %q", got, err, want)
	}
	return text
}

// secure begins TLS.
func (c *talk) secure() {
	c.t.Helper()
	c.say("STARTTLS", "220 ")
	conn := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.text = conn, textproto.NewConn(conn)
}

func noSubmit(context.Context, string, []byte) error { return nil }

// Everything that the envelope says reaches delivery.
func TestEnvelopeReachesDelivery(t *testing.T) {
	t.Parallel()
	r, all := recording(t, Config{Submit: noSubmit, STARTTLS: true})
	c := r.talk(t, true)
	c.say("LHLO client.test", "250 ")
	c.secure()
	extensions := c.say("LHLO client.test", "250 ")
	for _, want := range []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "REQUIRETLS", "SIZE 26214400", "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"} {
		if !slices.Contains(strings.Split(extensions, "\n"), want) {
			t.Errorf("no %s in %q", want, extensions)
		}
	}
	if strings.Contains(extensions, "STARTTLS") {
		t.Error("STARTTLS within TLS")
	}
	c.say("XFORWARD NAME=sub+2Bmission.test ADDR=192.0.2.1 IDENT=4ABC", "250 ")
	c.say("XFORWARD HELO=[UNAVAILABLE]", "250 ")
	c.say("mail from:<@route.test,@two.test:me@sender.test> SIZE=100 BODY=8BITMIME smtputf8 REQUIRETLS RET=hdrs ENVID=a+2Bb", "250 2.1.0 ")
	c.say(`RCPT TO:<"a> b"@good.test> NOTIFY=SUCCESS,delay ORCPT=rfc822;+22a@good.test`, "250 2.1.5 ")
	c.say("RCPT TO:<b\u00fc@good.test> NOTIFY=NEVER ORCPT=utf-8;b\\x{FC}@good.test", "250 2.1.5 ")
	c.say("RCPT TO:<c@good.test> ORCPT=x400;/G+3Dc/", "250 2.1.5 ")
	c.say("RCPT TO:<d@good.test> ORCPT=rfc822;d+C3+BC@good.test", "250 2.1.5 ") // as Postfix does
	c.say("DATA", "354 ")
	c.say("Subject: x\r\n\r\n..dot\r\n.", `451 4.3.0 <"a> b"@good.test> `)
	c.expect(`451 4.3.0 <b\u00fc@good.test> `)
	c.expect("451 4.3.0 <c@good.test> ")
	c.expect("451 4.3.0 <d@good.test> ")
	got := <-all
	want := delivery.Mail{
		From: "me@sender.test", Return: delivery.ReturnHeaders, EnvelopeID: "a+b", Message: got.mail.Message, Size: got.mail.Size,
		To: []delivery.Recipient{
			{Address: `"a> b"@good.test`, Notify: delivery.NotifySuccess | delivery.NotifyDelay, Original: delivery.Address{Mailbox: `"a@good.test`}},
			{Address: "b\u00fc@good.test", Notify: delivery.NotifyNever, Original: delivery.Address{Type: "utf-8", Mailbox: "b\u00fc@good.test"}},
			{Address: "c@good.test", Original: delivery.Address{Type: "x400", Mailbox: "/G=c/"}},
			{Address: "d@good.test", Original: delivery.Address{Mailbox: "d\u00fc@good.test"}},
		},
	}
	if !reflect.DeepEqual(got.mail, want) {
		t.Errorf("%+v, want %+v", got.mail, want)
	}
	if !got.requireTLS || !strings.Contains(got.text, " with UTF8LMTPS id ") || !strings.HasSuffix(got.text, "\r\nSubject: x\r\n\r\n.dot\r\n") {
		t.Errorf("%t %q", got.requireTLS, got.text)
	}
	// The next transaction has nothing of this one.
	c.say("MAIL FROM:<>", "250 ")
	c.say("RCPT TO:<a@good.test>", "250 ")
	c.say("DATA", "354 ")
	c.say(".", "451 ")
	if got := <-all; got.requireTLS || got.mail.From != "" || got.mail.EnvelopeID != "" || len(got.mail.To) != 1 || strings.Contains(got.text, "UTF8") {
		t.Errorf("%+v", got)
	}
	c.say("QUIT", "221 ")
}

// The queue ID of the client is in the log line of each recipient, and what the client says cannot add a line.
func TestOriginInLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mailHost("good.test")
	relay := w.start(t, true)
	relay.converse(t, crlf("LHLO client.test", "XFORWARD NAME=a+0Ab ADDR=192.0.2.1", "XFORWARD IDENT=4ABC PROTO=ESMTP", "MAIL FROM:<me@sender.test>",
		"RCPT TO:<you@good.test>", "DATA", "Subject: x", "", ".", "MAIL FROM:<me@sender.test>", "RCPT TO:<two@good.test>", "DATA", ".", "QUIT"))
	if log := relay.log.String(); !strings.Contains(log, `msg=delivered queue_id=4ABC client=a\nb[192.0.2.1] to=you@good.test`) || !strings.Contains(log, "msg=delivered to=two@good.test") {
		t.Errorf("%s", log)
	}
}

// A wrong command is refused, and the session goes on.
func TestSessionGoesOnAfterRefusal(t *testing.T) {
	t.Parallel()
	hello, mail, rcpt := "LHLO client.test", "MAIL FROM:<me@sender.test>", "RCPT TO:<you@good.test>"
	for _, test := range []struct {
		before []string
		line   string
		want   string
	}{
		{nil, "EHLO client.test", "500 5.5.1 "},
		{nil, "LHLO", "501 5.5.4 "},
		{nil, mail, "503 5.5.1 "},
		{nil, "XFORWARD IDENT=a", "503 5.5.1 "},
		{nil, "STARTTLS", "502 5.5.1 "},
		{[]string{hello}, rcpt, "503 5.5.1 "},
		{[]string{hello}, "DATA", "503 5.5.1 "},
		{[]string{hello}, "BDAT 0 LAST", "503 5.5.1 "},
		{[]string{hello, mail}, "DATA", "503 5.5.1 "},
		{[]string{hello, mail}, mail, "503 5.5.1 "},
		{[]string{hello, mail}, "XFORWARD IDENT=a", "503 5.5.1 "},
		{[]string{hello, mail, "RSET"}, rcpt, "503 5.5.1 "},
		{[]string{hello, mail, rcpt, "BDAT 0"}, rcpt, "503 5.5.1 "},
		{[]string{hello, mail, rcpt, "BDAT 0"}, "DATA", "503 5.5.1 "},
		{[]string{hello}, "MAIL FROM:me@sender.test", "501 5.5.4 "},
		{[]string{hello}, "MAIL FROM:<me@sender.test", "501 5.5.4 "},
		{[]string{hello}, "MAIL FROM:<me@sender.test>SIZE=1", "501 5.5.4 "},
		{[]string{hello}, mail + " SIZE=1 size=2", "501 5.5.4 "},
		{[]string{hello}, mail + " SIZE=x", "501 5.5.4 "},
		{[]string{hello}, mail + " SIZE=99999999999999999999", "552 5.3.4 "},
		{[]string{hello}, mail + " BODY=BINARYMIME", "501 5.5.4 "},
		{[]string{hello}, mail + " REQUIRETLS", "555 5.5.4 "}, // not without TLS
		{[]string{hello}, mail + " AUTH=<>", "555 5.5.4 "},
		{[]string{hello}, mail + " RET=ALL", "501 5.5.4 "},
		{[]string{hello}, mail + " ENVID=a+2", "501 5.5.4 "},
		{[]string{hello}, mail + " ENVID=a+0D+0AX", "501 5.5.4 "},
		{[]string{hello}, mail + " ENVID=" + strings.Repeat("x", 101), "501 5.5.4 "},
		{[]string{hello, mail}, "RCPT TO:<>", "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + " NOTIFY=NEVER,FAILURE", "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + " NOTIFY=", "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + " ORCPT=a@b.test", "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + " ORCPT=rfc822;", "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + " ORCPT=rfc822;a+00", "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + ` ORCPT=utf-8;a\x{110000}`, "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + " ORCPT=x400;+C3+BC", "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + ` ORCPT=utf-8;a\xb`, "501 5.5.4 "},
		{[]string{hello, mail}, rcpt + " X=1", "555 5.5.4 "},
		{[]string{hello}, "XFORWARD", "501 5.5.4 "},
		{[]string{hello}, "XFORWARD LOGIN=a", "501 5.5.4 "},
		{[]string{hello}, "XFORWARD IDENT=" + strings.Repeat("x", 256), "501 5.5.4 "},
		{[]string{hello}, "VRFY a", "252 2.5.0 "},
		{[]string{hello}, "NOOP x", "250 2.0.0 "},
		{[]string{hello}, "TURN", "500 5.5.2 "},
	} {
		r, _ := recording(t, Config{Submit: noSubmit})
		c := r.talk(t, true)
		for _, line := range test.before {
			c.say(line, "250")
		}
		c.say(test.line, test.want)
		c.say("NOOP", "250 ")
	}
	// Without a mail server that takes reports, DSN is not offered.
	r, _ := recording(t, Config{})
	c := r.talk(t, true)
	if extensions := c.say(hello, "250 "); strings.Contains(extensions, "DSN") || strings.Contains(extensions, "STARTTLS") {
		t.Error(extensions)
	}
	c.say(mail+" RET=FULL", "555 5.5.4 ")
	c.say(mail, "250 ")
	c.say(rcpt+" NOTIFY=FAILURE", "555 5.5.4 ")
}

// Commands ahead of the handshake may come from an attacker, and end the session (RFC 3207 section 6).
func TestStartTLSInjection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.starttls = true
	mx := w.mailHost("good.test")
	replies := w.start(t, false).converse(t, crlf("EHLO client.test", "STARTTLS", "MAIL FROM:<me@sender.test>", "RCPT TO:<you@good.test>", "DATA", "", "."))
	if !strings.HasSuffix(replies, "\r\n220 2.0.0 begin TLS\r\n") || len(mx.Messages()) > 0 {
		t.Errorf("%q, %d messages", replies, len(mx.Messages()))
	}
}

// The octets of all messages are bounded, and not their number. A message that does not fit stays with the client.
func TestRoomForMessagesIsInOctets(t *testing.T) {
	t.Parallel()
	r, all := recording(t, Config{MaxSize: 1000})
	r.room.left.Store(1500)
	open := func() *talk {
		c := r.talk(t, true)
		c.say("LHLO client.test", "250 ")
		c.say("MAIL FROM:<me@sender.test>", "250 ")
		c.say("RCPT TO:<you@good.test>", "250 ")
		return c
	}
	first, second := open(), open()
	chunk := "BDAT 900 LAST\r\n" + strings.Repeat("x", 898)
	first.say(strings.Replace(chunk, " LAST", "", 1), "250 ")
	second.say(chunk, "452 4.3.1 ")
	first.say("RSET", "250 ")
	third := open()
	third.say(chunk, "451 4.3.0 ")
	<-all
	if left := r.room.left.Load(); left != 1500 {
		t.Errorf("%d octets of room are left", left)
	}
}

// A message begins at a mail host only if the ten minutes for its reply still fit in the time for which the
// client waits. A host that uses up the time before gets no message, and the client hears it in time.
func TestTimeToBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clientTimeout = messageTimeout + ownTime + 300*time.Millisecond
	slow := w.mailHost("slow.test")
	slow.Break(policytest.Stall("RCPT"))
	began := time.Now()
	replies := w.start(t, true).converse(t, crlf("LHLO client.test", "MAIL FROM:<me@sender.test>", "RCPT TO:<you@slow.test>", "DATA", "Subject: x", "", ".", "QUIT"))
	if !strings.Contains(replies, "\r\n451 4.4.") || len(slow.Messages()) > 0 {
		t.Errorf("%s, %d messages", replies, len(slow.Messages()))
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the client waited %v", took)
	}
	// A message that has begun has ten minutes.
	r, all := recording(t, Config{})
	c := r.talk(t, true)
	for _, line := range []string{"LHLO client.test", "MAIL FROM:<me@sender.test>", "RCPT TO:<you@good.test>"} {
		c.say(line, "250 ")
	}
	c.say("DATA", "354 ")
	c.say(".", "451 ")
	if got := <-all; got.left-TimeToBegin(r.ClientTimeout) < messageTimeout || got.left > r.ClientTimeout {
		t.Errorf("%v in all, %v until the message begins", got.left, TimeToBegin(r.ClientTimeout))
	}
}

// Mail hosts with DSN get the parameters. About the others, the sender who wants to know of success gets a
// report by the mail server (RFC 3461 section 5.2.2).
func TestDSN(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type report struct{ to, text string }
	reports := make(chan report, 10)
	w.submit = func(_ context.Context, to string, text []byte) error {
		reports <- report{to, string(text)}
		return nil
	}
	with, without := w.mailHost("with.test"), w.mailHost("without.test")
	with.Break(policytest.Extension("DSN"))
	relay := w.start(t, true)
	replies := relay.converse(t, crlf("LHLO client.test", "MAIL FROM:<me@sender.test> RET=FULL ENVID=QQ314159",
		"RCPT TO:<a@with.test> NOTIFY=SUCCESS ORCPT=rfc822;first@with.test", "RCPT TO:<a@without.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first@without.test",
		"RCPT TO:<b@without.test> NOTIFY=FAILURE", "RCPT TO:<c@without.test>", "DATA", "Subject: secret", "", "text", ".", "QUIT"))
	if strings.Count(replies, "\r\n250 2.0.0 <") != 4 {
		t.Fatal(replies)
	}
	if m := with.Messages(); len(m) != 1 || !slices.Contains(m[0].Params, "ENVID=QQ314159") || !slices.Contains(m[0].Params, "RET=FULL") {
		t.Errorf("%+v", m)
	}
	if m := without.Messages(); len(m) != 1 || slices.ContainsFunc(m[0].Params, func(p string) bool { return strings.HasPrefix(p, "ENVID") || strings.HasPrefix(p, "RET") }) {
		t.Errorf("%+v", m)
	}
	got := <-reports
	for _, want := range []string{"Action: relayed\r\n", "Original-Recipient: rfc822; first@without.test\r\n", "Original-Envelope-Id: QQ314159\r\n", "Reporting-MTA: dns; relay.sender.test\r\n"} {
		if strings.Count(got.text, want) != 1 {
			t.Errorf("%q is not there once", want)
		}
	}
	if got.to != "me@sender.test" || strings.Contains(got.text, "with.test;") || strings.Contains(got.text, "b@without.test") || strings.Contains(got.text, "a@with.test") || len(reports) > 0 {
		t.Errorf("%d more: to %s\n%s", len(reports), got.to, got.text)
	}
	// A bounce is not reported about (RFC 3461 section 6.1).
	relay.converse(t, crlf("LHLO client.test", "MAIL FROM:<>", "RCPT TO:<a@without.test> NOTIFY=SUCCESS", "DATA", ".", "QUIT"))
	if len(reports) > 0 {
		t.Errorf("a report about a bounce: %+v", <-reports)
	}
}

// Without the report, the mail is delivered all the same, and the log says what is missing.
func TestReportIsNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.submit = func(context.Context, string, []byte) error { return errors.New("refused") }
	w.mailHost("good.test")
	relay := w.start(t, true)
	replies := relay.converse(t, crlf("LHLO client.test", "XFORWARD IDENT=4ABC", "MAIL FROM:<me@sender.test>", "RCPT TO:<a@good.test> NOTIFY=SUCCESS", "DATA", ".", "QUIT"))
	if !strings.Contains(replies, "\r\n250 2.0.0 <a@good.test>") || !strings.Contains(relay.log.String(), "did not take the report that a message was relayed\" queue_id=4ABC sender=me@sender.test error=refused") {
		t.Errorf("%s\n%s", replies, relay.log)
	}
}

// REQUIRETLS of a client is required of the mail hosts, and the report about the message requires it too.
func TestRequireTLSParameter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reports := make(chan string, 10)
	w.submit = func(_ context.Context, _ string, text []byte) error {
		reports <- string(text)
		return nil
	}
	w.starttls = true
	plain, good := w.mailHost("plain.test"), w.mailHost("good.test")
	good.Break(policytest.OfferREQUIRETLS)
	conn, err := net.Dial("tcp", w.start(t, true).addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &talk{t, conn, textproto.NewConn(conn)}
	c.expect("220 ")
	c.say("LHLO client.test", "250 ")
	c.secure()
	c.say("LHLO client.test", "250 ")
	c.say("MAIL FROM:<me@sender.test> REQUIRETLS RET=FULL", "250 ")
	c.say("RCPT TO:<a@plain.test> NOTIFY=SUCCESS", "250 ")
	c.say("RCPT TO:<a@good.test> NOTIFY=SUCCESS", "250 ")
	c.say("DATA", "354 ")
	c.say("Subject: x\r\n\r\nsecret\r\n.", "550 5.7.30 ")
	c.expect("250 2.0.0 ")
	if m := good.Messages(); len(m) != 1 || !slices.Contains(m[0].Params, "REQUIRETLS") || len(plain.Messages()) > 0 {
		t.Errorf("%+v, and %d messages", m, len(plain.Messages()))
	}
	if text := <-reports; !strings.HasPrefix(text, "Require-TLS-ESMTP: yes\r\n") || strings.Contains(text, "secret") {
		t.Errorf("%s", text)
	}
}

// The replies for many recipients reach the client after a delivery that takes minutes. Otherwise the client
// would send a message again that was delivered.
func TestManyRepliesAfterLongDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, err := New(Config{
			Name: "relay.sender.test", ClientTimeout: 20 * time.Minute, MaxSize: 1 << 20, Logger: discard,
			Send: func(context.Context, delivery.Mail, ...policy.Option) (delivery.Result, error) {
				time.Sleep(10 * time.Minute)
				return delivery.Result{}, errors.New("first\r\n250 second " + strings.Repeat("x", 200)) // one line
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := r.talk(t, true)
		c.say("LHLO client.test", "250 ")
		c.say("MAIL FROM:<me@sender.test>", "250 ")
		for i := range maxRecipients {
			c.say(fmt.Sprintf("RCPT TO:<%d@good.test>", i), "250 ")
		}
		c.say("DATA", "354 ")
		c.say(".", "451 4.3.0 <0@good.test> ")
		for i := range maxRecipients - 1 {
			c.expect(fmt.Sprintf("451 4.3.0 <%d@good.test> ", i+1))
		}
		c.say("QUIT", "221 ")
		c.conn.Close()
		r.Shutdown(t.Context())
	})
}

// At the end of the relay, a client that does not read its replies, or talks on, holds up nothing.
func TestEndWithBusyClients(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(client net.Conn){
		"does not read": func(net.Conn) {},
		"talks on": func(client net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, client) }()
			for _, err := io.WriteString(client, "NOOP\r\n"); err == nil; _, err = io.WriteString(client, "NOOP\r\n") {
				time.Sleep(100 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _ := recording(t, Config{})
				client, server := net.Pipe()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					newSession(r, server, true).run()
					server.Close()
				}()
				acted := make(chan struct{})
				go func() {
					defer close(acted)
					act(client)
				}()
				time.Sleep(time.Second)
				began := time.Now()
				r.Shutdown(t.Context())
				select {
				case <-ended:
				case <-time.After(lastReplies + time.Second):
					t.Errorf("after %v, the session goes on", time.Since(began))
				}
				client.Close()
				<-ended
				<-acted
			})
		})
	}
}

// Whatever a client sends, the relay ends in time, holds no room, and does not fail.
func FuzzSession(f *testing.F) {
	f.Add("LHLO a\r\nXFORWARD IDENT=a\r\nMAIL FROM:<a@b> SIZE=3 ENVID=+41\r\nRCPT TO:<c@d.test> NOTIFY=SUCCESS ORCPT=utf-8;\\x{FC}\r\nBDAT 3\r\na\r\nBDAT 0 LAST\r\nDATA\r\n..\r\n.\r\nQUIT\r\n")
	f.Add("LHLO a\r\nMAIL FROM:<\"\\\">\" RET=HDRS\r\nBDAT 9223372036854775807\r\nx")
	f.Fuzz(func(t *testing.T, said string) {
		r, all := recording(t, Config{MaxSize: 100, Submit: noSubmit})
		go func() {
			for range all {
			}
		}()
		room := r.room.left.Load()
		client, server := net.Pipe()
		go func() {
			_, _ = io.WriteString(client, said)
			client.Close()
		}()
		go func() { _, _ = io.Copy(io.Discard, bufio.NewReader(client)) }()
		newSession(r, server, true).run()
		server.Close()
		if left := r.room.left.Load(); left != room {
			t.Errorf("%d octets of room are not given back", room-left)
		}
	})
}
