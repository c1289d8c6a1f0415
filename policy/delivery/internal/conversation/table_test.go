package conversation

import (
	"fmt"
	"iter"
	"testing"
)

// cases yields every step with every event in all circumstances.
func cases() iter.Seq2[ruled, Ruling] {
	return func(yield func(ruled, Ruling) bool) {
		events := []Event{Lost, TimedOut, Garbage, NotOffered, Completed, Unverified, Incapable, Alerted}
		for code := 200; code <= 599; code++ {
			events = append(events, Event(code))
		}
		for s := StepGreeting; s <= StepMessage; s++ {
			for _, e := range events {
				for bits := range 1 << 7 {
					c := Circumstances{
						Mandatory: bits&1 != 0, RequireTLS: bits&2 != 0, InTLS: bits&4 != 0,
						FellBack: bits&8 != 0, AfterAccepted: bits&16 != 0, OwnLimit: bits&32 != 0, Kept: bits&64 != 0,
					}
					if !yield(ruled{s, e, c}, Rule(s, e, c)) {
						return
					}
				}
			}
		}
	}
}

type ruled struct {
	Step  Step
	Event Event
	Circumstances
}

// SMTP-18, SMTP-19: what must hold for every reply at every step.
func TestRulingsOfEveryReply(t *testing.T) {
	for _, law := range []struct {
		text   string
		broken func(r ruled, got Ruling) bool
	}{
		{"nothing said before verification is permanent where TLS is mandatory, except with RequireTLS", func(r ruled, got Ruling) bool {
			return r.Step <= StepEHLOInTLS && r.Mandatory && !r.RequireTLS && got.Verdict == Permanent
		}},
		{"mail that demands TLS never goes on in clear", func(r ruled, got Ruling) bool {
			return r.Mandatory && (got.Action == SayHELO || got.Action == StayClear || got.Action == Retry)
		}},
		{"HELO follows only a 5yz reply to EHLO", func(r ruled, got Ruling) bool {
			return got.Action == SayHELO && (r.Event.Class() != 5 || r.Step != StepEHLO && r.Step != StepEHLOInTLS)
		}},
		{"no other host is asked once the message has begun", func(r ruled, got Ruling) bool {
			return r.Step == StepMessage && got.Action != Decided
		}},
		{"a session that ends in the message leaves the outcome unknown, and no other event does", func(r ruled, got Ruling) bool {
			return (got.Verdict == Unknown) != (r.Step == StepMessage && (r.Event.Class() < 2 || r.Event.Class() == 3))
		}},
		{"only 5yz replies and missing TLS are permanent", func(r ruled, got Ruling) bool {
			return got.Verdict == Permanent && r.Event.Class() != 5 && r.Event != NotOffered && r.Event != Unverified && r.Event != Incapable
		}},
		{"a greeting is permanent only by 521, and a reply to EHLO or HELO never", func(r ruled, got Ruling) bool {
			return got.Verdict == Permanent && (r.Step == StepGreeting && r.Event != 521 || r.Step == StepEHLO || r.Step == StepHELO || r.Step == StepEHLOInTLS && r.Event.Class() > 0)
		}},
		{"530 in clear is temporary", func(r ruled, got Ruling) bool {
			return r.Event == 530 && !r.InTLS && r.Step >= StepMAIL && got.Verdict == Permanent
		}},
		{"a session that fell back to cleartext has no permanent failure", func(r ruled, got Ruling) bool {
			return r.FellBack && !r.Mandatory && r.Step != StepSTARTTLS && r.Step != StepHandshake && got.Verdict == Permanent
		}},
		{"only a reply of success accepts, and only at MAIL, RCPT and the end of the message", func(r ruled, got Ruling) bool {
			return got.Verdict == Accepted && (r.Event.Class() != 2 || r.Step != StepMAIL && r.Step != StepRCPT && r.Step != StepMessage)
		}},
		{"a step is passed only by its own replies", func(r ruled, got Ruling) bool {
			want := r.Event.Class() == 2
			switch r.Step {
			case StepSTARTTLS:
				want = r.Event == 220
			case StepHandshake:
				want = r.Event == Completed
			case StepDATA:
				want = r.Event.Class() == 3
			case StepMessage:
				want = false
			}
			return (got.Action == Proceed) != want
		}},
		{"421 and silence end the session", func(r ruled, got Ruling) bool {
			return got.Alive && (r.Event == 421 || r.Event == Lost || r.Event == TimedOut || r.Event == Garbage)
		}},
		{"another transaction is for recipients that came after an accepted one", func(r ruled, got Ruling) bool {
			return got.Action == Again && (r.Step != StepRCPT || !r.AfterAccepted || r.Event != 452 && r.Event != 552)
		}},
		{"a new connection to the same address is for what a session that was kept says before the message, and never hides a permanent failure", func(r ruled, got Ruling) bool {
			fresh := r
			fresh.Kept = false
			redials := got.Action == Redial
			return redials && (!r.Kept || r.Step < StepMAIL || r.Step == StepMessage || r.Event == TimedOut || r.Event.Class() == 2 || r.Event.Class() == 5 && r.Event != 503) ||
				!redials && got != Rule(r.Step, r.Event, fresh.Circumstances)
		}},
		{"an action that goes on has no failure with it", func(r ruled, got Ruling) bool {
			goesOn := got.Action == Proceed || got.Action == SayHELO || got.Action == StayClear || got.Action == Retry || got.Action == Redial
			return goesOn && got.Verdict != Pending && got.Verdict != Accepted
		}},
		{"what continues on the connection needs one that is alive", func(r ruled, got Ruling) bool {
			sameConnection := got.Action == Proceed || got.Action == SayHELO || got.Action == StayClear || got.Action == Again
			return sameConnection && !got.Alive
		}},
		{"a report counts missing TLS only at STARTTLS, and failed TLS only at the handshake or instead of it", func(r ruled, got Ruling) bool {
			begun := r.Step == StepHandshake || r.Step == StepEHLOInTLS || r.Step == StepSTARTTLS && r.Event.Class() == 0 && r.Event != NotOffered
			return got.Result == NoTLS && r.Step != StepSTARTTLS || got.Result == FailedTLS && !begun
		}},
		{"a report does not count silence as a failure, nor 421", func(r ruled, got Ruling) bool {
			return (r.Event == TimedOut || r.Event == 421 && r.Step == StepSTARTTLS) && (got.Result == NoTLS || got.Result == FailedTLS)
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

// The rulings that the decisions name.
func TestRulingsOfDecisions(t *testing.T) {
	var (
		open   = Circumstances{}
		must   = Circumstances{Mandatory: true}
		strict = Circumstances{Mandatory: true, RequireTLS: true}
		inTLS  = Circumstances{Mandatory: true, InTLS: true}
		back   = Circumstances{FellBack: true}
		second = Circumstances{InTLS: true, AfterAccepted: true}
		full   = Circumstances{InTLS: true, AfterAccepted: true, OwnLimit: true}
		kept   = Circumstances{InTLS: true, Kept: true}
	)
	for _, tt := range []struct {
		Step    Step
		Event   Event
		c       Circumstances
		Action  Action
		Verdict Verdict
		Result  Result
	}{
		// Before TLS, and S26
		{StepGreeting, 220, must, Proceed, Pending, NotCounted},
		{StepGreeting, 421, open, TryNext, Temporary, NotCounted},
		{StepGreeting, 554, open, TryNext, Temporary, NotCounted},
		{StepGreeting, 554, must, TryNext, Temporary, NotCounted},
		{StepGreeting, 521, open, TryNext, Permanent, NotCounted},
		{StepGreeting, 521, must, TryNext, Temporary, NotCounted},
		{StepGreeting, 521, strict, TryNext, Temporary, NotCounted},
		{StepGreeting, 521, back, TryNext, Temporary, NotCounted},
		{StepGreeting, Lost, open, TryNext, Temporary, NotCounted},
		{StepGreeting, Garbage, open, TryNext, Temporary, NotCounted},
		// HELO, and S2
		{StepEHLO, 450, open, TryNext, Temporary, NotCounted},
		{StepEHLO, 421, open, TryNext, Temporary, NotCounted},
		{StepEHLO, 500, open, SayHELO, Pending, NotCounted},
		{StepEHLO, 502, open, SayHELO, Pending, NotCounted},
		{StepEHLO, 550, must, TryNext, Temporary, NotCounted},
		{StepEHLO, Lost, open, TryNext, Temporary, NotCounted},
		{StepHELO, 250, open, Proceed, Pending, NotCounted},
		{StepHELO, 450, open, TryNext, Temporary, NotCounted},
		{StepHELO, 550, open, TryNext, Temporary, NotCounted},
		// Next host; REQUIRETLS
		{StepSTARTTLS, 454, open, StayClear, Pending, NoTLS},
		{StepSTARTTLS, 454, must, TryNext, Temporary, NoTLS},
		{StepSTARTTLS, 454, strict, TryNext, Temporary, NoTLS},
		{StepSTARTTLS, 502, open, StayClear, Pending, NoTLS},
		{StepSTARTTLS, 502, must, TryNext, Temporary, NoTLS},
		{StepSTARTTLS, 502, strict, TryNext, Permanent, NoTLS},
		{StepSTARTTLS, 421, open, TryNext, Temporary, NotCounted},
		{StepSTARTTLS, NotOffered, open, StayClear, Pending, NoTLS},
		{StepSTARTTLS, NotOffered, must, TryNext, Temporary, NoTLS},
		{StepSTARTTLS, NotOffered, strict, TryNext, Permanent, NoTLS},
		{StepSTARTTLS, Lost, open, Retry, Pending, FailedTLS},
		{StepSTARTTLS, Lost, must, TryNext, Temporary, FailedTLS},
		{StepSTARTTLS, Garbage, must, TryNext, Temporary, FailedTLS},
		{StepSTARTTLS, TimedOut, open, Retry, Pending, NotCounted},
		{StepSTARTTLS, TimedOut, must, TryNext, Temporary, NotCounted},
		{StepSTARTTLS, Garbage, open, Retry, Pending, FailedTLS}, // S22
		{StepHandshake, Completed, must, Proceed, Pending, NotCounted},
		{StepHandshake, Lost, open, Retry, Pending, FailedTLS}, // S15, S17
		{StepHandshake, Lost, must, TryNext, Temporary, FailedTLS},
		{StepHandshake, Lost, strict, TryNext, Temporary, FailedTLS},
		{StepHandshake, TimedOut, open, Retry, Pending, NotCounted}, // S17
		{StepHandshake, TimedOut, strict, TryNext, Temporary, NotCounted},
		{StepHandshake, Unverified, must, TryNext, Temporary, FailedTLS},
		{StepHandshake, Unverified, strict, TryNext, Permanent, FailedTLS},
		{StepEHLOInTLS, 250, must, Proceed, Pending, GoodTLS},
		{StepHandshake, Incapable, must, TryNext, Temporary, FailedTLS},
		{StepHandshake, Incapable, strict, TryNext, Permanent, FailedTLS}, // S19
		{StepHandshake, Alerted, strict, TryNext, Temporary, FailedTLS},
		{StepEHLOInTLS, Alerted, open, Retry, Pending, FailedTLS}, // S16
		{StepEHLOInTLS, Alerted, must, TryNext, Temporary, FailedTLS},
		{StepEHLOInTLS, Lost, open, Retry, Pending, FailedTLS},
		{StepEHLOInTLS, Lost, must, TryNext, Temporary, GoodTLS},
		{StepEHLOInTLS, TimedOut, open, Retry, Pending, NotCounted},
		{StepEHLOInTLS, TimedOut, must, TryNext, Temporary, GoodTLS},
		{StepEHLOInTLS, 550, must, TryNext, Temporary, GoodTLS},
		// S7
		{StepMAIL, 250, inTLS, Proceed, Accepted, NotCounted},
		{StepMAIL, 451, inTLS, TryNext, Temporary, NotCounted},
		{StepMAIL, 550, inTLS, Decided, Permanent, NotCounted},
		{StepMAIL, Lost, inTLS, TryNext, Temporary, NotCounted},
		{StepRCPT, 450, inTLS, TryNext, Temporary, NotCounted},
		{StepRCPT, 550, inTLS, Decided, Permanent, NotCounted},
		{StepDATA, 354, inTLS, Proceed, Pending, NotCounted},
		{StepDATA, 451, inTLS, TryNext, Temporary, NotCounted},
		{StepDATA, 554, inTLS, Decided, Permanent, NotCounted},
		{StepDATA, 250, inTLS, TryNext, Temporary, NotCounted},
		// Pool
		{StepMAIL, 250, kept, Proceed, Accepted, NotCounted},
		{StepMAIL, 421, kept, Redial, Pending, NotCounted},
		{StepMAIL, 451, kept, Redial, Pending, NotCounted},
		{StepMAIL, 452, kept, Redial, Pending, NotCounted},
		{StepMAIL, 503, kept, Redial, Pending, NotCounted},
		{StepMAIL, 550, kept, Decided, Permanent, NotCounted},
		{StepMAIL, Lost, kept, Redial, Pending, NotCounted},
		{StepMAIL, TimedOut, kept, TryNext, Temporary, NotCounted},
		{StepRCPT, 451, kept, TryNext, Temporary, NotCounted},
		{StepRCPT, 421, kept, Redial, Pending, NotCounted},
		{StepRCPT, Lost, kept, Redial, Pending, NotCounted},
		{StepDATA, 451, kept, TryNext, Temporary, NotCounted},
		{StepDATA, Lost, kept, Redial, Pending, NotCounted},
		{StepMessage, Lost, kept, Decided, Unknown, NotCounted},
		// S8
		{StepMAIL, 530, open, TryNext, Temporary, NotCounted},
		{StepMAIL, 530, inTLS, Decided, Permanent, NotCounted},
		{StepMAIL, 550, back, TryNext, Temporary, NotCounted},
		{StepRCPT, 550, back, TryNext, Temporary, NotCounted},
		{StepRCPT, 550, open, Decided, Permanent, NotCounted},
		{StepDATA, 554, back, TryNext, Temporary, NotCounted},
		{StepMessage, 554, back, Decided, Temporary, NotCounted},
		{StepMessage, 530, open, Decided, Temporary, NotCounted},
		// S9, and 452
		{StepRCPT, 552, second, Again, Temporary, NotCounted},
		{StepRCPT, 552, full, Decided, Permanent, NotCounted},
		{StepRCPT, 552, inTLS, Decided, Permanent, NotCounted},
		{StepRCPT, 452, second, Again, Temporary, NotCounted},
		{StepRCPT, 452, inTLS, TryNext, Temporary, NotCounted},
		// S14
		{StepMessage, 250, inTLS, Decided, Accepted, NotCounted},
		{StepMessage, 451, inTLS, Decided, Temporary, NotCounted},
		{StepMessage, 421, inTLS, Decided, Temporary, NotCounted},
		{StepMessage, 550, inTLS, Decided, Permanent, NotCounted},
		{StepMessage, Lost, inTLS, Decided, Unknown, NotCounted},
		{StepMessage, 354, inTLS, Decided, Unknown, NotCounted},
		{StepMessage, Garbage, inTLS, Decided, Unknown, NotCounted},
	} {
		t.Run(fmt.Sprintf("step %d event %d", tt.Step, tt.Event), func(t *testing.T) {
			got := Rule(tt.Step, tt.Event, tt.c)
			if got.Action != tt.Action || got.Verdict != tt.Verdict || got.Result != tt.Result {
				t.Errorf("%+v: got %+v, want action %d, verdict %d, result %d", tt.c, got, tt.Action, tt.Verdict, tt.Result)
			}
		})
	}
}
