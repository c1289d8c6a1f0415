package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// A message in chunks is accepted by the reply to the last one only (RFC 3030 section 2).
func TestChunksAreNotTheMessage(t *testing.T) {
	begin := []string{"C: EHLO x\r\n", "S: 250 x", "C: MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", "S: 250 ok", "S: 250 ok"}
	t.Run("pipelined", func(t *testing.T) {
		tr := track{}
		play(t, &tr, begin...)
		play(t, &tr, "C: BDAT 3\r\nabcBDAT 3 LAST\r\ndef", "S: 250 chunk")
		tr.lost(true)
		about, ok := tr.about(io.EOF)
		if !ok || about.Ruling().Verdict != conversation.Unknown {
			t.Errorf("%v %+v", ok, about)
		}
	})
	t.Run("lost between chunks", func(t *testing.T) {
		tr := track{}
		play(t, &tr, begin...)
		play(t, &tr, "C: BDAT 3\r\nabc", "S: 250 chunk")
		tr.lost(true)
		if about, ok := tr.about(io.EOF); !ok {
			t.Errorf("Failure is nil: no LAST was sent, the mail counts as accepted (%+v)", about)
		}
	})
	t.Run("own error between chunks", func(t *testing.T) {
		tr := track{}
		play(t, &tr, begin...)
		play(t, &tr, "C: BDAT 3\r\nabc", "S: 250 chunk")
		if about, ok := tr.about(errors.New("read message: disk error")); !ok {
			t.Errorf("Failure is nil (%+v)", about)
		}
	})
}

// A server refuses a thousand recipients with replies of hundreds of lines. To find the one that
// an error names does not take work for each line of each reply.
func TestRecognizingRepliesIsBounded(t *testing.T) {
	const recipients, lines = 1000, 400
	text := "SMTP error 550"
	reply := wire.Reply{Code: 550, Lines: []string{"5.1.1 nobody"}}
	for i := range lines {
		text += fmt.Sprintf(" line%d", i)
		reply.Lines = append(reply.Lines, fmt.Sprintf("5.1.1 line%d", i))
	}
	tr := track{}
	for i := range recipients {
		refused := Heard{Verb: "RCPT", Reply: reply}
		refused.Reply.Lines = slices.Clone(reply.Lines)
		refused.Reply.Lines[2] = fmt.Sprintf("5.1.1 recipient%d.", i)
		tr.refuse(refused)
	}
	err := errors.New(text + " nobody recipient7.")
	if about, ok := tr.about(err); !ok || about.Reply.Lines[2] != "5.1.1 recipient7." {
		t.Errorf("%v %.100q", ok, about.Reply.Lines)
	}
	if allocs := testing.AllocsPerRun(1, func() { tr.about(err) }); allocs > 16*recipients {
		t.Errorf("%v allocations", allocs)
	}
}

// The text of a network error has addresses, which are no reply codes.
func TestNetworkErrorNamesNoReply(t *testing.T) {
	for _, refusal := range []string{"S: 450 4.2.0 greylisted", "S: 550 5.1.1 nobody"} {
		tr := track{circumstances: conversation.Circumstances{InTLS: true}}
		play(t, &tr, "C: EHLO x\r\n", "S: 250 x", "C: MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n",
			"S: 250 ok", "S: 250 ok", refusal, "S: 354 go", "C: x\r\n.\r\n")
		tr.lost(true)
		addr, _ := net.ResolveTCPAddr("tcp", "[2001:db8:"+refusal[3:6]+"::25]:25")
		about, ok := tr.about(&net.OpError{Op: "read", Net: "tcp", Addr: addr, Err: errors.New("connection reset by peer")})
		if r := about.Ruling(); !ok || r.Verdict != conversation.Unknown {
			t.Errorf("%s: verb %q ruling %+v, want outcome unknown", refusal, about.Verb, r)
		}
	}
}

// Only AUTH is continued by the next line: a 334 reply to another command does not let
// MAIL through.
func TestOnlyAUTHIsContinued(t *testing.T) {
	tr := track{requireTLS: true}
	got := play(t, &tr, "C: EHLO x\r\n", "S: 250 x", "C: NOOP\r\n", "S: 334 x", "C: MAIL FROM:<a@b>\r\n")
	if got != "NOOP\r\n" {
		t.Errorf("%q", got)
	}
}
