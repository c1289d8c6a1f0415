package reporter

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Mailer delivers mail that carries a report. The message has the form of RFC 5322,
// with lines that end in CRLF. from is the address for bounces.
//
// A Mailer must deliver the message despite failures of MTA-STS and DANE, in
// cleartext if necessary (RFC 8460 section 3), because these failures are what the
// report is about. The message has the header field "TLS-Required: No" (RFC 8689),
// which delivery.Dialer obeys. With the option policy.Report, what the operator demands of
// other mail does not hold it up either. The session must not be counted for the next
// report: use a Dialer without a Recorder, or set [tlsrpt.Session.CarriesReport].
//
// A nil error means that a mail server, or the program's own queue, has taken
// responsibility for the message. SendMail is called concurrently.
type Mailer interface {
	SendMail(ctx context.Context, from string, to []string, message []byte) error
}

// MailerFunc is a function that is a [Mailer].
type MailerFunc func(ctx context.Context, from string, to []string, message []byte) error

// SendMail calls f.
func (f MailerFunc) SendMail(ctx context.Context, from string, to []string, message []byte) error {
	return f(ctx, from, to, message)
}

// Signer signs messages with DKIM (RFC 6376). Receivers ignore reports without a
// signature (RFC 8460 section 3).
//
// Sign returns the message, preceded by a DKIM-Signature over at least the named
// header fields. Its d= is the domain of the contact address or a parent of it, and
// it has no l=. The DKIM record should have "s=tlsrpt" or no s= at all. Sign is
// called concurrently.
type Signer interface {
	Sign(ctx context.Context, message []byte, fields []string) ([]byte, error)
}

// SignerFunc is a function that is a [Signer].
type SignerFunc func(ctx context.Context, message []byte, fields []string) ([]byte, error)

// Sign calls f.
func (f SignerFunc) Sign(ctx context.Context, message []byte, fields []string) ([]byte, error) {
	return f(ctx, message, fields)
}

// mailSender delivers reports by mail.
type mailSender struct {
	mailer    Mailer
	signer    Signer
	from      string
	submitter string
	now       func() time.Time
}

// send sends a report to an address.
func (m *mailSender) send(ctx context.Context, to string, s *submission) error {
	// The signature covers these fields (RFC 8460 section 5.3, RFC 6376 section
	// 5.4.1).
	fields := []string{
		"From", "To", "Date", "Subject", "Message-ID", "MIME-Version", "Content-Type",
		"TLS-Report-Domain", "TLS-Report-Submitter", "TLS-Required", "Auto-Submitted",
	}
	message, err := m.signer.Sign(ctx, s.message(m.from, to, m.now()), fields)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	if err := checkSignature(message, m.submitter); err != nil {
		return err
	}
	return m.mailer.SendMail(ctx, m.from, []string{to}, message)
}

// boundary appears in no line of base64 or of describe.
const boundary = "=_tlsrpt"

// message returns the report as a mail message (RFC 8460 section 5.3). Fields are
// folded so that no line is too long, whatever the length of the domain.
func (s *submission) message(from, to string, now time.Time) []byte {
	var b bytes.Buffer
	b.Grow(2<<10 + 3*len(s.domain) + len(s.gzip)*3/2)
	for _, field := range []string{
		"From: <" + from + ">",
		"To: <" + to + ">",
		"Date: " + now.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"),
		"Subject: Report Domain: " + s.domain + "\r\n Submitter: " + s.submitter + "\r\n Report-ID: <" + s.report.ID + ">",
		"Message-ID:\r\n <" + s.report.ID + ">",
		"TLS-Report-Domain: " + s.domain,
		"TLS-Report-Submitter: " + s.submitter,
		"TLS-Required: No",
		"Auto-Submitted: auto-generated",
		"MIME-Version: 1.0",
		"Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"" + boundary + "\"",
		"",
		"--" + boundary,
		"Content-Type: text/plain; charset=\"us-ascii\"",
		"Content-Transfer-Encoding: 7bit",
		"",
		s.describe(),
		"--" + boundary,
		"Content-Type: application/tlsrpt+gzip",
		"Content-Transfer-Encoding: base64",
		"Content-Disposition: attachment;\r\n filename=\"" + s.filename + "\"",
		"",
	} {
		b.WriteString(field)
		b.WriteString("\r\n")
	}
	writeBase64(&b, s.gzip)
	b.WriteString("--" + boundary + "--\r\n")
	return b.Bytes()
}

// writeBase64 writes data in lines of 76 octets (RFC 2045 section 6.8).
func writeBase64(b *bytes.Buffer, data []byte) {
	const octets = 76 / 4 * 3
	for len(data) > 0 {
		n := min(octets, len(data))
		b.Write(append(base64.StdEncoding.AppendEncode(b.AvailableBuffer(), data[:n]), "\r\n"...))
		data = data[n:]
	}
}

// checkSignature returns an error if receivers must ignore the message, or if others
// could append to it (RFC 8460 section 3).
func checkSignature(message []byte, submitter string) error {
	const name = "DKIM-Signature:"
	field := string(firstField(message))
	if len(field) < len(name) || !strings.EqualFold(field[:len(name)], name) {
		return errors.New("the Signer did not put a DKIM-Signature before the message")
	}
	tags := make(map[string]string)
	for tag := range strings.SplitSeq(field[len(name):], ";") {
		name, value, _ := strings.Cut(tag, "=")
		tags[strings.TrimSpace(name)] = strings.Join(strings.Fields(value), "")
	}
	if _, limited := tags["l"]; limited {
		return errors.New("the DKIM-Signature has l=, which RFC 8460 section 3 forbids")
	}
	domain := strings.ToLower(tags["d"])
	if domain == "" || submitter != domain && !strings.HasSuffix(submitter, "."+domain) {
		return fmt.Errorf("the DKIM-Signature is by %.255q, not by the submitter %q", domain, submitter)
	}
	signed := ":" + strings.ToLower(tags["h"]) + ":"
	for _, field := range []string{"from", "tls-report-domain", "tls-report-submitter"} {
		if !strings.Contains(signed, ":"+field+":") {
			return fmt.Errorf("the DKIM-Signature does not cover %s", field)
		}
	}
	return nil
}

// firstField returns s up to the first line end that is not followed by white
// space.
func firstField(s []byte) []byte {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '\n' && s[i+1] != ' ' && s[i+1] != '\t' {
			return s[:i]
		}
	}
	return s
}
