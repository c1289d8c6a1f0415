package delivery

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// S7, S8, S9, S14, S25: another SMTP client over Sessions gets the same outcome as Send,
// whatever the servers do at each step of a transaction: who got the message, whether the
// failure is permanent, and whether the outcome is unknown.
func TestSessionsAgreeWithSend(t *testing.T) {
	t.Parallel()
	reactions := map[string]end{}
	for _, how := range ends {
		if !strings.Contains(how.name, "alert") && how.name != "drips" && how.name != "never ends its reply" {
			reactions[how.name] = how
		}
	}
	for _, reply := range []string{
		"200 ok", "251", "299 5.1.1 ok", "300 what", "354 go", "399", "400", "421 bye", "421-\r\n421", "450 4.2.1 later", "451", "452 4.5.3 full", "499 5.0.0 x",
		"500", "503 5.5.1 no", "521 no", "530 5.7.0 STARTTLS first", "535 5.7.8 no", "550 5.1.1 nobody", "550-5.7.1 a\r\n550 5.7.1 b", "552 5.2.2 full", "552", "554 4.7.1 x", "599",
	} {
		reactions["says "+reply] = end{does: func(s *server, _ io.Writer) {
			s.say(reply + "\r\n")
			if strings.HasPrefix(reply, "421") {
				return
			}
			if strings.HasPrefix(reply, "3") {
				for line, ok := s.hear(); ok && line != "."; line, ok = s.hear() {
				}
			}
			s.serve(nil)
		}}
	}
	for name, how := range reactions {
		for _, step := range []string{"MAIL", "RCPT", "DATA", "."} {
			for _, session := range []string{"in TLS", "in cleartext", "in cleartext after TLS failed"} {
				t.Run(fmt.Sprintf("%s at %s, %s", name, step, session), func(t *testing.T) {
					play := []script{endingAt(session == "in TLS", step, how)}
					if session == "in cleartext after TLS failed" {
						cutOff := func(s *server) {
							s.say(greeting)
							s.answer("250-mx\r\n250 STARTTLS\r\n")
							s.answer("220 go\r\n")
						}
						play = []script{cutOff, cutOff, endingAt(false, step, how)}
					}
					if bySend, bySessions := outcomes(t, play); bySend != bySessions {
						t.Errorf("Send: %s; Sessions: %s", bySend, bySessions)
					}
				})
			}
		}
	}
}

// outcomes returns what becomes of mail for a domain with two hosts, the second of which
// takes everything.
func outcomes(t *testing.T, first []script) (bySend, bySessions string) {
	describe := func(host string, failure *policy.Error, unknown bool) string {
		if failure == nil {
			return "delivered by " + host
		}
		return fmt.Sprintf("permanent %v, unknown %v, %d %s", failure.Permanent, unknown, failure.Code(), failure.Status)
	}
	with := func(send func(t *testing.T, d *Dialer) string) (outcome string) {
		synctest.Test(t, func(t *testing.T) {
			defer time.Sleep(24 * time.Hour) // until the servers have given up
			w := newWorld(map[string][]script{"192.0.2.1": slices.Clone(first), "192.0.2.2": {withTLS(certificates().good)}})
			outcome = send(t, w.sessionsDialer(t, at(policy.Opportunistic, "192.0.2.1"), at(policy.Opportunistic, "192.0.2.2")))
		})
		return outcome
	}
	bySend = with(func(t *testing.T, d *Dialer) string {
		result, err := d.Send(t.Context(), mailOf(letter, "x@example.org"))
		var failed *SendError
		if errors.As(err, &failed) {
			return describe("", failed.Undelivered[0].Err, failed.Undelivered[0].OutcomeUnknown)
		}
		return describe(result.Delivered[0].Host.Name, nil, false)
	})
	bySessions = with(func(t *testing.T, d *Dialer) string {
		for session, err := range d.Sessions(t.Context(), "example.org") {
			if err != nil {
				return err.Error()
			}
			failure := session.Failure(sendOver(session.NetConn()))
			if failure == nil {
				return describe(session.Host.Name, nil, false)
			}
			if !failure.NextHost {
				return describe("", failure.Err, failure.OutcomeUnknown)
			}
		}
		return "no answer"
	})
	return bySend, bySessions
}
