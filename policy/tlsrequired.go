package policy

import (
	"bytes"
)

// saysTLSOptional reports whether the header of a message has the field
// "TLS-Required: No", and has it once: RFC 8689 section 3 knows no other value
// and no second field. Whatever else there is leaves policies in force.
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
			break // no header field, so this is no header any more
		}
		inside = equalFold(string(bytes.TrimRight(name, " \t")), "TLS-Required")
		if inside {
			fields++
			value = append(value[:0], body...)
		}
	}
	return fields == 1 && equalFold(string(bytes.Trim(value, " \t")), "No")
}

// hasBareCR reports whether a CR stands without LF. RFC 5321 section 2.3.8
// forbids to send one, and a server that takes it for the end of a line can be
// made to see a second message in the first (SMTP smuggling).
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
