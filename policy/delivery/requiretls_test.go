package delivery

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// requireTLSHosts are hosts by what becomes of mail with RequireTLS there: "sent",
// "permanent" or "temporary" (decision on RFC 8689 section 4.2.1).
var requireTLSHosts = map[string]struct {
	outcome string
	play    script
}{
	"offers all":            {"sent", tlsThen(certificates().good, map[string]string{"EHLO": "250-mx\r\n250 RequireTls\r\n"})},
	"offers it with a text": {"sent", tlsThen(certificates().good, map[string]string{"EHLO": "250-mx\r\n250 REQUIRETLS x\r\n"})},
	"no STARTTLS":           {"permanent", offering("SIZE")},
	"500 to STARTTLS":       {"permanent", refusing("500 what?\r\n")},
	"501 to STARTTLS":       {"permanent", refusing("501\r\n")},
	"554 to STARTTLS":       {"permanent", refusing("554-no\r\n554 no\r\n")},
	"wrong certificate":     {"permanent", withTLS(certificates().unknown)},
	"handshake_failure":     {"permanent", alerting(21, 3, 3, 0, 2, 2, 40)},
	"protocol_version":      {"permanent", alerting(21, 3, 3, 0, 2, 2, 70)},
	"insufficient_security": {"permanent", alerting(21, 3, 3, 0, 2, 2, 71)},
	"warns and closes":      {"temporary", alerting(21, 3, 3, 0, 2, 1, 0)},
	"old TLS only":          {"permanent", speaking(&tls.Config{Certificates: []tls.Certificate{certificates().good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})},
	"no REQUIRETLS":         {"permanent", withTLS(certificates().good)},
	"offers it in clear only": {"permanent", func(s *server) {
		s.say(greeting)
		s.answer("250-mx\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n")
		s.answer("220 go\r\n")
		if s.handshake(certificates().good) {
			s.serve(nil)
		}
	}},
	"454 to STARTTLS":   {"temporary", refusing("454 later\r\n")},
	"421 to STARTTLS":   {"temporary", refusing("421 bye\r\n")},
	"250 to STARTTLS":   {"temporary", refusing("250 ok\r\n")},
	"internal_error":    {"temporary", alerting(21, 3, 3, 0, 2, 2, 80)},
	"no alert":          {"temporary", alerting()},
	"is silent in TLS":  {"temporary", stallingAt("TLS")},
	"no connection":     {"temporary", nil},
	"521 greeting":      {"temporary", func(s *server) { s.say("521 no mail\r\n"); s.hear() }},
	"554 greeting":      {"temporary", func(s *server) { s.say("554 no\r\n"); s.hear() }},
	"500 to EHLO":       {"temporary", answering(map[string]string{"EHLO": "500 what?\r\n"})},
	"500 to EHLO later": {"temporary", tlsThen(certificates().good, map[string]string{"EHLO": "500 what?\r\n"})},
}

// S19, S21, REQ-10 to REQ-12: with RequireTLS the failure is permanent if every host lacks
// what the mail requires. A bounce needs the same session, but not the extension, and its
// failure is never permanent.
func TestS19EveryPairOfHosts(t *testing.T) {
	t.Parallel()
	for first, one := range requireTLSHosts {
		for second, two := range requireTLSHosts {
			if second < first {
				continue
			}
			t.Run(first+", "+second, func(t *testing.T) {
				want := "temporary"
				switch {
				case one.outcome == "sent" || two.outcome == "sent":
					want = "sent"
				case one.outcome == "permanent" && two.outcome == "permanent":
					want = "permanent"
				}
				if got := pairOutcome(t, "s@example.net", one.play, two.play); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				ofBounce := func(name, outcome string) string {
					if outcome == "sent" || name == "no REQUIRETLS" || name == "offers it in clear only" {
						return "sent"
					}
					return "temporary"
				}
				want = min(ofBounce(first, one.outcome), ofBounce(second, two.outcome))
				if got := pairOutcome(t, "", one.play, two.play); got != want {
					t.Errorf("a bounce: got %s, want %s", got, want)
				}
			})
		}
	}
}

// pairOutcome returns what becomes of mail with RequireTLS for a domain with two hosts.
func pairOutcome(t *testing.T, from string, one, two script) (outcome string) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(time.Hour) // until the servers have given up
		w := newWorld(make(map[string][]script))
		for addr, play := range map[string]script{"192.0.2.1": one, "192.0.2.2": two} {
			if play != nil {
				w.scripts[addr] = []script{play}
			}
		}
		d := w.dialer()
		d.Resolver = w.published(t, at(policy.Authenticated, "192.0.2.1"), at(policy.Authenticated, "192.0.2.2"))
		err := d.SendMail(t.Context(), from, []string{"x@example.org"}, []byte(letter), policy.RequireTLS())
		for _, addr := range []string{"192.0.2.1", "192.0.2.2"} {
			mail, _, _ := strings.Cut(w.commands(addr), "|")
			if mail != "" && from != "" && !strings.HasSuffix(mail, " REQUIRETLS") {
				t.Errorf("%q without REQUIRETLS", mail)
			}
		}
		var failed *SendError
		switch {
		case err == nil:
			outcome = "sent"
		case errors.As(err, &failed) && failed.Undelivered[0].Err.Permanent:
			outcome = "permanent"
			if status := failed.Undelivered[0].Err.Status; status != "5.7.10" && status != "5.7.30" {
				t.Errorf("status %s", status)
			}
		default:
			outcome = "temporary"
		}
	})
	return outcome
}
