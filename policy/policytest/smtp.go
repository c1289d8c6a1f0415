package policytest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// Limits of a mail host.
const (
	maxLine     = 8 << 10
	maxMessage  = 32 << 20
	maxCommands = 1000
)

// smtpConn is the server side of an SMTP session (RFC 5321, RFC 3207).
type smtpConn struct {
	host     *Host
	conn     net.Conn
	in       *bufio.Reader
	does     *behaviour
	starttls *tls.Config
	session  *Session
	message  Message // being received
}

// errEnd ends a session.
var errEnd = errors.New("end of session")

// attend serves a connection until the client or the host ends it.
func (h *Host) attend(c net.Conn, starttls *tls.Config) {
	s := &smtpConn{host: h, conn: c, in: bufio.NewReaderSize(c, maxLine),
		does: h.behaviour(), starttls: starttls, session: new(Session)}
	h.mu.Lock()
	h.sessions = append(h.sessions, s.session)
	h.mu.Unlock()
	for err := s.reply(Greeting, "220 "+h.name+" ESMTP"); err == nil; {
		err = s.command()
	}
}

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
	case "MAIL":
		return s.mail(arg)
	case "RCPT":
		return s.rcpt(arg)
	case "DATA":
		return s.data()
	case "RSET":
		s.message = Message{}
		return s.reply(verb, "250 2.0.0 ok")
	case "NOOP":
		return s.reply(verb, "250 2.0.0 ok")
	case "QUIT":
		s.reply(verb, "221 2.0.0 bye")
		return errEnd
	default:
		return s.reply(verb, "502 5.5.1 not implemented")
	}
}

func (s *smtpConn) hello(verb, name string) error {
	s.message = Message{}
	s.note(func() { s.session.Helo = name })
	lines := []string{s.host.name}
	if verb == "EHLO" {
		lines = append(lines, "PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", fmt.Sprint("SIZE ", maxMessage))
		if s.session.TLS == nil && !s.does.noSTARTTLS {
			lines = append(lines, "STARTTLS")
		}
		if s.session.TLS != nil {
			lines = append(lines, s.does.extensions...)
		}
	}
	last := len(lines) - 1
	var text strings.Builder
	for _, line := range lines[:last] {
		text.WriteString("250-" + line + "\r\n")
	}
	return s.reply(verb, text.String()+"250 "+lines[last])
}

// startTLS starts TLS. Nothing that the client sent in cleartext is read within
// TLS.
func (s *smtpConn) startTLS() error {
	if s.session.TLS != nil || s.does.noSTARTTLS {
		return s.reply("STARTTLS", "502 5.5.1 not implemented")
	}
	if text, ok := s.does.replies["STARTTLS"]; ok && !strings.HasPrefix(text, "220") {
		return s.reply("STARTTLS", text)
	}
	if s.in.Buffered() > 0 {
		s.write("554 5.5.1 pipelining after STARTTLS\r\n")
		return errEnd
	}
	if err := s.reply("STARTTLS", "220 2.0.0 go ahead"); err != nil {
		return err
	}
	c := tls.Server(s.conn, s.starttls)
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
	return s.replyThen("MAIL", "250 2.1.0 ok", func() {
		s.message = Message{From: path, Params: params}
		s.message.Session.Helo = s.session.Helo // marks a mail transaction as begun
	})
}

func (s *smtpConn) rcpt(arg string) error {
	path, _, ok := parsePath(arg, "TO:")
	switch {
	case !ok:
		return s.reply("RCPT", "501 5.5.4 syntax: RCPT TO:<address>")
	case s.message.Session.Helo == "":
		return s.reply("RCPT", "503 5.5.1 MAIL first")
	}
	return s.replyThen("RCPT", "250 2.1.5 ok", func() { s.message.To = append(s.message.To, path) })
}

func (s *smtpConn) data() error {
	if len(s.message.To) == 0 {
		return s.reply("DATA", "503 5.5.1 RCPT first")
	}
	var body []byte
	err := s.replyThen("DATA", "354 go ahead", func() {})
	if err != nil {
		return err
	}
	if text, ok := s.does.replies["DATA"]; ok && !strings.HasPrefix(text, "354") {
		return nil
	}
	if body, err = readData(s.in); err != nil {
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

// reply sends the reply for this moment: text, or what a fault says instead.
func (s *smtpConn) reply(moment, text string) error {
	return s.replyThen(moment, text, func() {})
}

// replyThen is like reply. If the host sends its usual reply, it calls then
// first, so that the effect is visible before the client sees the reply.
func (s *smtpConn) replyThen(moment, text string, then func()) error {
	special, ok := s.does.replies[moment]
	switch {
	case !ok:
		then()
	case special == stall:
		s.host.domain.inet.wait(s.gone())
		return errEnd
	case special == hangUp:
		return errEnd
	case special == endless:
		for s.write(text[:3]+"-and so on\r\n") == nil {
		}
		return errEnd
	case strings.HasPrefix(special, text[:1]):
		then()
		text = special
	default:
		text = special
	}
	text += "\r\n"
	if moment == "STARTTLS" {
		text += s.does.inject
	}
	return s.write(text)
}

// gone returns a context that is canceled when the client closes the
// connection.
func (s *smtpConn) gone() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		io.Copy(io.Discard, s.in)
	}()
	return ctx
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

// parsePath parses "FROM:<path> PARAM=value ...".
func parsePath(arg, prefix string) (path string, params []string, ok bool) {
	if len(arg) < len(prefix) || !strings.EqualFold(arg[:len(prefix)], prefix) {
		return "", nil, false
	}
	rest, found := strings.CutPrefix(strings.TrimLeft(arg[len(prefix):], " "), "<")
	path, rest, closed := strings.Cut(rest, ">")
	return path, strings.Fields(rest), found && closed
}
