package delivery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
)

// SMTP-32, EAI-8, S1, S2, S7, S8, S9, S26: what a reply means does not depend on its form: with or without text,
// in one line or several, with whatever line end, and with an enhanced status code that
// contradicts it (RFC 5321 section 4.2.1).
func TestRepliesInEveryForm(t *testing.T) {
	t.Parallel()
	forms := []string{
		"%d\r\n", "%d \r\n", "%d\t\r\n", "%d\n", "%d text\n", "%d text\r\r\n", "%d\r\r\n",
		"%d-a\r\n%d b\r\n", "%d-\r\n%d\r\n", "%d-a\n%d-\n%d \n", "%d-a\r\n%d-b\r\n%d\r\n", "250-a\r\n%d b\r\n", "550-a\r\n%d b\r\n",
		"%d 2.0.0 text\r\n", "%d 4.7.1 text\r\n", "%d 5.1.1 text\r\n", "%d 5.7.0 Must issue STARTTLS\r\n", "%d 9.9.9 text\r\n",
		"%d-2.0.0 a\r\n%d 5.1.1 b\r\n", "%d \x00\x1b[2J\xff text\r\n", "%d 5.1.6 <j\xc3\xbcrgen@b\xc3\xbccher.example>\r\n", "%d 250 ok\r\n", "%d " + strings.Repeat("x", 5000) + "\r\n",
		"%d-" + strings.Repeat("-", 300) + "\r\n%d \r\n",
	}
	next := 0 // each combination of the rest has a sixth of the forms in turn
	for _, step := range []string{"greeting", "EHLO", "HELO", "STARTTLS", "EHLO in TLS", "MAIL", "RCPT", "DATA", "."} {
		for _, code := range []int{200, 251, 299, 354, 421, 452, 499, 500, 521, 530, 551, 552, 599} {
			for _, level := range []policy.Level{policy.Opportunistic, policy.Authenticated} {
				if step == "STARTTLS" && code == 220 || step == "HELO" && level > policy.Opportunistic {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					plain := outcomeOf(t, step, level, fmt.Sprintf("%d text\r\n", code))
					next++
					for i, form := range forms {
						if (i+next)%6 != 0 {
							continue
						}
						reply := strings.ReplaceAll(form, "%d", fmt.Sprint(code))
						if step == "STARTTLS" && strings.Contains(form, "50-") {
							continue // several codes are an injection there (S22)
						}
						if got := outcomeOf(t, step, level, reply); got != plain {
							t.Errorf("%s, %v, %.40q: %s; the plain reply: %s", step, level, reply, got, plain)
						}
					}
				})
			}
		}
	}
}

// outcomeOf returns what became of the message, and what both hosts heard, after a reply
// of the first host at a step.
func outcomeOf(t *testing.T, step string, level policy.Level, reply string) string {
	replies := map[string]string{step: reply}
	if step == "HELO" {
		replies["EHLO"] = "500 what?\r\n"
	}
	play := func(s *server) {
		if step == "greeting" {
			s.say(reply)
			s.serve(nil)
			return
		}
		s.say(greeting)
		s.serve(replies)
	}
	if level == policy.Authenticated || step == "STARTTLS" || step == "EHLO in TLS" {
		inTLS := map[string]string{step: reply, "EHLO": "250 mx\r\n"}
		if step == "EHLO in TLS" {
			inTLS["EHLO"] = reply
		}
		play = func(s *server) {
			if step == "greeting" {
				s.say(reply)
			} else {
				s.say(greeting)
			}
			inClear := map[string]string{"EHLO": "250-mx\r\n250 STARTTLS\r\n", "STARTTLS": "220 go\r\n"}
			if step == "EHLO" || step == "STARTTLS" {
				inClear[step] = reply
			}
			for {
				line, ok := s.hear()
				verb, _, _ := strings.Cut(line, " ")
				switch said, special := inClear[verb]; {
				case !ok:
					return
				case special:
					s.say(said)
				case verb == "DATA":
					s.say("354 go\r\n")
					s.message()
					s.say("250 taken\r\n")
				default:
					s.say("250 ok\r\n")
				}
				if verb == "STARTTLS" && inClear[verb] == "220 go\r\n" {
					if s.handshake(certificates().good) {
						s.serve(inTLS)
					}
					return
				}
			}
		}
	}
	w := newWorld(map[string][]script{"192.0.2.1": {play}, "192.0.2.2": {withTLS(certificates().good)}})
	d := w.dialer()
	d.Resolver = w.published(t, at(level, "192.0.2.1"), at(level, "192.0.2.2"))
	_, err := d.Send(t.Context(), mailOf(letter, "x@example.org"))
	var failed *SendError
	outcome := "delivered"
	if errors.As(err, &failed) {
		u := failed.Undelivered[0]
		outcome = fmt.Sprintf("permanent %v, unknown %v, code %d", u.Err.Permanent, u.OutcomeUnknown, u.Err.Code())
		if text := err.Error(); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) || len(text) > 4096 {
			t.Errorf("error %q", text)
		}
		if status := u.Err.EnhancedCode(); status[0] != u.Err.Code()/100 {
			t.Errorf("status %v of %d", status, u.Err.Code())
		}
	}
	return fmt.Sprintf("%s; %s; %s", outcome, verbs(w.said("192.0.2.1")), verbs(w.said("192.0.2.2")))
}
