package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
	"github.com/mxseal/mxseal/tlsrpt"
)

// Each level permits some reactions of a server to STARTTLS, which is always sent alone
// (STT-4). No command of a mail transaction reaches a server that the level forbids.
func TestStartTLS(t *testing.T) {
	t.Parallel()
	good, unknown := withTLS(certificates().good), withTLS(certificates().unknown)
	notOffered := script(inClearOnly)
	noTLS := func(s *server) { // 220, and then no TLS
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		s.serve(nil)
	}
	hangsUp := func(s *server) {
		s.say(greeting)
		s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
		s.answer("220 go ahead\r\n")
		io.ReadFull(s.conn, make([]byte, 5))
	}
	const (
		tlsAndEHLO = "EHLO sender.example|STARTTLS|TLS|EHLO sender.example"
		asked      = "EHLO sender.example|STARTTLS"
		askedQuit  = "EHLO sender.example|STARTTLS|QUIT"
		helloQuit  = "EHLO sender.example|QUIT"
		hello      = "EHLO sender.example"
	)
	for _, test := range []struct {
		id     string
		level  policy.Level
		plays  []script
		inTLS  bool
		reason tlsrpt.ResultType // of the failure
		status string            // of the failure; empty: no failure
		heard  string
	}{
		{"STT-2, STT-8, STT-11", policy.Opportunistic, []script{good}, true, "", "", tlsAndEHLO},
		{"DANE-31 unauthenticated", policy.Opportunistic, []script{unknown}, true, "", "", tlsAndEHLO},
		{"DANE-29 encrypted only", policy.Encrypted, []script{unknown}, true, "", "", tlsAndEHLO},
		{"DANE-27, STS-63", policy.Authenticated, []script{good}, true, "", "", tlsAndEHLO},
		// The handshake itself fails: not even EHLO is said, let alone mail.
		{"DANE-28, STS-74, STT-5, field note 63", policy.Authenticated, []script{unknown}, false, tlsrpt.CertificateNotTrusted, "4.7.5", asked},

		{"STT-11, DANE-31 TLS when possible", policy.Opportunistic, []script{notOffered}, false, "", "", hello},
		{"STT-15, DANE-30, OPS-36", policy.Encrypted, []script{notOffered}, false, tlsrpt.STARTTLSNotSupported, "4.7.4", helloQuit},
		{"STT-6, STT-15, STS-74", policy.Authenticated, []script{notOffered}, false, tlsrpt.STARTTLSNotSupported, "4.7.4", helloQuit},

		{"STT-1, 454", policy.Opportunistic, []script{refusing("454 not now\r\n")}, false, "", "", asked},
		{"STT-12, DANE-30, OPS-36", policy.Encrypted, []script{refusing("454 not now\r\n")}, false, tlsrpt.STARTTLSNotSupported, "4.7.4", askedQuit},
		{"STT-12, DANE-28", policy.Authenticated, []script{refusing("454 not now\r\n")}, false, tlsrpt.STARTTLSNotSupported, "4.7.4", askedQuit},
		{"STT-1, 501", policy.Encrypted, []script{refusing("501 no parameters\r\n")}, false, tlsrpt.STARTTLSNotSupported, "4.7.4", askedQuit},
		{"STT-14", policy.Authenticated, []script{refusing("502 what?\r\n")}, false, tlsrpt.STARTTLSNotSupported, "4.7.4", askedQuit},
		{"STT-14", policy.Opportunistic, []script{refusing("554-5.7.3 no\r\n554 5.7.3 way\r\n")}, false, "", "", asked},
		// 250 is not 220, whatever the server may mean by it.
		{"STT-14", policy.Authenticated, []script{refusing("250 ok\r\n")}, false, tlsrpt.STARTTLSNotSupported, "4.7.4", askedQuit},

		// Cleartext comes over a connection of its own.
		{"STT-3, DANE-26, DANE-32", policy.Opportunistic, []script{hangsUp, inClearOnly}, false, "", "", asked + "|" + hello},
		{"STT-12, DANE-30, OPS-36", policy.Encrypted, []script{hangsUp, inClearOnly}, false, tlsrpt.ValidationFailure, "4.7.5", asked},
		{"STT-12, DANE-28", policy.Authenticated, []script{hangsUp, inClearOnly}, false, tlsrpt.ValidationFailure, "4.7.5", asked},
		{"STT-3 no TLS at all", policy.Authenticated, []script{noTLS, inClearOnly}, false, "", "", ""},
	} {
		t.Run(test.id+" "+test.level.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(test.plays...)
				client, err := w.dialHost(t, test.level)
				if test.heard == "" {
					if err == nil {
						t.Fatal("no error")
					}
					return
				}
				heard := strings.Join(w.said("192.0.2.1"), "|")
				if heard != test.heard {
					t.Errorf("server heard %q, want %q", heard, test.heard)
				}
				if test.status != "" {
					if err == nil {
						t.Fatal("no error")
					}
					if host := hostError(t, err); host.Reason != test.reason || host.Status != test.status || host.Permanent {
						t.Errorf("host failed by %q, %s: %v", host.Reason, host.Status, host)
					}
					if err.Reason != test.reason || err.Permanent { // field note 15
						t.Errorf("domain failed by %q, permanent %v", err.Reason, err.Permanent)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				if _, inTLS := client.TLS(); inTLS != test.inTLS {
					t.Errorf("TLS %v, want %v", inTLS, test.inTLS)
				}
			})
		})
	}
}

// STT-13: octets in cleartext after the 220 reply could be taken for replies within TLS,
// and so could a 220 reply that came before STARTTLS was sent.
func TestInjectedResponsesAreRefused(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]script{
		"after 220": func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n250-evil\r\n250 AUTH PLAIN\r\n")
			s.handshake(certificates().good)
		},
		"after a part of a line": func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n2")
			s.handshake(certificates().good)
		},
		"before STARTTLS": func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n220 go ahead\r\n")
			s.hear()
			s.handshake(certificates().good)
		},
		"within a reply of several lines": func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220-go\r\n250 evil\r\n220 ahead\r\n")
			s.handshake(certificates().good)
		},
	} {
		for _, level := range []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated} {
			t.Run(name+" "+level.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := oneHost(play)
					client, err := w.dialHost(t, level)
					if level == policy.Opportunistic {
						// S22: TLS without what came too early, or cleartext.
						if err != nil {
							t.Fatal(err)
						}
						defer client.Close()
						if offered, _ := client.Extension("AUTH"); offered {
							t.Error("an extension was accepted from a reply that came too early")
						}
						if len(w.recorded) != 1 || len(w.recorded[0].Outcomes[0].Failures) != 1 {
							t.Errorf("recorded %+v", w.recorded)
						}
						return
					}
					if err == nil {
						t.Fatal("no error")
					}
					if !errors.Is(err, wire.ErrInjection) || err.Reason != tlsrpt.ValidationFailure {
						t.Errorf("error %v", err)
					}
					if heard := w.said("192.0.2.1"); slices.Contains(heard, "TLS") {
						t.Errorf("the handshake began: server heard %q", heard)
					}
					if len(w.dialed) != 1 {
						t.Errorf("%d connections, want one: no retry in clear", len(w.dialed))
					}
				})
			})
		}
	}
}

// STT-7, STT-9: extensions offered in cleartext are forgotten, also REQUIRETLS (REQ-9).
// STT-10: STARTTLS offered within TLS means nothing.
func TestExtensionsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250-SIZE 1\r\n250-AUTH PLAIN\r\n250-REQUIRETLS\r\n250 starttls\r\n")
			s.answer("220 go ahead\r\n")
			if s.handshake(certificates().good) {
				s.serve(map[string]string{"EHLO": "250-mx.example.net\r\n250-STARTTLS\r\n250 8BITMIME\r\n"})
			}
		})
		client, err := w.dialHost(t, policy.Authenticated)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for extension, want := range map[string]bool{"SIZE": false, "AUTH": false, "REQUIRETLS": false, "8BITMIME": true} {
			if offered, _ := client.Extension(extension); offered != want {
				t.Errorf("%s offered: %v, want %v", extension, offered, want)
			}
		}
		if client.StartTLS(&tls.Config{}) == nil {
			t.Error("TLS begun twice")
		}
		if client.Auth(smtp.PlainAuth("", "user", "secret", "mx.example.net")) == nil {
			t.Error("AUTH without an offer inside TLS")
		}
		want := []string{"EHLO sender.example", "STARTTLS", "TLS", "EHLO sender.example"}
		if heard := w.said("192.0.2.1"); !slices.Equal(heard, want) {
			t.Errorf("server heard %q, want %q", heard, want)
		}
	})
}

// STT-9: a server that refuses EHLO inside TLS and answers HELO has no extensions, whatever
// was said in cleartext.
func TestExtensionsAreForgottenBeforeHELO(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oneHost(func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250-SIZE 1\r\n250-SMTPUTF8\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
			if s.handshake(certificates().good) {
				s.serve(map[string]string{"EHLO": "502 what\r\n"})
			}
		})
		client, err := w.dialHost(t, policy.Opportunistic)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, extension := range []string{"SIZE", "SMTPUTF8", "STARTTLS"} {
			if offered, _ := client.Extension(extension); offered {
				t.Errorf("%s is offered", extension)
			}
		}
		if heard := verbs(w.said("192.0.2.1")); heard != "EHLO STARTTLS TLS EHLO HELO" {
			t.Errorf("server heard %s", heard)
		}
	})
}

// A host that does not keep to SMTP can neither exhaust the sender's memory nor hold its
// mail: the next host is tried (STS-81). Times are those of the bubble.
func TestMisbehavingHostIsLeft(t *testing.T) {
	t.Parallel()
	endless := func(text string) func(s *server) {
		return func(s *server) {
			for {
				if _, err := io.WriteString(s.conn, text); err != nil {
					return
				}
			}
		}
	}
	after := func(text string, then script) script {
		return func(s *server) {
			s.say(greeting)
			s.answer(text)
			then(s)
		}
	}
	stall := func(s *server) { s.hear(); s.hear(); s.hear() }
	drip := func(text string) script {
		return func(s *server) {
			for {
				if _, err := io.WriteString(s.conn, text); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		}
	}
	inTLS := func(then script) script {
		return func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
			if s.handshake(certificates().good) {
				s.hear()
				then(s)
			}
		}
	}
	nothing := func(*server) {}
	const offer = "250-mx.example.net\r\n250 STARTTLS\r\n"
	for name, test := range map[string]struct {
		play   script
		status string
		within time.Duration
	}{
		"closes":                     {nothing, "4.4.2", 0},
		"no greeting":                {stall, "4.4.2", 5 * time.Minute},
		"greeting 554":               {func(s *server) { s.say("554 no service\r\n"); s.serve(nil) }, "4.3.2", 0},
		"greeting 421":               {func(s *server) { s.say("421 busy\r\n") }, "4.3.2", 0},
		"a long refusal":             {func(s *server) { s.say("554 " + strings.Repeat("no ", 5000) + "\r\n") }, "4.3.2", 0},
		"garbage":                    {func(s *server) { s.say("SSH-2.0-OpenSSH\r\n"); s.serve(nil) }, "4.4.2", 0},
		"endless line":               {endless(strings.Repeat("2", 4096)), "4.4.2", 0},
		"endless greeting":           {endless("220-hello\r\n"), "4.4.2", 0},
		"a greeting by drops":        {drip("220-h\r\n"), "4.4.2", 5 * time.Minute},
		"EHLO 554":                   {after("554 go away\r\n", func(s *server) { s.answer("554 go away\r\n"); s.serve(nil) }), "4.3.2", 0},
		"no EHLO reply":              {after("", stall), "4.4.2", 5 * time.Minute},
		"endless EHLO reply":         {after("", endless("250-X\r\n")), "4.4.2", 0},
		"closes at STARTTLS":         {after(offer, func(s *server) { s.hear() }), "4.7.5", 0},
		"no STARTTLS reply":          {after(offer, stall), "4.4.2", 5 * time.Minute},
		"garbage at STARTTLS":        {after(offer, func(s *server) { s.answer("what?\r\n"); s.serve(nil) }), "4.4.2", 0},
		"endless STARTTLS reply":     {after(offer, func(s *server) { s.hear(); endless("220-x\r\n")(s) }), "4.4.2", 0},
		"no handshake":               {after(offer, func(s *server) { s.answer("220 go\r\n"); io.ReadAll(s.conn) }), "4.4.2", 5 * time.Minute},
		"half a handshake":           {after(offer, func(s *server) { s.answer("220 go\r\n"); s.conn.Read(make([]byte, 4096)) }), "4.7.5", 0},
		"closes after the handshake": {inTLS(nothing), "4.4.2", 0},
		"no EHLO reply in TLS":       {inTLS(stall), "4.4.2", 5 * time.Minute},
		"EHLO 554 in TLS":            {inTLS(func(s *server) { s.say("554 no\r\n"); s.serve(nil) }), "4.3.2", 0},
		"endless line in TLS":        {inTLS(endless(strings.Repeat("2", 4096))), "4.4.2", 0},
		"endless EHLO reply in TLS":  {inTLS(endless("250-X\r\n")), "4.4.2", 0},
		"drops in TLS":               {inTLS(drip("250-X\r\n")), "4.4.2", 5 * time.Minute},
	} {
		for _, level := range []policy.Level{policy.Encrypted, policy.Authenticated} {
			t.Run(name+" "+level.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(map[string][]script{
						"192.0.2.1": {test.play}, "192.0.2.2": {withTLS(certificates().good)},
					})
					start := time.Now()
					along := w.walk(w.planned(t, at(level, "192.0.2.1"), at(level, "192.0.2.2")))
					client, err := along.client(t.Context())
					if err != nil {
						t.Fatal("the next host was not tried: ", err)
					}
					client.Close()
					if took := time.Since(start); took > test.within {
						t.Errorf("took %v, want at most %v", took, test.within)
					}
					if len(along.failures) != 1 {
						t.Fatalf("failures %v, want one", along.failures)
					}
					if got := along.failures[0]; got.Status != test.status || got.Permanent {
						t.Errorf("status %s, want %s: %v", got.Status, test.status, got)
					} else if len(got.Error()) > 4<<10 {
						t.Errorf("the error has %d octets", len(got.Error()))
					}
					time.Sleep(time.Hour) // until the server notices
				})
			})
		}
	}
}

// A server that stalls after Dial, or never ends its reply, does not hold the sender
// forever.
func TestClientIsBounded(t *testing.T) {
	t.Parallel()
	endless := func(s *server) {
		s.say(greeting)
		s.answer("250 mx.example.net\r\n")
		s.hear()
		for {
			if _, err := io.WriteString(s.conn, strings.Repeat("2", 1000)); err != nil {
				return
			}
		}
	}
	stall := func(s *server) {
		s.say(greeting)
		s.answer("250 mx.example.net\r\n")
		s.hear()
		s.hear()
	}
	t.Run("stall", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, err := oneHost(stall).dialHost(t, policy.Opportunistic)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			time.Sleep(24 * time.Hour) // the caller's own time does not count
			start := time.Now()
			if err := client.Mail("a@example.net"); err == nil {
				t.Error("no error")
			}
			if took := time.Since(start); took != 10*time.Minute {
				t.Errorf("took %v", took)
			}
		})
	})
	t.Run("endless reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, err := oneHost(endless).dialHost(t, policy.Opportunistic)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := client.Mail("a@example.net"); !errors.Is(err, wire.ErrTooLong) {
				t.Errorf("error %v", err)
			}
		})
	})
}

// A handshake may be longer than a reply, as with a long chain of certificates.
func TestHandshakeMayBeLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		long := certificates().good
		for size := 0; size < 128<<10; size += len(long.Certificate[0]) {
			long.Certificate = append(long.Certificate[:len(long.Certificate):len(long.Certificate)], long.Certificate[0])
		}
		client, err := oneHost(withTLS(long)).dialHost(t, policy.Authenticated)
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
	})
}

// DANE-113: a refused host gets no mail, even over a connection that exists.
func TestRefusedHostGetsNoMail(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]script{"in clear": inClearOnly, "in TLS": withTLS(certificates().good)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(play)
				host := w.planned(t, at(policy.Refused, "192.0.2.1")).Hosts[0]
				for _, withTLS := range []bool{true, false} {
					conn, err := w.dial(t.Context(), "tcp", "192.0.2.1:25")
					if err != nil {
						t.Fatal(err)
					}
					talk := conversation.Conversation{
						Host: host, Conn: wire.NewConn(conn), LocalName: "sender.example",
						Timeouts: conversation.Timeouts{Greeting: time.Minute, Command: time.Minute, Handshake: time.Minute},
					}
					if !withTLS {
						talk.Offer = conversation.ClearOnly
					}
					if failure := talk.Hold(t.Context()); failure != host.Refusal {
						t.Errorf("a session with a refused host, with TLS asked for %v: %v", withTLS, failure)
					}
					conn.Close()
				}
			})
		})
	}
}

// STT-6: a server that does not answer QUIT delays the next host by a few seconds, or
// until the context ends.
func TestFarewellIsShort(t *testing.T) {
	t.Parallel()
	rude := func(s *server) {
		s.say(greeting)
		s.answer("250 mx.example.net\r\n")
		s.hear()
		s.hear()
	}
	for name, test := range map[string]struct{ patience, want time.Duration }{
		"patient": {time.Hour, 5 * time.Second}, "interrupted": {time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(rude)
				ctx, cancel := context.WithTimeout(t.Context(), test.patience)
				defer cancel()
				start := time.Now()
				if _, err := w.walk(w.planned(t, at(policy.Encrypted, "192.0.2.1"))).next(ctx); err == nil {
					t.Error("no error")
				}
				if took := time.Since(start); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
				if len(w.recorded) != 1 {
					t.Errorf("recorded %v", w.recorded)
				}
			})
		})
	}
}

// The end of the context interrupts every step at once, and is not recorded as a failure
// of the host.
func TestDialIsInterrupted(t *testing.T) {
	t.Parallel()
	stall := func(s *server) { s.hear(); s.hear() }
	for name, play := range map[string]script{
		"greeting": stall,
		"EHLO":     func(s *server) { s.say(greeting); s.hear(); stall(s) },
		"handshake": func(s *server) {
			s.say(greeting)
			s.answer("250-mx.example.net\r\n250 STARTTLS\r\n")
			s.answer("220 go ahead\r\n")
			io.ReadAll(s.conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(play)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				_, err := w.walk(w.planned(t, at(policy.Opportunistic, "192.0.2.1", "192.0.2.2"))).next(ctx)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(start); took != time.Second {
					t.Errorf("took %v", took)
				}
				if len(w.dialed) != 1 || len(w.recorded) != 0 {
					t.Errorf("dialed %q, recorded %v", w.dialed, w.recorded)
				}
			})
		})
	}
}
