package pipelining

import (
	"errors"
	"io"
	"time"

	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// Dialogue sends the commands of one transaction and receives their replies in order.
type Dialogue struct {
	// Conn is the session.
	Conn *wire.Conn
	// Commands are MAIL first, then RCPT for each recipient, and DATA last.
	Commands []string
	// Grouped means that the server supports PIPELINING.
	Grouped bool
	// ResetTimeout is the time of the RSET that comes before the commands, if Grouped; 0
	// means that none does.
	ResetTimeout time.Duration

	sent     int
	answered int
	answers  []answer // that Next has not returned yet
}

// ErrNoReset means that the server did not answer RSET as it should.
var ErrNoReset = errors.New("the server does not answer RSET as it should")

// answer is a reply, or the error instead of it.
type answer struct {
	reply wire.Reply
	err   error
}

// maxGroup bounds the octets of the commands that are sent before their replies are
// read. A group fits the buffer of the connection and the smallest usual TCP window,
// so that neither side waits for the other to read (RFC 2920 section 3.1).
const maxGroup = 4000

// Next returns the reply to the next command, and sends it if it was not sent yet. With
// PIPELINING, the first call sends all commands. timeout bounds the wait for each
// reply.
func (d *Dialogue) Next(timeout time.Duration) (wire.Reply, error) {
	if len(d.answers) == 0 {
		d.exchange(timeout)
		if d.Grouped {
			d.align(timeout)
		}
	}
	first := d.answers[0]
	if first.err == nil {
		d.answers = d.answers[1:]
		d.answered++
	}
	return first.reply, first.err
}

// Pending returns the first command that was sent and has no reply yet that Next
// returned, and false if there is none.
func (d *Dialogue) Pending() (command string, ok bool) {
	if d.answered == d.sent {
		return "", false
	}
	return d.Commands[d.answered], true
}

// exchange sends the next command and receives its reply, or all commands in groups. An
// error, a 421 reply and the refusal of MAIL end it.
func (d *Dialogue) exchange(timeout time.Duration) {
	resets := d.Grouped && d.ResetTimeout > 0 && d.sent == 0
	if resets {
		if err := d.Conn.Send("RSET"); err != nil {
			d.answers = append(d.answers, answer{err: ErrNoReset})
			return
		}
	}
	for {
		first, octets := d.sent, 0
		for d.sent < len(d.Commands) && (d.sent == first || d.Grouped) {
			octets += len(d.Commands[d.sent]) + len("\r\n")
			if d.sent > first && octets > maxGroup {
				break
			}
			if err := d.Conn.Send(d.Commands[d.sent]); err != nil {
				d.answers = append(d.answers, answer{err: err})
				return
			}
			d.sent++
		}
		if resets {
			resets = false
			if reply, err := d.Conn.Receive(d.ResetTimeout); err != nil || !conversation.IsReset(reply) {
				d.answers = append(d.answers, answer{err: ErrNoReset})
				return
			}
		}
		for range d.sent - first {
			reply, err := d.Conn.Receive(timeout)
			d.answers = append(d.answers, answer{reply, err})
			switch {
			case err != nil:
				return
			case reply.Code == 421:
				d.answers = append(d.answers, answer{err: io.ErrUnexpectedEOF})
				return
			}
		}
		if !d.Grouped || d.sent == len(d.Commands) || d.answers[0].reply.Class() != 2 {
			return
		}
	}
}

// align makes sure that the replies to groups of commands belong to these. A server
// that answers a command twice would otherwise refuse the wrong recipient. A 3yz reply
// to DATA proves it, because no other command has one. Otherwise RSET does, if it is
// answered as it should be, or if nothing comes before the end of the connection. If
// they do not belong, none of them counts.
func (d *Dialogue) align(timeout time.Duration) {
	last := d.answers[len(d.answers)-1]
	aligned := !errors.Is(last.err, wire.ErrUnasked)
	for i, a := range d.answers {
		isData := d.Commands[min(i, len(d.Commands)-1)] == "DATA"
		aligned = aligned && (a.err != nil || isData && a.reply.Class() != 2 || !isData && a.reply.Class() != 3)
	}
	if aligned && last.err == nil && last.reply.Class() != 3 {
		reply, err := d.Conn.Command(timeout, "RSET")
		aligned = errors.Is(err, io.ErrUnexpectedEOF) || err == nil && (reply.Class() == 2 || reply.Code == 421)
	}
	if !aligned {
		d.answers = []answer{{err: wire.ErrUnasked}}
	}
}
