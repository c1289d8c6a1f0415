package wire

import (
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
)

// Reply is a reply of an SMTP server (RFC 5321 section 4.2). The zero Reply
// means no reply at all.
type Reply struct {
	// Code is the reply code, 200 to 599, or 0.
	Code int
	// Lines are the texts after the code, one for each line, as the server sent them.
	// They may have characters that are not printable. Of a reply that is very long, the
	// last ones are left out.
	Lines []string
	// Mixed is true if the lines had different codes. Code is that of the last.
	Mixed bool
}

// Class returns the first digit of the code (RFC 5321 section 4.2.1).
func (r Reply) Class() int { return r.Code / 100 }

// Text returns the lines joined by newlines, as package net/textproto does.
func (r Reply) Text() string { return strings.Join(r.Lines, "\n") }

// Err returns the reply as the error of package net/textproto.
func (r Reply) Err() *textproto.Error { return &textproto.Error{Code: r.Code, Msg: r.Text()} }

// Enhanced returns the enhanced status code at the start of the text (RFC 2034
// section 4), if there is one and its class is that of the reply.
func (r Reply) Enhanced() (status [3]int, ok bool) {
	words := strings.Fields(r.Text())
	if len(words) == 0 {
		return status, false
	}
	parts := strings.Split(words[0], ".")
	if len(parts) != len(status) {
		return status, false
	}
	for i, part := range parts {
		if len(part) > 3 || !isDigits(part) {
			return [3]int{}, false
		}
		status[i], _ = strconv.Atoi(part)
	}
	if status[0] != r.Class() {
		return [3]int{}, false
	}
	return status, true
}

// These errors mean that a server does not keep to the protocol.
var (
	// ErrNotReply means that the server sent something that is not a reply.
	ErrNotReply = errors.New("the server sent something that is not an SMTP reply")
	// ErrTooLong means that a reply exceeds its bound.
	ErrTooLong = errors.New("the server's reply is too long")
	// ErrUnasked means that there is a reply that no command asked for. Replies can
	// no longer be told apart.
	ErrUnasked = errors.New("the server sent a reply that no command asked for")
	// ErrInjection means that octets in cleartext came together with the reply to
	// STARTTLS. The one who sent them wants them taken for replies inside TLS (RFC 3207
	// section 6, CVE-2011-0411).
	ErrInjection error = injectionError{}
)

type injectionError struct{}

func (injectionError) Error() string {
	return "the server sent more than one 220 reply between STARTTLS and the handshake (response injection)"
}

// TLSReport is for tlsrpt.Classify.
func (injectionError) TLSReport() (resultType, reasonCode string) {
	return "validation-failure", "starttls-injection"
}

// parseLine reads one line of a reply without its line end: a code, and perhaps text
// after a space or a hyphen. Servers should send text, and clients must accept a code
// alone (RFC 5321 section 4.2.1).
func parseLine(line string) (code int, text string, last bool, err error) {
	if len(line) < 3 || !isDigits(line[:3]) || line[0] < '2' || line[0] > '5' {
		return 0, "", false, ErrNotReply
	}
	code, _ = strconv.Atoi(line[:3])
	if len(line) == 3 {
		return code, "", true, nil
	}
	switch line[3] {
	case ' ', '\t':
		return code, line[4:], true, nil
	case '-':
		return code, line[4:], false, nil
	}
	return 0, "", false, ErrNotReply
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Extensions are the service extensions of a reply to EHLO, by keyword in upper
// case, with their parameters (RFC 5321 section 4.1.1.1).
type Extensions map[string]string

// Has reports whether the server offers the extension; keyword is in upper case.
func (e Extensions) Has(keyword string) bool {
	_, ok := e[keyword]
	return ok
}

// Extensions returns what a reply to EHLO offers. Keywords compare without regard to
// case (RFC 5321 section 2.4). If a keyword occurs twice, the first line counts. A line
// that does not start with a keyword is skipped.
func (r Reply) Extensions() Extensions {
	found := Extensions{}
	for i, line := range r.Lines {
		if i == 0 {
			continue // the server's name
		}
		// A tab is not a separator in RFC 5321. A server that writes one still offers
		// the extension, and STARTTLS must not be missed.
		line = strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
		keyword, parameters, _ := strings.Cut(line, " ")
		// AUTH=PLAIN is an old spelling of AUTH PLAIN that servers send beside it.
		if before, after, ok := strings.Cut(keyword, "="); ok && parameters == "" {
			keyword, parameters = before, after
		}
		keyword = strings.ToUpper(keyword)
		if !isKeyword(keyword) || found.Has(keyword) {
			continue
		}
		found[keyword] = strings.TrimLeft(parameters, " ")
	}
	return found
}

// isKeyword reports whether s, in upper case, is an ehlo-keyword.
func isKeyword(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' && i > 0) {
			return false
		}
	}
	return s != ""
}

// ServerName returns the name in a greeting or in a reply to EHLO: the first
// word of its text (RFC 5321 sections 4.2 and 4.1.1.1). It is not checked.
func (r Reply) ServerName() string {
	if len(r.Lines) == 0 {
		return ""
	}
	name, _, _ := strings.Cut(strings.Trim(r.Lines[0], " \t"), " ")
	return name
}

// String returns the reply for a diagnosis: code and text in one line. The text
// is the server's and must be escaped before it is printed.
func (r Reply) String() string {
	return strings.TrimRight(fmt.Sprintf("%d %s", r.Code, strings.Join(r.Lines, " ")), " ")
}
