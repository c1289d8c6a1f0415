package handover

import (
	"errors"
	"io"
	"net/textproto"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// play lets a client and a server speak in turn: lines with "C: " are the client's, as
// they are written, and those with "S: " are replies that the client reads. It returns
// what the server got.
func play(t *testing.T, tr *track, script ...string) string {
	t.Helper()
	got := ""
	for _, line := range script {
		text, isClient := strings.CutPrefix(line, "C: ")
		if isClient {
			forward, err := tr.said([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			got += string(forward)
			continue
		}
		reply := wire.Reply{Lines: []string{line[len("S: 250 "):]}}
		for _, digit := range line[len("S: "):][:3] {
			reply.Code = reply.Code*10 + int(digit-'0')
		}
		tr.heard(reply)
	}
	return got
}

// An error is about the right command, whatever the order in which the client writes and
// reads.
func TestErrorIsAboutRightCommand(t *testing.T) {
	t.Parallel()
	begin := []string{"C: EHLO x\r\n", "S: 250 x"}
	for _, tt := range []struct {
		name   string
		script []string
		err    error
		verb   string
		code   int
		idle   bool
	}{
		{"pipelined, the second recipient", []string{
			"C: MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n", "S: 250 ok", "S: 250 ok", "S: 550 nobody", "S: 354 go",
		}, &textproto.Error{Code: 550, Msg: "nobody"}, "RCPT", 550, false},
		{"of two refusals, the one with the text", []string{
			"C: MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n", "S: 250 ok", "S: 550 first", "S: 550 second",
		}, &textproto.Error{Code: 550, Msg: "first"}, "RCPT", 550, true},
		{"the text of another client", []string{
			"C: MAIL FROM:<a@b>\r\n", "S: 451 4.3.0 try later",
		}, errors.New("SMTP error 451: try later"), "MAIL", 451, true},
		{"a command in pieces", []string{"C: MAIL FROM", "C: :<a@b>\r", "C: \n", "S: 550 no"}, &textproto.Error{Code: 550, Msg: "no"}, "MAIL", 550, true},
		{"lost at the second recipient", []string{"C: MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n", "S: 250 ok", "S: 250 ok"}, io.EOF, "RCPT", 0, false},
		{"lost after DATA", []string{"C: MAIL FROM:<a@b>\r\nDATA\r\n", "S: 250 ok"}, io.EOF, "DATA", 0, false},
		{"lost in the message", []string{"C: DATA\r\n", "S: 354 go", "C: Subject: x\r\n"}, io.EOF, ".", 0, false},
		{"lost before the message", []string{"C: DATA\r\n", "S: 354 go"}, io.EOF, ".", 0, false},
		{"lost after the message", []string{"C: DATA\r\n", "S: 354 go", "C: x\r\n.\r\n"}, io.EOF, ".", 0, false},
		{"the end in pieces", []string{"C: DATA\r\n", "S: 354 go", "C: x\r", "C: \n.", "C: \r", "C: \n", "S: 554 no"}, &textproto.Error{Code: 554, Msg: "no"}, ".", 554, true},
		{"an empty message", []string{"C: DATA\r\n", "S: 354 go", "C: .\r\n", "S: 554 no"}, &textproto.Error{Code: 554, Msg: "no"}, ".", 554, true},
		{"a dot that is no end", []string{"C: DATA\r\n", "S: 354 go", "C: x\n.\nMAIL FROM:<a@b>\r\n..\r\n.x\r\n"}, io.EOF, ".", 0, false},
		{"a reply in the message", []string{"C: DATA\r\n", "S: 354 go", "C: x\r\n", "S: 552 too large"}, &textproto.Error{Code: 552, Msg: "too large"}, ".", 552, false},
		{"BDAT", []string{"C: MAIL FROM:<a@b>\r\n", "S: 250 ok", "C: BDAT 12 LAST\r\nRSET\r\n", "C: RSET\r\n", "S: 554 no"}, &textproto.Error{Code: 554, Msg: "no"}, "BDAT", 554, true},
		{"lost in BDAT", []string{"C: BDAT 12 LAST\r\nRSET\r\n"}, io.EOF, "BDAT", 0, false},
		{"AUTH goes on in the next line", []string{"C: AUTH LOGIN\r\n", "S: 334 x", "C: TUFJTA==\r\n", "S: 535 no"}, &textproto.Error{Code: 535, Msg: "no"}, "AUTH", 535, true},
		{"a refusal of the mail before does not count", []string{
			"C: MAIL FROM:<a@b>\r\n", "S: 550 no", "C: RSET\r\n", "S: 250 ok", "C: MAIL FROM:<c@d>\r\n", "S: 250 ok",
		}, &textproto.Error{Code: 550, Msg: "no"}, "", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := track{}
			play(t, &tr, begin...)
			play(t, &tr, tt.script...)
			if idle := tr.idle(); idle != tt.idle {
				t.Errorf("idle %v", idle)
			}
			if tt.err == io.EOF {
				tr.lost(true)
			}
			about, ok := tr.about(tt.err)
			if tt.verb == "BDAT" && tt.code == 0 {
				tt.verb = "." // the message has begun
			}
			if !ok || about.Verb != tt.verb || about.Reply.Code != tt.code || about.Unsaid != (tt.verb == "") {
				t.Errorf("%+v %v, want %s %d", about, ok, tt.verb, tt.code)
			}
			if about.Verb == "." && about.Reply.Code == 0 && about.Ruling().Verdict != conversation.Unknown {
				t.Errorf("ruling %+v", about.Ruling())
			}
		})
	}
}

// 452 and 552 after an accepted recipient lead to another transaction (decision "552").
func TestAboutTooManyRecipients(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		before, reply string
		want          conversation.Action
	}{
		{"S: 250 ok", "S: 452 4.5.3 too many", conversation.Again},
		{"S: 250 ok", "S: 552 5.5.3 too many", conversation.Again},
		{"S: 250 ok", "S: 552 5.2.2 full", conversation.Decided},
		{"S: 550 no", "S: 452 4.5.3 too many", conversation.TryNext},
	} {
		tr := track{circumstances: conversation.Circumstances{InTLS: true}}
		play(t, &tr, "C: EHLO x\r\n", "S: 250 x", "C: MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n", "S: 250 ok", tt.before, tt.reply)
		about, _ := tr.about(errors.New(tt.reply[len("S: "):]))
		if got := about.Ruling().Action; got != tt.want {
			t.Errorf("%s after %s: %v, want %v", tt.reply, tt.before, got, tt.want)
		}
	}
}

// Only what the client says to the server gets there, octet by octet.
func TestWhatTheServerGets(t *testing.T) {
	t.Parallel()
	tr := track{requireTLS: true}
	got := play(t, &tr, "C: NOOP\r\n", "S: 503 EHLO", "C: EHLO x\r\n", "S: 250 x", "C: STARTTLS\r\n", "S: 503 no",
		"C: MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nRSET\r\n", "S: 451 no", "S: 503 no", "S: 503 no", "S: 250 ok",
		"C: MAIL FROM:<a@b> REQUIRETLS\r\nDATA\r\n", "S: 250 ok", "S: 354 go", "C: MAIL FROM:<a@b>\r\n.\r\nQUIT\r\n")
	if want := "RSET\r\nMAIL FROM:<a@b> REQUIRETLS\r\nDATA\r\nMAIL FROM:<a@b>\r\n.\r\nQUIT\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := tr.said([]byte(strings.Repeat("x", maxCommand+1))); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("a command without an end: %v", err)
	}
}

// A MAIL that the server refuses for now in a session that others used makes the session
// stale, and nobody else gets it. A refusal of our own says nothing about the session.
func TestStaleAfterARefusedMAIL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		tr            *track
		reply         string
		stale, shared bool
	}{
		{"452 in a session that was kept", &track{untried: true}, "S: 452 4.5.3 too many messages", true, false},
		{"503 in a session that was kept", &track{untried: true}, "S: 503 5.5.1 nested MAIL", true, false},
		{"550 in a session that was kept", &track{untried: true}, "S: 550 5.7.1 never", false, true},
		{"452 in a new session", &track{}, "S: 452 4.5.3 too many messages", false, true},
		{"451 of our own in a session that was kept", &track{untried: true, requireTLS: true}, "S: 451 4.7.30 MAIL lacks REQUIRETLS", false, true},
	} {
		play(t, tt.tr, "C: EHLO x\r\n", "S: 250 x", "C: MAIL FROM:<a@b>\r\n", tt.reply)
		if tt.tr.stale() != tt.stale || tt.tr.reusable() != tt.shared || !tt.tr.idle() {
			t.Errorf("%s: stale %v, reusable %v, idle %v", tt.name, tt.tr.stale(), tt.tr.reusable(), tt.tr.idle())
		}
	}
}
