package dsn

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mxseal/mxseal/policy/delivery/internal/message"
)

// A Report is a delivery status notification about one message (RFC 3464).
//
// It is sent with the null return path, without RET, and with NOTIFY=NEVER or no
// NOTIFY (RFC 3461 section 6.1). If the message came with REQUIRETLS, so does
// the report (RFC 8689 section 5).
type Report struct {
	// ReportingMTA is the domain name, in A-labels, of the system that tried to
	// deliver the message. Required.
	ReportingMTA string
	// From is the mailbox of the person responsible for that system. Empty means
	// postmaster at ReportingMTA.
	From string
	// To is the return path of the message. Required.
	To string
	// Date is when the report is written. Zero means now.
	Date time.Time
	// MessageID is that of the report, without angle brackets. Empty means a random
	// one.
	MessageID string

	// EnvelopeID is the ENVID that the message arrived with, decoded, or empty.
	EnvelopeID string
	// Arrival is when the message arrived. Zero means unknown.
	Arrival time.Time
	// Recipients are those that the report is about. Required.
	Recipients []RecipientStatus

	// Message is the message, of which Size octets are read. nil means that nothing of
	// it is returned.
	//
	// Only a report of a failure returns the whole message (RFC 3461 section
	// 6.2). Other reports return the header, and so does every report if Return
	// is ReturnHeaders, if RequireTLS is set, if Size exceeds MaxSize, or if the
	// message does not fit into message/rfc822: its header has 8-bit octets, it
	// has NUL octets, a CR without LF, or lines over 998 octets. A header with a
	// CR without LF is not returned.
	Message io.ReaderAt
	Size    int64
	// Return is the RET that the message arrived with.
	Return Return
	// MaxSize is the size of the largest message that is returned whole. Zero means no
	// limit.
	MaxSize int64
	// RequireTLS says that the message came with REQUIRETLS. Only its header is
	// returned (RFC 8689 section 5).
	RequireTLS bool

	boundary string // empty is random
}

// A RecipientStatus is what a report says about one recipient (RFC 3464 section
// 2.3).
type RecipientStatus struct {
	// Original is the ORCPT that the recipient came with, decoded, or zero.
	Original Address
	// Final is the recipient of the envelope. Required.
	Final Address
	// Action is what was done. Required.
	Action Action
	// Status is the enhanced status code, such as 5.1.1. Zero means 5.0.0 for Failed,
	// 4.0.0 for Delayed, and 2.0.0 otherwise.
	Status [3]int
	// RemoteMTA is the host name of the server that gave Reply. Empty if there
	// was none.
	RemoteMTA string
	// Reply is the server's reply, such as "550 5.1.1 No such user". The lines
	// of a reply may be separated by LF or CRLF.
	Reply string
	// Reason says in one sentence what happened, for people. Needed where there
	// is no Reply.
	Reason string
	// LastAttempt is when delivery was last tried. Zero means unknown.
	LastAttempt time.Time
	// RetryUntil is when delivery will be given up. It is written for Delayed only.
	// Zero means unknown.
	RetryUntil time.Time
}

// An Action is what was done for a recipient (RFC 3464 section 2.3.3).
type Action uint8

const (
	// Failed means that delivery was given up.
	Failed Action = iota + 1
	// Delayed means that delivery has failed so far and will be tried again.
	Delayed
	// Delivered means that the message is in the recipient's mailbox.
	Delivered
	// Relayed means that a server without the DSN extension has accepted the
	// message.
	Relayed
	// Expanded means that the message was delivered and forwarded to several
	// other recipients.
	Expanded
)

// String returns the value of the field Action, such as "failed".
func (a Action) String() string {
	switch a {
	case Failed:
		return "failed"
	case Delayed:
		return "delayed"
	case Delivered:
		return "delivered"
	case Relayed:
		return "relayed"
	case Expanded:
		return "expanded"
	default:
		return fmt.Sprintf("Action(%d)", uint8(a))
	}
}

// WriteTo writes the report as a message whose lines end in CRLF, and returns
// the number of octets written. It reads Message in pieces.
//
// The report is ASCII, with two exceptions. If To or From is not, the report
// needs SMTPUTF8. If a message with 8-bit text is returned, it needs 8BITMIME,
// or the conversion of package message; where that is not possible, ReturnHeaders
// gives a report in ASCII.
//
// The error is an *Error, and nothing has been written, if the report is not
// complete; otherwise it is that of Message or of w.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	header, err := r.header()
	if err != nil {
		return 0, err
	}
	status, err := r.status()
	if err != nil {
		return 0, err
	}
	returned, err := r.returned()
	if err != nil {
		return 0, err
	}
	boundary := r.boundary
	if boundary == "" {
		boundary = rand.Text() // so the message cannot have it
	}
	out := message.NewLineWriter(w)
	err = writeAll(out,
		header,
		"MIME-Version: 1.0\r\n",
		returned.outer,
		"Content-Type: multipart/report; report-type=delivery-status;\r\n",
		" boundary=\""+boundary+"\"\r\n\r\n",
		"--"+boundary+"\r\n",
	)
	if err == nil {
		err = r.writeText(out)
	}
	if err == nil {
		err = writeAll(out,
			"\r\n--"+boundary+"\r\n",
			"Content-Type: message/delivery-status\r\n\r\n",
			status,
		)
	}
	if err == nil && returned.contentType != "" {
		err = writeAll(out,
			"\r\n--"+boundary+"\r\n",
			"Content-Type: "+returned.contentType+"\r\n",
			returned.encoding,
			"\r\n",
		)
		if err == nil {
			err = returned.write(out)
		}
	}
	if err == nil {
		err = writeAll(out, "\r\n--"+boundary+"--\r\n")
	}
	if err == nil {
		err = out.Close()
	}
	return out.Written(), err
}

// header returns the header of the report, without the MIME fields.
func (r *Report) header() (string, error) {
	switch {
	case r.ReportingMTA == "":
		return "", &Error{"Reporting-MTA", ErrMissing}
	case !isASCII(r.ReportingMTA) || !isDomain(r.ReportingMTA):
		return "", &Error{"Reporting-MTA", ErrCharacter}
	case r.To == "" || r.To == "<>":
		return "", &Error{"To", ErrNullReturnPath}
	}
	from := r.From
	if from == "" {
		from = "postmaster@" + r.ReportingMTA
	}
	from, err := inHeader(from)
	if err != nil {
		return "", &Error{"From", err}
	}
	to, err := inHeader(r.To)
	if err != nil {
		return "", &Error{"To", err}
	}
	date := r.Date
	if date.IsZero() {
		date = time.Now()
	}
	id := r.MessageID
	if id == "" {
		id = rand.Text() + "@" + r.ReportingMTA
	}
	if !isPrintable(id) || strings.ContainsAny(id, " \t<>") {
		return "", &Error{"Message-ID", ErrCharacter}
	}
	return field("From", "Mail Delivery System "+from) +
		field("To", to) +
		field("Subject", r.subject()) +
		field("Date", dateTime(date)) +
		field("Message-ID", "<"+id+">") +
		field("Auto-Submitted", "auto-replied"), nil // RFC 3834 section 5
}

// subject names the worst that the report says.
func (r *Report) subject() string {
	switch {
	case r.has(Failed):
		return "Undelivered mail returned to sender"
	case r.has(Delayed):
		return "Delayed mail (still being tried)"
	default:
		return "Successful mail delivery report"
	}
}

func (r *Report) has(a Action) bool {
	for i := range r.Recipients {
		if r.Recipients[i].Action == a {
			return true
		}
	}
	return false
}

// dateTime formats a date-time with a numeric zone (RFC 3464 section 2.2.5).
func dateTime(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }

func writeAll(w io.Writer, texts ...string) error {
	for _, text := range texts {
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}
