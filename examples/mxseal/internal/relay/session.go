package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/policy/delivery"
)

// maxErrors is how many unknown commands a session may have.
const maxErrors = 3

// session is a session with a client.
type session struct {
	relay    *Relay
	client   *client
	lmtp     bool
	inTLS    bool
	helo     string
	protocol string // as in Received
	origin   origin
	envelope *envelope // nil outside of a mail transaction
	errors   int
	over     bool
}

// envelope is a mail transaction.
type envelope struct {
	mail       delivery.Mail
	origin     origin
	arrival    time.Time
	requireTLS bool
	utf8       bool
	chunks     *body // nil before the first BDAT
}

func newSession(r *Relay, conn net.Conn, lmtp bool) *session {
	return &session{relay: r, client: newClient(conn, r.taking), lmtp: lmtp}
}

// run serves the client until the session ends.
func (s *session) run() {
	defer context.AfterFunc(s.relay.taking, s.client.raw.hurry)()
	defer s.reset()
	s.client.say(reply{code: 220, text: s.relay.Name + " mxseal relay"})
	for !s.over {
		line, err := s.client.line()
		if err != nil {
			s.fail(err)
			break
		}
		if answer := s.command(line); answer != nil {
			s.client.say(*answer)
		}
	}
	_ = s.client.flush()
}

// fail ends the session because of an error in reading from the client.
func (s *session) fail(err error) {
	s.over = true
	switch {
	case errors.Is(err, errBareLineEnd):
		s.client.say(*say(421, 4, 4, 0, err.Error()))
	case errors.Is(err, errTooLong):
		s.client.say(*say(500, 5, 5, 2, err.Error())) // RFC 5321 section 4.5.3.1.9
	case errors.Is(err, os.ErrDeadlineExceeded) && s.relay.taking.Err() != nil:
		s.client.say(*shuttingDown(421))
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.client.say(*say(421, 4, 4, 2, "the client is silent"))
	}
}

func shuttingDown(code int) *reply { return say(code, 4, 3, 2, "the relay is shutting down") }

var (
	ok             = say(250, 2, 0, 0, "OK")
	badOrder       = say(503, 5, 5, 1, "bad sequence of commands")
	notImplemented = say(502, 5, 5, 1, "the command is not implemented")
)

// command carries out a command, and returns the reply unless it was given already.
func (s *session) command(line string) *reply {
	verb, argument, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "HELO", "LHLO":
		return s.hello(strings.ToUpper(verb), argument)
	case "STARTTLS":
		return s.startTLS()
	case "XFORWARD":
		return s.forwarded(argument)
	case "MAIL":
		return s.mail(argument)
	case "RCPT":
		return s.rcpt(argument)
	case "DATA":
		return s.data()
	case "BDAT":
		return s.bdat(argument)
	case "RSET":
		s.reset()
		return ok
	case "NOOP":
		return ok
	case "VRFY":
		return say(252, 2, 5, 0, "send the mail to find out")
	case "QUIT":
		s.over = true
		return say(221, 2, 0, 0, "Bye")
	case "AUTH", "ETRN", "EXPN", "HELP":
		return notImplemented
	default:
		return s.unknown()
	}
}

// unknown replies to an unknown command, and ends a session that has too many.
func (s *session) unknown() *reply {
	if s.errors++; s.errors > maxErrors {
		s.over = true
		return say(500, 5, 5, 1, "too many errors")
	}
	return say(500, 5, 5, 2, "the command is not known")
}

// reset ends the mail transaction.
func (s *session) reset() {
	if s.envelope != nil && s.envelope.chunks != nil {
		s.envelope.chunks.release()
	}
	s.envelope, s.origin = nil, nil
}

// hello answers EHLO, HELO and LHLO.
func (s *session) hello(verb, name string) *reply {
	if s.lmtp != (verb == "LHLO") { // RFC 2033 section 4.1
		return say(500, 5, 5, 1, "the command is not that of the protocol")
	}
	if name = strings.TrimSpace(name); name == "" {
		return say(501, 5, 5, 4, "the name is missing")
	}
	s.reset()
	s.helo = name
	s.protocol = map[string]string{"LHLO": "LMTP", "EHLO": "ESMTP", "HELO": "SMTP"}[verb]
	lines := append([]string{s.relay.Name}, s.extensions()...)
	if verb == "HELO" {
		lines = lines[:1]
	}
	for i, line := range lines {
		separator := "-"
		if i == len(lines)-1 {
			separator = " "
		}
		_, _ = fmt.Fprintf(s.client.out, "250%s%s\r\n", separator, line)
	}
	return nil
}

func (s *session) extensions() []string {
	all := []string{
		"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "SMTPUTF8",
		fmt.Sprintf("SIZE %d", s.relay.MaxSize), fmt.Sprintf("LIMITS RCPTMAX=%d", s.maxRecipients()),
		"XFORWARD " + strings.Join(originAttributes, " "),
	}
	if s.offered("NOTIFY") {
		all = append(all, "DSN")
	}
	switch {
	case s.inTLS:
		return append(all, "REQUIRETLS")
	case s.relay.starttls != nil:
		return append(all, "STARTTLS")
	default:
		return all
	}
}

func (s *session) maxRecipients() int {
	if s.lmtp {
		return maxRecipients
	}
	return 1
}

// startTLS begins TLS (RFC 3207). The session begins again with EHLO.
func (s *session) startTLS() *reply {
	switch {
	case s.relay.starttls == nil:
		return notImplemented
	case s.inTLS || s.envelope != nil:
		return badOrder
	}
	s.client.say(*say(220, 2, 0, 0, "begin TLS"))
	if err := s.client.startTLS(s.relay.starttls); err != nil {
		s.over = true
		s.relay.Logger.Warn("relay: TLS with a client failed", "error", err)
		return nil
	}
	s.reset()
	s.inTLS, s.helo = true, ""
	return nil
}

// forwarded remembers what XFORWARD says.
func (s *session) forwarded(argument string) *reply {
	if s.helo == "" || s.envelope != nil {
		return badOrder
	}
	all, wrong := parseOrigin(argument, s.origin)
	if wrong != nil {
		return wrong
	}
	s.origin = all
	return ok
}

// mail begins a mail transaction.
func (s *session) mail(argument string) *reply {
	from, parameters, valid := parsePath(argument, "FROM:")
	switch {
	case s.relay.taking.Err() != nil:
		s.over = true
		return shuttingDown(421)
	case s.helo == "" || s.envelope != nil:
		return badOrder
	case !valid:
		return say(501, 5, 5, 4, "want MAIL FROM:<address>, and parameters")
	}
	e := &envelope{mail: delivery.Mail{From: from, Convert8Bit: s.relay.Convert8Bit}, origin: s.origin, arrival: time.Now()}
	if wrong := s.mailParameters(e, parameters); wrong != nil {
		return wrong
	}
	s.envelope = e
	return say(250, 2, 1, 0, "OK")
}

// rcpt adds a recipient.
func (s *session) rcpt(argument string) *reply {
	address, parameters, valid := parsePath(argument, "TO:")
	switch {
	case s.envelope == nil || s.envelope.chunks != nil:
		return badOrder
	case !valid || address == "":
		return say(501, 5, 5, 4, "want RCPT TO:<address>, and parameters")
	case len(s.envelope.mail.To) >= s.maxRecipients():
		return say(452, 4, 5, 3, "no more recipients in this transaction")
	}
	to := delivery.Recipient{Address: address}
	if wrong := s.rcptParameters(&to, parameters); wrong != nil {
		return wrong
	}
	s.envelope.mail.To = append(s.envelope.mail.To, to)
	return say(250, 2, 1, 5, "OK")
}

// data takes a message and delivers it.
func (s *session) data() *reply {
	e := s.envelope
	if e == nil || len(e.mail.To) == 0 || e.chunks != nil {
		return badOrder
	}
	s.client.say(reply{code: 354, text: "send the message, and a dot on a line of its own"})
	text := s.newBody(e)
	defer text.release()
	err := s.client.text(text)
	switch {
	case errors.Is(err, errBareLineEnd):
		text.drop(notCRLF)
	case err != nil:
		s.fail(err)
		return nil
	}
	s.finish(text)
	return nil
}

// bdat takes a part of a message (RFC 3030), and delivers the message after the last one. The octets follow
// even a command that is refused, so they are read then too.
func (s *session) bdat(argument string) *reply {
	size, last, _ := strings.Cut(argument, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 || last != "" && !strings.EqualFold(last, "LAST") {
		s.over = true // where the next command begins is not known
		return say(501, 5, 5, 4, "want BDAT size, or BDAT size LAST")
	}
	e := s.envelope
	if e == nil || len(e.mail.To) == 0 {
		e = &envelope{chunks: &body{refuse: badOrder, room: &s.relay.room}}
	}
	if e.chunks == nil {
		e.chunks = s.newBody(e)
	}
	switch err := s.client.chunk(n, e.chunks); {
	case err != nil:
		s.fail(err)
		return nil
	case e != s.envelope:
		return badOrder
	case last == "" && e.chunks.refuse != nil:
		defer s.reset()
		return e.chunks.refuse
	case last == "":
		return ok
	}
	s.finish(e.chunks)
	return nil
}

func (s *session) newBody(e *envelope) *body {
	return newBody(s.trace(e.utf8).field(), s.relay.MaxSize, &s.relay.room)
}

// finish delivers the message, gives the replies, and ends the transaction.
func (s *session) finish(text *body) {
	e := s.envelope
	for i, answer := range s.relay.take(e, text) {
		if s.lmtp { // RFC 2033 section 4.2
			answer = answer.about(e.mail.To[i].Address)
		}
		s.client.say(answer)
	}
	s.reset()
}
