package relay

import (
	"fmt"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// maxReply keeps a reply within 512 octets, with code, status and address (RFC 5321 section 4.5.3.1.5).
const maxReply = 400

// delivered returns the reply for a recipient that got the message. The mail log of the client has it.
func delivered(d delivery.Delivery) *smtp.SMTPError {
	by := ""
	if d.Host.By != 0 {
		by = " by " + d.Host.By.String()
	}
	text := fmt.Sprintf("%s, %s%s, %s, said: %s", d.Host.Name, d.Host.Level, by, tlsOf(d), d.Reply.String())
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: names.Printable(text, maxReply)}
}

// tlsOf returns the version of TLS, or that there was none.
func tlsOf(d delivery.Delivery) string {
	if version := d.TLSVersion(); version != "" {
		return version
	}
	return "cleartext"
}

// undelivered returns the reply for a recipient that did not get the message.
func undelivered(e *policy.Error) *smtp.SMTPError {
	code := e.Code()
	if code == 421 {
		code = 451 // 421 means that the mail host closes its connection, not that the relay does
	}
	text := names.Printable(strings.TrimPrefix(e.Error(), "policy: "), maxReply)
	return &smtp.SMTPError{Code: code, EnhancedCode: e.EnhancedCode(), Message: text}
}
