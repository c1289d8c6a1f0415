package delivery

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/policy"
)

// TestS21BounceNeedsNoREQUIRETLS: REQ-25, with RequireTLS, a session for a bounce may lack REQUIRETLS, by
// Dial and by SendMail. Other mail may not, and REQUIRETLS is sent where offered.
func TestS21BounceNeedsNoREQUIRETLS(t *testing.T) {
	t.Parallel()
	required := policy.RequireTLS()
	for name, test := range map[string]struct {
		options  []policy.Option
		from     string
		keywords []string
		want     string // the last command, or nothing for a failure
	}{
		"bounce":                   {[]policy.Option{required, Bounce()}, "", nil, "MAIL FROM:<>"},
		"bounce, offered":          {[]policy.Option{required, Bounce()}, "", []string{"RequireTLS"}, "MAIL FROM:<> REQUIRETLS"},
		"bounce, options reversed": {[]policy.Option{Bounce(), required}, "", nil, "MAIL FROM:<>"},
		"not said to be a bounce":  {[]policy.Option{required}, "", nil, ""},
		"other mail, offered":      {[]policy.Option{required}, "s@example.net", []string{"REQUIRETLS"}, "MAIL FROM:<s@example.net> REQUIRETLS"},
		"without RequireTLS":       {[]policy.Option{Bounce()}, "", nil, "MAIL FROM:<>"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := oneHost(tlsThen(certificates().good, map[string]string{"EHLO": offers(test.keywords...)}))
				w.options = test.options
				client, err := w.walk(w.planned(t, at(policy.Authenticated, "192.0.2.1"))).client(t.Context())
				if err == nil {
					defer client.Close()
					err = client.Mail(test.from)
				}
				last := ""
				if err == nil {
					heard := w.said("192.0.2.1")
					last = heard[len(heard)-1]
				}
				if last != test.want {
					t.Errorf("server heard %q, want %q: %v", last, test.want, err)
				}
			})
		})
	}
}

// DSN-16, DSN-18: a SendError becomes a bounce that can be sent back to the sender.
func TestBounceReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string][]script{"192.0.2.1": {answering(map[string]string{"RCPT": "550 5.1.1 who?\r\n"})}, "192.0.2.2": {offering()}})
		m := mailOf(headerOf8Bit, "<x@a.example>", "quiet@a.example", "y@b.example", "z@null.example")
		m.EnvelopeID = "QQ1"
		m.To[0].Original = Address{Mailbox: "first@example.com"}
		m.To[1].Notify = NotifyNever
		m.Message, m.Size = strings.NewReader(letter), int64(len(letter))
		d := w.serving(t, policy.Config{})
		_, err := d.Send(t.Context(), m)
		var failed *SendError
		if !errors.As(err, &failed) {
			t.Fatalf("error %v", err)
		}
		report := BounceReport{ReportingMTA: "mail.sender.example", Mail: m, Failed: failed.Undelivered}
		var text bytes.Buffer
		n, err := report.WriteTo(&text)
		if err != nil || n != int64(text.Len()) {
			t.Fatalf("%d octets of %d, error %v", n, text.Len(), err)
		}
		parts := bounceParts(t, text.Bytes())
		for _, want := range []string{
			"Reporting-MTA: dns; mail.sender.example", "Original-Envelope-Id: QQ1",
			"Original-Recipient: rfc822; first@example.com", "Final-Recipient: rfc822; x@a.example", "Status: 5.1.1",
			"Remote-MTA: dns; mx.a.example", "Diagnostic-Code: smtp; 550 5.1.1 who?", "Final-Recipient: rfc822; z@null.example", "Status: 5.1.10",
		} {
			if !strings.Contains(parts[1], want) {
				t.Errorf("the status lacks %q:\n%s", want, parts[1])
			}
		}
		for _, wrong := range []string{"quiet@a.example", "y@b.example"} {
			if strings.Contains(parts[0]+parts[1], wrong) {
				t.Errorf("the report is about %s:\n%s", wrong, parts[1])
			}
		}
		if !strings.Contains(parts[0], "the domain accepts no mail") || !strings.Contains(parts[2], "Hello") {
			t.Errorf("parts %q", parts)
		}
		// It is a message that can be sent.
		back := Mail{To: []Recipient{{Address: "s@b.example"}}, Message: bytes.NewReader(text.Bytes()), Size: n}
		if _, err := d.Send(t.Context(), back, policy.TLSOptional()); err != nil || !strings.HasPrefix(w.commands("192.0.2.2"), "MAIL FROM:<>|") && !strings.Contains(w.commands("192.0.2.2"), "|MAIL FROM:<>|") {
			t.Errorf("error %v; the server heard %s", err, w.commands("192.0.2.2"))
		}
	})
}

// bounceParts returns the bodies of the parts of a report.
func bounceParts(t *testing.T, text []byte) []string {
	t.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if to := message.Header.Get("To"); to != "<s@example.net>" {
		t.Errorf("To: %s", to)
	}
	_, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	reader := multipart.NewReader(message.Body, parameters["boundary"])
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, string(body))
	}
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	return parts
}

// DSN-9, DSN-10: no bounce is sent for a bounce, or if the sender wants none. REQ-24: the
// bounce of a message with REQUIRETLS has only its header.
func TestBounceReportLimits(t *testing.T) {
	t.Parallel()
	failed := []Undelivered{{Recipients: []string{"x@a.example"}, Err: &policy.Error{Domain: "a.example", Permanent: true, Status: "5.1.1"}}}
	relayed := []Delivery{{Recipients: []string{"x@a.example"}, Host: &policy.Host{Name: "mx.a.example"}, Reply: Reply{Code: 250, Text: "2.0.0 ok"}}}
	for name, test := range map[string]struct {
		change func(*BounceReport)
		want   error // nil for any error
	}{
		"DSN-9 empty return path":     {func(r *BounceReport) { r.Mail.From = "" }, ErrNoBounce},
		"DSN-9 empty return path, <>": {func(r *BounceReport) { r.Mail.From = "<>" }, ErrNoBounce},
		"nobody":                      {func(r *BounceReport) { r.Failed = nil }, ErrNoBounce},
		"DSN-10 never":                {func(r *BounceReport) { r.Mail.To[0].Notify = NotifyNever }, ErrNoBounce},
		"DSN-10 only of success":      {func(r *BounceReport) { r.Mail.To[0].Notify = NotifySuccess }, ErrNoBounce},
		"DSN-12 no report of delay":   {func(r *BounceReport) { r.Failed, r.Delayed = nil, failed; r.Mail.To[0].Notify = NotifyFailure }, ErrNoBounce},
		"DSN-12 never":                {func(r *BounceReport) { r.Failed, r.Delayed = nil, failed; r.Mail.To[0].Notify = NotifyNever }, ErrNoBounce},
		"DSN-11 no report of success": {func(r *BounceReport) { r.Failed, r.Relayed = nil, relayed }, ErrNoBounce},
		"DSN-11 never":                {func(r *BounceReport) { r.Failed, r.Relayed = nil, relayed; r.Mail.To[0].Notify = NotifyNever }, ErrNoBounce},
		"DSN-11 the server reports": {func(r *BounceReport) {
			r.Failed, r.Relayed = nil, []Delivery{{Recipients: []string{"x@a.example"}, Host: &policy.Host{Name: "mx.a.example"}, DSN: true}}
			r.Mail.To[0].Notify = NotifySuccess
		}, ErrNoBounce},
		"no name":         {func(r *BounceReport) { r.ReportingMTA = "" }, nil},
		"bad return path": {func(r *BounceReport) { r.Mail.From = "a b" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := BounceReport{ReportingMTA: "mail.sender.example", Mail: mailOf(letter, "x@a.example"), Failed: failed}
			test.change(&r)
			var text bytes.Buffer
			if _, err := r.WriteTo(&text); err == nil || test.want != nil && !errors.Is(err, test.want) || text.Len() > 0 {
				t.Errorf("error %v, %d octets", err, text.Len())
			}
		})
	}
	r := BounceReport{ReportingMTA: "mail.sender.example", Mail: mailOf(letter, "x@a.example"), Failed: failed, RequireTLS: true}
	r.Mail.Return = ReturnFull
	var text bytes.Buffer
	if _, err := r.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	if parts := bounceParts(t, text.Bytes()); strings.Contains(parts[2], "Hello") || !strings.Contains(parts[2], "Subject: x") {
		t.Errorf("returned %q", parts[2])
	}
}

// DSN-11, DSN-12, DSN-17, DSN-21: a report of delay, and one of a message that was relayed to a server
// without DSN, each about the recipients for whom it is wanted. Neither returns the
// message (RFC 3461 section 6.2).
func TestReportsOfDelayAndRelaying(t *testing.T) {
	t.Parallel()
	waits := &policy.Error{Domain: "a.example", Host: "mx.a.example", Status: "4.2.1", ReplyCode: 450, Detail: "the server refuses the recipient"}
	m := mailOf(letter, "slow@a.example", "quiet@a.example", "there@b.example", "fine@b.example")
	m.To[1].Notify = NotifyFailure
	m.To[2].Notify = NotifySuccess | NotifyDelay
	m.To[2].Original = Address{Mailbox: "first@example.com"}
	r := BounceReport{
		ReportingMTA: "mail.sender.example", Mail: m,
		Delayed:    []Undelivered{{Recipients: []string{"slow@a.example", "quiet@a.example"}, Err: waits, Host: "mx.a.example", Reply: Reply{Code: 450, Text: "4.2.1 later"}}},
		RetryUntil: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC),
		Relayed: []Delivery{{
			Recipients: []string{"there@b.example", "fine@b.example"}, Host: &policy.Host{Name: "mx.b.example"}, Reply: Reply{Code: 250, Text: "2.0.0 queued as 1"},
		}},
	}
	var text bytes.Buffer
	if _, err := r.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	parts := bounceParts(t, text.Bytes())
	groups := strings.Split(strings.TrimSpace(parts[1]), "\r\n\r\n")
	if len(groups) != 3 {
		t.Fatalf("the status has %d groups:\n%s", len(groups), parts[1])
	}
	for i, wanted := range [][]string{
		{"Final-Recipient: rfc822; slow@a.example", "Action: delayed", "Status: 4.2.1", "Remote-MTA: dns; mx.a.example", "Diagnostic-Code: smtp; 450 4.2.1 later", "Will-Retry-Until: Tue, 01 Dec 2026 12:00:00 +0000"},
		{"Original-Recipient: rfc822; first@example.com", "Final-Recipient: rfc822; there@b.example", "Action: relayed", "Status: 2.0.0", "Remote-MTA: dns; mx.b.example"},
	} {
		for _, want := range wanted {
			if !strings.Contains(groups[i+1], want) {
				t.Errorf("the status lacks %q:\n%s", want, groups[i+1])
			}
		}
	}
	if strings.Contains(groups[2], "Will-Retry-Until") || strings.Contains(parts[2], "Hello") || !strings.Contains(parts[2], "Subject: x") {
		t.Errorf("parts %q", parts)
	}
	for _, wrong := range []string{"quiet@a.example", "fine@b.example"} {
		if strings.Contains(parts[0]+parts[1], wrong) {
			t.Errorf("the report is about %s", wrong)
		}
	}
	// The status of a delay is temporary, even if the caller keeps trying after a
	// permanent failure.
	gone := *waits
	gone.Permanent, gone.Status = true, "5.1.1"
	r.Delayed[0].Err = &gone
	text.Reset()
	if _, err := r.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	if parts := bounceParts(t, text.Bytes()); !strings.Contains(parts[1], "Status: 4.0.0") {
		t.Errorf("status\n%s", parts[1])
	}
}
