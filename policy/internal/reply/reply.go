// Package reply bounds a server's reply in an error, and reads the enhanced status code
// in it.
package reply

import (
	"errors"
	"net/textproto"
	"strconv"
	"strings"
)

// maxText bounds the octets of a server's text in an error.
const maxText = 512

// Bounded shortens the text of the server in err. Both errors of net/textproto
// quote it.
func Bounded(err error) error {
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
	if len(s) > maxText {
		return s[:maxText] + "..."
	}
	return s
}

// Status returns the enhanced status code at the start of a reply (RFC 2034) if it
// is of the reply's own class, and the general one otherwise.
func Status(reply *textproto.Error) string {
	class := reply.Code / 100
	if words := strings.Fields(reply.Msg); len(words) > 0 {
		if code, ok := ParseStatus(words[0]); ok && code[0] == class {
			return words[0]
		}
	}
	return strconv.Itoa(class) + ".0.0"
}

// ParseStatus returns the three numbers of an enhanced status code: one digit, and
// twice one to three (RFC 3463 section 2).
func ParseStatus(s string) (code [3]int, ok bool) {
	parts := strings.SplitN(s, ".", len(code)+1)
	if len(parts) != len(code) || len(parts[0]) != 1 {
		return code, false
	}
	for i, part := range parts {
		number, err := strconv.ParseUint(part, 10, 16)
		if err != nil || len(part) > 3 {
			return code, false
		}
		code[i] = int(number)
	}
	return code, true
}
