package delivery

import (
	"fmt"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
)

// inForm is a server whose replies without text have a form of their own: f has the
// code as %d once or more. The reply to EHLO has lines, with TLS and without.
func inForm(f string, inClear, inTLS []string) script {
	return func(s *server) {
		say := func(code int) { s.say(strings.ReplaceAll(f, "%d", fmt.Sprint(code))) }
		offers := inClear
		say(220)
		for {
			line, ok := s.hear()
			if !ok {
				return
			}
			verb, _, _ := strings.Cut(line, " ")
			switch verb {
			case "EHLO":
				text := "250-mx.example.net\r\n"
				for i, offer := range offers {
					text += "250" + map[bool]string{true: " ", false: "-"}[i == len(offers)-1] + offer + "\r\n"
				}
				s.say(text)
			case "STARTTLS":
				say(220)
				if !s.handshake(certificates().good) {
					return
				}
				offers = inTLS
			case "DATA":
				say(354)
				if !s.message() {
					return
				}
				say(250)
			case "QUIT":
				say(221)
				return
			default:
				say(250)
			}
		}
	}
}

// S1: a reply may be a code alone, or have a space and no text, at every step, for
// SendMail and for the client of Dial (RFC 5321 sections 4.2 and 4.2.1).
func TestS1CodesAlone(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"%d\r\n", "%d \r\n", "%d\n", "%d-\r\n%d\r\n", "%d-\n%d \n", "%d-text\r\n%d\r\n"} {
		for _, level := range []policy.Level{policy.Opportunistic, policy.Authenticated} {
			t.Run(fmt.Sprintf("%q %v", form, level), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := oneHost(inForm(form, []string{"STARTTLS"}, []string{"8BITMIME", "DSN"}))
					d := w.dialer()
					d.Resolver = w.published(t, at(level, "192.0.2.1"))
					if err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil {
						t.Error(err)
					}
					client, err := d.Dial(t.Context(), "example.org")
					if err != nil {
						t.Fatal(err)
					}
					if err := sendWith(client.Client); err != nil {
						t.Errorf("with *smtp.Client: %v", err)
					}
					heard := w.said("192.0.2.1")
					if got := len(slices.DeleteFunc(slices.Clone(heard), func(line string) bool { return line != "." })); got != 2 {
						t.Errorf("%d messages, want 2: %q", got, heard)
					}
				})
			})
		}
	}
}

// SMTP-18: S1: the first digit of a reply decides, at every step, for SendMail and for the client
// of Dial, which compares the whole code (RFC 5321 section 4.3.2).
func TestS1UnusualCodes(t *testing.T) {
	t.Parallel()
	for _, code := range []int{200, 211, 214, 220, 221, 250, 251, 252, 254, 299} {
		for _, text := range []string{"", " ok", " 5.1.1 contradicts the code", "-a\r\n%d b"} {
			synctest.Test(t, func(t *testing.T) {
				success := strings.ReplaceAll(fmt.Sprintf("%d%s\r\n", code, text), "%d", fmt.Sprint(code))
				more := strings.Replace(success, "2", "3", 1)
				if i := strings.Index(success, "\r\n2"); i > 0 {
					more = more[:i+2] + strings.Replace(more[i+2:], "2", "3", 1)
				}
				w := oneHost(func(s *server) {
					s.say(success)
					for line, ok := s.hear(); ok && line != "QUIT"; line, ok = s.hear() {
						switch {
						case line == "DATA":
							s.say(more)
							s.message()
							s.say(success)
						default:
							s.say(success)
						}
					}
					s.say(success)
				})
				d := w.dialer()
				d.Resolver = w.published(t, at(policy.Opportunistic, "192.0.2.1"))
				if err := d.SendMail(t.Context(), "s@example.net", []string{"x@example.org"}, []byte(letter)); err != nil {
					t.Errorf("%q: %v", success, err)
				}
				client, err := d.Dial(t.Context(), "example.org")
				if err != nil {
					t.Fatalf("%q: %v", success, err)
				}
				if err := sendWith(client.Client); err != nil {
					t.Errorf("%q with *smtp.Client: %v", success, err)
				}
			})
		}
	}
}

// sendWith sends a message by net/smtp, with NOOP before it and RSET after it.
func sendWith(client *smtp.Client) error {
	if err := client.Noop(); err != nil {
		return err
	}
	if err := transact(client); err != nil {
		return err
	}
	if err := client.Reset(); err != nil {
		return err
	}
	return client.Quit()
}

// S3: keywords are the same in any case (RFC 5321 section 2.4), for TLS, for SendMail
// and for the client of Dial.
func TestS3KeywordsInAnyCase(t *testing.T) {
	t.Parallel()
	for _, spell := range []func(string) string{strings.ToUpper, strings.ToLower, mixed} {
		synctest.Test(t, func(t *testing.T) {
			w := oneHost(inForm("%d ok\r\n", []string{spell("STARTTLS")}, []string{spell("SmtpUtf8"), spell("8BitMime"), spell("RequireTLS"), spell("Size 1000000")}))
			w.options = []policy.Option{policy.RequireTLS()}
			d := w.dialer()
			d.Resolver = w.published(t, at(policy.Authenticated, "192.0.2.1"))
			if err := d.SendMail(t.Context(), "jürgen@example.net", []string{"jörg@example.org"}, []byte(letter), w.options...); err != nil {
				t.Fatal(err)
			}
			mail := w.said("192.0.2.1")[4]
			for _, parameter := range []string{"SMTPUTF8", "REQUIRETLS"} {
				if !strings.Contains(mail, " "+parameter) {
					t.Errorf("%q lacks %s", mail, parameter)
				}
			}
			client, err := d.Dial(t.Context(), "example.org", w.options...)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for _, keyword := range []string{"SMTPUTF8", "smtputf8", "8BITMIME", "SIZE", "Size"} {
				if ok, _ := client.Extension(keyword); !ok {
					t.Errorf("Client does not see %s", keyword)
				}
				if ok, _ := client.Client.Extension(keyword); !ok {
					t.Errorf("smtp.Client does not see %s", keyword)
				}
			}
		})
	}
}
