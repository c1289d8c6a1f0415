package relay

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

// maxReceived is the number of Received fields in a message above which it is
// considered to be in a loop (RFC 5321 section 6.3).
const maxReceived = 100

// readMessage reads a message. go-smtp limits its size. It reports whether the header requires TLS on the
// whole way: Postfix 3.11 says so in a field of its own where the connection has no TLS. That field, which
// can only make the delivery stricter, is removed.
func readMessage(r io.Reader) (message []byte, requireTLS bool, err error) {
	message, err = io.ReadAll(r)
	var reply *smtp.SMTPError
	switch {
	case errors.As(err, &reply):
		return nil, false, reply
	case errors.Is(err, errBareLineEnd) || err == nil && hasBareLineEnd(message):
		return nil, false, &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: errBareLineEnd.Error()}
	case err != nil:
		return nil, false, &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "the message is incomplete"}
	case countReceived(message) >= maxReceived:
		return nil, false, &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 4, 6}, Message: "the message is in a loop"}
	default:
		message, requireTLS = cutRequireTLS(message)
		return message, requireTLS, nil
	}
}

// cutRequireTLS removes the fields Require-TLS-ESMTP, and reports whether there was one that says yes.
func cutRequireTLS(message []byte) (rest []byte, requireTLS bool) {
	end := 0 // of the header
	var kept []byte
	within := false // a field that is removed
	for line := range bytes.Lines(message) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		end += len(line)
		if line[0] != ' ' && line[0] != '\t' {
			name, value, _ := bytes.Cut(line, []byte(":"))
			within = bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("Require-TLS-ESMTP"))
			requireTLS = requireTLS || within && bytes.EqualFold(bytes.TrimSpace(value), []byte("yes"))
		}
		if !within {
			kept = append(kept, line...)
		}
	}
	if len(kept) == end {
		return message, false
	}
	return append(kept, message[end:]...), requireTLS
}

// hasBareLineEnd reports whether a message has a bare CR or LF. A message that
// comes in chunks (RFC 3030) can end in a CR that the connection sees completed
// by the next command.
func hasBareLineEnd(message []byte) bool {
	var lines lineEnds
	return lines.check(message) < len(message) || lines.afterCR
}

// countReceived returns the number of Received fields in the header.
func countReceived(message []byte) (n int) {
	for line := range bytes.Lines(message) {
		switch name, _, found := bytes.Cut(line, []byte(":")); {
		case len(bytes.TrimRight(line, "\r\n")) == 0:
			return n
		case found && bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("Received")):
			n++
		}
	}
	return n
}

// trace is the information for the Received field.
type trace struct {
	helo, addr, by, with string
}

func (s *session) trace() trace {
	t := trace{helo: s.conn.Hostname(), addr: "local socket", by: s.relay.Name, with: "ESMTP"}
	if addr, ok := s.conn.Conn().RemoteAddr().(*net.TCPAddr); ok {
		t.addr = "[" + addr.IP.String() + "]"
	}
	if s.lmtp {
		t.with = "LMTP"
	}
	return t
}

// field returns the Received field (RFC 5321 section 4.4). It has the name that the client gave only if that
// consists of the characters of host names and address literals.
func (t trace) field() []byte {
	helo := t.helo
	if len(helo) > 255 || strings.ContainsFunc(helo, isNoNameCharacter) {
		helo = "unknown"
	}
	return fmt.Appendf(nil, "Received: from %s (%s)\r\n\tby %s with %s id %s;\r\n\t%s\r\n",
		helo, t.addr, t.by, t.with, rand.Text(), time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}

func isNoNameCharacter(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-._:[]", c))
}
