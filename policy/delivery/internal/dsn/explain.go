package dsn

import (
	"io"
	"mime/quotedprintable"
	"strings"
)

// writeText writes the part for people (RFC 6522 section 3): its header and
// body. What servers and senders wrote may be UTF-8.
func (r *Report) writeText(w io.Writer) error {
	text := r.text()
	if isASCII(text) {
		return writeAll(w, "Content-Type: text/plain; charset=us-ascii\r\n\r\n", text)
	}
	err := writeAll(w,
		"Content-Type: text/plain; charset=utf-8\r\n",
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, text); err != nil {
		return err
	}
	return q.Close()
}

// text returns the body of the part for people.
func (r *Report) text() string {
	var b strings.Builder
	b.WriteString(paragraph("", "This is the mail system at host "+r.ReportingMTA+"."))
	for _, section := range []struct {
		action Action
		text   string
	}{
		{Failed, "Your message could not be delivered to these recipients. It will not be tried again."},
		{Delayed, "Your message has not been delivered to these recipients yet. You do not need to send it again: delivery is still being tried."},
		{Delivered, "Your message was delivered to these recipients."},
		{Relayed, "Your message was accepted for these recipients by a mail server that does not report deliveries. You will get no further report."},
		{Expanded, "Your message was delivered to these recipients, and forwarded from there to others."},
	} {
		if !r.has(section.action) {
			continue
		}
		b.WriteString("\r\n" + paragraph("", section.text))
		for i := range r.Recipients {
			if r.Recipients[i].Action == section.action {
				b.WriteString("\r\n" + r.Recipients[i].text())
			}
		}
	}
	return b.String()
}

// text returns what is said about one recipient.
func (r *RecipientStatus) text() string {
	text := paragraph("  ", "<"+readable(r.Final.Mailbox)+">")
	if r.Original.Mailbox != "" && r.Original.Mailbox != r.Final.Mailbox {
		text += paragraph("    ", "originally sent to <"+readable(r.Original.Mailbox)+">")
	}
	if r.Reason != "" {
		text += paragraph("    ", readable(bounded(r.Reason)))
	}
	if r.Reply != "" {
		server := "The mail server"
		if r.RemoteMTA != "" {
			server += " " + readable(bounded(r.RemoteMTA))
		}
		text += paragraph("    ", server+" replied: "+readable(bounded(r.Reply)))
	}
	if r.Action == Delayed && !r.RetryUntil.IsZero() {
		text += paragraph("    ", "Delivery will be tried until "+dateTime(r.RetryUntil)+".")
	}
	return text
}
