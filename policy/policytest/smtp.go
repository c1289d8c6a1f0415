package policytest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
)

// Limits of a mail host.
const (
	maxLine     = 8 << 10  // octets of a command
	maxMessage  = 32 << 20 // octets of a message
	maxCommands = 1000     // entries of Session.Commands
)

// smtpConn is the server side of an SMTP session (RFC 5321, RFC 3207).
type smtpConn struct {
	host      *Host
	transport *transport
	conn      net.Conn // the transport, or TLS over it
	in        *bufio.Reader
	does      *Behavior
	script    progress
	starttls  *tls.Config
	session   *Session
	message   Message // being received
}

// errEnd ends a session.
var errEnd = errors.New("end of session")

// attend serves a connection until the client or the host ends it.
func (h *Host) attend(t *transport, starttls *tls.Config) {
	s := &smtpConn{host: h, transport: t, conn: t, in: bufio.NewReaderSize(t, maxLine),
		does: t.does, script: make(progress), starttls: starttls, session: new(Session)}
	h.mu.Lock()
	h.sessions = append(h.sessions, s.session)
	h.mu.Unlock()
	if s.does.port == submissions && s.beginTLS() != nil {
		return
	}
	for err := s.reply(Greeting, "220 "+h.name+" ESMTP"); err == nil; {
		err = s.command()
	}
}

// submissions is the port where TLS begins at once (RFC 8314 section 3.3).
const submissions = 465

// command reads one command and replies to it.
func (s *smtpConn) command() error {
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	text := strings.TrimRight(string(line), "\r\n")
	s.note(func() {
		if len(s.session.Commands) < maxCommands {
			s.session.Commands = append(s.session.Commands, text)
		}
	})
	verb, arg, _ := strings.Cut(text, " ")
	verb = strings.ToUpper(verb)
	switch verb {
	case "EHLO", "HELO":
		return s.hello(verb, arg)
	case "STARTTLS":
		return s.startTLS()
	case "NOOP":
		return s.reply(verb, "250 2.0.0 ok")
	case "QUIT":
		s.reply(verb, "221 2.0.0 bye")
		return errEnd
	}
	if s.does.mustSTARTTLS && s.session.TLS == nil {
		return s.reply(verb, "530 5.7.0 must issue a STARTTLS command first")
	}
	switch verb {
	case "MAIL":
		return s.mail(arg)
	case "RCPT":
		return s.rcpt(arg)
	case "DATA":
		return s.data()
	case "RSET":
		s.message = Message{}
		return s.reply(verb, "250 2.0.0 ok")
	default:
		return s.reply(verb, "502 5.5.1 not implemented")
	}
}

func (s *smtpConn) hello(verb, name string) error {
	s.message = Message{}
	s.note(func() { s.session.Helo = name })
	lines := []string{s.host.name}
	if verb == "EHLO" {
		for _, line := range s.extensions() {
			if s.does.mixedCase {
				line = mixCase(line)
			}
			lines = append(lines, line)
		}
	}
	last := len(lines) - 1
	var text strings.Builder
	for _, line := range lines[:last] {
		text.WriteString("250-" + line + "\r\n")
	}
	return s.reply(verb, text.String()+"250 "+lines[last])
}

// extensions returns the lines of the reply to EHLO, without the first.
func (s *smtpConn) extensions() []string {
	lines := []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", fmt.Sprint("SIZE ", maxMessage)}
	if s.session.TLS == nil && !s.does.noSTARTTLS {
		lines = append(lines, "STARTTLS")
	}
	if s.session.TLS != nil {
		lines = append(lines, s.does.extensions...)
	}
	return slices.DeleteFunc(lines, func(line string) bool { return hasKeyword(s.does.without, line) })
}

// hasKeyword reports whether the keyword of a line of the reply to EHLO is that of
// one of the lines.
func hasKeyword(lines []string, line string) bool {
	keyword, _, _ := strings.Cut(line, " ")
	return slices.ContainsFunc(lines, func(other string) bool {
		other, _, _ = strings.Cut(other, " ")
		return strings.EqualFold(keyword, other)
	})
}

// mixCase returns the line with every second letter of the keyword in lower case.
func mixCase(line string) string {
	keyword, rest, found := strings.Cut(line, " ")
	letters := []byte(strings.ToUpper(keyword))
	for i := 1; i < len(letters); i += 2 {
		letters[i] = strings.ToLower(string(letters[i]))[0]
	}
	if found {
		return string(letters) + " " + rest
	}
	return string(letters)
}

// startTLS starts TLS. Nothing that the client sent in cleartext is read within
// TLS.
func (s *smtpConn) startTLS() error {
	if s.session.TLS != nil || s.does.noSTARTTLS {
		return s.reply("STARTTLS", "502 5.5.1 not implemented")
	}
	if s.in.Buffered() > 0 {
		s.write("554 5.5.1 pipelining after STARTTLS\r\n")
		return errEnd
	}
	accepted := false
	if err := s.replyThen("STARTTLS", "220 2.0.0 go ahead", func() { accepted = true }); err != nil || !accepted {
		return err
	}
	return s.beginTLS()
}

// beginTLS is the server's side of the TLS handshake.
func (s *smtpConn) beginTLS() error {
	s.transport.hello = true
	c := tls.Server(s.transport, s.starttls)
	if err := c.Handshake(); err != nil {
		return err
	}
	state := c.ConnectionState()
	s.note(func() { s.session.TLS, s.session.Helo = &state, "" })
	s.conn, s.in, s.message = c, bufio.NewReaderSize(c, maxLine), Message{}
	return nil
}

func (s *smtpConn) mail(arg string) error {
	path, params, ok := parsePath(arg, "FROM:")
	switch {
	case !ok:
		return s.reply("MAIL", "501 5.5.4 syntax: MAIL FROM:<address>")
	case s.session.Helo == "":
		return s.reply("MAIL", "503 5.5.1 send EHLO first")
	}
	for _, param := range params {
		if !s.offers(param) {
			return s.reply("MAIL", "555 5.5.4 parameter "+param+" without the extension")
		}
	}
	return s.replyThen("MAIL", "250 2.1.0 ok", func() {
		s.message = Message{From: path, Params: params}
		s.message.Session.Helo = s.session.Helo // not empty: a mail transaction has begun
	})
}

// offers reports whether the host offers the extension that a parameter of MAIL
// belongs to (RFC 5321 section 4.1.1.11).
func (s *smtpConn) offers(param string) bool {
	name, _, _ := strings.Cut(strings.ToUpper(param), "=")
	switch name {
	case "BODY":
		name = "8BITMIME"
	case "RET", "ENVID":
		name = "DSN"
	}
	return hasKeyword(s.extensions(), name)
}

func (s *smtpConn) rcpt(arg string) error {
	path, _, ok := parsePath(arg, "TO:")
	switch {
	case !ok:
		return s.reply("RCPT", "501 5.5.4 syntax: RCPT TO:<address>")
	case s.message.Session.Helo == "":
		return s.reply("RCPT", "503 5.5.1 MAIL first")
	case s.does.tooMany != "" && len(s.message.To) >= s.does.maxRecipients:
		return s.reply("RCPT", s.does.tooMany)
	}
	return s.replyThen("RCPT", "250 2.1.5 ok", func() { s.message.To = append(s.message.To, path) })
}

func (s *smtpConn) data() error {
	if len(s.message.To) == 0 {
		return s.reply("DATA", "503 5.5.1 RCPT first")
	}
	accepted := false
	if err := s.replyThen("DATA", "354 go ahead", func() { accepted = true }); err != nil || !accepted {
		return err
	}
	body, err := readData(s.in)
	if err != nil {
		return err
	}
	return s.replyThen(EndOfData, "250 2.0.0 accepted", func() {
		s.message.Data = body
		s.note(func() {
			s.message.Session = s.session.snapshot()
			s.host.messages = append(s.host.messages, s.message)
		})
		s.message = Message{}
	})
}

// readData reads a message up to the line with the lone dot (RFC 5321 section
// 4.5.2).
func readData(in *bufio.Reader) ([]byte, error) {
	var data []byte
	start := true // of a line
	for len(data) < maxMessage {
		line, err := in.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
		if start && string(line) == ".\r\n" {
			return data, nil
		}
		if start {
			line = bytes.TrimPrefix(line, []byte("."))
		}
		data = append(data, line...)
		start = err == nil
	}
	return nil, errors.New("message too long")
}

// reply sends the reply at this step: text, or what the script says instead.
func (s *smtpConn) reply(step, text string) error {
	return s.replyThen(step, text, func() {})
}

// replyThen is like reply. If the host sends its usual reply, or another one of the
// same kind, it calls then first: before a pause, as a host that is slow to reply
// may have done the work, and so that the client sees no reply without its effect.
func (s *smtpConn) replyThen(step, text string, then func()) error {
	action := s.script.next(s.does, step, s.session.TLS != nil)
	octets := action.text
	switch {
	case action.kind == usual && s.does.bareReplies && text[3] == ' ':
		octets = text[:3] + "\r\n"
	case action.kind == usual:
		octets = text + "\r\n"
	}
	kind := text[:1]
	if step == "STARTTLS" {
		kind = text[:3] // RFC 3207 section 4: 220, and no other code
	}
	if strings.HasPrefix(octets, kind) {
		then()
	}
	s.host.domain.inet.pause(action.delay)
	switch action.kind {
	case silence:
		io.Copy(io.Discard, s.in)
		return errEnd
	case endless:
		for s.write(text[:3]+"-and so on\r\n") == nil {
		}
		return errEnd
	}
	if step == "STARTTLS" {
		octets += s.does.inject
	}
	err := s.write(octets)
	if action.close {
		return errEnd
	}
	return err
}

func (s *smtpConn) write(text string) error {
	_, err := io.WriteString(s.conn, text)
	return err
}

// note calls change while holding the lock of the host.
func (s *smtpConn) note(change func()) {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	change()
}

// parsePath parses "FROM:<path> PARAM=value ...". The path may have a quoted local
// part (RFC 5321 section 4.1.2).
func parsePath(arg, prefix string) (path string, params []string, ok bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", nil, false
	}
	rest, found := strings.CutPrefix(strings.TrimLeft(arg[len(prefix):], " "), "<")
	quoted := false
	for i := 0; found && i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == '>' && !quoted:
			return rest[:i], strings.Fields(rest[i+1:]), true
		}
	}
	return "", nil, false
}
