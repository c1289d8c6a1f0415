package dsn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

const original = "From: alice@example.com\nTo: bob@example.org\nSubject: hello\n\nHow are you?\n.\n"

// bounce returns a report of two failures.
func bounce() Report {
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	return Report{
		ReportingMTA: "mx.example.com",
		To:           "alice@example.com",
		Date:         at,
		MessageID:    "1@mx.example.com",
		EnvelopeID:   "QQ 314159",
		Arrival:      at.Add(-time.Hour),
		Recipients: []RecipientStatus{
			{
				Original:    Address{Mailbox: "Bob@example.org"},
				Final:       Address{Mailbox: "bob@example.org"},
				Action:      Failed,
				Status:      [3]int{5, 1, 1},
				RemoteMTA:   "mail.example.org",
				Reply:       "550-5.1.1 <bob@example.org>: Recipient address rejected\r\n550 5.1.1 User unknown in virtual mailbox table",
				LastAttempt: at,
			},
			{
				Final:  Address{Mailbox: "j\u00f6rg@example.net"},
				Action: Failed,
				Reason: "The mail servers of example.net did not prove who they are (DANE).",
			},
		},
		Message:  strings.NewReader(original),
		Size:     int64(len(original)),
		boundary: "boundary",
	}
}

func write(t *testing.T, r Report) string {
	t.Helper()
	var out bytes.Buffer
	n, err := r.WriteTo(&out)
	if err != nil || n != int64(out.Len()) {
		t.Fatalf("%d octets of %d, %v", n, out.Len(), err)
	}
	return out.String()
}

// RFC 3464 and RFC 6522: the text is as people and programs expect it.
func TestReportTextForPeople(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	delay := Report{
		ReportingMTA: "mx.example.com",
		From:         "help@example.com",
		To:           "<a..b@example.com>",
		Date:         at,
		MessageID:    "2@mx.example.com",
		Recipients: []RecipientStatus{
			{Final: Address{Mailbox: "carol@example.org"}, Action: Delayed, Reason: "No mail server could be reached.", RetryUntil: at.Add(96 * time.Hour)},
			{Final: Address{Mailbox: "dave@example.org"}, Action: Delivered, RetryUntil: at},
			{Final: Address{Mailbox: "erin@example.org"}, Action: Relayed, RemoteMTA: "mail.example.org", Reply: "250 2.0.0 Ok: queued as 12345"},
			{Final: Address{Mailbox: "list@example.org"}, Action: Expanded, Status: [3]int{2, 1, 5}},
		},
		Message:  strings.NewReader(original),
		Size:     int64(len(original)),
		Return:   ReturnFull, // which counts for failures only
		boundary: "boundary",
	}
	for name, report := range map[string]Report{"failed": bounce(), "delayed": delay} {
		path := "testdata/" + name + ".eml"
		want, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		if got := strings.ReplaceAll(write(t, report), "\r\n", "\n"); got != string(want) {
			t.Errorf("%s: got\n%s", path, got)
		}
	}
}

// A parsed report is what a program reads in it.
type parsed struct {
	header     mail.Header
	text       string
	message    textproto.MIMEHeader
	recipients []textproto.MIMEHeader
	returned   textproto.MIMEHeader // of the third part
	content    string               // of the third part, decoded
}

// parse reads a report with the standard library, and checks its form.
func parse(report string) (parsed, error) {
	var p parsed
	for _, line := range strings.SplitAfter(report, "\r\n") {
		if strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\n") || len(line) > 1000 {
			return p, fmt.Errorf("line %q", line)
		}
	}
	m, err := mail.ReadMessage(strings.NewReader(report))
	if err != nil {
		return p, err
	}
	p.header = m.Header
	mediaType, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/report" || params["report-type"] != "delivery-status" {
		return p, fmt.Errorf("%s, %v", mediaType, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for i, want := range []string{"text/plain", "message/delivery-status", ""} {
		part, err := parts.NextRawPart()
		if err == io.EOF && i == 2 {
			return p, nil
		}
		if err != nil {
			return p, fmt.Errorf("part %d: %w", i, err)
		}
		if mediaType, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || want != "" && mediaType != want {
			return p, fmt.Errorf("part %d: %s, %v", i, mediaType, err)
		}
		content := io.Reader(part)
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			content = quotedprintable.NewReader(part)
		}
		body, err := io.ReadAll(content)
		if err != nil {
			return p, fmt.Errorf("part %d: %w", i, err)
		}
		switch i {
		case 0:
			p.text = string(body)
		case 1:
			groups := textproto.NewReader(bufio.NewReader(strings.NewReader(string(body) + "\r\n")))
			if p.message, err = groups.ReadMIMEHeader(); err != nil {
				return p, fmt.Errorf("%q: %w", body, err)
			}
			for {
				fields, err := groups.ReadMIMEHeader()
				if err == io.EOF {
					break
				}
				if err != nil {
					return p, fmt.Errorf("%q: %w", body, err)
				}
				p.recipients = append(p.recipients, fields)
			}
		case 2:
			p.returned, p.content = part.Header, string(body)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		return p, fmt.Errorf("more than three parts: %w", err)
	}
	return p, nil
}

// DSN-20, DSN-21: RFC 3461 section 6.3.
func TestReportHasRequiredFields(t *testing.T) {
	t.Parallel()
	p, err := parse(write(t, bounce()))
	if err != nil || len(p.recipients) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, test := range []struct {
		fields      textproto.MIMEHeader
		field, want string
	}{
		{p.message, "Original-Envelope-Id", "QQ 314159"},
		{p.message, "Reporting-MTA", "dns; mx.example.com"},
		{p.message, "Arrival-Date", "Tue, 03 Feb 2026 03:05:06 +0100"},
		{p.recipients[0], "Original-Recipient", "rfc822; Bob@example.org"},
		{p.recipients[0], "Final-Recipient", "rfc822; bob@example.org"},
		{p.recipients[0], "Action", "failed"},
		{p.recipients[0], "Status", "5.1.1"},
		{p.recipients[0], "Remote-MTA", "dns; mail.example.org"},
		{p.recipients[0], "Diagnostic-Code",
			"smtp; 550-5.1.1 <bob@example.org>: Recipient address rejected 550 5.1.1 User unknown in virtual mailbox table"},
		{p.recipients[0], "Last-Attempt-Date", "Tue, 03 Feb 2026 04:05:06 +0100"},
		{p.recipients[0], "Will-Retry-Until", ""},
		{p.recipients[1], "Original-Recipient", ""},
		{p.recipients[1], "Final-Recipient", `utf-8; j\x{F6}rg@example.net`},
		{p.recipients[1], "Status", "5.0.0"},
		{p.recipients[1], "Remote-MTA", ""},
		{p.recipients[1], "Diagnostic-Code", ""},
		{p.returned, "Content-Type", "message/rfc822"},
	} {
		if got := test.fields.Get(test.field); got != test.want {
			t.Errorf("%s: %q; want %q", test.field, got, test.want)
		}
	}
	if want := strings.ReplaceAll(original, "\n", "\r\n"); p.content != want {
		t.Errorf("returned %q", p.content)
	}
	if !strings.Contains(p.text, "<j\u00f6rg@example.net>") {
		t.Errorf("text %q", p.text)
	}
}

// DSN-19: RFC 3461 sections 4.3 and 6.2, RFC 6522 section 4, RFC 8689 section 5.
func TestReturnedPartOfMessage(t *testing.T) {
	t.Parallel()
	const header = "From: a\r\nSubject: b\r\n"
	for name, test := range map[string]struct {
		message string
		change  func(*Report)
		kind    string
		content string
	}{
		"default":        {header + "\r\ntext\r\n", func(*Report) {}, "message/rfc822", header + "\r\ntext\r\n"},
		"no line end":    {header + "\r\ntext", func(*Report) {}, "message/rfc822", header + "\r\ntext"},
		"RET=FULL":       {header + "\r\ntext\r\n", func(r *Report) { r.Return = ReturnFull }, "message/rfc822", header + "\r\ntext\r\n"},
		"RET=HDRS":       {header + "\r\ntext\r\n", func(r *Report) { r.Return = ReturnHeaders }, "text/rfc822-headers", header},
		"REQUIRETLS":     {header + "\r\ntext\r\n", func(r *Report) { r.Return = ReturnFull; r.RequireTLS = true }, "text/rfc822-headers", header},
		"no failure":     {header + "\r\ntext\r\n", func(r *Report) { r.Recipients[0].Action = Delayed; r.Return = ReturnFull }, "text/rfc822-headers", header},
		"as large as":    {header + "\r\ntext\r\n", func(r *Report) { r.MaxSize = r.Size }, "message/rfc822", header + "\r\ntext\r\n"},
		"larger than":    {header + "\r\ntext\r\n", func(r *Report) { r.MaxSize = r.Size - 1 }, "text/rfc822-headers", header},
		"8-bit text":     {header + "\r\n\xe4\r\n", func(*Report) {}, "message/rfc822", header + "\r\n\xe4\r\n"},
		"8-bit header":   {"Subject: \xc3\xa4\r\n\r\ntext\r\n", func(*Report) {}, "text/rfc822-headers", "Subject: \xc3\xa4\r\n"},
		"long line":      {header + "\r\n" + strings.Repeat("x", 999), func(*Report) {}, "text/rfc822-headers", header},
		"long field":     {"X: " + strings.Repeat("x", 999) + "\r\n\r\n", func(*Report) {}, "text/rfc822-headers", "X: " + strings.Repeat("x", 999) + "\r\n"},
		"NUL":            {header + "\r\n\x00\r\n", func(*Report) {}, "text/rfc822-headers", header},
		"CR":             {header + "\r\nte\rxt\r\n", func(*Report) {}, "text/rfc822-headers", header},
		"CR in a header": {"X: a\rb\r\n\r\ntext\r\n", func(*Report) {}, "", ""},
		"no header":      {"text\r\n", func(r *Report) { r.Return = ReturnHeaders }, "", ""},
		"nothing":        {"", func(r *Report) { r.Message = nil }, "", ""},
	} {
		r := bounce()
		r.Recipients = r.Recipients[:1]
		r.Message, r.Size = strings.NewReader(test.message), int64(len(test.message))
		test.change(&r)
		report := write(t, r)
		p, err := parse(report)
		if err != nil || p.returned.Get("Content-Type") != test.kind || p.content != test.content {
			t.Errorf("%s: %q, %q, %v", name, p.returned.Get("Content-Type"), p.content, err)
		}
		want := ""
		if !isASCII(report) {
			want = "8bit"
		}
		if got := p.header.Get("Content-Transfer-Encoding"); got != want {
			t.Errorf("%s: Content-Transfer-Encoding %q; want %q", name, got, want)
		}
	}
}

// RFC 3464 section 2: addresses of the report itself.
func TestReportAddresses(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"alice@example.com":          "<alice@example.com>",
		"<alice@example.com>":        "<alice@example.com>",
		"a..b@example.com":           `<"a..b"@example.com>`,
		`"a b"@example.com`:          `<"a b"@example.com>`,
		`"a\"@example.com`:           `<"\"a\\\""@example.com>`,
		"a@b@[192.0.2.1]":            `<"a@b"@[192.0.2.1]>`,
		"x>, <eve@example.net":       `<"x>, <eve"@example.net>`,
		"j\u00f6rg@\u4f8b.example":   "<j\u00f6rg@\u4f8b.example>",
		"<>":                         "error",
		"":                           "error",
		"alice":                      "error",
		"@example.com":               "error",
		"alice@":                     "error",
		"a@b>\r\nBcc: c@example.net": "error",
		"a\r\n@example.com":          "error",
		"a@example.com, b@c d":       "error",
		"\xff@example.com":           "error",
	} {
		r := bounce()
		r.To = to
		var out bytes.Buffer
		_, err := r.WriteTo(&out)
		if want == "error" {
			if err == nil || out.Len() > 0 {
				t.Errorf("%q: %v, %d octets written", to, err, out.Len())
			}
			continue
		}
		p, parseErr := parse(out.String())
		if err != nil || parseErr != nil || p.header.Get("To") != want {
			t.Errorf("%q: %q, %v, %v; want %q", to, p.header.Get("To"), err, parseErr, want)
			continue
		}
		if list, err := p.header.AddressList("To"); err != nil || len(list) != 1 {
			t.Errorf("%q: %v, %v", to, list, err)
		}
	}
}

func TestReportRefusesBadFields(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Report)
		field  string
		want   error
	}{
		"no host":            {func(r *Report) { r.ReportingMTA = "" }, "Reporting-MTA", ErrMissing},
		"bad host":           {func(r *Report) { r.ReportingMTA = "a\r\nb" }, "Reporting-MTA", ErrCharacter},
		"host in U-labels":   {func(r *Report) { r.ReportingMTA = "\u00e4.example" }, "Reporting-MTA", ErrCharacter},
		"null return path":   {func(r *Report) { r.To = "<>" }, "To", ErrNullReturnPath},
		"bad sender":         {func(r *Report) { r.From = "postmaster" }, "From", ErrCharacter},
		"bad message ID":     {func(r *Report) { r.MessageID = "a>\r\nb" }, "Message-ID", ErrCharacter},
		"no recipients":      {func(r *Report) { r.Recipients = nil }, "Final-Recipient", ErrMissing},
		"no recipient":       {func(r *Report) { r.Recipients[1].Final = Address{} }, "Final-Recipient", ErrMissing},
		"no action":          {func(r *Report) { r.Recipients[1].Action = 0 }, "Action", ErrMissing},
		"unknown action":     {func(r *Report) { r.Recipients[1].Action = 6 }, "Action", ErrValue},
		"status of class 3":  {func(r *Report) { r.Recipients[1].Status = [3]int{3, 0, 0} }, "Status", ErrValue},
		"status of 4 digits": {func(r *Report) { r.Recipients[1].Status = [3]int{5, 1000, 0} }, "Status", ErrValue},
		"negative status":    {func(r *Report) { r.Recipients[1].Status = [3]int{5, 0, -1} }, "Status", ErrValue},
	} {
		r := bounce()
		test.change(&r)
		n, err := r.WriteTo(io.Discard)
		var failure *Error
		if n != 0 || !errors.Is(err, test.want) || !errors.As(err, &failure) || failure.Field != test.field {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	r := bounce()
	r.Size++
	if n, err := r.WriteTo(io.Discard); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("message shorter than its size: %d, %v", n, err)
	}
	r = bounce()
	if _, err := r.WriteTo(brokenPipe{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writer's error: %v", err)
	}
}

// brokenPipe is a writer that always fails.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Date, Message-ID and boundary have defaults.
func TestReportDefaults(t *testing.T) {
	t.Parallel()
	r := bounce()
	r.Date, r.MessageID, r.boundary = time.Time{}, "", ""
	one, err := parse(write(t, r))
	if err != nil {
		t.Fatal(err)
	}
	other, err := parse(write(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if date, err := one.header.Date(); err != nil || date.Year() < 2026 {
		t.Errorf("Date %v, %v", date, err)
	}
	for _, field := range []string{"Message-Id", "Content-Type"} {
		if one.header.Get(field) == other.header.Get(field) {
			t.Errorf("%s is not random: %q", field, one.header.Get(field))
		}
	}
}

// Memory does not grow with the message.
func TestReportMemoryIsBounded(t *testing.T) {
	r := bounce()
	text := original + strings.Repeat("text\n", 1<<20)
	r.Message, r.Size = strings.NewReader(text), int64(len(text))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if n, err := r.WriteTo(io.Discard); err != nil || n < r.Size {
		t.Errorf("%d, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 256<<10 {
		t.Errorf("%d octets allocated", allocated)
	}
}

// RFC 5322 sections 2.1.1 and 2.2.3: folding changes nothing but line ends.
func TestFieldFoldsOnlyLineEnds(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"",
		"a",
		strings.Repeat("word ", 100) + "end",
		strings.Repeat("two  spaces  ", 100) + "end",
		strings.Repeat("x", 78),
		strings.Repeat("x", 300) + " " + strings.Repeat("y", 400),
		strings.Repeat("x", 2000),
	} {
		text := field("Diagnostic-Code", value)
		for _, line := range strings.SplitAfter(strings.TrimSuffix(text, "\r\n"), "\r\n") {
			line = strings.TrimSuffix(line, "\r\n")
			if len(line) > lineLength && strings.Contains(strings.TrimSpace(strings.TrimPrefix(line, "Diagnostic-Code:")), " ") ||
				len(line) > maxLineLength || value != "" && strings.TrimSpace(line) == "" {
				t.Errorf("%.40q: line %q", value, line)
			}
		}
		got := strings.ReplaceAll(text, "\r\n", "")
		if value == strings.Repeat("x", 2000) { // cut where there is no space
			got = strings.ReplaceAll(got, " ", "")
			got = strings.Replace(got, ":", ": ", 1)
		}
		if got != "Diagnostic-Code: "+value {
			t.Errorf("%.40q: %q", value, text)
		}
	}
}

// Nothing that comes from the network adds a field, a part or a recipient.
func FuzzReport(f *testing.F) {
	f.Add("QQ", "rfc822", "bob@example.org", "mail.example.org", "550 no", "reason", []byte(original), uint8(1))
	f.Add("a\r\nX: y", "a;b\n", "b\u00f6b\r\n\r\n@example.org", "a\nb", "550 a\r\n\r\n--boundary--\r\n", "\u202e\n.\n", []byte("A: \xe4\n\n--b"), uint8(2))
	f.Fuzz(func(t *testing.T, id, kind, mailbox, host, reply, reason string, message []byte, action uint8) {
		r := Report{
			ReportingMTA: "mx.example.com",
			To:           "alice@example.com",
			EnvelopeID:   id,
			Recipients: []RecipientStatus{{
				Original:  Address{kind, mailbox},
				Final:     Address{Mailbox: mailbox},
				Action:    Action(action),
				RemoteMTA: host,
				Reply:     reply,
				Reason:    reason,
			}},
			Message: bytes.NewReader(message),
			Size:    int64(len(message)),
		}
		var out bytes.Buffer
		if _, err := r.WriteTo(&out); err != nil {
			var failure *Error
			if !errors.As(err, &failure) || out.Len() > 0 {
				t.Fatalf("%v, %d octets", err, out.Len())
			}
			return
		}
		p, err := parse(out.String())
		if err != nil {
			t.Fatalf("%v\n%q", err, out.String())
		}
		if len(p.recipients) != 1 || len(p.header) != 8 && len(p.header) != 9 {
			t.Fatalf("%+v", p)
		}
		for _, fields := range []textproto.MIMEHeader{p.message, p.recipients[0]} {
			for name, values := range fields {
				if len(values) != 1 || !isASCII(values[0]) {
					t.Fatalf("%s: %q", name, values)
				}
				switch name {
				case "Original-Envelope-Id", "Reporting-Mta", "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-Mta", "Diagnostic-Code":
				default:
					t.Fatalf("%s: %q", name, values)
				}
			}
		}
		if p.returned.Get("Content-Type") != "message/rfc822" && !isASCII(out.String()) {
			t.Fatalf("8-bit text in %q", out.String())
		}
	})
}
