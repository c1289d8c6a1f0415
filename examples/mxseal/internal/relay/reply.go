package relay

import (
	"fmt"
	"strings"

	"github.com/mxseal/mxseal/internal/names"
	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery"
)

// reply is a reply to a client.
type reply struct {
	code   int
	status [3]int // the enhanced status code; zero means none
	text   string // one line
}

// say returns a reply of the relay itself.
func say(code, class, subject, detail int, text string) *reply {
	return &reply{code, [3]int{class, subject, detail}, text}
}

// String returns the reply without its line end.
func (r reply) String() string {
	if r.status == [3]int{} {
		return fmt.Sprintf("%d %s", r.code, r.text)
	}
	return fmt.Sprintf("%d %d.%d.%d %s", r.code, r.status[0], r.status[1], r.status[2], r.text)
}

// about returns the reply for one of several recipients.
func (r reply) about(to string) reply {
	r.text = "<" + names.Printable(to, maxReply) + "> " + r.text
	return r
}

// maxReply keeps a reply within 512 octets, with code, status and address (RFC 5321 section 4.5.3.1.5).
const maxReply = 400

// delivered returns the reply for a recipient that got the message. The mail log of the client has it.
func delivered(d delivery.Delivery) *reply {
	by := ""
	if d.Host.By != 0 {
		by = " by " + d.Host.By.String()
	}
	text := fmt.Sprintf("%s, %s%s, %s, said: %s", d.Host.Name, d.Host.Level, by, tlsOf(d), d.Reply.String())
	return say(250, 2, 0, 0, names.Printable(text, maxReply))
}

// tlsOf returns the version of TLS, or that there was none.
func tlsOf(d delivery.Delivery) string {
	if version := d.TLSVersion(); version != "" {
		return version
	}
	return "cleartext"
}

// undelivered returns the reply for a recipient that did not get the message.
func undelivered(e *policy.Error) *reply {
	code := e.Code()
	if code == 421 {
		code = 451 // 421 means that the mail host closes its connection, not that the relay does
	}
	text := names.Printable(strings.TrimPrefix(e.Error(), "policy: "), maxReply)
	return &reply{code, e.EnhancedCode(), text}
}
