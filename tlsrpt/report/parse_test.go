package report_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mxseal/mxseal/internal/test/reporttest"
	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// base64Lines encodes data in the lines of RFC 2045 section 6.8.
func base64Lines(data []byte) string {
	var b strings.Builder
	for text := base64.StdEncoding.EncodeToString(data); text != ""; {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	return b.String()
}

func message(header, body string) string {
	return "From: tls@sender.example\r\nSubject: Report\r\n" + header + "\r\n\r\n" + body
}

// report1 returns a message as in RFC 8460 section 5.3.1, with one report part.
func report1(header, body string) string {
	return message("Content-Type: multipart/report; report-type=\"tlsrpt\"; boundary=\"=_b\"",
		"--=_b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n--=_b\r\n"+header+"\r\n\r\n"+body+"\r\n--=_b--\r\n")
}

// inner returns a message with another message as its only part.
func inner(mediaType, contained string) string {
	return "From: a@forwarder.example\r\nContent-Type: multipart/mixed; boundary=\"=_i\"\r\n\r\n--=_i\r\nContent-Type: " +
		mediaType + "\r\n\r\n" + contained + "\r\n--=_i--\r\n"
}

// A report comes as JSON, gzip or mail (RPT-68, RPT-70, RPT-71, RPT-78). Its
// octets determine the form, not its media type.
func TestParseForms(t *testing.T) {
	t.Parallel()
	text := marshal(t, newReport())
	zipped := zip(t, text)
	base64 := base64Lines(zipped)
	tests := map[string]string{
		"JSON":                       string(text),
		"JSON with byte order":       "\ufeff\r\n" + string(text) + "\n",
		"gzip":                       string(zipped),
		"mail with gzip":             report1("Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64", base64),
		"mail with JSON":             report1("Content-Type: application/tlsrpt+json", string(text)),
		"mail, gzip called JSON":     report1("Content-Type: application/tlsrpt+json\r\nContent-Transfer-Encoding: BASE64", base64),
		"mail, octets":               report1("Content-Type: application/octet-stream; name=x.json.gz\r\nContent-Transfer-Encoding: base64", base64),
		"mail, zip type":             report1("Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64", base64),
		"mail, attached text":        report1("Content-Type: text/json\r\nContent-Disposition: attachment; filename=x.json", string(text)),
		"mail of one part":           message("Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64", base64),
		"mail, part in a part":       message("Content-Type: multipart/mixed; boundary=o", "--o\r\nContent-Type: multipart/report; boundary=i\r\n\r\n--i\r\nContent-Type: application/tlsrpt+json\r\n\r\n"+string(text)+"\r\n--i--\r\n--o--\r\n"),
		"mail with quoted octets":    report1("Content-Type: application/tlsrpt+json\r\nContent-Transfer-Encoding: quoted-printable", strings.ReplaceAll(string(text), "=", "=3D")),
		"mail, lines end in LF":      strings.ReplaceAll(report1("Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64", base64), "\r\n", "\n"),
		"R13 forwarded":              inner("message/rfc822", report1("Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64", base64)),
		"R13 forwarded twice":        message("Content-Type: message/rfc822", inner("message/rfc822", report1("Content-Type: application/tlsrpt+json", string(text)))),
		"R13 forwarded, only part":   message("Content-Type: message/rfc822", report1("Content-Type: application/tlsrpt+json", string(text))),
		"R13 forwarded, in base64":   report1("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64", base64Lines([]byte(report1("Content-Type: application/tlsrpt+json", string(text))))),
		"R13 forwarded, U-labels":    inner("message/global", report1("Content-Type: application/tlsrpt+json", string(text))),
		"R13 after a broken message": message("Content-Type: multipart/mixed; boundary=o", "--o\r\nContent-Type: message/rfc822\r\n\r\nno header\r\n--o\r\nContent-Type: application/tlsrpt+json\r\n\r\n"+string(text)+"\r\n--o--\r\n"),
		"mail that ends too early":   strings.TrimSuffix(report1("Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64", base64), "--\r\n"),
	}
	for form, received := range tests {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			rep, err := report.Parse(strings.NewReader(received))
			if err != nil || !reflect.DeepEqual(rep, newReport()) {
				t.Errorf("read as %+v, %v", rep, err)
			}
		})
	}
}

// Deviations that senders make are accepted (RPT-38, AMB-5, RPT-64; field
// note 58).
func TestParseIsLiberal(t *testing.T) {
	t.Parallel()
	const liberal = `{
		"organization-name": null,
		"date-range": {"start-datetime": "2026-03-01t00:00:00", "end-datetime": "2026-03-01 23:59:59"},
		"contact-info": "x", "extension": [{"a": 1}],
		"policies": [{
			"policy": {"policy-type": "sts", "policy-string": "version: STSv1", "policy-domain": "Example.COM", "mx-host": "*.example.com"},
			"summary": {"total-successful-session-count": "7", "total-failure-session-count": 4.0},
			"failure-details": [
				{"result-type": "weather", "sending-mta-ip": "unknown", "receiving-ip": "::ffff:192.0.2.1", "failed-session-count": 3e0},
				{"result-type": "validation-failure", "sending-mta-ip": "[2001:DB8::1]", "receiving-ip": "", "receiving-mx-helo": null}
			]
		}]
	}`
	rep, err := report.Parse(strings.NewReader(liberal))
	if err != nil {
		t.Fatal(err)
	}
	want := &report.Report{
		Dates:   report.DateRange{Start: day, End: day.Add(24*time.Hour - time.Second)},
		Contact: "x",
		Policies: []report.PolicyResult{{
			Policy:  tlsrpt.Policy{Type: tlsrpt.STS, Domain: "Example.COM", Strings: []string{"version: STSv1"}, MXHosts: []string{"*.example.com"}},
			Summary: report.Summary{Successes: 7, Failures: 4},
			Details: []report.Detail{
				{Type: "weather", ReceivingIP: netip.MustParseAddr("192.0.2.1"), Sessions: 3},
				{Type: tlsrpt.ValidationFailure, SendingIP: netip.MustParseAddr("2001:db8::1")},
			},
		}},
	}
	if !reflect.DeepEqual(rep, want) {
		t.Errorf("got\n%+v\nwant\n%+v", rep, want)
	}
}

// RPT-52: the body is authoritative, not the header or the file name.
func TestParseBodyCounts(t *testing.T) {
	t.Parallel()
	received := report1("Content-Type: application/tlsrpt+json\r\n"+
		"Content-Disposition: attachment; filename=\"other.example!other.example!1!2.json\"", string(marshal(t, newReport())))
	received = "TLS-Report-Domain: other.example\r\nTLS-Report-Submitter: other.example\r\n" + received
	rep, err := report.Parse(strings.NewReader(received))
	if err != nil || !reflect.DeepEqual(rep, newReport()) {
		t.Errorf("read as %+v, %v", rep, err)
	}
}

func TestParseRejects(t *testing.T) {
	t.Parallel()
	dated := func(rest string) string {
		return `{"date-range": {"start-datetime": "2026-03-01", "end-datetime": "2026-03-02"}, ` + rest + `}`
	}
	tests := []struct {
		name, received, says string
	}{
		{"nothing", "", "neither JSON nor gzip nor a mail message"},
		{"prose", "hello\n", "neither JSON nor gzip nor a mail message"},
		{"array", "[]", "neither JSON nor gzip nor a mail message"},
		{"half an object", `{"policies":`, "unexpected end of JSON input"},
		{"half a gzip", "\x1f\x8b\x08", "unexpected EOF"},
		{"something else in gzip", string(zip(t, []byte("hello"))), "invalid character"},
		{"empty object", "{}", "there are no policies"},
		{"null", dated(`"policies": null`), "there are no policies"},
		{"no date", `{"policies": []}`, `start-datetime: "" is not a time`},
		{"bad date", `{"date-range": {"start-datetime": "2026-03-01", "end-datetime": "never\n"}, "policies": []}`, `end-datetime: "never\n" is not a time`},
		{"negative count", dated(`"policies": [{"summary": {"total-failure-session-count": -1}}]`), `policies[0].summary.total-failure-session-count: "-1" is not a count`},
		{"half a session", dated(`"policies": [{}, {"summary": {"total-successful-session-count": 0.5}}]`), `policies[1].summary.total-successful-session-count: "0.5" is not a count`},
		{"great count", dated(`"policies": [{"failure-details": [{"failed-session-count": 1e300}]}]`), `policies[0].failure-details[0].failed-session-count: "1e300" is not a count`},
		{"RPT-23 no array", dated(`"policies": {"policy": {}}`), "cannot unmarshal object"},
		{"string for an object", dated(`"policies": ["x"]`), "cannot unmarshal"},
		{"mail without report", message("Content-Type: text/plain", "hello"), "the message contains no report"},
		{"mail without type", message("X: y", "{}"), "the message contains no report"},
		{"mail with something else", report1("Content-Type: application/pdf", "%PDF"), "the message contains no report"},
		{"mail with a broken report", report1("Content-Type: application/tlsrpt+gzip", "hello"), `"application/tlsrpt+gzip" is neither JSON nor gzip`},
		{"mail without boundary", message("Content-Type: multipart/report", "x"), "reading a message"},
		{"many parts", message("Content-Type: multipart/mixed; boundary=b", strings.Repeat("--b\r\n\r\nx\r\n", 1000)), "too many parts"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rep, err := report.Parse(strings.NewReader(test.received))
			if err == nil {
				t.Fatalf("read as %+v", rep)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %q, which does not say %q", err, test.says)
			}
		})
	}
}

// RPT-82: the size is limited before and after decompression, and so is the
// memory for parsed values.
func TestParseIsBounded(t *testing.T) {
	t.Parallel()
	tests := map[string]io.Reader{
		"plain":    io.MultiReader(strings.NewReader("{"), endless(' ')),
		"gzip":     bytes.NewReader(zip(t, append([]byte("{"), make([]byte, report.MaxSize)...))),
		"objects":  strings.NewReader(`{"policies":[` + strings.Repeat(`{},`, 1<<18) + `{}]}`),
		"elements": strings.NewReader(`{"policies":[{"policy":{"policy-string":[` + strings.Repeat(`"",`, 1<<21) + `""]}}]}`),
	}
	for name, received := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := report.Parse(received); !errors.Is(err, report.ErrTooLarge) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// endless is a reader that repeats one octet forever.
type endless byte

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}

func TestParseReadError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if _, err := report.Parse(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}

// A report that can be read and written can be read again, and its text has the
// form of RFC 8460 section 4.
func FuzzParse(f *testing.F) {
	text := marshal(f, newReport())
	f.Add(text)
	f.Add(zip(f, text))
	f.Add([]byte(report1("Content-Type: application/tlsrpt+json", string(text))))
	f.Add([]byte(fmt.Sprintf(`{"date-range":{"start-datetime":"%[1]s","end-datetime":"%[1]s"},"policies":[]}`, "2026-03-01")))
	f.Fuzz(func(t *testing.T, received []byte) {
		rep, err := report.Parse(bytes.NewReader(received))
		if err != nil {
			return
		}
		written, err := rep.MarshalJSON()
		if err != nil {
			return
		}
		if err := reporttest.Save(written); err != nil {
			t.Error(err)
		}
		again, err := report.Parse(bytes.NewReader(written))
		if err != nil {
			t.Fatal(err)
		}
		rewritten, err := again.MarshalJSON()
		if err != nil || !bytes.Equal(written, rewritten) {
			t.Errorf("%v\n%s\n%s", err, written, rewritten)
		}
	})
}

// R11, RPT-22: a name that an object has twice is an error, because readers disagree about
// which value counts (RFC 7493 section 2.3).
func TestParseR11NameTwice(t *testing.T) {
	t.Parallel()
	text := string(marshal(t, newReport()))
	for name, change := range map[string][2]string{
		"policies":              {`"policies":`, `"policies":[],"policies":`},
		"policies in capitals":  {`"policies":`, `"Policies":[],"policies":`},
		"date-range":            {`"date-range":`, `"date-range":{},"date-range":`},
		"a policy's type":       {`"policy-type":`, `"policy-type":"sts","policy-type":`},
		"a count":               {`"total-failure-session-count":`, `"total-failure-session-count":1,"total-failure-session-count":`},
		"an unknown name":       {`"policies":`, `"x":{"y":[{"z":1},{"z":1,"z":2}]},"policies":`},
		"a name with an escape": {`"report-id":`, `"report\u002did":"x","report-id":`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := report.Parse(strings.NewReader(strings.Replace(text, change[0], change[1], 1)))
			var reportErr *report.Error
			if !errors.As(err, &reportErr) || !strings.Contains(err.Error(), "twice") {
				t.Errorf("the error is %v", err)
			}
		})
	}
	if _, err := report.Parse(strings.NewReader(strings.Replace(text, `"policies":`, `"x":[{"a":1},{"a":"a","b":{"a":2}},["a","a"]],"policies":`, 1))); err != nil {
		t.Errorf("the same name in different objects: %v", err)
	}
}
