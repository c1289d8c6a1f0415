package serve

import (
	"crypto/tls"
	"net/smtp"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/await"
	"github.com/mxseal/mxseal/internal/test/interop/mailserver"
	"github.com/mxseal/mxseal/policy/policytest"
)

// submitRequiringTLS gives a Postfix a message with REQUIRETLS, which is possible only within TLS.
func submitRequiringTLS(t *testing.T, to *mailserver.Sender, rcpt string) {
	t.Helper()
	c, err := smtp.Dial(to.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if offered, _ := c.Extension("REQUIRETLS"); !offered {
		t.Fatal("Postfix does not offer REQUIRETLS")
	}
	id, err := c.Text.Cmd("MAIL FROM:<me@sender.example> REQUIRETLS")
	if err != nil {
		t.Fatal(err)
	}
	c.Text.StartResponse(id)
	_, _, err = c.Text.ReadResponse(250)
	c.Text.EndResponse(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(rcpt); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("Subject: required\r\n\r\nsecret\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// What Postfix 3.11 got with REQUIRETLS (RFC 8689) is sent with it, whether Postfix tells the relay by a field of the
// message, which is its default, or within STARTTLS by a parameter. A mail host without REQUIRETLS does not get it,
// and the report to the sender does not have its text.
func TestPostfix14RequiresTLS(t *testing.T) {
	for name, test := range map[string]struct{ setting, starttls string }{
		"field":     {"lmtp_tls_security_level = none", "false"},
		"parameter": {"lmtp_tls_security_level = encrypt", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			inet := policytest.New(t)
			host := func(domain string, options ...policytest.Option) *policytest.Host {
				inet.Domain(domain).MX("mx." + domain)
				return inet.Host("mx."+domain, append(options, policytest.TLSA("3 1 1"))...)
			}
			back, good := host("sender.example"), host("good.example", policytest.OfferREQUIRETLS)
			without := host("without.example")
			sender := mailserver.StartRelaying14(t, mailserver.NewServer(t, nil, "mail.sender.example"),
				"inline:{ { * = lmtp:unix:mxseal/relay.sock } }", test.setting)
			start(t, inet, sender.SocketDir(t), "name = 'relay.example'\n[relay]\nlmtp = ['unix:DIR/relay.sock']\nstarttls = "+test.starttls+"\n")

			submitRequiringTLS(t, sender, "a@good.example")
			submitRequiringTLS(t, sender, "a@without.example")
			submitWith(t, sender, "MAIL FROM:<me@sender.example>", "RCPT TO:<b@good.example>", "Subject: usual\r\n\r\n")
			submitWith(t, sender, "MAIL FROM:<me@sender.example>", "RCPT TO:<b@without.example>", "Subject: usual\r\n\r\n")
			await.Until(t, "all mail is delivered or bounced", func() bool {
				return len(good.Messages()) == 2 && len(without.Messages()) == 1 && len(back.Messages()) == 1
			})
			for _, m := range append(good.Messages(), without.Messages()...) {
				required := strings.Contains(string(m.Data), "\r\nSubject: required\r\n")
				if slices.Contains(m.Params, "REQUIRETLS") != required || strings.Contains(string(m.Data), "Require-TLS-ESMTP") {
					t.Errorf("to %v with %q:\n%s", m.To, m.Params, m.Data)
				}
			}
			if text := string(without.Messages()[0].Data); strings.Contains(text, "secret") {
				t.Errorf("a host without REQUIRETLS got %s", text)
			}
			if text := string(back.Messages()[0].Data); !strings.Contains(text, "Status: 5.7.30\r\n") || strings.Contains(text, "secret") {
				t.Errorf("the report is %s", text)
			}
			// Postfix logs it after the mail host has the message.
			await.Until(t, "Postfix has logged the delivery", func() bool { return len(sender.LogLines("to=<a@good.example>", "status=sent")) > 0 })
			if lines := sender.LogLines("to=<a@good.example>", "status=sent"); len(lines) != 1 || name == "parameter" != strings.Contains(lines[0], "tls=encrypt/requiretls") {
				t.Errorf("%q", lines)
			}
		})
	}
}
