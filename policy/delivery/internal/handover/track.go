package handover

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// track follows the conversation of a client: which commands wait for a reply, where
// a message begins and ends, and what the server refused. It is safe for concurrent
// use.
type track struct {
	circumstances conversation.Circumstances
	requireTLS    bool
	noLogin       bool // AUTH is answered here
	keep          bool // QUIT is

	mu      sync.Mutex
	hello   bool      // the client has said EHLO or HELO
	waiting []command // for a reply, the oldest first
	line    []byte    // the beginning of a command
	mode    mode
	end     int    // in a message: how much of its end was seen
	chunk   uint64 // octets of BDAT to come
	prompt  string // the command that the next line continues, such as AUTH

	accepted int     // recipients of the transaction
	refusals []Heard // since the last MAIL
	begun    bool    // octets of the message were sent, and it has no reply
	taken    bool    // the server has accepted the message since the last MAIL
	settled  bool    // and the caller knows that
	quit     bool    // the client has said QUIT
	barred   bool    // the last MAIL was answered here: there is no transaction
	over     bool    // the connection can no longer be used
	untried  bool    // others used the session, and no message has begun since
	ended    bool    // it ended before that, or served no more
	spoiled  bool    // more than mail was spoken, or a reply was odd: it is not for others
}

// command is one that waits for its reply.
type command struct {
	verb string // in upper case; "." for the end of a message
	// code and own are the reply, if the server does not get the command.
	code int
	own  string
	last bool // the end of the message: ".", or BDAT with LAST
}

// greet is the own reply to the client's first EHLO or HELO.
const greet = "greet"

// mode is what the client's next octets are.
type mode uint8

const (
	commands mode = iota
	message       // up to the line with a dot
	chunk         // of BDAT
)

const (
	// maxCommand bounds a command line. RFC 5321 section 4.5.3.1.4 has 512 octets, and
	// RFC 4954 section 4 has 12288 for a line of AUTH.
	maxCommand = 16 << 10
	// maxRefusals bounds the refusals that are remembered of one transaction.
	maxRefusals = 1000
)

// errHidden is about a command line in which some servers see the end of a line, and
// after it another command (RFC 5321 section 2.3.8).
var errHidden = errors.New("a command must not contain CR or NUL")

// endOfMessage is RFC 5321 section 4.1.1.4. A message begins at a line's start.
const endOfMessage = "\r\n.\r\n"

func (t *track) greeted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hello
}

// said takes what the client says, and returns what the server gets of it.
func (t *track) said(p []byte) (forward []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(p) > 0 {
		if t.keep && t.quit {
			t.spoiled = true
			return nil, net.ErrClosed // nothing follows QUIT
		}
		switch t.mode {
		case message:
			n := t.scan(p)
			forward = append(forward, p[:n]...)
			p = p[n:]
			t.begun = true
		case chunk:
			n := min(t.chunk, uint64(len(p)))
			forward = append(forward, p[:n]...)
			p = p[n:]
			if t.chunk -= n; t.chunk == 0 {
				t.mode = commands
			}
		default:
			part, rest, complete := bytes.Cut(p, []byte("\n"))
			p = rest
			t.line = append(t.line, part...)
			if len(t.line) > maxCommand {
				return nil, wire.ErrTooLong
			}
			if !complete {
				return forward, nil
			}
			line := append(t.line, '\n')
			t.line = nil
			text := string(bytes.TrimSpace(line))
			if strings.ContainsAny(text, "\r\x00") {
				return nil, errHidden
			}
			if t.command(text) {
				forward = append(forward, line...)
			}
		}
	}
	return forward, nil
}

// scan returns how many octets belong to the message, and notes when it ends.
func (t *track) scan(p []byte) int {
	for i, c := range p {
		switch {
		case c == endOfMessage[t.end]:
			t.end++
		case c == '\r':
			t.end = 1
		default:
			t.end = 0
		}
		if t.end == len(endOfMessage) {
			t.mode = commands
			t.waiting = append(t.waiting, command{verb: ".", last: true})
			return i + 1
		}
	}
	return len(p)
}

// command takes a command line, and reports whether the server gets it.
func (t *track) command(line string) (forward bool) {
	words := strings.Fields(strings.ToUpper(line))
	sent := command{verb: t.prompt}
	if t.prompt = ""; sent.verb == "" && len(words) > 0 {
		sent.verb = words[0]
	}
	switch {
	case !t.hello && (sent.verb == "EHLO" || sent.verb == "HELO"):
		t.hello, sent.own = true, greet
	case !t.hello:
		sent.code, sent.own = 503, "5.5.1 EHLO first"
	case sent.verb == "STARTTLS":
		sent.code, sent.own = 503, "5.5.1 the session has the TLS that the server offers"
	case sent.verb == "AUTH" && t.noLogin:
		sent.code, sent.own = 538, "5.7.11 the session is not authenticated, and gets no credentials"
	case sent.verb == "QUIT":
		t.quit = true
		if t.keep {
			sent.code, sent.own = 221, "2.0.0 bye"
		}
	case sent.verb == "MAIL":
		t.refusals, t.accepted, t.taken, t.settled = nil, 0, false, false
		if t.barred = t.requireTLS && !slices.Contains(parameters(line), "REQUIRETLS"); t.barred {
			sent.code, sent.own = 451, "4.7.30 MAIL lacks the parameter REQUIRETLS, which the mail requires"
		}
	case t.barred && (sent.verb == "RCPT" || sent.verb == "DATA" || sent.verb == "BDAT"):
		sent.code, sent.own = 503, "5.5.1 MAIL first"
	}
	sent.last = sent.verb == "BDAT" && slices.Contains(words, "LAST")
	if sent.verb == "BDAT" && len(words) > 1 {
		// The octets follow in any case, and must not be read as commands.
		if size, err := strconv.ParseUint(words[1], 10, 63); err == nil && size > 0 {
			if sent.own != "" {
				sent.code, sent.own = 0, "" // the server refuses it without a transaction
			}
			t.mode, t.chunk, t.begun, t.untried = chunk, size, true, false
		}
	}
	t.waiting = append(t.waiting, sent)
	t.spoiled = t.spoiled || sent.own == "" && !slices.Contains(mailVerbs, sent.verb)
	return sent.own == ""
}

// mailVerbs are the commands after which RSET leaves nothing of them in a session.
var mailVerbs = []string{"MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP"}

// parameters returns the words after the return path of MAIL, in upper case. What is in
// the path does not count: it is the mail's sender who wrote it.
func parameters(mail string) []string {
	_, rest, _ := strings.Cut(mail, "<")
	quoted, escaped := false, false
	for i, c := range rest {
		switch {
		case escaped:
			escaped = false
		case c == '\\' && quoted:
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return strings.Fields(strings.ToUpper(rest[i+1:]))
		}
	}
	return nil
}

// next returns the command that waits longest for its reply.
func (t *track) next() (command, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		return command{}, false
	}
	return t.waiting[0], true
}

// heard takes the reply to the command that waited longest, which the client reads.
func (t *track) heard(reply wire.Reply) {
	t.mu.Lock()
	defer t.mu.Unlock()
	answered := command{verb: ".", last: true} // the server does not wait for the message's end
	if len(t.waiting) > 0 {
		answered, t.waiting = t.waiting[0], t.waiting[1:]
	} else if t.mode != message {
		answered.verb = ""
	} else {
		t.spoiled = true
	}
	if answered.verb == "" || reply.Mixed || reply.Class() == 3 && answered.verb != "DATA" || reply.Class() == 5 && answered.verb == "BDAT" {
		t.spoiled = true
	}
	heard := t.at(answered.verb)
	heard.Reply, heard.Circumstances.Kept = reply, t.untried && answered.own == ""
	switch class := reply.Class(); {
	case class == 3 && answered.verb == "DATA":
		t.mode, t.end, t.untried = message, len("\r\n"), false
	case class == 3 && answered.verb == "AUTH":
		t.prompt = answered.verb
	case class != 2:
		t.refuse(heard)
	case answered.verb == "RCPT":
		t.accepted++
	case answered.last:
		t.taken = true
	}
	switch class := reply.Class(); {
	case answered.last, answered.verb == "BDAT" && class != 2, answered.verb == "RSET" && class == 2:
		t.begun = slices.ContainsFunc(t.waiting, func(c command) bool { return c.verb == "BDAT" })
	}
	if reply.Code == 421 || answered.verb == "QUIT" && answered.own == "" {
		t.over = true
		t.ended = t.ended || t.untried && reply.Code == 421
	}
	if heard.InMail && heard.Ruling().Action == conversation.Redial {
		t.ended, t.spoiled = true, true
	}
}

// refuse keeps a refusal, the newest last.
func (t *track) refuse(h Heard) {
	if len(t.refusals) >= maxRefusals {
		t.refusals = slices.Delete(t.refusals, 0, 1)
	}
	t.refusals = append(t.refusals, h)
}

// at returns the step of a command, in the current circumstances.
func (t *track) at(verb string) Heard {
	h := Heard{Verb: verb, InMail: true, Circumstances: t.circumstances}
	switch verb {
	case "MAIL":
		h.Step = conversation.StepMAIL
	case "RCPT":
		h.Step = conversation.StepRCPT
		h.Circumstances.AfterAccepted = t.accepted > 0
	case "DATA":
		h.Step = conversation.StepDATA
	case ".", "BDAT":
		h.Step = conversation.StepMessage
	default:
		h.InMail = false
	}
	return h
}

// settle implements Conn.Settle.
func (t *track) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusals, t.settled = nil, t.taken
}

// lost notes that the conversation has ended without a reply. closed means that the
// server closed it: no timeout, and not the client.
func (t *track) lost(closed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = t.ended || t.untried && !t.over && len(t.waiting) > 0 && closed
	t.over = true
}

// stale implements Conn.Stale.
func (t *track) stale() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended && !t.begun
}

// parted reports whether the client has said QUIT, which the server does not know.
func (t *track) parted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keep && t.quit
}

// reusable reports whether others may use the session.
func (t *track) reusable() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listens() && !t.spoiled
}

// idle reports whether the server waits for a command.
func (t *track) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listens()
}

// listens is idle. Replies of our own that the client does not read, such as that to its
// QUIT, are nothing that the server has to do.
func (t *track) listens() bool {
	awaited := func(c command) bool { return c.own == "" }
	return !t.over && t.mode == commands && !t.begun && t.prompt == "" && len(t.line) == 0 && !slices.ContainsFunc(t.waiting, awaited)
}
