package tlsrpt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Mailer delivers mail that carries a report: message is one of RFC 5322 with
// lines that end in CRLF. from is the address for bounces.
//
// It must deliver despite failures of MTA-STS and DANE, in clear if need be (RFC
// 8460 section 3): what keeps the session from being secure is what the report
// is about. The message says "TLS-Required: No" (RFC 8689), which the SendMail of
// package policy heeds. Nor may the session count for the next report: give that
// Dialer no Recorder, or mark sessions as [Session.CarriesReport].
//
// nil means that a mail server, maybe the program's own queue, is now responsible
// for the report. SendMail is called concurrently.
type Mailer interface {
	SendMail(ctx context.Context, from string, to []string, message []byte) error
}

// MailerFunc is a function that is a [Mailer].
type MailerFunc func(ctx context.Context, from string, to []string, message []byte) error

// SendMail calls f.
func (f MailerFunc) SendMail(ctx context.Context, from string, to []string, message []byte) error {
	return f(ctx, from, to, message)
}

// Signer signs messages with DKIM (RFC 6376), without which recipients ignore
// reports (RFC 8460 section 3).
//
// Sign returns message with a DKIM-Signature before it, over at least the header
// fields that are named. Its d= is the domain of the contact address, or one above
// it, and it has no l=. The DKIM record should have "s=tlsrpt" or no s= at all.
// Sign is called concurrently.
type Signer interface {
	Sign(ctx context.Context, message []byte, fields []string) ([]byte, error)
}

// SignerFunc is a function that is a [Signer].
type SignerFunc func(ctx context.Context, message []byte, fields []string) ([]byte, error)

// Sign calls f.
func (f SignerFunc) Sign(ctx context.Context, message []byte, fields []string) ([]byte, error) {
	return f(ctx, message, fields)
}

// mailFields are the header fields that are signed (RFC 8460 section 5.3, RFC
// 6376 section 5.4.1).
func mailFields() []string {
	return []string{
		"From", "To", "Date", "Subject", "Message-ID", "MIME-Version", "Content-Type",
		"TLS-Report-Domain", "TLS-Report-Submitter", "TLS-Required", "Auto-Submitted",
	}
}

// boundary is in no line of base64 and of describe.
const boundary = "=_tlsrpt"

// message returns the report as a mail message (RFC 8460 section 5.3). Lines are
// folded so that no domain makes one too long.
func (s *submission) message(from, to string, now time.Time) []byte {
	var b strings.Builder
	for _, field := range []string{
		"From: <" + from + ">",
		"To: <" + to + ">",
		"Date: " + now.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"),
		"Subject: Report Domain: " + s.domain + "\r\n Submitter: " + s.submitter + "\r\n Report-ID: <" + s.id + ">",
		"Message-ID:\r\n <" + s.id + ">",
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
		describe(s),
		"--" + boundary,
		"Content-Type: application/tlsrpt+gzip",
		"Content-Transfer-Encoding: base64",
		"Content-Disposition: attachment;\r\n filename=\"" + s.filename + "\"",
		"",
	} {
		b.WriteString(field + "\r\n")
	}
	writeBase64(&b, s.gzip)
	b.WriteString("--" + boundary + "--\r\n")
	return []byte(b.String())
}

// writeBase64 writes lines as long as they may be (RFC 2045 section 6.8).
func writeBase64(b *strings.Builder, data []byte) {
	const octets = 76 / 4 * 3
	for len(data) > 0 {
		n := min(octets, len(data))
		b.WriteString(base64.StdEncoding.EncodeToString(data[:n]) + "\r\n")
		data = data[n:]
	}
}

// mail sends the report to an address.
func (r *Reporter) mail(ctx context.Context, to string, s *submission) error {
	message, err := r.cfg.Signer.Sign(ctx, s.message(r.cfg.Contact, to, r.cfg.Now()), mailFields())
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	if err := checkSignature(string(message), r.submitter); err != nil {
		return err
	}
	return r.cfg.Mailer.SendMail(ctx, r.cfg.Contact, []string{to}, message)
}

// checkSignature keeps reports in that recipients must ignore, or that others
// could add to (RFC 8460 section 3).
func checkSignature(message, submitter string) error {
	value, ok := cutPrefixFold(message, "DKIM-Signature:")
	if !ok {
		return errors.New("the Signer did not put a DKIM-Signature before the message")
	}
	tags := make(map[string]string)
	for tag := range strings.SplitSeq(firstField(value), ";") {
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

func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// firstField returns s up to the line end that no white space follows.
func firstField(s string) string {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '\n' && s[i+1] != ' ' && s[i+1] != '\t' {
			return s[:i]
		}
	}
	return s
}
