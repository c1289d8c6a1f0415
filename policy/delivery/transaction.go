package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// The time that a server has for its reply, or for a block of the message (RFC 5321
// section 4.5.3.2). Dialer.IdleTimeout replaces all of them.
const (
	mailTimeout    = 5 * time.Minute
	rcptTimeout    = 5 * time.Minute
	dataTimeout    = 2 * time.Minute
	blockTimeout   = 3 * time.Minute
	messageTimeout = 10 * time.Minute
)

// maxRecipients is what every server takes in one transaction (RFC 5321 section
// 4.5.3.1.8).
const maxRecipients = 100

// session is a verified session in which messages are sent.
type session struct {
	host       *policy.Host
	plan       *policy.Plan
	conn       *wire.Conn
	extensions wire.Extensions
	circumstances
	idle time.Duration // 0 for the timeouts above

	// over means that the connection is of no more use.
	over bool
	// alive means that the server expects a command.
	alive bool
}

func newSession(c *conversation, plan *policy.Plan, idle time.Duration) *session {
	return &session{
		host: c.host, plan: plan, conn: c.conn, extensions: c.hello.Extensions(),
		circumstances: c.circumstances, idle: idle, alive: true,
	}
}

// timeout returns the time of a step.
func (s *session) timeout(usual time.Duration) time.Duration {
	if s.idle > 0 {
		return s.idle
	}
	return usual
}

// end ends the session.
func (s *session) end() {
	if s.alive && !s.over {
		s.conn.Quit(quitTimeout)
		return
	}
	s.conn.Abort()
}

// judge applies the table to a reply, or to the error instead of it.
func (s *session) judge(at step, reply wire.Reply, err error, c circumstances) ruling {
	judged := rule(at, eventOf(reply, err), c)
	s.alive = judged.alive
	if !judged.alive {
		s.over = true
	}
	return judged
}

// transaction is one mail transaction (RFC 5321 section 3.3) for recipients of one
// domain.
type transaction struct {
	*session
	ctx     context.Context
	message *message

	accepted []mailbox // by RCPT
	results  results
}

// results are what became of the recipients of one or more transactions.
type results struct {
	delivered   []Delivery
	undelivered []Undelivered
	// again are recipients for another transaction in the same session.
	again []mailbox
	// next are recipients for the next host, with the reason why this host did not
	// take them.
	next   []mailbox
	reason *policy.Error
}

// run sends the message to recipients. Each of them is in one of the results.
func (t *transaction) run(to []mailbox) {
	if t.message.international && !t.extensions.Has("SMTPUTF8") {
		t.refuse(to, lacksUTF8(t.plan, t.host))
		return
	}
	if !t.mail(to) {
		return
	}
	t.recipients(to)
	if len(t.accepted) == 0 || t.over {
		if !t.over {
			t.reset()
		}
		return
	}
	t.data()
}

// mail sends MAIL, and reports whether the server accepts it.
func (t *transaction) mail(to []mailbox) bool {
	command := "MAIL FROM:<" + t.message.from + ">"
	if t.extensions.Has("8BITMIME") {
		command += " BODY=8BITMIME"
	}
	if t.message.international || slices.ContainsFunc(to, func(m mailbox) bool { return m.international }) && t.extensions.Has("SMTPUTF8") {
		command += " SMTPUTF8"
	}
	if t.plan.RequireTLS && t.inTLS && t.extensions.Has("REQUIRETLS") {
		command += " REQUIRETLS"
	}
	reply, err := t.conn.Command(t.timeout(mailTimeout), command)
	judged := t.judge(stepMAIL, reply, err, t.circumstances)
	if judged.action == proceed {
		return true
	}
	t.settle(judged, to, t.failure("the server refuses MAIL", reply, err, judged))
	return false
}

// recipients sends RCPT for each recipient.
func (t *transaction) recipients(to []mailbox) {
	for i, box := range to {
		if box.international && !t.extensions.Has("SMTPUTF8") {
			t.refuse([]mailbox{box}, lacksUTF8(t.plan, t.host))
			continue
		}
		reply, err := t.conn.Command(t.timeout(rcptTimeout), "RCPT TO:<"+box.path+">")
		c := t.circumstances
		c.afterAccepted = len(t.accepted) > 0
		c.ownLimit = namesOwnLimit(reply)
		judged := t.judge(stepRCPT, reply, err, c)
		if judged.action == proceed {
			t.accepted = append(t.accepted, box)
			continue
		}
		failure := t.failure("the server refuses the recipient "+box.given, reply, err, judged)
		if t.over {
			// Nothing of the message was sent: another host may have all of it.
			t.settle(judged, slices.Concat(t.accepted, to[i:]), failure)
			t.accepted = nil
			return
		}
		t.settle(judged, []mailbox{box}, failure)
	}
}

// namesOwnLimit reports whether a reply is about the mailbox or the size of the
// message, and not about the transaction (RFC 3463 sections 3.3 and 3.4).
func namesOwnLimit(reply wire.Reply) bool {
	status, ok := reply.Enhanced()
	return ok && (status == [3]int{5, 2, 2} || status == [3]int{5, 3, 4})
}

// data sends the message to the recipients that the server accepted. Once its octets
// have begun, no other host is tried: it could deliver the message a second time.
func (t *transaction) data() {
	reply, err := t.conn.Command(t.timeout(dataTimeout), "DATA")
	judged := t.judge(stepDATA, reply, err, t.circumstances)
	if judged.action != proceed {
		t.settle(judged, t.accepted, t.failure("the server refuses DATA", reply, err, judged))
		if !t.over {
			t.reset()
		}
		return
	}
	reply, err = wire.Reply{}, t.conn.Message(t.message.reader(), t.timeout(blockTimeout))
	if err == nil {
		reply, err = t.conn.Receive(t.timeout(messageTimeout))
	}
	judged = t.judge(stepMessage, reply, err, t.circumstances)
	if judged.verdict == accepted {
		t.results.delivered = append(t.results.delivered, t.delivery(t.accepted, reply))
		return
	}
	detail := "the server does not accept the message"
	if judged.verdict == unknown {
		detail = "the session ended in the message, and the server may or may not have it"
	}
	failure := t.failure(detail, reply, err, judged)
	t.results.undelivered = append(t.results.undelivered, Undelivered{
		Recipients: asGiven(t.accepted), Err: failure, OutcomeUnknown: judged.verdict == unknown,
	})
}

// reset ends a transaction in which no message is sent.
func (t *transaction) reset() {
	reply, err := t.conn.Command(t.timeout(mailTimeout), "RSET")
	if err != nil || reply.Class() != 2 {
		t.over = true
	}
}

// settle applies a ruling to recipients.
func (t *transaction) settle(judged ruling, to []mailbox, failure *policy.Error) {
	switch judged.action {
	case again:
		t.results.again = append(t.results.again, to...)
	case tryNext:
		for _, box := range to {
			if judged.alive {
				box.refused = failure // about the recipient, and not about the server
			}
			t.results.next = append(t.results.next, box)
		}
		t.results.reason = failure
	default:
		t.refuse(to, failure)
	}
}

func (t *transaction) refuse(to []mailbox, failure *policy.Error) {
	t.results.undelivered = append(t.results.undelivered, Undelivered{Recipients: asGiven(to), Err: failure})
}

// failure returns the error for a reply, or for the error instead of it, as the
// ruling has it.
func (t *transaction) failure(detail string, reply wire.Reply, err error, judged ruling) *policy.Error {
	switch {
	case err == nil:
		err = reply.Err()
	case t.ctx.Err() != nil:
		err = t.ctx.Err()
	}
	failure := t.host.Replied(detail, err)
	if failure.Permanent && judged.verdict != permanent {
		return postponed(failure)
	}
	return failure
}

// delivery is what the server has accepted.
func (t *transaction) delivery(to []mailbox, reply wire.Reply) Delivery {
	d := Delivery{Recipients: asGiven(to), Host: t.host, Plan: t.plan, Reply: reply.String()}
	if state, ok := t.conn.TLS(); ok {
		d.TLS = &state
	}
	return d
}
