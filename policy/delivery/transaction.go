package delivery

import (
	"context"
	"errors"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/pipelining"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// These timeouts bound the wait for a reply, or for a block of the message (RFC 5321
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

// channel is a verified session in which Send sends messages.
type channel struct {
	host       *policy.Host
	plan       *policy.Plan
	conn       *wire.Conn
	extensions wire.Extensions
	conversation.Circumstances
	idle time.Duration // 0 for the timeouts above
	// share returns the context of a transaction up to its message.
	share func(context.Context) (context.Context, context.CancelFunc)

	// over means that the connection can no longer be used.
	over bool
	// alive means that the server expects a command.
	alive bool
	// begun means that a transaction has begun and was not completed, or that RSET is due
	// because the session was kept.
	begun bool
	// untried means that the session was kept since another message, and that no message
	// has begun and nothing has timed out since.
	untried bool
	// odd means that the server does not quite keep to the protocol: no other message
	// uses the session.
	odd bool
}

func newChannel(w *walk, c *conversation.Conversation) *channel {
	return &channel{
		host: c.Host, plan: w.plan, conn: c.Conn, extensions: c.Hello.Extensions(),
		Circumstances: c.Circumstances, idle: w.dialer.IdleTimeout, share: w.share, alive: true, untried: c.Reused, begun: c.ResetDue,
	}
}

// clean reports whether another message may use the session: the server waits for a
// command, and has answered all of them as it should.
func (s *channel) clean() bool { return s.alive && !s.over && !s.odd }

// timeout returns the time of a step.
func (s *channel) timeout(usual time.Duration) time.Duration {
	if s.idle > 0 {
		return s.idle
	}
	return usual
}

// end ends the session.
func (s *channel) end() {
	if s.alive && !s.over {
		s.conn.Quit(conversation.QuitTimeout)
		return
	}
	s.conn.Abort()
}

// judge applies the table to a reply, or to the error instead of it.
func (s *channel) judge(at conversation.Step, reply wire.Reply, err error, c conversation.Circumstances) conversation.Ruling {
	s.untried = s.untried && !conversation.IsTimeout(err)
	c.Kept = s.untried
	judged := conversation.Rule(at, conversation.EventOf(reply, err), c)
	s.alive, s.odd = judged.Alive, s.odd || reply.Mixed || judged.Action == conversation.Redial
	if !judged.Alive {
		s.over = true
	}
	return judged
}

// transaction is one mail transaction (RFC 5321 section 3.3) for recipients of one
// domain.
type transaction struct {
	*channel
	message *message
	form    form

	bound    context.Context // of the current step
	accepted []mailbox       // by RCPT
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
	// unanswered means that the host has said nothing about some of next, and may take
	// the mail later.
	unanswered bool
	// stale means that the session was kept since another message, and served no more
	// before this one began. That is not a failure of the host.
	stale bool
}

// run sends the message to recipients. Each of them is in one of the results. within
// bounds the commands, and ctx the message.
func (t *transaction) run(ctx, within context.Context, to []mailbox) {
	t.bound = within
	stop := t.conn.Interruptible(within)
	defer func() {
		if stop() != nil {
			t.over, t.alive = true, false // closed, now or in a moment
		}
	}()
	to = t.capable(to)
	if len(to) == 0 || !t.reset(to) || !t.envelope(to) {
		return
	}
	if err := stop(); err != nil {
		t.over = true
		t.settle(conversation.Ruling{}, t.accepted, t.failure("the session was interrupted", Reply{}, err, conversation.Ruling{}), Reply{})
		return
	}
	t.bound, t.untried = ctx, false
	stop = t.conn.Interruptible(ctx)
	t.send()
}

// capable returns the recipients for whom the server can take the message in some
// form.
func (t *transaction) capable(to []mailbox) []mailbox {
	if !t.extensions.Has("SMTPUTF8") {
		unable := func(m mailbox) bool { return m.international }
		for _, box := range to {
			if unable(box) {
				t.lacks([]mailbox{box}, &lacksUTF8ForRecipient)
			}
		}
		to = slices.DeleteFunc(slices.Clone(to), unable)
	}
	if len(to) == 0 {
		return nil
	}
	var lack *shortcoming
	t.form, lack = t.message.form(t.extensions, slices.ContainsFunc(to, func(m mailbox) bool { return m.international }))
	if lack != nil {
		t.lacks(to, lack)
		return nil
	}
	return to
}

// lacks settles recipients whose mail the server cannot take, by its reply to EHLO.
// In a session that fell back to cleartext, somebody else may have written that.
func (t *transaction) lacks(to []mailbox, lack *shortcoming) {
	failure := lack.failure(t.plan, t.host)
	if t.FellBack {
		failure = conversation.Postponed(failure)
	}
	reason := &refusal{err: failure, host: t.host.Name}
	if lack.final && failure.Permanent {
		t.results.undelivered = append(t.results.undelivered, reason.undelivered(to))
		return
	}
	t.leave(to, reason)
}

// reset ends the transaction before, if it was not completed. With PIPELINING, RSET goes
// with the other commands.
func (t *transaction) reset(to []mailbox) bool {
	if !t.begun || t.extensions.Has("PIPELINING") {
		return true
	}
	reply, err := t.conn.Command(t.resetTimeout(), "RSET")
	if err != nil || !conversation.IsReset(reply) || t.untried && !t.conn.Quiet() {
		t.lose(to)
		return false
	}
	t.begun = false
	return true
}

// resetTimeout returns the time of RSET.
func (t *transaction) resetTimeout() time.Duration {
	if t.untried {
		return min(t.timeout(mailTimeout), conversation.ResetTimeout)
	}
	return t.timeout(mailTimeout)
}

// lose leaves recipients to the next host, because the session ended before MAIL. If it
// was kept since another message, the host is dialed once more instead.
func (t *transaction) lose(to []mailbox) {
	t.over, t.alive = true, false
	t.unanswered(to, t.ended())
	t.results.stale = t.untried
}

// unanswered leaves recipients about whom this host has said nothing to the next host.
func (t *transaction) unanswered(to []mailbox, reason *policy.Error) {
	t.results.next, t.results.unanswered, t.results.reason = append(t.results.next, to...), true, reason
}

// envelope sends MAIL, RCPT for each recipient, and DATA. It reports whether the
// server expects the message, for the recipients in t.accepted.
func (t *transaction) envelope(to []mailbox) bool {
	d := pipelining.Dialogue{Conn: t.conn, Grouped: t.extensions.Has("PIPELINING"), Commands: t.commands(to)}
	if t.begun {
		d.ResetTimeout = t.resetTimeout()
	}
	defer t.drain(&d)
	t.begun = true
	reply, err := d.Next(t.timeout(mailTimeout))
	judged := t.judge(conversation.StepMAIL, reply, err, t.Circumstances)
	if errors.Is(err, pipelining.ErrNoReset) {
		t.lose(to)
		return false
	}
	if judged.Action != conversation.Proceed {
		t.settle(judged, to, t.failure(details["MAIL"], newReply(reply), err, judged), newReply(reply))
		return false
	}
	for i, box := range to {
		if !t.recipient(&d, box, to[i:]) {
			return false
		}
	}
	if len(t.accepted) == 0 {
		return false
	}
	reply, err = d.Next(t.timeout(dataTimeout))
	judged = t.judge(conversation.StepDATA, reply, err, t.Circumstances)
	if judged.Action != conversation.Proceed {
		t.settle(judged, t.accepted, t.failure(details["DATA"], newReply(reply), err, judged), newReply(reply))
		return false
	}
	return true
}

// commands returns the commands of the transaction.
func (t *transaction) commands(to []mailbox) []string {
	mail := append([]string{"MAIL FROM:<" + t.message.from + ">"}, t.form.parameters...)
	if t.plan.RequireTLS && t.InTLS && t.extensions.Has("REQUIRETLS") {
		mail = append(mail, "REQUIRETLS")
	}
	if t.form.dsn {
		mail = append(mail, t.message.mailParameters(t.plan.RequireTLS)...)
	}
	commands := []string{strings.Join(mail, " ")}
	for _, box := range to {
		command := "RCPT TO:<" + box.path + ">"
		if t.form.dsn && len(box.parameters) > 0 {
			command += " " + strings.Join(box.parameters, " ")
		}
		commands = append(commands, command)
	}
	return append(commands, "DATA")
}

// recipient judges the reply to RCPT. It reports whether the transaction goes on; if
// not, the recipient and the rest are settled.
func (t *transaction) recipient(d *pipelining.Dialogue, box mailbox, rest []mailbox) bool {
	reply, err := d.Next(t.timeout(rcptTimeout))
	c := t.Circumstances
	c.AfterAccepted = len(t.accepted) > 0
	c.OwnLimit = conversation.NamesOwnLimit(reply)
	judged := t.judge(conversation.StepRCPT, reply, err, c)
	if judged.Action == conversation.Proceed {
		t.accepted = append(t.accepted, box)
		return true
	}
	failure := t.failure(details["RCPT"]+" "+box.given[0], newReply(reply), err, judged)
	if t.over {
		// Nothing of the message was sent: another host may have all of it.
		t.settle(judged, slices.Concat(t.accepted, rest), failure, newReply(reply))
		t.accepted = nil
		return false
	}
	t.settle(judged, []mailbox{box}, failure, newReply(reply))
	return true
}

// drain uses up the replies to commands that were sent ahead. A server that expects
// a message for no recipient gets an empty one, and what it says to that does not
// count (RFC 2920 section 3.1). If the server has accepted a recipient, that one would
// get the empty message; the session ends instead.
func (t *transaction) drain(d *pipelining.Dialogue) {
	expected := false
	for command, ok := d.Pending(); ok && !t.over; command, ok = d.Pending() {
		isData := command == "DATA"
		reply, err := d.Next(t.timeout(rcptTimeout))
		switch {
		case err != nil || reply.Code == 421 || isData && reply.Class() == 3 && expected:
			t.over, t.alive = true, false
		case isData && reply.Class() == 3:
			t.odd = true
			if err = t.conn.Message(strings.NewReader(""), t.timeout(blockTimeout)); err == nil {
				_, err = t.conn.Receive(t.timeout(dataTimeout))
			}
			if err != nil {
				t.over, t.alive = true, false
			}
		}
		expected = expected || reply.Class() == 2
	}
}

// send sends the message to the recipients that the server accepted. Once its octets
// have begun, no other host is tried: it could deliver the message a second time.
func (t *transaction) send() {
	text := t.message.open(t.form)
	defer text.Close()
	var reply wire.Reply
	err := t.conn.Message(text, t.timeout(blockTimeout))
	var source *wire.SourceError
	if errors.As(err, &source) {
		// Without its end, the server does not take the message.
		t.over, t.alive = true, false
		t.refuse(t.accepted, unreadable(source.Err), Reply{})
		return
	}
	if err == nil {
		reply, err = t.conn.Receive(t.timeout(messageTimeout))
	} else if early, ok := t.conn.Early(conversation.QuitTimeout); ok {
		reply, err = early, nil
		defer func() { t.over, t.alive = true, false }()
	}
	judged := t.judge(conversation.StepMessage, reply, err, t.Circumstances)
	t.begun = false
	if judged.Verdict == conversation.Accepted {
		t.results.delivered = append(t.results.delivered, t.delivery(newReply(reply)))
		return
	}
	detail := details["."]
	if judged.Verdict == conversation.Unknown {
		detail = outcomeUnknown
	}
	t.refuse(t.accepted, t.failure(detail, newReply(reply), err, judged), newReply(reply))
	t.results.undelivered[len(t.results.undelivered)-1].OutcomeUnknown = judged.Verdict == conversation.Unknown
}

// settle applies a ruling to recipients.
func (t *transaction) settle(judged conversation.Ruling, to []mailbox, failure *policy.Error, reply Reply) {
	switch judged.Action {
	case conversation.Again:
		t.results.again = append(t.results.again, to...)
	case conversation.Redial:
		t.unanswered(to, failure)
		t.results.stale = t.bound.Err() == nil // after its time, the host has stalled
	case conversation.TryNext:
		if !judged.Alive { // about the server, and not about the recipients
			t.unanswered(to, failure)
			return
		}
		t.leave(to, &refusal{failure, t.host.Name, reply})
	default:
		t.refuse(to, failure, reply)
	}
}

// leave leaves recipients to the next host.
func (t *transaction) leave(to []mailbox, reason *refusal) {
	for _, box := range to {
		box.refused = append(slices.Clip(box.refused), reason)
		t.results.next = append(t.results.next, box)
	}
	t.results.reason = reason.err
}

func (t *transaction) refuse(to []mailbox, failure *policy.Error, reply Reply) {
	reason := refusal{failure, t.host.Name, reply}
	t.results.undelivered = append(t.results.undelivered, reason.undelivered(to))
}

// failure returns the error for a reply, or for the error instead of it, by the ruling.
func (t *transaction) failure(detail string, reply Reply, err error, judged conversation.Ruling) *policy.Error {
	switch {
	case err == nil:
		err = &textproto.Error{Code: reply.Code, Msg: reply.Text}
	case t.bound.Err() != nil:
		err = t.bound.Err()
	}
	failure := t.host.Replied(detail, err)
	if failure.Permanent && judged.Verdict != conversation.Permanent {
		return conversation.Postponed(failure)
	}
	return failure
}

// delivery returns what the server has accepted.
func (t *transaction) delivery(reply Reply) Delivery {
	d := Delivery{
		Recipients: asGiven(t.accepted), Host: t.host, Plan: t.plan, Reply: reply,
		TLSFailed: t.FellBack, DSN: t.form.dsn, Converted: t.form.convert,
	}
	if state, ok := t.conn.TLS(); ok {
		d.TLS = &state
	}
	return d
}
