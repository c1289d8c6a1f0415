package delivery

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/tlsrpt"
)

// misstep is what a server does at a step instead of the right thing.
type misstep struct {
	step  conversation.Step
	event conversation.Event
}

// server is a server that does everything right up to a step.
func (m misstep) server() script {
	say := func(s *server) bool {
		switch m.event {
		case conversation.Lost:
			return false
		case conversation.TimedOut:
			io.Copy(io.Discard, s.conn)
			return false
		case conversation.Garbage:
			s.say("what?\r\n")
		default:
			s.say(fmt.Sprintf("%d 4.3.0 so\r\n", m.event))
		}
		return true
	}
	return func(s *server) {
		answer := func(at conversation.Step, usual string) bool {
			if at == m.step {
				return say(s)
			}
			s.say(usual)
			return true
		}
		offers := "250-mx.example.net\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n"
		if m.event == conversation.NotOffered {
			offers = "250 mx.example.net\r\n"
		}
		if !answer(conversation.StepGreeting, greeting) {
			return
		}
		hello := conversation.StepEHLO
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
				if !answer(conversation.StepSTARTTLS, "220 go ahead\r\n") {
					return
				}
				if m.step == conversation.StepSTARTTLS && m.event != 220 {
					continue
				}
				if !m.handshake(s) {
					return
				}
				hello = conversation.StepEHLOInTLS
			default:
				s.say("221 bye\r\n")
				return
			}
		}
	}
}

func (m misstep) handshake(s *server) bool {
	cert := certificates().good
	if m.step == conversation.StepHandshake {
		s.conn.Read(make([]byte, 5))
		switch m.event {
		case conversation.Lost:
			return false
		case conversation.TimedOut:
			io.Copy(io.Discard, s.conn)
			return false
		case conversation.Garbage:
			s.say("this is no TLS record\r\n")
			return false
		case conversation.Incapable:
			s.conn.Write([]byte{21, 3, 3, 0, 2, 2, 40})
			return false
		case conversation.Alerted:
			s.conn.Write([]byte{21, 3, 3, 0, 2, 2, 80})
			return false
		}
	}
	return s.handshake(cert)
}

// For each thing that a server can do, at each step and level: the table counts for a
// report what Host.Attempted counts for any SMTP client, and what the Dialer records; and
// the error is permanent if the verdict of the table is.
func TestS25TableAgreesWithAttempted(t *testing.T) {
	t.Parallel()
	var missteps []misstep
	for _, s := range []conversation.Step{conversation.StepGreeting, conversation.StepEHLO, conversation.StepSTARTTLS, conversation.StepEHLOInTLS} {
		for _, e := range []conversation.Event{
			conversation.Lost, conversation.TimedOut, conversation.Garbage, 200, 211, 220, 221, 250, 251, 299, 300, 334, 354, 399, 400, 420, 421, 422, 450, 451, 454, 499, 500, 502, 520, 521, 522, 530,
			535, 550, 554, 599,
		} {
			missteps = append(missteps, misstep{s, e})
		}
	}
	missteps = append(missteps, misstep{conversation.StepSTARTTLS, conversation.NotOffered})
	for _, e := range []conversation.Event{conversation.Lost, conversation.TimedOut, conversation.Garbage, conversation.Incapable, conversation.Alerted} {
		missteps = append(missteps, misstep{conversation.StepHandshake, e})
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
					talk, failure := along.connect(t.Context(), along.targets[0], conversation.CurrentTLS, false)
					where := fmt.Sprintf("step %d, event %d, %v, RequireTLS %v", m.step, m.event, level, required)
					if talk == nil {
						t.Fatalf("%s: %v", where, failure)
					}
					defer talk.Conn.Abort()
					if talk.At == m.step {
						reached[m]++
					}
					counted := conversation.NotCounted
					for _, session := range w.recorded {
						counted = conversation.GoodTLS
						for _, f := range session.Outcomes[0].Failures {
							counted = conversation.FailedTLS
							if f.Type == tlsrpt.STARTTLSNotSupported {
								counted = conversation.NoTLS
							}
						}
					}
					want := talk.Last.Result
					if talk.At == conversation.StepHELO { // what counts is the EHLO before it
						want = conversation.Rule(m.step, m.event, conversation.Circumstances{}).Result
					}
					if counted != want {
						t.Errorf("%s: recorded as %d, and the table has %d: %v", where, counted, want, talk.Err)
					}
					goesOn := talk.Last.Action == conversation.Proceed || talk.Last.Action == conversation.StayClear
					switch {
					case goesOn != (failure == nil):
						t.Errorf("%s: the table has action %d, and the error is %v", where, talk.Last.Action, failure)
					case failure != nil && failure.Permanent != (talk.Last.Verdict == conversation.Permanent):
						t.Errorf("%s: the table has verdict %d, and the error is permanent: %v: %v", where, talk.Last.Verdict, failure.Permanent, failure)
					}
				})
			}
		}
	}
	for _, m := range missteps {
		// HELO follows a 5yz reply to EHLO.
		if passes := m.event.Class() == 2 || m.event.Class() == 5 && (m.step == conversation.StepEHLO || m.step == conversation.StepEHLOInTLS); reached[m] == 0 && !passes {
			t.Errorf("no conversation ended at step %d by event %d", m.step, m.event)
		}
	}
}
