package relay

import (
	"bytes"
	"sync/atomic"
)

// maxReceived is the number of Received fields in a message above which it is
// considered to be in a loop (RFC 5321 section 6.3).
const maxReceived = 100

var (
	tooLarge = say(552, 5, 3, 4, "the message is too large")
	noRoom   = say(452, 4, 3, 1, "the relay holds too many messages; try again later")
	notCRLF  = say(554, 5, 6, 0, errBareLineEnd.Error())
	inLoop   = say(554, 5, 4, 6, "the message is in a loop")
)

// room bounds the octets of all messages that the relay holds. It does not bound their number: domains that
// stall would then hold up others.
type room struct{ left atomic.Int64 }

// take takes room for n octets, if there is that much.
func (r *room) take(n int64) bool {
	if r.left.Add(-n) < 0 {
		r.left.Add(n)
		return false
	}
	return true
}

// body is a message while it arrives, after the fields that the relay adds.
type body struct {
	octets []byte
	added  int // length of those fields
	most   int64
	room   *room
	taken  int64
	refuse *reply // why the rest is not kept; nil if it is
}

// newBody returns the body of a message of at most most octets that begins with a field of the relay.
func newBody(field []byte, most int64, room *room) *body {
	return &body{octets: field, added: len(field), most: most, room: room}
}

// add appends a part.
func (b *body) add(part []byte) {
	n := int64(len(part))
	switch {
	case b.refuse != nil:
	case b.taken+n > b.most:
		b.drop(tooLarge)
	case !b.room.take(n):
		b.drop(noRoom)
	default:
		b.taken += n
		b.octets = append(b.octets, part...)
	}
}

// Write is add, as an io.Writer.
func (b *body) Write(part []byte) (int, error) {
	b.add(part)
	return len(part), nil
}

// drop drops what is there, and everything that follows.
func (b *body) drop(why *reply) {
	b.release()
	b.octets, b.refuse = nil, why
}

// release gives the room back.
func (b *body) release() {
	b.room.left.Add(b.taken)
	b.taken = 0
}

// message returns the message, or why it is refused. requireTLS is true if the header requires TLS on the
// whole way: Postfix 3.11 says so in a field of its own where the connection has no TLS. The field can only
// make the delivery stricter. It is removed.
func (b *body) message() (message []byte, requireTLS bool, wrong *reply) {
	if b.refuse != nil {
		return nil, false, b.refuse
	}
	text := b.octets[b.added:]
	switch {
	case hasBareLineEnd(text):
		return nil, false, notCRLF
	case countReceived(text) >= maxReceived:
		return nil, false, inLoop
	}
	text, requireTLS = cutRequireTLS(text)
	return b.octets[:b.added+len(text)], requireTLS, nil
}

// requireTLSField is the field by which Postfix 3.11 says that TLS is required.
const requireTLSField = "Require-TLS-ESMTP"

// cutRequireTLS removes these fields, and reports whether there was one that does not say no: a value that is
// folded or not known must not make the delivery weaker. It moves the octets after them.
func cutRequireTLS(message []byte) (rest []byte, requireTLS bool) {
	end, kept := 0, 0 // of the header, and of what is kept of it
	within := false   // a field that is removed
	for line := range bytes.Lines(message) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, value, _ := bytes.Cut(line, []byte(":"))
			within = bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte(requireTLSField))
			requireTLS = requireTLS || within && !bytes.EqualFold(bytes.TrimSpace(value), []byte("no"))
		}
		if !within {
			kept += copy(message[kept:], line)
		}
		end += len(line)
	}
	return message[:kept+copy(message[kept:], message[end:])], requireTLS
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
