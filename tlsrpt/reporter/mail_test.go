package reporter_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// mailed returns the only report that was mailed, for a day with failures.
func mailed(t *testing.T, w *world) []byte {
	t.Helper()
	w.txt["example.com"] = []string{mailTXT}
	w.count("example.com", today, missed(stsPolicy, selfSigned), met(danePolicy))
	w.start(w.config())
	wait(allStarted)
	if len(w.mails()) != 1 {
		t.Fatalf("%d reports mailed; log:\n%s", len(w.mails()), w.log.String())
	}
	return w.mails()[0].octets
}

// RPT-66, RPT-67, RPT-68, RPT-69, RPT-70, RPT-71, RPT-72, RPT-73, RPT-74,
// RPT-75, RPT-76: the message has the form of RFC 8460 section 5.3. It requests
// delivery despite failures of MTA-STS and DANE (RPT-16, RPT-77; RFC 8689
// section 3).
func TestReportMailHasItsForm(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		octets := mailed(t, w)
		if signature, _, _ := bytes.Cut(octets, []byte("\r\nFrom:")); !bytes.HasPrefix(signature, []byte("DKIM-Signature:")) ||
			!bytes.Contains(signature, []byte("TLS-Report-Domain:")) || !bytes.Contains(signature, []byte("TLS-Report-Submitter:")) {
			t.Errorf("signature %q", signature) // RPT-18, RPT-74
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(octets), "\r\n"), "\r\n") {
			if len(line) > 78 && !strings.Contains(line, "filename=") || strings.ContainsAny(line, "\r\n") || len(line) > 998 {
				t.Errorf("line %q", line)
			}
		}
		message, err := mail.ReadMessage(bytes.NewReader(octets))
		if err != nil {
			t.Fatal(err)
		}
		id := "<" + w.id("20260301.example.com") + ">"
		for name, want := range map[string]string{
			"From":                 "<tls-reports@sender.example>",
			"To":                   "<tls@example.com>",
			"Subject":              "Report Domain: example.com Submitter: sender.example Report-ID: " + id,
			"Message-Id":           id,
			"TLS-Report-Domain":    "example.com",
			"TLS-Report-Submitter": "sender.example",
			"TLS-Required":         "No",
			"Auto-Submitted":       "auto-generated",
			"MIME-Version":         "1.0",
		} {
			if got := message.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if date, err := message.Header.Date(); err != nil || date.Sub(midnight) > allStarted || date.Before(midnight) {
			t.Errorf("Date: %v, %v", date, err)
		}
		mediaType, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
		if err != nil || mediaType != "multipart/report" || params["report-type"] != "tlsrpt" {
			t.Fatalf("Content-Type: %q, %v, %v", mediaType, params, err)
		}
		if !bytes.Contains(octets, []byte(`report-type="tlsrpt"`)) {
			t.Error("the report-type is not quoted as in the RFC")
		}
		parts := multipart.NewReader(message.Body, params["boundary"])
		person := nextPart(t, w, parts, "text/plain")
		for _, text := range []string{"for example.com", "from sender.example", "2026-03-01 00:00:00 UTC to 2026-03-01 23:59:59 UTC", "sts example.com:\r\n  0 sessions met the policy, 1 did not."} {
			if !strings.Contains(person, text) {
				t.Errorf("%q is not in the text:\n%s", text, person)
			}
		}
		machine := nextPart(t, w, parts, "application/tlsrpt+gzip")
		if want := w.mails()[0].report; machine == "" || want.Policies[0].Summary.Failures != 1 {
			t.Errorf("report %+v", want)
		}
		if _, err := parts.NextPart(); err != io.EOF {
			t.Errorf("after the second part: %v", err)
		}
	})
}

func nextPart(t *testing.T, w *world, parts *multipart.Reader, mediaType string) string {
	t.Helper()
	part, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || got != mediaType {
		t.Errorf("part of type %q, %v", got, err)
	}
	// RPT-66, RPT-67, RPT-68
	if want := "sender.example!example.com!1772323200!1772409599!" + w.instance() + ".json.gz"; mediaType != "text/plain" && part.FileName() != want {
		t.Errorf("filename %q, want %q", part.FileName(), want)
	}
	body, err := io.ReadAll(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// RPT-18, RPT-19, RPT-74: a message is not sent if recipients would ignore its
// signature, or if others could append to it.
func TestReportMailNeedsSafeSignature(t *testing.T) {
	const h = " h=From:TLS-Report-Domain:TLS-Report-Submitter;"
	tests := []struct {
		clause, signature, says string // the expected error; "" if the message is sent
	}{
		{"good", "DKIM-Signature: v=1; d=sender.example;" + h + " b=\r\n", ""},
		{"folded", "dkim-signature:\r\n v=1;\r\n\td=Sender.\r\n\texample;" + h + " b=\r\n", ""},
		{"RPT-18 of the domain above", "DKIM-Signature: v=1; d=example;" + h + " b=\r\n", ""},
		{"RPT-18 none", "", "did not put a DKIM-Signature"},
		{"RPT-18 of another", "DKIM-Signature: v=1; d=other.example;" + h + " b=\r\n", "by \"other.example\""},
		{"RPT-18 of a similar name", "DKIM-Signature: v=1; d=r.example;" + h + " b=\r\n", "by \"r.example\""},
		{"RPT-18 of no domain", "DKIM-Signature: v=1;" + h + " b=\r\nX: d=sender.example;", "by \"\""},
		{"RPT-19 of a part", "DKIM-Signature: v=1; d=sender.example; l=100;" + h + " b=\r\n", "l="},
		{"RPT-74 not of a field", "DKIM-Signature: v=1; d=sender.example; h=From:TLS-Report-Domain; b=\r\n", "tls-report-submitter"},
	}
	for _, test := range tests {
		t.Run(test.clause, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.txt["example.com"] = []string{mailTXT}
				w.count("example.com", today, met(noPolicy))
				config := w.config()
				config.Signer = reporter.SignerFunc(func(_ context.Context, message []byte, _ []string) ([]byte, error) {
					return append([]byte(test.signature), message...), nil
				})
				w.start(config)
				wait(allStarted)
				if sent := len(w.mails()) > 0; sent != (test.says == "") || !strings.Contains(strings.ReplaceAll(w.log.String(), `\`, ""), test.says) {
					t.Errorf("sent: %v; log:\n%s", sent, w.log.String())
				}
			})
		})
	}
}

// A report is sent again later if the Mailer or the Signer returns an error.
func TestRefusedReportMailIsSentAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.txt["example.com"] = []string{mailTXT}
		w.mail = errors.New("451 later\r\n")
		w.count("example.com", today, met(noPolicy))
		signs := 0
		config := w.config()
		config.Signer = reporter.SignerFunc(func(ctx context.Context, message []byte, fields []string) ([]byte, error) {
			if signs++; signs == 1 {
				return nil, errors.New("no key")
			}
			return sign(ctx, message, fields)
		})
		w.start(config)
		wait(6 * time.Hour)
		w.set(func() { w.mail = nil })
		wait(8 * time.Hour)
		if n := len(w.mails()); n < 2 || signs != n+1 || w.left("example.com", today) != nil {
			t.Errorf("mailed %d times; log:\n%s", n, w.log.String())
		}
		// RPT-76: the message is the same, except for the date.
		first, last := w.mails()[0], w.mails()[len(w.mails())-1]
		if first.report.ID != last.report.ID {
			t.Errorf("report-id %q and %q", first.report.ID, last.report.ID)
		}
		if strings.Contains(w.log.String(), `later\r`) {
			t.Errorf("the log:\n%s", w.log.String())
		}
	})
}
