package main

import (
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/policy"
)

// maxReply keeps a reply within a line of 512 octets (RFC 5321 section
// 4.5.3.1.5), code and status included.
const maxReply = 480

// replyOf returns the reply that tells the client what became of a message. The
// text of an *policy.Error is one line of printable ASCII, whatever servers said.
func replyOf(e *policy.Error) *smtp.SMTPError {
	code := e.Reply()
	if code == 421 {
		code = 451 // it is the mail host that goes away, not the relay
	}
	text := strings.TrimPrefix(e.Error(), "policy: ")
	if len(text) > maxReply {
		text = text[:maxReply-len("...")] + "..."
	}
	return &smtp.SMTPError{Code: code, EnhancedCode: enhancedCode(e.Status, code/100), Message: text}
}

// enhancedCode reads a status of RFC 3463. One that is of another class than the
// reply would contradict it (RFC 2034 section 4).
func enhancedCode(status string, class int) smtp.EnhancedCode {
	var code smtp.EnhancedCode
	if n, _ := fmt.Sscanf(status, "%d.%d.%d", &code[0], &code[1], &code[2]); n != 3 || code[0] != class {
		return smtp.EnhancedCode{class, 0, 0}
	}
	return code
}
