package relay

import (
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"time"
)

// trace is the information for the Received field.
type trace struct {
	helo, addr, by, with string
}

func (s *session) trace(utf8 bool) trace {
	t := trace{helo: s.helo, addr: "local socket", by: s.relay.Name, with: s.protocol}
	if addr, ok := s.client.raw.RemoteAddr().(*net.TCPAddr); ok {
		t.addr = "[" + addr.IP.String() + "]"
	}
	if utf8 { // RFC 6531 section 3.7.3
		t.with = "UTF8" + strings.TrimPrefix(t.with, "E")
	}
	if s.inTLS { // RFC 3848
		t.with += "S"
	}
	return t
}

// field returns the Received field (RFC 5321 section 4.4). The name that the client gave is left out if it has
// characters other than those of host names and address literals.
func (t trace) field() []byte {
	helo := t.helo
	if len(helo) > 255 || strings.ContainsFunc(helo, isNotInName) {
		helo = "unknown"
	}
	return fmt.Appendf(nil, "Received: from %s (%s)\r\n\tby %s with %s id %s;\r\n\t%s\r\n",
		helo, t.addr, t.by, t.with, rand.Text(), time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}

// isNotInName reports whether a character occurs neither in host names nor in address literals.
func isNotInName(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-._:[]", c))
}
