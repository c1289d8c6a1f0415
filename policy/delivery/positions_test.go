package delivery

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
)

// S7, S9, PIPE-2: every combination of replies to three recipients, with PIPELINING and without:
// those whom the first host accepts get the message there, and those whom it refuses for
// good get none. The others get it from the second host, unless another transaction at
// the first has an answer for them.
func TestRepliesAtEveryPosition(t *testing.T) {
	t.Parallel()
	replies := []string{"250 ok", "450 4.2.1 later", "550 5.1.1 nobody", "452 4.5.3 too many", "552 too many", "552 5.2.2 full", "421 bye"}
	for _, a := range replies {
		for _, b := range replies {
			for _, c := range replies {
				for _, grouped := range []bool{false, true} {
					said := []string{a, b, c}
					synctest.Test(t, func(t *testing.T) {
						got, want := positions(t, said, grouped), expectedAt(said)
						if !slices.Equal(got, want) {
							t.Errorf("%q, PIPELINING %v: %q, want %q", said, grouped, got, want)
						}
					})
				}
			}
		}
	}
}

// positions returns what becomes of three recipients: "first", "second", or a code.
func positions(t *testing.T, replies []string, grouped bool) []string {
	play := func(s *server) {
		s.say(greeting)
		accepted := 0
		for line, ok := s.hear(); ok; line, ok = s.hear() {
			verb, _, _ := strings.Cut(line, " ")
			reply := "250 ok\r\n"
			switch verb {
			case "EHLO":
				if grouped {
					reply = offers("PIPELINING")
				}
			case "MAIL":
				accepted = 0
			case "RCPT":
				reply = replies[line[len("RCPT TO:<")]-'a'] + "\r\n"
				if reply[0] == '2' {
					accepted++
				}
			case "DATA":
				if reply = "503 no recipients\r\n"; accepted > 0 {
					s.say("354 go\r\n")
					s.message()
					reply = "250 taken\r\n"
				}
			}
			s.say(reply)
			if strings.HasPrefix(reply, "421") {
				return
			}
		}
	}
	w := newWorld(map[string][]script{"192.0.2.1": {play}, "192.0.2.2": {inClearOnly}})
	d := w.dialer()
	d.Resolver = w.published(t, at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2"))
	outcomes := make(map[string]string)
	note := func(to, outcome string) { outcomes[to] += outcome }
	result, err := d.Send(t.Context(), mailOf(letter, "a@example.org", "b@example.org", "c@example.org"))
	for _, delivery := range result.Delivered {
		for _, to := range delivery.Recipients {
			note(to, map[string]string{"mx.example.net": "first", "mx1.example.net": "second"}[delivery.Host.Name])
		}
	}
	for _, line := range failures(t, err) {
		to, failure, _ := strings.Cut(line, ": ")
		code, _, _ := strings.Cut(failure, " ")
		for _, each := range strings.Fields(to) {
			note(each, code)
		}
	}
	return []string{outcomes["a@example.org"], outcomes["b@example.org"], outcomes["c@example.org"]}
}

// expectedAt is what should become of the recipients.
func expectedAt(replies []string) []string {
	outcomes := make([]string, len(replies))
	accepted, over := false, slices.IndexFunc(replies, func(r string) bool { return strings.HasPrefix(r, "421") })
	for i, reply := range replies {
		if over >= 0 && i >= over {
			outcomes[i] = "second"
			continue
		}
		switch code, _, _ := strings.Cut(reply, " "); code {
		case "250":
			accepted = true
			outcomes[i] = "first"
			if over >= 0 {
				outcomes[i] = "second"
			}
		case "550":
			outcomes[i] = code
		case "552":
			outcomes[i] = code // by another transaction, if another one was accepted before
			if accepted && over >= 0 && reply == "552 too many" {
				outcomes[i] = "second"
			}
		default:
			outcomes[i] = "second"
		}
	}
	return outcomes
}
