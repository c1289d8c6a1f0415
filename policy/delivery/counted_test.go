package delivery

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/tlsrpt"
)

// misstep is what a server does at a step instead of the right thing.
type misstep struct {
	step  step
	event event
}

// server is a server that does everything right up to a step.
func (m misstep) server() script {
	say := func(s *server, usual string) bool {
		switch m.event {
		case lost:
			return false
		case timedOut:
			io.Copy(io.Discard, s.conn)
			return false
		case garbage:
			usual = "what?\r\n"
		default:
			usual = fmt.Sprintf("%d 4.3.0 so\r\n", m.event)
		}
		s.say(usual)
		return true
	}
	return func(s *server) {
		answer := func(at step, usual string) bool {
			if at == m.step {
				return say(s, usual)
			}
			s.say(usual)
			return true
		}
		offers := "250-mx.example.net\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n"
		if m.event == notOffered {
			offers = "250 mx.example.net\r\n"
		}
		if !answer(stepGreeting, greeting) {
			return
		}
		hello := stepEHLO
		for {
			line, ok := s.hear()
			switch {
			case !ok:
				return
			case line == "EHLO sender.example":
				if !answer(hello, offers) {
					return
				}
			case line == "HELO sender.example":
				s.say("250 mx.example.net\r\n")
			case line == "STARTTLS":
				if !answer(stepSTARTTLS, "220 go ahead\r\n") {
					return
				}
				if m.step == stepSTARTTLS && m.event != 220 {
					continue
				}
				if !m.handshake(s) {
					return
				}
				hello = stepEHLOInTLS
			default:
				s.say("221 bye\r\n")
				return
			}
		}
	}
}

func (m misstep) handshake(s *server) bool {
	cert := certificates().good
	if m.step == stepHandshake {
		s.conn.Read(make([]byte, 5))
		switch m.event {
		case lost:
			return false
		case timedOut:
			io.Copy(io.Discard, s.conn)
			return false
		case garbage:
			s.say("this is no TLS record\r\n")
			return false
		case incapable:
			s.conn.Write([]byte{21, 3, 3, 0, 2, 2, 40})
			return false
		case alerted:
			s.conn.Write([]byte{21, 3, 3, 0, 2, 2, 80})
			return false
		}
	}
	return s.handshake(cert)
}

// What the table says that a report counts is what Host.Attempted counts for any SMTP
// client, and what the Dialer records; what the table says is permanent is what the error
// for the queue says; for what a server does at each step, at each level.
func TestS25TableAgreesWithAttempted(t *testing.T) {
	t.Parallel()
	var missteps []misstep
	for _, s := range []step{stepGreeting, stepEHLO, stepSTARTTLS, stepEHLOInTLS} {
		for _, e := range []event{
			lost, timedOut, garbage, 200, 211, 220, 221, 250, 251, 299, 300, 334, 354, 399, 400, 420, 421, 422, 450, 451, 454, 499, 500, 502, 520, 521, 522, 530,
			535, 550, 554, 599,
		} {
			missteps = append(missteps, misstep{s, e})
		}
	}
	missteps = append(missteps, misstep{stepSTARTTLS, notOffered})
	for _, e := range []event{lost, timedOut, garbage, incapable, alerted} {
		missteps = append(missteps, misstep{stepHandshake, e})
	}
	reached := make(map[misstep]int)
	for _, m := range missteps {
		for _, required := range []bool{false, true} {
			for _, level := range []policy.Level{policy.Opportunistic, policy.Encrypted, policy.Authenticated} {
				if required && level != policy.Authenticated {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					w := oneHost(m.server())
					if required {
						w.options = []policy.Option{policy.RequireTLS()}
					}
					along := w.walk(w.planned(t, at(level, "192.0.2.1")))
					talk, failure := along.connect(t.Context(), along.targets[0], currentTLS)
					where := fmt.Sprintf("step %d, event %d, %v, RequireTLS %v", m.step, m.event, level, required)
					if talk == nil {
						t.Fatalf("%s: %v", where, failure)
					}
					defer talk.conn.Abort()
					if talk.at == m.step {
						reached[m]++
					}
					counted := notCounted
					for _, session := range w.recorded {
						counted = goodTLS
						for _, f := range session.Outcomes[0].Failures {
							counted = failedTLS
							if f.Type == tlsrpt.STARTTLSNotSupported {
								counted = noTLS
							}
						}
					}
					want := talk.last.result
					if talk.at == stepHELO { // what counts is the EHLO before it
						want = rule(m.step, m.event, circumstances{}).result
					}
					if counted != want {
						t.Errorf("%s: recorded as %d, and the table has %d: %v", where, counted, want, talk.err)
					}
					goesOn := talk.last.action == proceed || talk.last.action == stayClear
					switch {
					case goesOn != (failure == nil):
						t.Errorf("%s: the table has action %d, and the error is %v", where, talk.last.action, failure)
					case failure != nil && failure.Permanent != (talk.last.verdict == permanent):
						t.Errorf("%s: the table has verdict %d, and the error is permanent: %v: %v", where, talk.last.verdict, failure.Permanent, failure)
					}
				})
			}
		}
	}
	for _, m := range missteps {
		// HELO follows a 5yz reply to EHLO.
		if passes := m.event.class() == 2 || m.event.class() == 5 && (m.step == stepEHLO || m.step == stepEHLOInTLS); reached[m] == 0 && !passes {
			t.Errorf("no conversation ended at step %d by event %d", m.step, m.event)
		}
	}
}
