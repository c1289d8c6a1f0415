package delivery

import (
	"fmt"
	"iter"
	"testing"
)

// cases yields every step with every event in all circumstances.
func cases() iter.Seq2[ruled, ruling] {
	return func(yield func(ruled, ruling) bool) {
		events := []event{lost, timedOut, garbage, notOffered, completed, unverified, incapable, alerted}
		for code := 200; code <= 599; code++ {
			events = append(events, event(code))
		}
		for s := stepGreeting; s <= stepMessage; s++ {
			for _, e := range events {
				for bits := range 1 << 6 {
					c := circumstances{
						mandatory: bits&1 != 0, requireTLS: bits&2 != 0, inTLS: bits&4 != 0,
						fellBack: bits&8 != 0, afterAccepted: bits&16 != 0, ownLimit: bits&32 != 0,
					}
					if !yield(ruled{s, e, c}, rule(s, e, c)) {
						return
					}
				}
			}
		}
	}
}

type ruled struct {
	step  step
	event event
	circumstances
}

// What must hold for every reply at every step.
func TestEveryRuling(t *testing.T) {
	for _, law := range []struct {
		text   string
		broken func(r ruled, got ruling) bool
	}{
		{"nothing said before verification is permanent where TLS is mandatory, except with RequireTLS", func(r ruled, got ruling) bool {
			return r.step <= stepEHLOInTLS && r.mandatory && !r.requireTLS && got.verdict == permanent
		}},
		{"mail that demands TLS never goes on in clear", func(r ruled, got ruling) bool {
			return r.mandatory && (got.action == sayHELO || got.action == stayClear || got.action == retry)
		}},
		{"HELO follows only a 5yz reply to EHLO", func(r ruled, got ruling) bool {
			return got.action == sayHELO && (r.event.class() != 5 || r.step != stepEHLO && r.step != stepEHLOInTLS)
		}},
		{"no other host is asked once the message has begun", func(r ruled, got ruling) bool {
			return r.step == stepMessage && got.action != decided
		}},
		{"a session that ends in the message leaves the outcome unknown, and no other event does", func(r ruled, got ruling) bool {
			return (got.verdict == unknown) != (r.step == stepMessage && (r.event.class() < 2 || r.event.class() == 3))
		}},
		{"only 5yz replies and missing TLS are permanent", func(r ruled, got ruling) bool {
			return got.verdict == permanent && r.event.class() != 5 && r.event != notOffered && r.event != unverified && r.event != incapable
		}},
		{"a greeting is permanent only by 521, and a reply to EHLO or HELO never", func(r ruled, got ruling) bool {
			return got.verdict == permanent && (r.step == stepGreeting && r.event != 521 || r.step == stepEHLO || r.step == stepHELO || r.step == stepEHLOInTLS && r.event.class() > 0)
		}},
		{"530 in clear is temporary", func(r ruled, got ruling) bool {
			return r.event == 530 && !r.inTLS && r.step >= stepMAIL && got.verdict == permanent
		}},
		{"a session that fell back to cleartext has no permanent failure", func(r ruled, got ruling) bool {
			return r.fellBack && !r.mandatory && r.step != stepSTARTTLS && r.step != stepHandshake && got.verdict == permanent
		}},
		{"only a reply of success accepts, and only at MAIL, RCPT and the end of the message", func(r ruled, got ruling) bool {
			return got.verdict == accepted && (r.event.class() != 2 || r.step != stepMAIL && r.step != stepRCPT && r.step != stepMessage)
		}},
		{"a step is passed only by its own replies", func(r ruled, got ruling) bool {
			want := r.event.class() == 2
			switch r.step {
			case stepSTARTTLS:
				want = r.event == 220
			case stepHandshake:
				want = r.event == completed
			case stepDATA:
				want = r.event.class() == 3
			case stepMessage:
				want = false
			}
			return (got.action == proceed) != want
		}},
		{"421 and silence end the session", func(r ruled, got ruling) bool {
			return got.alive && (r.event == 421 || r.event == lost || r.event == timedOut || r.event == garbage)
		}},
		{"another transaction is for recipients that came after an accepted one", func(r ruled, got ruling) bool {
			return got.action == again && (r.step != stepRCPT || !r.afterAccepted || r.event != 452 && r.event != 552)
		}},
		{"an action that goes on has no failure with it", func(r ruled, got ruling) bool {
			goesOn := got.action == proceed || got.action == sayHELO || got.action == stayClear || got.action == retry
			return goesOn && got.verdict != pending && got.verdict != accepted
		}},
		{"a report counts missing TLS only at STARTTLS, and failed TLS only at the handshake or instead of it", func(r ruled, got ruling) bool {
			begun := r.step == stepHandshake || r.step == stepEHLOInTLS || r.step == stepSTARTTLS && r.event.class() == 0 && r.event != notOffered
			return got.result == noTLS && r.step != stepSTARTTLS || got.result == failedTLS && !begun
		}},
		{"a report does not count silence as a failure, nor 421", func(r ruled, got ruling) bool {
			return (r.event == timedOut || r.event == 421 && r.step == stepSTARTTLS) && (got.result == noTLS || got.result == failedTLS)
		}},
	} {
		t.Run(law.text, func(t *testing.T) {
			for r, got := range cases() {
				if law.broken(r, got) {
					t.Fatalf("%+v: %+v", r, got)
				}
			}
		})
	}
}

// The rows that the decisions name.
func TestRulings(t *testing.T) {
	var (
		open   = circumstances{}
		must   = circumstances{mandatory: true}
		strict = circumstances{mandatory: true, requireTLS: true}
		inTLS  = circumstances{mandatory: true, inTLS: true}
		back   = circumstances{fellBack: true}
		second = circumstances{inTLS: true, afterAccepted: true}
		full   = circumstances{inTLS: true, afterAccepted: true, ownLimit: true}
	)
	for _, tt := range []struct {
		step    step
		event   event
		c       circumstances
		action  action
		verdict verdict
		result  result
	}{
		// Before TLS, and S26
		{stepGreeting, 220, must, proceed, pending, notCounted},
		{stepGreeting, 421, open, tryNext, temporary, notCounted},
		{stepGreeting, 554, open, tryNext, temporary, notCounted},
		{stepGreeting, 554, must, tryNext, temporary, notCounted},
		{stepGreeting, 521, open, tryNext, permanent, notCounted},
		{stepGreeting, 521, must, tryNext, temporary, notCounted},
		{stepGreeting, 521, strict, tryNext, temporary, notCounted},
		{stepGreeting, 521, back, tryNext, temporary, notCounted},
		{stepGreeting, lost, open, tryNext, temporary, notCounted},
		{stepGreeting, garbage, open, tryNext, temporary, notCounted},
		// HELO, and S2
		{stepEHLO, 450, open, tryNext, temporary, notCounted},
		{stepEHLO, 421, open, tryNext, temporary, notCounted},
		{stepEHLO, 500, open, sayHELO, pending, notCounted},
		{stepEHLO, 502, open, sayHELO, pending, notCounted},
		{stepEHLO, 550, must, tryNext, temporary, notCounted},
		{stepEHLO, lost, open, tryNext, temporary, notCounted},
		{stepHELO, 250, open, proceed, pending, notCounted},
		{stepHELO, 450, open, tryNext, temporary, notCounted},
		{stepHELO, 550, open, tryNext, temporary, notCounted},
		// Next host; REQUIRETLS
		{stepSTARTTLS, 454, open, stayClear, pending, noTLS},
		{stepSTARTTLS, 454, must, tryNext, temporary, noTLS},
		{stepSTARTTLS, 454, strict, tryNext, temporary, noTLS},
		{stepSTARTTLS, 502, open, stayClear, pending, noTLS},
		{stepSTARTTLS, 502, must, tryNext, temporary, noTLS},
		{stepSTARTTLS, 502, strict, tryNext, permanent, noTLS},
		{stepSTARTTLS, 421, open, tryNext, temporary, notCounted},
		{stepSTARTTLS, notOffered, open, stayClear, pending, noTLS},
		{stepSTARTTLS, notOffered, must, tryNext, temporary, noTLS},
		{stepSTARTTLS, notOffered, strict, tryNext, permanent, noTLS},
		{stepSTARTTLS, lost, open, retry, pending, failedTLS},
		{stepSTARTTLS, lost, must, tryNext, temporary, failedTLS},
		{stepSTARTTLS, garbage, must, tryNext, temporary, failedTLS},
		{stepSTARTTLS, timedOut, open, retry, pending, notCounted},
		{stepSTARTTLS, timedOut, must, tryNext, temporary, notCounted},
		{stepSTARTTLS, garbage, open, retry, pending, failedTLS}, // S22
		{stepHandshake, completed, must, proceed, pending, notCounted},
		{stepHandshake, lost, open, retry, pending, failedTLS}, // S15, S17
		{stepHandshake, lost, must, tryNext, temporary, failedTLS},
		{stepHandshake, lost, strict, tryNext, temporary, failedTLS},
		{stepHandshake, timedOut, open, retry, pending, notCounted}, // S17
		{stepHandshake, timedOut, strict, tryNext, temporary, notCounted},
		{stepHandshake, unverified, must, tryNext, temporary, failedTLS},
		{stepHandshake, unverified, strict, tryNext, permanent, failedTLS},
		{stepEHLOInTLS, 250, must, proceed, pending, goodTLS},
		{stepHandshake, incapable, must, tryNext, temporary, failedTLS},
		{stepHandshake, incapable, strict, tryNext, permanent, failedTLS}, // S19
		{stepHandshake, alerted, strict, tryNext, temporary, failedTLS},
		{stepEHLOInTLS, alerted, open, retry, pending, failedTLS}, // S16
		{stepEHLOInTLS, alerted, must, tryNext, temporary, failedTLS},
		{stepEHLOInTLS, lost, open, retry, pending, failedTLS},
		{stepEHLOInTLS, lost, must, tryNext, temporary, goodTLS},
		{stepEHLOInTLS, timedOut, open, retry, pending, notCounted},
		{stepEHLOInTLS, timedOut, must, tryNext, temporary, goodTLS},
		{stepEHLOInTLS, 550, must, tryNext, temporary, goodTLS},
		// S7
		{stepMAIL, 250, inTLS, proceed, accepted, notCounted},
		{stepMAIL, 451, inTLS, tryNext, temporary, notCounted},
		{stepMAIL, 550, inTLS, decided, permanent, notCounted},
		{stepMAIL, lost, inTLS, tryNext, temporary, notCounted},
		{stepRCPT, 450, inTLS, tryNext, temporary, notCounted},
		{stepRCPT, 550, inTLS, decided, permanent, notCounted},
		{stepDATA, 354, inTLS, proceed, pending, notCounted},
		{stepDATA, 451, inTLS, tryNext, temporary, notCounted},
		{stepDATA, 554, inTLS, decided, permanent, notCounted},
		{stepDATA, 250, inTLS, tryNext, temporary, notCounted},
		// S8
		{stepMAIL, 530, open, tryNext, temporary, notCounted},
		{stepMAIL, 530, inTLS, decided, permanent, notCounted},
		{stepMAIL, 550, back, tryNext, temporary, notCounted},
		{stepRCPT, 550, back, tryNext, temporary, notCounted},
		{stepRCPT, 550, open, decided, permanent, notCounted},
		{stepDATA, 554, back, tryNext, temporary, notCounted},
		{stepMessage, 554, back, decided, temporary, notCounted},
		{stepMessage, 530, open, decided, temporary, notCounted},
		// S9, and 452
		{stepRCPT, 552, second, again, temporary, notCounted},
		{stepRCPT, 552, full, decided, permanent, notCounted},
		{stepRCPT, 552, inTLS, decided, permanent, notCounted},
		{stepRCPT, 452, second, again, temporary, notCounted},
		{stepRCPT, 452, inTLS, tryNext, temporary, notCounted},
		// S14
		{stepMessage, 250, inTLS, decided, accepted, notCounted},
		{stepMessage, 451, inTLS, decided, temporary, notCounted},
		{stepMessage, 421, inTLS, decided, temporary, notCounted},
		{stepMessage, 550, inTLS, decided, permanent, notCounted},
		{stepMessage, lost, inTLS, decided, unknown, notCounted},
		{stepMessage, 354, inTLS, decided, unknown, notCounted},
		{stepMessage, garbage, inTLS, decided, unknown, notCounted},
	} {
		t.Run(fmt.Sprintf("step %d event %d", tt.step, tt.event), func(t *testing.T) {
			got := rule(tt.step, tt.event, tt.c)
			if got.action != tt.action || got.verdict != tt.verdict || got.result != tt.result {
				t.Errorf("%+v: got %+v, want action %d, verdict %d, result %d", tt.c, got, tt.action, tt.verdict, tt.result)
			}
		})
	}
}
