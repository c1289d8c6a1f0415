package delivery

import (
	"bytes"

	"github.com/mxseal/mxseal/internal/names"
)

// saysTLSOptional reports whether the header of a message has the field
// "TLS-Required: No" exactly once. RFC 8689 section 3 allows no other value and no
// second field; policies stay in force for both.
func saysTLSOptional(message []byte) bool {
	var (
		fields int
		value  []byte
		inside bool // the line before belongs to the field
	)
	for line := range bytes.Lines(message) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if inside {
				value = append(value, line...)
			}
			continue
		}
		name, body, found := bytes.Cut(line, []byte(":"))
		if !found {
			break // not a header field, so the header has ended
		}
		inside = names.EqualFold(string(bytes.TrimRight(name, " \t")), "TLS-Required")
		if inside {
			fields++
			value = append(value[:0], body...)
		}
	}
	return fields == 1 && names.EqualFold(string(bytes.Trim(value, " \t")), "No")
}

// hasBareCR reports whether the message has a CR without LF. RFC 5321 section 2.3.8
// forbids it, and a server that reads it as the end of a line can be made to see a
// second message in the first (SMTP smuggling).
func hasBareCR(message []byte) bool {
	for {
		at := bytes.IndexByte(message, '\r')
		if at < 0 {
			return false
		}
		if message = message[at+1:]; len(message) == 0 || message[0] != '\n' {
			return true
		}
	}
}
