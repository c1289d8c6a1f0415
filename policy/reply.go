package policy

import (
	"errors"
	"net/textproto"
	"strings"
)

// maxReplyText bounds what an error repeats of a server's words.
const maxReplyText = 512

// bounded shortens what err repeats of a server's words. Both errors of
// net/textproto quote them.
func bounded(err error) error {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return &textproto.Error{Code: reply.Code, Msg: shortened(reply.Msg)}
	}
	var garbage textproto.ProtocolError
	if errors.As(err, &garbage) {
		return textproto.ProtocolError(shortened(string(garbage)))
	}
	return err
}

func shortened(s string) string {
	if len(s) > maxReplyText {
		return s[:maxReplyText] + "..."
	}
	return s
}

// broken is the failure of a conversation that policy has no part in: the host
// refused to talk, went away, or does not speak SMTP.
func (h *Host) broken(detail string, err error) *Error {
	status := "4.4.2"
	var reply *textproto.Error
	if errors.As(err, &reply) {
		status = "4.3.2"
	}
	return h.failure("", "", status, detail, bounded(err))
}

// replied is the failure of a command in a mail transaction: permanent when the
// server says so, and temporary when it says nothing.
func (h *Host) replied(detail string, err error) *Error {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return h.broken(detail, err)
	}
	e := h.failure("", "", "", detail, bounded(err))
	switch reply.Code / 100 {
	case 5:
		e.Permanent = true
		e.SMTPCode, e.Status = reply.Code, enhancedStatus(reply.Msg, '5')
	case 4:
		e.SMTPCode, e.Status = reply.Code, enhancedStatus(reply.Msg, '4')
	default:
		e.Status = "4.5.0" // a reply of success where it means nothing
	}
	return e
}

// enhancedStatus returns the enhanced status code at the start of a reply
// (RFC 2034), if it is of the reply's own class, or the general one.
func enhancedStatus(text string, class byte) string {
	code, _, _ := strings.Cut(text, " ")
	parts := strings.Split(code, ".")
	if len(parts) == 3 && parts[0] == string(class) && isStatusPart(parts[1]) && isStatusPart(parts[2]) {
		return code
	}
	return string(class) + ".0.0"
}

func isStatusPart(s string) bool { return len(s) <= 3 && isNumeric(s) }

// gone reports whether the server went away, or said that it is about to.
func gone(err error) bool {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return reply.Code == 421
	}
	return true
}

// greetingName returns the name of the server in its greeting, or the empty
// string for what is not a name (RFC 5321 section 4.2).
func greetingName(greeting []byte) string {
	line, _, _ := strings.Cut(string(greeting), "\n")
	if len(line) < 4 {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimSpace(line[4:]), " ")
	if !isHostName(name) {
		return ""
	}
	return name
}

// offers reports whether a reply to EHLO lists a keyword. Keywords are
// case-insensitive (RFC 5321 section 2.4), which net/smtp does not know.
func offers(reply []byte, keyword string) bool {
	first := true
	for line := range strings.Lines(string(reply)) {
		if !first && len(line) > 4 && line[:3] == "250" {
			word, _, _ := strings.Cut(strings.TrimRight(line[4:], "\r\n"), " ")
			if equalFold(word, keyword) {
				return true
			}
		}
		first = false
	}
	return false
}
