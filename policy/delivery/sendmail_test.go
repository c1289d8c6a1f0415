package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/dane/dnssec"
	"github.com/mxseal/mxseal/internal/test/fakedns"
	"github.com/mxseal/mxseal/policy"
)

// serving is a Dialer whose domains a.example to d.example have one mail host
// each, at 192.0.2.1 to 192.0.2.4, and example.org all four in that order.
func (w *world) serving(t testing.TB, config policy.Config) *Dialer {
	t.Helper()
	names := fakedns.Answers{}
	var all []string
	for i, label := range []string{"a", "b", "c", "d"} {
		domain, host := label+".example", "mx."+label+".example"
		names.Add(t, dnssec.Insecure, fmt.Sprintf("%s. MX 10 %s.", domain, host))
		names.Add(t, dnssec.Insecure, fmt.Sprintf("%s. A 192.0.2.%d", host, i+1))
		names.Deny(dnssec.Insecure, host+". AAAA")
		all = append(all, fmt.Sprintf("example.org. MX %d %s.", i, host))
	}
	names.Add(t, dnssec.Insecure, all...)
	names.Add(t, dnssec.Insecure, "two.example. MX 0 mx.a.example.", "two.example. MX 1 mx.b.example.")
	names.Add(t, dnssec.Insecure, "null.example. MX 0 .")
	d := w.dialer()
	d.Resolver = w.resolver(t, names, config)
	return d
}

// answering is a host without TLS that answers some verbs in its own way.
func answering(replies map[string]string) script {
	return func(s *server) {
		s.say(greeting)
		s.serve(replies)
	}
}

// failures returns the recipients of a *SendError with their codes, one line each, sorted.
func failures(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var send *SendError
	if !errors.As(err, &send) {
		t.Fatalf("error %v is no *SendError", err)
	}
	var lines []string
	count := 0
	for _, each := range send.Undelivered {
		count += len(each.Recipients)
		lines = append(lines, fmt.Sprintf("%s: %d %s", strings.Join(each.Recipients, " "), each.Err.Code(), each.Err.Status))
	}
	want := fmt.Sprintf("delivery: not delivered to %d recipients: ", count)
	if count == 1 {
		want = "delivery: not delivered to one recipient: "
	}
	if text := err.Error(); strings.ContainsAny(text, "\r\n") || !strings.HasPrefix(text, want) {
		t.Errorf("error %q", text)
	}
	slices.Sort(lines)
	return lines
}

const letter = "From: s@example.net\r\nSubject: x\r\n\r\nHello\n.\nworld\n"

// SMTP-7, SMTP-8, SMTP-17: a message to several domains goes to each of them once, with
// its dots doubled and CRLF at the end of its lines, and QUIT ends the session.
func TestSendMail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"192.0.2.1": {withTLS(certificates().good)}, "192.0.2.2": {inClearOnly}})
		err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net",
			[]string{"one@a.example", "two@b.example", "three@A.example"}, []byte(letter))
		if err != nil {
			t.Fatal(err)
		}
		mail := []string{"MAIL FROM:<s@example.net>", "RCPT TO:<one@a.example>", "RCPT TO:<three@A.example>", "DATA",
			"From: s@example.net", "Subject: x", "", "Hello", "..", "world", ".", "QUIT"}
		if heard := w.said("192.0.2.1"); !slices.Equal(heard, append([]string{"EHLO sender.example", "STARTTLS", "TLS", "EHLO sender.example"}, mail...)) {
			t.Errorf("first server heard %q", heard)
		}
		if heard := w.said("192.0.2.2"); !slices.Contains(heard, "RCPT TO:<two@b.example>") || !slices.Contains(heard, "..") {
			t.Errorf("second server heard %q", heard)
		}
	})
}

// SMTP-15: every recipient that did not get the message is named, with the reason; the
// others got it.
func TestSendMailFailures(t *testing.T) {
	t.Parallel()
	refuseOne := func(s *server) {
		s.say(greeting)
		s.answer("250 mx\r\n")
		s.answer("250 ok\r\n")
		s.answer("550 5.1.1 who?\r\n")
		s.answer("452-4.2.2 mailbox full\r\n452 4.2.2 try later\r\n")
		s.serve(nil)
	}
	hangUpAfterDATA := func(s *server) {
		s.say(greeting)
		s.answer("250 mx\r\n")
		s.answer("250 ok\r\n")
		s.answer("250 ok\r\n")
		s.answer("354 go\r\n")
		for line, ok := s.hear(); ok && line != "."; {
			line, ok = s.hear()
		}
	}
	for name, test := range map[string]struct {
		plays     map[string][]script
		to        []string
		want      []string
		delivered string // addresses of servers that got the message
	}{
		"a recipient refused": {map[string][]script{"192.0.2.1": {refuseOne}}, []string{"x@a.example", "y@a.example", "z@a.example"},
			[]string{"x@a.example: 550 5.1.1", "y@a.example: 452 4.2.2"}, "192.0.2.1"},
		"all recipients refused": {map[string][]script{"192.0.2.1": {answering(map[string]string{"RCPT": "550 no\r\n"})}}, []string{"x@a.example", "y@a.example"},
			[]string{"x@a.example: 550 5.0.0", "y@a.example: 550 5.0.0"}, ""},
		"MAIL refused": {map[string][]script{"192.0.2.1": {answering(map[string]string{"MAIL": "451 4.7.1 greylisted\r\n"})}}, []string{"x@a.example", "y@a.example"},
			[]string{"x@a.example y@a.example: 451 4.7.1"}, ""},
		"DATA refused": {map[string][]script{"192.0.2.1": {answering(map[string]string{"DATA": "554 5.7.1 no\r\n"})}}, []string{"x@a.example"},
			[]string{"x@a.example: 554 5.7.1"}, ""},
		"the message refused": {map[string][]script{"192.0.2.1": {answering(map[string]string{".": "550 5.7.1 spam\r\n"})}}, []string{"x@a.example"},
			[]string{"x@a.example: 550 5.7.1"}, "192.0.2.1"},
		"a status of another class": {map[string][]script{"192.0.2.1": {answering(map[string]string{"MAIL": "550 4.7.1 no\r\n"})}}, []string{"x@a.example"},
			[]string{"x@a.example: 550 5.0.0"}, ""},
		"one domain of three": {map[string][]script{"192.0.2.1": {inClearOnly}, "192.0.2.3": {inClearOnly}}, []string{"x@a.example", "y@b.example", "z@c.example"},
			[]string{"y@b.example: 451 4.4.1"}, "192.0.2.1 192.0.2.3"},
		"an address literal": {map[string][]script{"192.0.2.1": {inClearOnly}}, []string{"x@[192.0.2.1]"}, nil, "192.0.2.1"},
		"NMX-2, NMX-6 null MX": {map[string][]script{"192.0.2.1": {inClearOnly}}, []string{"x@null.example", "y@a.example"},
			[]string{"x@null.example: 556 5.1.10"}, "192.0.2.1"},
		"no address": {map[string][]script{"192.0.2.1": {inClearOnly}}, []string{"nobody", "y@a.example"},
			[]string{"nobody: 553 5.1.3"}, "192.0.2.1"},
		"no SMTPUTF8": {map[string][]script{"192.0.2.1": {inClearOnly}}, []string{"jürgen@a.example", "y@a.example"},
			[]string{"jürgen@a.example: 553 5.6.7"}, "192.0.2.1"},
		// A host that hangs up before the message leaves it to the next host.
		"421 at MAIL": {map[string][]script{"192.0.2.1": {answering(map[string]string{"MAIL": "421 bye\r\n"})}, "192.0.2.2": {inClearOnly}}, []string{"x@example.org"},
			nil, "192.0.2.2"},
		"421 at RCPT": {map[string][]script{"192.0.2.1": {answering(map[string]string{"RCPT": "421 bye\r\n"})}, "192.0.2.2": {inClearOnly}}, []string{"x@example.org"},
			nil, "192.0.2.2"},
		"421 at DATA": {map[string][]script{"192.0.2.1": {answering(map[string]string{"DATA": "421 bye\r\n"})}, "192.0.2.2": {inClearOnly}}, []string{"x@example.org"},
			nil, "192.0.2.2"},
		"421 everywhere": {map[string][]script{"192.0.2.1": {answering(map[string]string{"MAIL": "421 bye\r\n"})}, "192.0.2.2": {answering(map[string]string{"RCPT": "421 bye\r\n"})}}, []string{"x@example.org"},
			[]string{"x@example.org: 451 4.0.0"}, ""},
		// A host that hangs up after the message may have accepted it.
		"hung up in the message": {map[string][]script{"192.0.2.1": {hangUpAfterDATA}, "192.0.2.2": {inClearOnly}}, []string{"x@example.org"},
			[]string{"x@example.org: 451 4.4.2"}, "192.0.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(test.plays)
				err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", test.to, []byte(letter))
				if got := failures(t, err); !slices.Equal(got, test.want) {
					t.Errorf("failures %q, want %q\n%v", got, test.want, err)
				}
				var delivered []string
				for _, addr := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"} {
					if slices.Contains(w.said(addr), ".") {
						delivered = append(delivered, addr)
					}
				}
				if got := strings.Join(delivered, " "); got != test.delivered {
					t.Errorf("delivered to %q, want %q", got, test.delivered)
				}
			})
		})
	}
}

// SMTP-8: a message that no host can get opens no connection.
func TestSendMailRefusesTheMessage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ from, text, want string }{
		"return path": {"nobody", letter, "x@a.example: 553 5.1.7"},
		"line end":    {"s@example.net\r\nRSET", letter, "x@a.example: 553 5.1.7"},
		"bare CR":     {"s@example.net", "Subject: x\r\n\r\nHello\r.\r\n", "x@a.example: 554 5.6.0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(nil)
			err := SendMail(t.Context(), w.serving(t, policy.Config{}).Resolver, test.from, []string{"x@a.example"}, []byte(test.text))
			if got := failures(t, err); !slices.Equal(got, []string{test.want}) || len(w.dialed) != 0 {
				t.Errorf("failures %q, want %q; dialed %q", got, test.want, w.dialed)
			}
		})
	}
}

// REQ-17 to REQ-20, REQ-26: mail with "TLS-Required: No" ignores what a policy demands,
// and still uses TLS if the server offers it. The operator's floor stays. REQ-21: with
// REQUIRETLS the header is ignored.
func TestTLSRequiredNo(t *testing.T) {
	t.Parallel()
	const no = "TLS-Required: No\r\n" + letter
	broken := script(func(s *server) {
		s.say(greeting)
		s.answer("250-mx.a.example\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
	})
	for name, test := range map[string]struct {
		plays   []script
		config  policy.Config
		options []policy.Option
		text    string
		want    []string
		heard   string // must be in what the server heard
	}{
		"TLS anyway":          {plays: []script{withTLS(certificates().unknown)}, text: no, heard: "TLS"},
		"in clear":            {plays: []script{broken, inClearOnly}, text: no, heard: "DATA"},
		"REQ-20":              {plays: []script{answering(map[string]string{"MAIL": "530 5.7.0 STARTTLS first\r\n"})}, text: no, want: []string{"x@a.example: 451 4.7.0"}}, // S8
		"REQ-26, the floor":   {plays: []script{inClearOnly}, config: policy.Config{Floor: policy.Encrypted}, text: no, want: []string{"x@a.example: 451 4.7.4"}},
		"REQ-21, RequireTLS":  {plays: []script{inClearOnly}, options: []policy.Option{policy.RequireTLS()}, text: no, want: []string{"x@a.example: 550 5.7.10"}},
		"without the header":  {plays: []script{inClearOnly}, config: policy.Config{RequireDANE: true}, text: letter, want: []string{"x@a.example: 451 4.7.5"}},
		"the operator's DANE": {plays: []script{inClearOnly}, config: policy.Config{RequireDANE: true}, text: no, want: []string{"x@a.example: 451 4.7.5"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(test.plays...)
				err := w.serving(t, test.config).SendMail(t.Context(), "s@example.net", []string{"x@a.example"}, []byte(test.text), test.options...)
				if got := failures(t, err); !slices.Equal(got, test.want) {
					t.Errorf("failures %q, want %q\n%v", got, test.want, err)
				}
				heard := w.said("192.0.2.1")
				if test.heard != "" && !slices.Contains(heard, test.heard) {
					t.Errorf("server heard %q", heard)
				}
				if test.want != nil && slices.Contains(heard, "DATA") {
					t.Errorf("the message went out: server heard %q", heard)
				}
			})
		})
	}
}

// REQ-25: a bounce is not lost because its next hop lacks REQUIRETLS; it still
// needs the verified session.
func TestBounceWithRequireTLS(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		play script
		want bool
	}{
		"verified":     {withTLS(certificates().good), true},
		"not verified": {withTLS(certificates().unknown), false},
		"in clear":     {inClearOnly, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(test.play)
				w.options = []policy.Option{policy.RequireTLS(), Bounce()}
				client, err := w.walk(w.planned(t, at(policy.Authenticated, "192.0.2.1"))).client(t.Context())
				if (err == nil) != test.want {
					t.Fatalf("error %v", err)
				}
				if err != nil {
					return
				}
				defer client.Close()
				if err := client.Mail(""); err != nil {
					t.Error(err)
				}
				if heard := w.said("192.0.2.1"); heard[len(heard)-1] != "MAIL FROM:<>" {
					t.Errorf("server heard %q", heard)
				}
			})
		})
	}
}

// SMTP-9: more recipients than a server must take in one transaction make another one.
func TestManyRecipients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(inClearOnly)
		var to []string
		for i := range 250 {
			to = append(to, fmt.Sprintf("user%d@a.example", i))
		}
		if err := w.serving(t, policy.Config{}).SendMail(t.Context(), "", to, []byte(letter)); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for _, line := range w.said("192.0.2.1") {
			verb, _, _ := strings.Cut(line, " ")
			counts[verb]++
		}
		if counts["MAIL"] != 3 || counts["RCPT"] != 250 || counts["DATA"] != 3 || counts["EHLO"] != 1 {
			t.Errorf("commands %v", counts)
		}
	})
}

// The message may not have arrived when the server hangs up after it: these
// recipients wait, and the others go to the next host.
func TestHangUpBetweenTransactions(t *testing.T) {
	t.Parallel()
	for name, goodbye := range map[string]string{"without a word": "", "421": "421 bye\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(map[string][]script{
					"192.0.2.1": {func(s *server) {
						s.say(greeting)
						for {
							line, ok := s.hear()
							switch {
							case !ok:
								return
							case line == "DATA":
								s.say("354 go\r\n")
							case line == ".":
								s.say(goodbye)
								return
							case strings.Contains(line, "<"), strings.HasPrefix(line, "EHLO"):
								s.say("250 ok\r\n")
							}
						}
					}},
					"192.0.2.2": {inClearOnly},
				})
				var to []string
				for i := range 150 {
					to = append(to, fmt.Sprintf("user%d@example.org", i))
				}
				err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", to, []byte(letter))
				var send *SendError
				if !errors.As(err, &send) || len(send.Undelivered) != 1 || !slices.Equal(send.Undelivered[0].Recipients, to[:100]) || !send.Temporary() {
					t.Errorf("error %v", err)
				}
				got := 0
				for _, line := range w.said("192.0.2.2") {
					if strings.HasPrefix(line, "RCPT") {
						got++
					}
				}
				if got != 50 {
					t.Errorf("the next host got %d recipients, want 50", got)
				}
			})
		})
	}
}

// A message of which only a part was sent is not ended by a dot: the server would take the
// part for the whole.
func TestPartOfAMessageIsNotEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := false
		w := oneHost(func(s *server) {
			s.say(greeting)
			s.answer("250 mx\r\n")
			s.answer("250 ok\r\n")
			s.answer("250 ok\r\n")
			s.answer("354 go\r\n")
			time.Sleep(11 * time.Minute) // longer than the sender waits
			rest, _ := io.ReadAll(s.conn)
			ended = strings.Contains(string(rest), "\r\n.\r\n")
		})
		text := letter + strings.Repeat("a line\r\n", 10000)
		err := w.serving(t, policy.Config{}).SendMail(t.Context(), "s@example.net", []string{"x@a.example"}, []byte(text))
		if got := failures(t, err); !slices.Equal(got, []string{"x@a.example: 451 4.4.2"}) {
			t.Errorf("failures %q", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if ended {
			t.Error("a part of the message was ended by a dot")
		}
	})
}

// The end of the context ends a delivery at once.
func TestSendMailIsInterrupted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(func(s *server) {
			s.say(greeting)
			s.answer("250 mx\r\n")
			s.answer("250 ok\r\n")
			s.answer("250 ok\r\n")
			s.answer("354 go\r\n")
			io.ReadAll(s.conn)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := w.serving(t, policy.Config{}).SendMail(ctx, "s@example.net", []string{"x@a.example"}, []byte(letter))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		if send := new(SendError); !errors.As(err, &send) || !send.Temporary() {
			t.Errorf("error %v is not temporary", err)
		}
	})
}

// SMTP-20: each recipient's message is accepted at most once, even if the caller repeats the
// recipient, and the caller finds each of the spellings in the result.
func TestRepeatedRecipients(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]string{"accepted": "250 ok\r\n", "refused": "550 5.1.1 no\r\n", "refused for now": "450 4.2.1 later\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(answering(map[string]string{"RCPT": reply}))
				to := []string{"x@a.example", "y@a.example", "x@A.example.", "<x@a.example>", "x@a.example"}
				result, err := w.serving(t, policy.Config{}).Send(t.Context(), mailOf(letter, to...))
				heard := w.said("192.0.2.1")
				for _, path := range []string{"x@a.example", "y@a.example"} {
					count := 0
					for _, line := range heard {
						if line == "RCPT TO:<"+path+">" {
							count++
						}
					}
					if count != 1 {
						t.Errorf("%s was a recipient %d times: %q", path, count, heard)
					}
				}
				var reported []string
				for _, delivery := range result.Delivered {
					reported = append(reported, delivery.Recipients...)
				}
				var failed *SendError
				if errors.As(err, &failed) {
					for _, each := range failed.Undelivered {
						reported = append(reported, each.Recipients...)
					}
				}
				slices.Sort(reported)
				if want := []string{"<x@a.example>", "x@A.example.", "x@a.example", "y@a.example"}; !slices.Equal(reported, want) {
					t.Errorf("reported %q, want %q", reported, want)
				}
			})
		})
	}
}
