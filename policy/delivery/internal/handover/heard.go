package handover

import (
	"errors"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// Heard is what a server said to a command, or that it said nothing.
type Heard struct {
	// Verb is the command in upper case, "." for the end of a message; empty if no
	// command waited for a reply.
	Verb string
	// InMail is true for the commands of a mail transaction; Step is only for these.
	InMail bool
	Step   conversation.Step
	// Reply is the reply; the zero Reply if there was none.
	Reply         wire.Reply
	Circumstances conversation.Circumstances
	// Unsaid is true if the client failed by itself: nothing that was said explains its
	// error.
	Unsaid bool
}

// Ruling returns what the table says.
func (h Heard) Ruling() conversation.Ruling {
	e := conversation.Event(h.Reply.Code)
	switch {
	case h.InMail && h.Reply.Code == 0:
		return conversation.Rule(h.Step, conversation.Lost, h.Circumstances)
	case h.InMail:
		c := h.Circumstances
		c.OwnLimit = conversation.NamesOwnLimit(h.Reply)
		return conversation.Rule(h.Step, e, c)
	}
	return conversation.Ruling{Action: conversation.TryNext, Alive: h.Unsaid || h.Reply.Code != 0 && h.Reply.Code != 421}
}

// about returns what an error of the client is about: the newest refusal that it
// names, or else the end of the conversation. It does not matter if the message was
// accepted.
func (t *track) about(err error) (about Heard, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	accepted := t.taken && (!t.settled || t.quit)
	for _, names := range []func(error, wire.Reply) bool{namesReply, namesCode} {
		for _, refusal := range slices.Backward(t.refusals) {
			if names(err, refusal.Reply) {
				return refusal, refusal.InMail || !accepted
			}
		}
	}
	switch {
	case t.begun || t.mode != commands:
		return t.at("."), true
	case accepted:
		return Heard{}, false
	case t.over && len(t.waiting) > 0:
		return t.at(t.waiting[0].verb), true
	case t.over:
		return t.at(""), true
	}
	about = t.at("")
	about.Unsaid = true
	return about, true
}

// maxCompared bounds the lines of a reply by which the text of an error is recognized. A server
// may send hundreds of lines, for each of a thousand recipients.
const maxCompared = 4

// namesReply reports whether an error has the code and the text of a reply.
func namesReply(err error, reply wire.Reply) bool {
	if !namesCode(err, reply) {
		return false
	}
	var known *textproto.Error
	if errors.As(err, &known) {
		return known.Msg == reply.Text()
	}
	text := err.Error()
	_, isEnhanced := reply.Enhanced()
	for _, line := range reply.Lines[:min(len(reply.Lines), maxCompared)] {
		if isEnhanced { // clients take the code off the text
			_, line, _ = strings.Cut(line, " ")
		}
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(text, line) {
			return false
		}
	}
	return true
}

// namesCode reports whether an error has the code of a reply: as the error of package
// net/textproto, by a method ErrorCode, or as a word of its text.
func namesCode(err error, reply wire.Reply) bool {
	var known *textproto.Error
	if errors.As(err, &known) {
		return known.Code == reply.Code
	}
	var coded interface {
		error
		ErrorCode() int
	}
	if errors.As(err, &coded) && coded.ErrorCode() != 0 {
		return coded.ErrorCode() == reply.Code
	}
	var broken *net.OpError
	if errors.As(err, &broken) {
		return false // its text has addresses, and no reply
	}
	words := strings.FieldsFunc(err.Error(), func(r rune) bool { return r < '0' || r > '9' })
	return slices.Contains(words, strconv.Itoa(reply.Code))
}
