package handover

import (
	"errors"
	"io"
	"net/textproto"
	"testing"
)

// accepted is a transaction with a message that the server accepts.
var accepted = []string{"C: EHLO x\r\n", "S: 250 x", "C: MAIL FROM:<a@b>\r\n", "S: 250 ok", "C: RCPT TO:<c@d>\r\n", "S: 250 ok",
	"C: DATA\r\n", "S: 354 go", "C: x\r\n.\r\n", "S: 250 taken"}

// After a message was accepted and the caller knows it, an error is about the next mail,
// except after QUIT. As long as the caller does not know it, an error is about a message
// that the server has.
func TestErrorsAfterAnAcceptedMessage(t *testing.T) {
	for _, tt := range []struct {
		name     string
		script   []string
		lost     bool
		err      error
		concerns bool // once the caller knows
	}{
		{"RSET answered 421", []string{"C: RSET\r\n", "S: 421 idle"}, false, &textproto.Error{Code: 421, Msg: "idle"}, true},
		{"lost at RSET", []string{"C: RSET\r\n"}, true, io.EOF, true},
		{"the client's own error", nil, false, errors.New("the server does not support SMTPUTF8"), true},
		{"lost at QUIT", []string{"C: QUIT\r\n"}, true, io.EOF, false},
	} {
		for _, settled := range []bool{false, true} {
			tr := new(track)
			play(t, tr, accepted...)
			if settled {
				tr.settle()
			}
			play(t, tr, tt.script...)
			if tt.lost {
				tr.lost(true)
			}
			if about, ok := tr.about(tt.err); ok != (tt.concerns && settled) {
				t.Errorf("%s, settled %v: %v, %+v", tt.name, settled, ok, about)
			}
		}
	}
}

// Credentials do not reach a server that may be anyone. A backslash in a return path
// escapes only what is in quotes, so a parameter cannot hide in the path.
func TestCommandsThatDoNotReachTheServer(t *testing.T) {
	for _, line := range []string{"AUTH PLAIN AHVzZXIAc2VjcmV0\r\n", `MAIL FROM:<\"a> REQUIRETLS "@x>` + "\r\n"} {
		tr := &track{noLogin: true, requireTLS: true}
		if got := play(t, tr, "C: EHLO x\r\n", "S: 250 x", "C: "+line); got != "" {
			t.Errorf("the server gets %q", got)
		}
	}
}

// A command that some servers see in the middle of a line does not reach them either:
// what must not reach the server could hide there, and its reply would be one too many.
func TestCommandsInTheMiddleOfALine(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"NOOP\rAUTH PLAIN AHVzZXIAc2VjcmV0\r\n", "NOOP x\rMAIL FROM:<a@b>\r\n", "RCPT TO:<a@b\x00XCLIENT ADDR=192.0.2.1>\r\n"} {
		tr := &track{noLogin: true, requireTLS: true, keep: true}
		play(t, tr, "C: EHLO x\r\n", "S: 250 x")
		if got, err := tr.said([]byte("NOOP\r\n" + line)); err == nil || got != nil {
			t.Errorf("the server gets %q", got)
		}
		if tr.reusable() {
			t.Errorf("others get the session after %q", line)
		}
	}
	tr := &track{}
	if got := play(t, tr, "C: EHLO x\r\n", "S: 250 x", "C: NOOP\r\r\n"); got != "NOOP\r\r\n" {
		t.Errorf("the server gets %q", got)
	}
}
