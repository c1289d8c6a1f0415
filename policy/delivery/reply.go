package delivery

import (
	"errors"
	"net/textproto"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
)

// gone reports whether the connection was lost, or the server announced by 421 that
// it closes it.
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
	if !names.IsDomain(name) {
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
			if names.EqualFold(word, keyword) {
				return true
			}
		}
		first = false
	}
	return false
}
