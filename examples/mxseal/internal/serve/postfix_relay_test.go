package serve

import (
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/await"
	programs "github.com/mxseal/mxseal/internal/test/interop/daemon"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy/policytest"
)

// submitWith gives a Postfix a message with parameters for MAIL and RCPT.
func submitWith(t *testing.T, to *mailserver.Sender, mail, rcpt, message string) {
	t.Helper()
	c, err := textproto.Dial("tcp", to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range []struct {
		line string
		code int
	}{{"", 220}, {"EHLO client.example", 250}, {mail, 250}, {rcpt, 250}, {"DATA", 354}, {message + "\r\n.", 250}, {"QUIT", 221}} {
		if step.line != "" {
			if err := c.PrintfLine("%s", step.line); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := c.ReadResponse(step.code); err != nil {
			t.Fatalf("%s: %v", step.line, err)
		}
	}
}

// What a real Postfix says about a message reaches the mail hosts, over LMTP and over SMTP: its size, 8-bit
// text, addresses that are not ASCII, and what the sender wants to be notified of. The log of the daemon has
// the queue ID of Postfix. For a host without DSN, Postfix delivers the report.
func TestPostfixPassesOn(t *testing.T) {
	for _, protocol := range []string{"lmtp", "smtp"} {
		t.Run(protocol, func(t *testing.T) {
			inet := policytest.New(t)
			host := func(domain string, options ...policytest.Option) *policytest.Host {
				inet.Domain(domain).MX("mx." + domain)
				return inet.Host("mx."+domain, append(options, policytest.TLSA("3 1 1"))...)
			}
			back := host("sender.example")
			dsn, plain := host("dsn.example", policytest.Extension("DSN")), host("plain.example")
			seven := host("seven.example", policytest.NoExtension("8BITMIME"))
			ascii := host("ascii.example", policytest.NoExtension("SMTPUTF8"))
			small := host("small.example")

			transport, address := "inline:{ { * = lmtp:unix:mxseal/relay.sock } }", `lmtp = ["unix:DIR/relay.sock"]`
			if protocol == "smtp" {
				at := fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t))
				_, port, _ := net.SplitHostPort(at)
				transport, address = "inline:{ { * = smtp:[127.0.0.1]:"+port+" } }", `smtp = ["inet:`+at+`"]`
			}
			sender := mailserver.StartRelaying(t, transport, "lmtp_send_xforward_command = yes", "smtp_send_xforward_command = yes")
			r := start(t, inet, sender.SocketDir(t), `name = "relay.example"
[relay]
max-size = 8000
convert-8bit = true
submit = "inet:`+sender.Addr+`"
`+address+"\n")

			const from = "MAIL FROM:<me@sender.example> "
			const latin = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\u00e9\r\n"
			submitWith(t, sender, from+"BODY=8BITMIME RET=HDRS ENVID=QQ314159", "RCPT TO:<a@dsn.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first@dsn.example", latin)
			submitWith(t, sender, from+"BODY=8BITMIME RET=HDRS ENVID=QQ271828", "RCPT TO:<a@plain.example> NOTIFY=SUCCESS ORCPT=rfc822;first@plain.example", latin)
			submitWith(t, sender, from+"BODY=8BITMIME", "RCPT TO:<a@seven.example>", latin)
			submitWith(t, sender, from+"SMTPUTF8", "RCPT TO:<b\u00fc@plain.example>", "Subject: utf8\r\n\r\n")
			submitWith(t, sender, from+"SMTPUTF8 ENVID=QQ1", "RCPT TO:<b\u00fc@ascii.example>", "Subject: utf8\r\n\r\n")
			submitWith(t, sender, from+"RET=HDRS ENVID=QQ2", "RCPT TO:<a@small.example>", "Subject: large\r\n\r\n"+strings.Repeat("x\r\n", 3000))

			await.Until(t, "all mail is delivered or bounced", func() bool {
				return len(dsn.Messages()) == 1 && len(plain.Messages()) == 2 && len(seven.Messages()) == 1 && len(back.Messages()) == 3
			})
			params := func(h *policytest.Host, subject string) []string {
				for _, m := range h.Messages() {
					if strings.Contains(string(m.Data), "\r\nSubject: "+subject+"\r\n") {
						return m.Params
					}
				}
				t.Fatalf("no message %s", subject)
				return nil
			}
			if got := params(dsn, "x"); !slices.Contains(got, "BODY=8BITMIME") || !slices.Contains(got, "RET=HDRS") || !slices.Contains(got, "ENVID=QQ314159") || !slices.ContainsFunc(got, func(p string) bool { return strings.HasPrefix(p, "SIZE=") }) {
				t.Errorf("a host with DSN got %q", got)
			}
			if got := params(plain, "x"); !slices.Contains(got, "BODY=8BITMIME") || slices.Contains(got, "SMTPUTF8") || slices.Contains(got, "RET=HDRS") {
				t.Errorf("a host without DSN got %q", got)
			}
			if got := params(plain, "utf8"); !slices.Contains(got, "SMTPUTF8") {
				t.Errorf("an address that is not ASCII came with %q", got)
			}
			if text := string(seven.Messages()[0].Data); slices.Contains(params(seven, "x"), "BODY=8BITMIME") || !strings.Contains(text, "caf=C3=A9") {
				t.Errorf("a host with 7 bits got %q", text)
			}
			if n := len(ascii.Messages()) + len(small.Messages()); n > 0 {
				t.Errorf("%d messages that are not to be sent", n)
			}
			for _, want := range []string{"Original-Envelope-Id: QQ271828\r\n", "Original-Envelope-Id: QQ1\r\n", "Original-Envelope-Id: QQ2\r\n", "Action: relayed\r\n", "Action: failed\r\n", "Original-Recipient: rfc822;first@plain.example", "Status: 5.6.7\r\n", "Status: 5.3.4\r\n"} {
				if !slices.ContainsFunc(back.Messages(), func(m policytest.Message) bool {
					return strings.Contains(strings.ReplaceAll(string(m.Data), "; ", ";"), want)
				}) {
					t.Errorf("no report has %q", want)
				}
			}
			// Both logs are written after the mail host has the message.
			delivered := regexp.MustCompile(`msg=delivered queue_id=(\w+) client=\[127\.0\.0\.1\] to=a@dsn\.example `)
			await.Until(t, "the daemon has logged the delivery", func() bool { return delivered.MatchString(r.log.String()) })
			await.Until(t, "Postfix has logged it too", func() bool { return len(sender.LogLines("to=<a@dsn.example>", "status=sent")) == 1 })
			id := delivered.FindStringSubmatch(r.log.String())[1]
			if len(sender.LogLines(id+": to=<a@dsn.example>", "status=sent")) != 1 {
				t.Errorf("%s is not the queue ID of Postfix; log:\n%s", id, r.log)
			}
		})
	}
}
