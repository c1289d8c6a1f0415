package dsn

import (
	"fmt"
	"strings"
)

// status returns the body of message/delivery-status (RFC 3464 section 2.1).
func (r *Report) status() (string, error) {
	if len(r.Recipients) == 0 {
		return "", &Error{"Final-Recipient", ErrMissing}
	}
	var b strings.Builder
	if r.EnvelopeID != "" {
		b.WriteString(field("Original-Envelope-Id", printable(r.EnvelopeID)))
	}
	b.WriteString(field("Reporting-MTA", "dns; "+r.ReportingMTA))
	if !r.Arrival.IsZero() {
		b.WriteString(field("Arrival-Date", dateTime(r.Arrival)))
	}
	for i := range r.Recipients {
		b.WriteString("\r\n")
		if err := r.Recipients[i].write(&b); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// write writes the fields of one recipient (RFC 3464 section 2.3).
func (r *RecipientStatus) write(b *strings.Builder) error {
	status := r.Status
	switch {
	case r.Final.Mailbox == "":
		return &Error{"Final-Recipient", ErrMissing}
	case r.Action == 0:
		return &Error{"Action", ErrMissing}
	case r.Action > Expanded:
		return &Error{"Action", ErrValue}
	case status != [3]int{}:
		if c := status[0]; c != 2 && c != 4 && c != 5 || !isSubcode(status[1]) || !isSubcode(status[2]) {
			return &Error{"Status", ErrValue}
		}
	case r.Action == Failed:
		status[0] = 5
	case r.Action == Delayed:
		status[0] = 4
	default:
		status[0] = 2
	}
	if r.Original != (Address{}) {
		b.WriteString(field("Original-Recipient", r.Original.field()))
	}
	b.WriteString(field("Final-Recipient", r.Final.field()))
	b.WriteString(field("Action", r.Action.String()))
	b.WriteString(field("Status", fmt.Sprintf("%d.%d.%d", status[0], status[1], status[2])))
	if r.RemoteMTA != "" {
		b.WriteString(field("Remote-MTA", "dns; "+printable(bounded(r.RemoteMTA))))
	}
	if r.Reply != "" {
		b.WriteString(field("Diagnostic-Code", "smtp; "+printable(bounded(r.Reply))))
	}
	if !r.LastAttempt.IsZero() {
		b.WriteString(field("Last-Attempt-Date", dateTime(r.LastAttempt)))
	}
	if r.Action == Delayed && !r.RetryUntil.IsZero() {
		b.WriteString(field("Will-Retry-Until", dateTime(r.RetryUntil)))
	}
	return nil
}

// isSubcode reports whether n has up to three digits (RFC 3464 section 2.3.4).
func isSubcode(n int) bool { return n >= 0 && n <= 999 }
