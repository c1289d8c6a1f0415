package conversation

import "github.com/mxseal/mxseal/policy/delivery/internal/wire"

// This file is the table of the SMTP conversation: what a reply, or the lack of one, at
// each step means for the connection, the host and the recipients. It is pure; the
// conversation and the transaction follow it and decide nothing else. Two principles
// are behind it: nothing that is said before a session is verified is permanent where
// TLS is mandatory (anyone on the path may have said it), and no recipient gets a
// message twice or loses it to a server's bad moment.

// Step is a step of the conversation.
type Step uint8

const (
	StepGreeting Step = iota
	StepEHLO
	StepHELO
	StepSTARTTLS
	StepHandshake
	StepEHLOInTLS
	StepMAIL
	StepRCPT
	StepDATA
	// StepMessage is everything from the first octet of the message to the reply
	// to its end.
	StepMessage
)

// Event is what a server did at a step: its reply code, or one of the events that are
// not a reply.
type Event int

const (
	// Lost means that the connection ended or broke.
	Lost Event = iota
	// TimedOut means that the server said nothing until the time of the step was over.
	TimedOut
	// Garbage means that the server does not keep to the protocol.
	Garbage
	// NotOffered means that the reply to EHLO lacks STARTTLS.
	NotOffered
	// Completed is a TLS handshake that the plan is content with.
	Completed
	// Unverified is a server that the plan's verification rejects.
	Unverified
	// Incapable is a server that lacks what TLS needs: it sends the alert
	// protocol_version, handshake_failure or insufficient_security, or chooses an old
	// version.
	Incapable
	// Alerted is any other TLS alert.
	Alerted
	// From 200 on, an event is a reply code.
)

// Circumstances are what else a ruling depends on.
type Circumstances struct {
	// Mandatory means that the host's level demands TLS.
	Mandatory bool
	// RequireTLS means that the message demands it throughout (RFC 8689).
	RequireTLS bool
	// InTLS means that the session is encrypted, as the host's level demands.
	InTLS bool
	// FellBack means that the server offers TLS and that it failed, on an earlier
	// connection or by another reply than 220 to STARTTLS, so that this session is
	// in cleartext.
	FellBack bool
	// AfterAccepted means, at RCPT, that the transaction has an accepted
	// recipient already.
	AfterAccepted bool
	// OwnLimit means, at RCPT with 552, that the enhanced status names a limit
	// of the mailbox (5.2.2) or of the message size (5.3.4), and not of the
	// transaction.
	OwnLimit bool
	// Kept means, at MAIL, RCPT and DATA, that the session was kept since another
	// message, and that no message has begun since then.
	Kept bool
}

// Action is what happens next.
type Action uint8

const (
	// TryNext leaves the address; the next address or host gets its turn, for
	// every recipient that has no verdict yet. The zero value.
	TryNext Action = iota
	// Proceed goes on to the next step.
	Proceed
	// SayHELO tries the command that has no extensions.
	SayHELO
	// StayClear goes on without TLS on the same connection.
	StayClear
	// Retry makes a new connection to the same address with less TLS: first what
	// old servers speak, then none.
	Retry
	// Decided has a verdict for the recipients and goes on with the session.
	Decided
	// Again gives the recipient another transaction in the same session.
	Again
	// Redial makes a new connection to the same address, for every recipient that has
	// no verdict yet: what happened may be about the session and not about the mail.
	Redial
)

// Verdict is what the event means for the recipients that it concerns: the one
// at RCPT, otherwise all that have no verdict yet.
type Verdict uint8

const (
	// Temporary means that another attempt may succeed. The zero value.
	Temporary Verdict = iota
	// Pending means that nothing is decided yet.
	Pending
	// Accepted means that the server has taken the recipient, or the message.
	Accepted
	// Permanent means that another attempt will fail as well.
	Permanent
	// Unknown means that the server may or may not have the message.
	Unknown
)

// Result is what a report counts (RFC 8460 section 4.3).
type Result uint8

const (
	// NotCounted means that the event says nothing about TLS, or not yet.
	NotCounted Result = iota
	// NoTLS is starttls-not-supported.
	NoTLS
	// FailedTLS is the failure of the handshake or of verification.
	FailedTLS
	// GoodTLS is a session.
	GoodTLS
)

// Ruling is a row of the table.
type Ruling struct {
	Action  Action
	Verdict Verdict
	// Alive means that the server listens: it may be told QUIT.
	Alive  bool
	Result Result
}

// Rule returns what an event at a step means.
func Rule(s Step, e Event, c Circumstances) Ruling {
	switch s {
	case StepGreeting:
		return ruleGreeting(e, c)
	case StepEHLO, StepEHLOInTLS:
		return ruleEHLO(s, e, c)
	case StepHELO:
		return ruleHELO(e)
	case StepSTARTTLS:
		return ruleSTARTTLS(e, c)
	case StepHandshake:
		return ruleHandshake(e, c)
	case StepMAIL, StepRCPT, StepDATA:
		return ruleCommand(s, e, c)
	default:
		return ruleMessage(e, c)
	}
}

// Class returns the first digit of a reply code, and 0 for an event that is not a
// reply.
func (e Event) Class() int { return int(e) / 100 }

// closes reports whether the server closes the connection (RFC 5321 section 3.8).
func (e Event) closes() bool { return e == 421 }

// listens reports whether the server waits for another command.
func (e Event) listens() bool { return e.Class() > 0 && !e.closes() }

// ruleGreeting: a server that does not want to talk leaves the mail to the next
// host. 521 says that there is no mail here (RFC 7504); it counts where nobody
// had to be authenticated to say so, and the walk makes it permanent only if all
// hosts agree.
func ruleGreeting(e Event, c Circumstances) Ruling {
	switch {
	case e.Class() == 2:
		return Ruling{Action: Proceed, Verdict: Pending, Alive: true}
	case e == 521 && !c.Mandatory && !c.FellBack:
		return Ruling{Action: TryNext, Verdict: Permanent, Alive: true}
	}
	return Ruling{Action: TryNext, Alive: e.listens()}
}

// ruleEHLO: HELO is for servers that do not know EHLO. It cannot lead to TLS, so
// it is never said where TLS is mandatory, and never after a temporary failure.
func ruleEHLO(s Step, e Event, c Circumstances) Ruling {
	switch {
	case e.Class() == 2:
		return Ruling{Action: Proceed, Verdict: Pending, Alive: true, Result: resultOf(s)}
	case e.Class() == 5 && !c.Mandatory:
		return Ruling{Action: SayHELO, Verdict: Pending, Alive: true, Result: resultOf(s)}
	case s == StepEHLO:
		return Ruling{Action: TryNext, Alive: e.listens()}
	case e == Alerted || e == Incapable:
		// TLS 1.3 has the server's verdict on the client only after the handshake.
		return ruleHandshake(e, c)
	case (e == Lost || e == TimedOut) && !c.Mandatory:
		// Some servers close the connection instead, without an alert.
		return ruleHandshake(e, c)
	}
	return Ruling{Action: TryNext, Alive: e.listens(), Result: GoodTLS}
}

// resultOf is what a report counts when the server answers EHLO: inside TLS a
// session.
func resultOf(s Step) Result {
	if s == StepEHLOInTLS {
		return GoodTLS
	}
	return NotCounted
}

func ruleHELO(e Event) Ruling {
	if e.Class() == 2 {
		return Ruling{Action: Proceed, Verdict: Pending, Alive: true}
	}
	return Ruling{Action: TryNext, Alive: e.listens()}
}

// ruleSTARTTLS: without TLS the mail goes on only where no policy demands TLS.
// With RequireTLS a server that has no STARTTLS, or refuses it for good, is a
// permanent failure (RFC 8689 section 4.2.1); in all other cases anyone on the
// path may have said so.
func ruleSTARTTLS(e Event, c Circumstances) Ruling {
	switch {
	case e == 220:
		return Ruling{Action: Proceed, Verdict: Pending, Alive: true}
	case !c.Mandatory && (e == NotOffered || e.listens()):
		return Ruling{Action: StayClear, Verdict: Pending, Alive: true, Result: NoTLS}
	case !c.Mandatory && !e.closes():
		return Ruling{Action: Retry, Verdict: Pending, Result: unanswered(e)}
	case c.Mandatory && c.RequireTLS && (e == NotOffered || e.Class() == 5):
		return Ruling{Action: TryNext, Verdict: Permanent, Alive: true, Result: NoTLS}
	case e == NotOffered || e.listens():
		return Ruling{Action: TryNext, Alive: true, Result: NoTLS}
	case e.closes():
		return Ruling{Action: TryNext} // it says nothing about TLS
	}
	return Ruling{Action: TryNext, Result: unanswered(e)}
}

// unanswered is what a report counts when TLS does not come about: silence is a network
// error (RFC 8460 section 4.3.4).
func unanswered(e Event) Result {
	if e == TimedOut {
		return NotCounted
	}
	return FailedTLS
}

// ruleHandshake: a failed handshake leaves nothing to say over the connection
// (RFC 3207 section 4.1).
func ruleHandshake(e Event, c Circumstances) Ruling {
	switch {
	case e == Completed:
		return Ruling{Action: Proceed, Verdict: Pending, Alive: true}
	case !c.Mandatory:
		return Ruling{Action: Retry, Verdict: Pending, Result: unanswered(e)}
	case c.RequireTLS && (e == Unverified || e == Incapable):
		return Ruling{Action: TryNext, Verdict: Permanent, Result: FailedTLS}
	}
	return Ruling{Action: TryNext, Result: unanswered(e)}
}

// ruleCommand is MAIL, RCPT and DATA: nothing of the message was sent yet, so
// another host may have it.
func ruleCommand(s Step, e Event, c Circumstances) Ruling {
	switch {
	case s == StepDATA && e.Class() == 3:
		return Ruling{Action: Proceed, Verdict: Pending, Alive: true}
	case s != StepDATA && e.Class() == 2:
		return Ruling{Action: Proceed, Verdict: Accepted, Alive: true}
	case s == StepRCPT && c.AfterAccepted && (e == 452 || e == 552 && !c.OwnLimit):
		// RFC 5321 section 4.5.3.1.10: too many recipients for one transaction.
		return Ruling{Action: Again, Alive: true}
	case c.Kept && e.concernsSession(s):
		return Ruling{Action: Redial, Verdict: Pending, Alive: e.listens()}
	case e.Class() == 5 && !c.unreliable(e):
		return Ruling{Action: Decided, Verdict: Permanent, Alive: true}
	}
	return Ruling{Action: TryNext, Alive: e.listens()}
}

// concernsSession reports whether an event may be about a session that was kept since
// another message: its end, and the refusal of another MAIL for now, by which servers
// limit the messages of a session. They have no code of their own for that. 503 says that
// the server was not ready for MAIL. A server that is silent has stalled.
func (e Event) concernsSession(s Step) bool {
	switch {
	case e == TimedOut:
		return false
	case s == StepMAIL:
		return e.Class() != 5 || e == 503
	}
	return e == Lost || e == Garbage || e.closes()
}

// ruleMessage: another host could deliver the message a second time, so none is
// asked.
func ruleMessage(e Event, c Circumstances) Ruling {
	switch {
	case e.Class() == 2:
		return Ruling{Action: Decided, Verdict: Accepted, Alive: true}
	case e.Class() == 5 && !c.unreliable(e):
		return Ruling{Action: Decided, Verdict: Permanent, Alive: true}
	case e.Class() > 3:
		return Ruling{Action: Decided, Alive: e.listens()}
	}
	// A 3yz reply answers something else.
	return Ruling{Action: Decided, Verdict: Unknown}
}

// unreliable reports whether a permanent failure may be somebody else's words,
// or would not be said inside TLS.
func (c Circumstances) unreliable(e Event) bool {
	return c.FellBack || e == 530 && !c.InTLS
}

// NamesOwnLimit reports whether a reply is about the mailbox or the size of the
// message, and not about the transaction (RFC 3463 sections 3.3 and 3.4).
func NamesOwnLimit(reply wire.Reply) bool {
	status, ok := reply.Enhanced()
	return ok && (status == [3]int{5, 2, 2} || status == [3]int{5, 3, 4})
}
