package delivery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// The queue IDs of known servers.
func TestQueueID(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"2.0.0 Ok: queued as 4Wx1Yz2abc", "4Wx1Yz2abc"},
		{"2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 3C1F2400A5", "3C1F2400A5"},
		{"OK id=1rABcd-0007Xy-2k", "1rABcd-0007Xy-2k"},
		{"2.0.0 3BRC0Abc012345 Message accepted for delivery", "3BRC0Abc012345"},
		{"2.0.0 0f1e2d3c Message accepted for delivery", "0f1e2d3c"},
		{"ok 1700000000 qp 12345", "12345"},
		{"2.0.0 OK  1700000000 d9443c01a7336-1cf6a1b2c3dsi12345678.90 - gsmtp", "d9443c01a7336-1cf6a1b2c3dsi12345678.90"},
		{"2.6.0 <abc@example.net> [InternalId=123456789, Hostname=X.example] 8000 bytes in 0.1, 70 KB/sec Queued mail for delivery", "123456789"},
		{"Message Queued (4D2B8E1A-0F3C-4D5E-9A6B-7C8D9E0F1A2B.1)", "4D2B8E1A-0F3C-4D5E-9A6B-7C8D9E0F1A2B.1"},
		{"two lines\n2.0.0 Ok: queued as 12AB", "12AB"},
		{"Ok: queued: AB12", "AB12"},
		{"2.0.0 ok", ""},
		{"", ""},
		{"queued as \x1b[2J", ""},
	} {
		if got := (Reply{Code: 250, Text: test.text}).QueueID(); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
}

// DSN-1: the result says how the message was delivered, with the server's last reply.
func TestResultSaysHowMessageWasDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{
			"192.0.2.1": {tlsThen(certificates().good, map[string]string{".": "250-2.0.0 Ok:\r\n250 2.0.0 queued as 12AB\r\n"})},
			"192.0.2.2": {offering("DSN")},
		})
		d := w.serving(t, policy.Config{})
		called := 0
		d.Delivered = func(Delivery) { called++ }
		result, err := d.Send(t.Context(), mailOf(letter, "x@a.example", "<y@b.example>", "z@a.example"))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, d := range result.Delivered {
			lines = append(lines, fmt.Sprintf("%s %s %v %v %q %q %q %v %v", strings.Join(d.Recipients, " "), d.Host.Name, d.Host.Level, d.Host.By,
				d.TLSVersion(), d.Reply, d.Reply.QueueID(), d.Reply.EnhancedCode, d.DSN))
		}
		want := []string{
			`x@a.example z@a.example mx.a.example opportunistic none "TLS 1.3" "250 2.0.0 Ok: 2.0.0 queued as 12AB" "12AB" [2 0 0] false`,
			`<y@b.example> mx.b.example opportunistic none "" "250 2.0.0 taken" "" [2 0 0] true`,
		}
		if !slices.Equal(lines, want) || called != 2 {
			t.Errorf("got\n%s\nwant\n%s\n%d calls", strings.Join(lines, "\n"), strings.Join(want, "\n"), called)
		}
	})
}

// SMTP-13: the error has for each recipient what a queue and a bounce need.
func TestSendErrorDetails(t *testing.T) {
	t.Parallel()
	silentAfterMessage := slowly(".", 11*time.Minute)
	for name, test := range map[string]struct {
		first, second script
		to            string
		want          string // host, reply, permanent or temporary or unknown, and the code
	}{
		"a recipient refused": {answering(map[string]string{"RCPT": "550-5.1.1 who?\r\n550 5.1.1 nobody\r\n"}), nil, "x@two.example",
			`mx.a.example "550 5.1.1 who? 5.1.1 nobody" permanent 550 5.1.1`},
		"for now, everywhere": {answering(map[string]string{"MAIL": "451 4.7.1 first\r\n"}), answering(map[string]string{"RCPT": "450 4.2.1 second\r\n"}), "x@two.example",
			`mx.b.example "450 4.2.1 second" temporary 450 4.2.1`},
		"for now, and the second is down": {answering(map[string]string{"MAIL": "451 4.7.1 first\r\n"}), nil, "x@two.example",
			`mx.a.example "451 4.7.1 first" temporary 451 4.7.1`},
		"421, and the second is down": {answering(map[string]string{"MAIL": "421 4.3.2 bye\r\n"}), nil, "x@two.example",
			`mx.a.example "421 4.3.2 bye" temporary 451 4.3.2`},
		"a greeting, and the second is down": {func(s *server) { s.say("554 5.7.1 no\r\n"); s.hear() }, nil, "x@two.example",
			`mx.a.example "554 5.7.1 no" temporary 451 4.3.2`},
		"nothing there":   {nil, nil, "x@two.example", ` "" temporary 451 4.4.1`},
		"no domain":       {nil, nil, "x@null.example", ` "" permanent 556 5.1.10`},
		"no address":      {nil, nil, "x", ` "" permanent 553 5.1.3`},
		"outcome unknown": {silentAfterMessage, nil, "x@two.example", `mx.a.example "" unknown 451 4.4.2`},
		"lacks SMTPUTF8":  {inClearOnly, inClearOnly, "ü@two.example", `mx.b.example "" permanent 553 5.6.7`},
		"the message":     {answering(map[string]string{".": "554 5.6.0 bad\r\n"}), nil, "x@two.example", `mx.a.example "554 5.6.0 bad" permanent 554 5.6.0`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(time.Hour) // until the servers have given up
				w := newWorld(map[string][]script{})
				for addr, play := range map[string]script{"192.0.2.1": test.first, "192.0.2.2": test.second} {
					if play != nil {
						w.scripts[addr] = []script{play}
					}
				}
				_, err := w.serving(t, policy.Config{}).Send(t.Context(), mailOf(letter, test.to))
				var send *SendError
				if !errors.As(err, &send) || len(send.Undelivered) != 1 {
					t.Fatalf("error %v", err)
				}
				u := send.Undelivered[0]
				outcome := "temporary"
				switch {
				case u.OutcomeUnknown:
					outcome = "unknown"
				case u.Err.Permanent:
					outcome = "permanent"
				}
				got := fmt.Sprintf("%s %q %s %d %s", u.Host, u.Reply, outcome, u.Err.Code(), u.Err.Status)
				if got != test.want || !slices.Equal(u.Recipients, []string{test.to}) {
					t.Errorf("%v: %s, want %s", u.Recipients, got, test.want)
				}
			})
		})
	}
}

// X finding: what is wrong with an address is said in words about that, in one line,
// without an empty domain in quotes.
func TestTextsOfAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"x@":                                    "the domain is empty",
		`x@""`:                                  "not a domain name",
		"X <x@a.example>":                       "outside the angle brackets; give the address only, without a display name",
		"x y@a.example":                         "space outside quotes",
		`"x@a.example`:                          "quote without an end",
		"x":                                     "local-part@domain",
		"@a.example":                            "the local part is empty",
		"x\r\nDATA@a.example":                   "control character",
		"x@192.0.2.1":                           "ends in a number",
		"x@a@a.example":                         "@ outside quotes",
		"x\xff@a.example":                       "not UTF-8",
		strings.Repeat("x", 500):                "local-part@domain",
		strings.Repeat("x", 500) + "@a.example": "longer than",
	} {
		w := newWorld(nil)
		err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", []string{address}, []byte(letter))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), `: "": `) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: error %v, want %q in it", address, err, want)
		}
	}
}
