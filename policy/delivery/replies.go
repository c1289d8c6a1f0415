package delivery

// This file is the table of the SMTP conversation: what a reply, or the lack of
// one, at each step means for the connection, the host and the recipients. It is
// pure; the conversation and the transaction follow it and decide nothing else.
// The decisions behind it: nothing that is said before a session is verified is
// permanent where TLS is mandatory (anyone on the path may have said it), and no
// recipient gets a message twice or loses it to a server's bad moment.

// step is a step of the conversation.
type step uint8

const (
	stepGreeting step = iota
	stepEHLO
	stepHELO
	stepSTARTTLS
	stepHandshake
	stepEHLOInTLS
	stepMAIL
	stepRCPT
	stepDATA
	// stepMessage is everything from the first octet of the message to the reply
	// to its end.
	stepMessage
)

// event is what a server did at a step: its reply code, or one of the events
// that are no reply.
type event int

const (
	// lost means that the connection ended or broke.
	lost event = iota
	// timedOut means that the server said nothing until the time of the step was over.
	timedOut
	// garbage means that the server does not keep to the protocol.
	garbage
	// notOffered means that the reply to EHLO lacks STARTTLS.
	notOffered
	// completed is a TLS handshake that the plan is content with.
	completed
	// unverified is a server that the plan's verification rejects.
	unverified
	// incapable is a server that lacks what TLS needs: an alert protocol_version,
	// handshake_failure or insufficient_security, or the choice of an old version.
	incapable
	// alerted is any other TLS alert.
	alerted
	// From 200 on, an event is a reply code.
)

// circumstances are what else a ruling depends on.
type circumstances struct {
	// mandatory means that the host's level demands TLS.
	mandatory bool
	// requireTLS means that the message demands it throughout (RFC 8689).
	requireTLS bool
	// inTLS means that the session is encrypted, as the host's level demands.
	inTLS bool
	// fellBack means that the server offers TLS and that it failed, on an earlier
	// connection or by another reply than 220 to STARTTLS, so that this session is
	// in cleartext.
	fellBack bool
	// afterAccepted means, at RCPT, that the transaction has an accepted
	// recipient already.
	afterAccepted bool
	// ownLimit means, at RCPT with 552, that the enhanced status names a limit
	// of the mailbox (5.2.2) or of the message size (5.3.4), and not of the
	// transaction.
	ownLimit bool
}

// action is what happens next.
type action uint8

const (
	// tryNext leaves the address; the next address or host gets its turn, for
	// every recipient that has no verdict yet. The zero value.
	tryNext action = iota
	// proceed goes on to the next step.
	proceed
	// sayHELO tries the command that has no extensions.
	sayHELO
	// stayClear goes on without TLS on the same connection.
	stayClear
	// retry makes a new connection to the same address with less TLS: first what
	// old servers speak, then none.
	retry
	// decided has a verdict for the recipients and goes on with the session.
	decided
	// again gives the recipient another transaction in the same session.
	again
)

// verdict is what the event means for the recipients that it concerns: the one
// at RCPT, otherwise all that have no verdict yet.
type verdict uint8

const (
	// temporary means that another attempt may succeed. The zero value.
	temporary verdict = iota
	// pending means that nothing is decided yet.
	pending
	// accepted means that the server has taken the recipient, or the message.
	accepted
	// permanent means that another attempt will fail as well.
	permanent
	// unknown means that the server may or may not have the message.
	unknown
)

// result is what a report counts (RFC 8460 section 4.3).
type result uint8

const (
	// notCounted: the event says nothing about TLS, or not yet.
	notCounted result = iota
	// noTLS is starttls-not-supported.
	noTLS
	// failedTLS is the failure of the handshake or of verification.
	failedTLS
	// goodTLS is a session.
	goodTLS
)

// ruling is a row of the table.
type ruling struct {
	action  action
	verdict verdict
	// alive means that the server listens: it may be told QUIT.
	alive  bool
	result result
}

// rule returns what an event at a step means.
func rule(s step, e event, c circumstances) ruling {
	switch s {
	case stepGreeting:
		return ruleGreeting(e, c)
	case stepEHLO, stepEHLOInTLS:
		return ruleEHLO(s, e, c)
	case stepHELO:
		return ruleHELO(e)
	case stepSTARTTLS:
		return ruleSTARTTLS(e, c)
	case stepHandshake:
		return ruleHandshake(e, c)
	case stepMAIL, stepRCPT, stepDATA:
		return ruleCommand(s, e, c)
	default:
		return ruleMessage(e, c)
	}
}

// class is the first digit of a reply code, and 0 for what is no reply.
func (e event) class() int { return int(e) / 100 }

// closes reports whether the server closes the connection (RFC 5321 section 3.8).
func (e event) closes() bool { return e == 421 }

// listens reports whether the server waits for another command.
func (e event) listens() bool { return e.class() > 0 && !e.closes() }

// ruleGreeting: a server that does not want to talk leaves the mail to the next
// host. 521 says that there is no mail here (RFC 7504); it counts where nobody
// had to be authenticated to say so, and the walk makes it permanent only if all
// hosts agree.
func ruleGreeting(e event, c circumstances) ruling {
	switch {
	case e.class() == 2:
		return ruling{action: proceed, verdict: pending, alive: true}
	case e == 521 && !c.mandatory && !c.fellBack:
		return ruling{action: tryNext, verdict: permanent, alive: true}
	}
	return ruling{action: tryNext, alive: e.listens()}
}

// ruleEHLO: HELO is for servers that do not know EHLO. It cannot lead to TLS, so
// it is never said where TLS is mandatory, and never after a temporary failure.
func ruleEHLO(s step, e event, c circumstances) ruling {
	switch {
	case e.class() == 2:
		return ruling{action: proceed, verdict: pending, alive: true, result: resultOf(s)}
	case e.class() == 5 && !c.mandatory:
		return ruling{action: sayHELO, verdict: pending, alive: true, result: resultOf(s)}
	case s == stepEHLO:
		return ruling{action: tryNext, alive: e.listens()}
	case e == alerted || e == incapable:
		// TLS 1.3 has the server's verdict on the client only after the handshake.
		return ruleHandshake(e, c)
	case (e == lost || e == timedOut) && !c.mandatory:
		// Some servers close the connection instead, without an alert.
		return ruleHandshake(e, c)
	}
	return ruling{action: tryNext, alive: e.listens(), result: goodTLS}
}

// resultOf is what a report counts when the server answers EHLO: inside TLS a
// session.
func resultOf(s step) result {
	if s == stepEHLOInTLS {
		return goodTLS
	}
	return notCounted
}

func ruleHELO(e event) ruling {
	if e.class() == 2 {
		return ruling{action: proceed, verdict: pending, alive: true}
	}
	return ruling{action: tryNext, alive: e.listens()}
}

// ruleSTARTTLS: without TLS the mail goes on only where no policy demands TLS.
// With RequireTLS a server that has no STARTTLS, or refuses it for good, is a
// permanent failure (RFC 8689 section 4.2.1); in all other cases anyone on the
// path may have said so.
func ruleSTARTTLS(e event, c circumstances) ruling {
	switch {
	case e == 220:
		return ruling{action: proceed, verdict: pending, alive: true}
	case !c.mandatory && (e == notOffered || e.listens()):
		return ruling{action: stayClear, verdict: pending, alive: true, result: noTLS}
	case !c.mandatory && !e.closes():
		return ruling{action: retry, verdict: pending, result: unanswered(e)}
	case c.mandatory && c.requireTLS && (e == notOffered || e.class() == 5):
		return ruling{action: tryNext, verdict: permanent, alive: true, result: noTLS}
	case e == notOffered || e.listens():
		return ruling{action: tryNext, alive: true, result: noTLS}
	case e.closes():
		return ruling{action: tryNext} // it says nothing about TLS
	}
	return ruling{action: tryNext, result: unanswered(e)}
}

// unanswered is what a report counts when TLS does not come about: silence is a network
// error (RFC 8460 section 4.3.4).
func unanswered(e event) result {
	if e == timedOut {
		return notCounted
	}
	return failedTLS
}

// ruleHandshake: a failed handshake leaves nothing to say over the connection
// (RFC 3207 section 4.1).
func ruleHandshake(e event, c circumstances) ruling {
	switch {
	case e == completed:
		return ruling{action: proceed, verdict: pending, alive: true}
	case !c.mandatory:
		return ruling{action: retry, verdict: pending, result: unanswered(e)}
	case c.requireTLS && (e == unverified || e == incapable):
		return ruling{action: tryNext, verdict: permanent, result: failedTLS}
	}
	return ruling{action: tryNext, result: unanswered(e)}
}

// ruleCommand is MAIL, RCPT and DATA: nothing of the message was sent yet, so
// another host may have it.
func ruleCommand(s step, e event, c circumstances) ruling {
	switch {
	case s == stepDATA && e.class() == 3:
		return ruling{action: proceed, verdict: pending, alive: true}
	case s != stepDATA && e.class() == 2:
		return ruling{action: proceed, verdict: accepted, alive: true}
	case s == stepRCPT && c.afterAccepted && (e == 452 || e == 552 && !c.ownLimit):
		// RFC 5321 section 4.5.3.1.10: too many recipients for one transaction.
		return ruling{action: again, alive: true}
	case e.class() == 5 && !c.unreliable(e):
		return ruling{action: decided, verdict: permanent, alive: true}
	}
	return ruling{action: tryNext, alive: e.listens()}
}

// ruleMessage: another host could deliver the message a second time, so none is
// asked.
func ruleMessage(e event, c circumstances) ruling {
	switch {
	case e.class() == 2:
		return ruling{action: decided, verdict: accepted, alive: true}
	case e.class() == 5 && !c.unreliable(e):
		return ruling{action: decided, verdict: permanent, alive: true}
	case e.class() > 3:
		return ruling{action: decided, alive: e.listens()}
	}
	// A 3yz reply answers something else.
	return ruling{action: decided, verdict: unknown}
}

// unreliable reports whether a permanent failure may be somebody else's words,
// or would not be said inside TLS.
func (c circumstances) unreliable(e event) bool {
	return c.fellBack || e == 530 && !c.inTLS
}
