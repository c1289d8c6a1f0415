package delivery

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/policy"
	"github.com/mxseal/mxseal/policy/delivery/internal/conversation"
	"github.com/mxseal/mxseal/policy/delivery/internal/wire"
)

// Result says how the message reached the recipients that got it.
type Result struct {
	// Delivered has an element for each transaction in which a mail host
	// accepted the message.
	Delivered []Delivery
}

// Delivery is a message that a mail host has accepted.
type Delivery struct {
	// Recipients are addresses as given by the caller, all of one domain.
	Recipients []string
	// Host is the mail host, with the level that its session met and the
	// mechanism (Host.By) that demanded it. A log must not call the delivery
	// secure unless Host.RouteAuthenticated is true (RFC 7672 section 2.2.1).
	Host *policy.Host
	// Plan is the plan that the host is in.
	Plan *policy.Plan
	// TLS is the state of the TLS session; nil for a session in cleartext.
	TLS *tls.ConnectionState
	// TLSFailed is true if the session is in cleartext although the server offers
	// STARTTLS: it refused the command, or the handshake failed before.
	TLSFailed bool
	// Reply is the server's reply to the message.
	Reply Reply
	// DSN is true if the server offers DSN and was sent the parameters. If it is
	// false and a recipient has NotifySuccess, the sender is owed a report that
	// the message was relayed (RFC 3461 section 5.2.2).
	DSN bool
	// Converted is true if 8-bit text was converted for the server.
	Converted bool
}

// TLSVersion returns the version of TLS, such as "TLS 1.3", or the empty string for
// a session in cleartext.
func (d Delivery) TLSVersion() string {
	if d.TLS == nil {
		return ""
	}
	return tls.VersionName(d.TLS.Version)
}

// Reply is a server's reply. The zero value means none.
type Reply struct {
	// Code is the reply code, such as 250.
	Code int
	// EnhancedCode is the enhanced status code, such as {2, 0, 0}; zero if the
	// reply has none of its own class (RFC 2034 section 4).
	EnhancedCode [3]int
	// Text are the lines after the code, separated by "\n", at most 8 KiB. They are
	// the server's; escape them before you print them.
	Text string
}

func newReply(r wire.Reply) Reply {
	status, _ := r.Enhanced()
	return Reply{Code: r.Code, EnhancedCode: status, Text: r.Text()}
}

// String returns the code and the text in one line. The text is the server's; escape
// it before you print it.
func (r Reply) String() string {
	if r.Code == 0 {
		return ""
	}
	return strings.TrimRight(fmt.Sprintf("%d %s", r.Code, strings.ReplaceAll(r.Text, "\n", " ")), " ")
}

// queueIDs find the queue ID in the replies of some servers.
var queueIDs = []*regexp.Regexp{
	regexp.MustCompile(`(?i)\bqueued as ([\w.-]*\w)`),                // Postfix, Haraka
	regexp.MustCompile(`(?i)\bOK id=([\w-]+)`),                       // Exim
	regexp.MustCompile(`(?i)\[InternalId=(\d+)`),                     // Exchange
	regexp.MustCompile(`(?i)([\w-]+) Message accepted for delivery`), // Sendmail, OpenSMTPD
	regexp.MustCompile(`(?i)\bMessage Queued \(([\w.-]+)\)`),         // Haraka
	regexp.MustCompile(`(?i)^ok \d+ qp (\d+)`),                       // qmail
	regexp.MustCompile(`(?i)\bok\s+\d+ ([\w-]+(?:\.\d+)*) - gsmtp`),  // Gmail
	regexp.MustCompile(`(?i)\b(?:queue id|queued)[:=] *([\w-]+)`),    // others
}

// QueueID returns the server's queue ID for the message, or the empty string if the
// reply has none that is known. Each kind of server has its own form; some have none.
func (r Reply) QueueID() string {
	text := strings.ReplaceAll(r.Text, "\n", " ")
	for _, form := range queueIDs {
		if found := form.FindStringSubmatch(text); found != nil {
			return found[1]
		}
	}
	return ""
}

// SendError says which recipients of a message did not get it, and why. All other
// recipients got it.
type SendError struct {
	// Undelivered has an element for each failure: of a domain as a whole, or of
	// a recipient that a server refused.
	Undelivered []Undelivered
}

// Undelivered are recipients that did not get a message, for one reason. There are
// three cases: OutcomeUnknown is true, or else Err is temporary or permanent.
type Undelivered struct {
	// Recipients are addresses as given by the caller.
	Recipients []string
	// Err is the reason. Its Domain is the recipients' domain, and empty when
	// the message did not go out at all.
	Err *policy.Error
	// Host is the name of the mail host that decided, or of the last one that
	// replied; empty if none did.
	Host string
	// Reply is the reply of that host; zero if there was none.
	Reply Reply
	// OutcomeUnknown is true if the session ended after the message had begun
	// and before the server's reply to it. The server may have it, so that the
	// recipients may get it twice if it is sent again (RFC 5321 section
	// 4.5.3.2.6). Err is temporary.
	OutcomeUnknown bool
}

// Error names every reason in one line.
func (e *SendError) Error() string {
	texts := make([]string, len(e.Undelivered))
	count := 0
	for i, each := range e.Undelivered {
		texts[i] = strings.TrimPrefix(each.Err.Error(), "policy: ")
		count += len(each.Recipients)
	}
	recipients := fmt.Sprintf("%d recipients", count)
	if count == 1 {
		recipients = "one recipient"
	}
	return fmt.Sprintf("delivery: not delivered to %s: %s", recipients, strings.Join(texts, "; "))
}

// Unwrap returns the reasons, each a *policy.Error.
func (e *SendError) Unwrap() []error {
	errs := make([]error, len(e.Undelivered))
	for i, each := range e.Undelivered {
		errs[i] = each.Err
	}
	return errs
}

// Temporary reports whether another attempt can help any recipient.
func (e *SendError) Temporary() bool {
	return slices.ContainsFunc(e.Undelivered, func(u Undelivered) bool { return u.Err.Temporary() })
}

// refusal is why recipients do not get a message, or not at one host.
type refusal struct {
	err   *policy.Error
	host  string
	reply Reply
}

func (r *refusal) undelivered(to []mailbox) Undelivered {
	return Undelivered{Recipients: asGiven(to), Err: r.err, Host: r.host, Reply: r.reply}
}

// refusalOf returns the refusal for the failure of a domain, with the last reply of
// a host among its causes.
func refusalOf(failure *policy.Error, hosts []*policy.Error) *refusal {
	for _, host := range slices.Backward(hosts) {
		var reply *textproto.Error
		if errors.As(host.Err, &reply) {
			return &refusal{failure, host.Host, newReply(wire.Reply{Code: reply.Code, Lines: strings.Split(reply.Msg, "\n")})}
		}
	}
	return &refusal{err: failure}
}

// exhausted returns the failures of recipients for whom no host is left: what a host
// said of each, or else the failure of the domain.
//
// A server that lacks an extension is a permanent failure only if every host lacks
// it. all is true if every host of the domain has been asked.
func exhausted(to []mailbox, domain *refusal, all bool) []Undelivered {
	var (
		reasons []*refusal
		boxes   [][]mailbox
	)
	for _, box := range to {
		reason := cmp.Or(box.lastWord(), domain)
		place := slices.Index(reasons, reason)
		if place < 0 {
			place = len(reasons)
			reasons, boxes = append(reasons, reason), append(boxes, nil)
		}
		boxes[place] = append(boxes[place], box)
	}
	undelivered := make([]Undelivered, len(reasons))
	for i, reason := range reasons {
		if reason != domain && reason.err.Permanent && !all {
			reason = &refusal{conversation.Postponed(reason.err), reason.host, reason.reply}
		}
		undelivered[i] = reason.undelivered(boxes[i])
	}
	return undelivered
}

// lastWord returns what counts of all that hosts said of a recipient, or nil if none
// said anything: the last temporary refusal, or the last one if all are permanent.
func (m *mailbox) lastWord() *refusal {
	for _, reason := range slices.Backward(m.refused) {
		if reason.err.Temporary() {
			return reason
		}
	}
	if len(m.refused) == 0 {
		return nil
	}
	return m.refused[len(m.refused)-1]
}

func asGiven(boxes []mailbox) []string {
	var given []string
	for _, box := range boxes {
		given = append(given, box.given...)
	}
	return given
}
