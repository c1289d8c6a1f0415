package main

import (
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/policy"
)

// maxReply keeps a reply within 512 octets, including code and status (RFC 5321
// section 4.5.3.1.5).
const maxReply = 480

// replyOf returns the reply for the client. The text of a *policy.Error is
// always one line of printable ASCII.
func replyOf(e *policy.Error) *smtp.SMTPError {
	code := e.Code()
	if code == 421 {
		code = 451 // 421 means that the mail host closes its connection, not that the relay does
	}
	text := strings.TrimPrefix(e.Error(), "policy: ")
	if len(text) > maxReply {
		text = text[:maxReply-len("...")] + "..."
	}
	return &smtp.SMTPError{Code: code, EnhancedCode: e.EnhancedCode(), Message: text}
}
