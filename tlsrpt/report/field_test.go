package report_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/mxseal/mxseal/tlsrpt"
	"github.com/mxseal/mxseal/tlsrpt/report"
)

// utf16Of encodes text as some Windows editors do.
func utf16Of(text string, mark string, high, low int) string {
	b := []byte(mark)
	for _, unit := range utf16.Encode([]rune(text)) {
		octets := [2]byte{}
		octets[high], octets[low] = byte(unit>>8), byte(unit)
		b = append(b, octets[:]...)
	}
	return string(b)
}

// RPT-68, RPT-71: a report is read however it was packed, padded and forwarded.
func TestParseForwardedAndPadded(t *testing.T) {
	t.Parallel()
	text := marshal(t, newReport())
	zipped := string(zip(t, text))
	lines := base64Lines([]byte(zipped))
	const gz = "Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64"
	good := report1(gz, lines)
	mixed := func(parts ...string) string {
		return message("Content-Type: multipart/mixed; boundary=m", "--m\r\n"+strings.Join(parts, "\r\n--m\r\n")+"\r\n--m--\r\n")
	}
	half := len(text) / 2
	tests := map[string]string{
		"JSON in UTF-16":                    utf16Of(string(text), "\xff\xfe", 1, 0),
		"JSON in UTF-16, high octets first": utf16Of(string(text), "\xfe\xff", 0, 1),
		"JSON with NUL octets behind it":    string(text) + "\r\n\x00\x00\x00\x00",
		"gzip with a mark in it":            string(zip(t, append([]byte("\xef\xbb\xbf"), text...))),
		"gzip with NUL octets behind it":    zipped + strings.Repeat("\x00", 512),
		"gzip with text behind it":          zipped + "\r\n-- \r\nA mailing list",
		"gzip in two members":               string(zip(t, text[:half])) + string(zip(t, text[half:])),
		"gzip in gzip":                      string(zip(t, []byte(zipped))),
		"gzip in base64":                    lines,
		"gzip of a message":                 string(zip(t, []byte(good))),
		"base64 on one line":                report1(gz, base64.StdEncoding.EncodeToString([]byte(zipped))),
		"base64 without padding":            report1(gz, base64.RawStdEncoding.EncodeToString([]byte(zipped))),
		"base64 with spaces in it":          report1(gz, strings.ReplaceAll(lines, "\r\n", " \t\r\n  ")),
		"base64 with odd octets in it":      report1(gz, strings.ReplaceAll(lines, "\r\n", "!\r\n>")),
		"base64 in two pieces":              report1(gz, base64Lines([]byte(zipped[:100]))+base64Lines([]byte(zipped[100:]))),
		"base64 of JSON with padding":       report1("Content-Type: application/tlsrpt+json\r\nContent-Transfer-Encoding: base64", base64Lines(append(text, ' '))),
		"base64, not announced":             report1("Content-Type: application/tlsrpt+gzip", lines),
		"base64 announced, not applied":     report1(gz, zipped),
		"JSON announced as base64":          report1(gz, string(text)),
		"an unknown encoding":               report1("Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: x-odd", zipped),
		"type text/plain, base64":           report1("Content-Type: text/plain; name=r.json.gz\r\nContent-Transfer-Encoding: base64", lines),
		"JSON in the text":                  message("Content-Type: text/plain", string(text)),
		"no type, JSON":                     message("X: y", string(text)),
		"no type, base64":                   message("Content-Transfer-Encoding: base64", lines),
		"type with malformed parameters":    report1("Content-Type: application/tlsrpt+gzip; name=a@b (1).json.gz; x\r\nContent-Transfer-Encoding: base64", lines),
		"boundary without quotes":           strings.Replace(good, `boundary="=_b"`, "boundary==_b", 1),
		"report in multipart/mixed":         mixed("Content-Type: text/plain\r\n\r\nhello", gz+"\r\n\r\n"+lines, "Content-Type: text/plain\r\n\r\n-- \r\nA mailing list"),
		"report beside other attachments":   mixed("Content-Type: application/json\r\n\r\n{\"a\": 1}", "Content-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n"+base64Lines(zip(t, []byte("<feedback/>"))), gz+"\r\n\r\n"+lines),
		"forwarded as a file":               mixed("Content-Type: application/octet-stream; name=\"Report.EML\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64Lines([]byte(good))),
		"forwarded as a named file":         mixed("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=r.eml\r\n\r\n" + good),
		"from an mbox":                      "From tls@sender.example Mon Mar  2 00:00:00 2026\n" + good,
		"forwarded from an mbox":            inner("message/rfc822", ">From tls@sender.example Mon Mar  2 00:00:00 2026\r\n"+good),
		"empty lines before the header":     "\r\n\r\n" + good,
		"a long header":                     strings.Repeat("Received: from a by b;\r\n\tSun, 1 Mar 2026 00:00:00 +0000\r\n", 2000) + good,
		"a header that a filter broke":      "X-Filter: a\r\nno field at all\r\n" + good,
		"cut off behind the report":         good[:strings.LastIndex(good, "\r\n--=_b--")],
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

// Damaged input is an error that says what is wrong, and a message with other content is
// ErrNoReport.
func TestParseDamagedSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	text := marshal(t, newReport())
	zipped := zip(t, text)
	flipped := append([]byte(nil), zipped...)
	flipped[len(flipped)-8] ^= 1 // the checksum
	attached := func(header, data string) string {
		return report1(header+"\r\nContent-Transfer-Encoding: base64", base64Lines([]byte(data)))
	}
	tests := []struct {
		name, received, says string
		noReport             bool
	}{
		{"gzip cut off", string(zipped[:len(zipped)/2]), "unexpected EOF", false},
		{"gzip with another checksum", string(flipped), "checksum", false},
		{"gzip cut off in a message", attached("Content-Type: application/tlsrpt+gzip", string(zipped[:len(zipped)/2])), "unexpected EOF", false},
		{"gzip cut off in a file with the name of a report", attached("Content-Type: application/gzip; name=\"a.example!b.example!1!2.json.gz\"", string(zipped[:len(zipped)/2])), "unexpected EOF", false},
		{"gzip of something else", attached("Content-Type: application/tlsrpt+gzip", string(zip(t, []byte("hello")))), "invalid character", false},
		{"a report of DMARC", attached("Content-Type: application/gzip; name=\"a.example!b.example!1!2.xml.gz\"", string(zip(t, []byte("<feedback/>")))), "the message contains no report", true},
		{"another JSON file", attached("Content-Type: application/json; name=x.json", `{"a":1}`), "the message contains no report", true},
		{"something after the report", string(text) + "x", "something after the report", false},
		{"something before the report", "x" + string(text), "neither JSON nor gzip nor a mail message", false},
		{"gzip in gzip in gzip", string(nested(t, text, 20)), "packed too deep", false},
		{"messages in messages", nestedMail(string(text), 20), "too many parts", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rep, err := report.Parse(strings.NewReader(test.received))
			var reportErr *report.Error
			if !errors.As(err, &reportErr) || !strings.Contains(err.Error(), test.says) || errors.Is(err, report.ErrNoReport) != test.noReport {
				t.Errorf("read as %+v, %v", rep, err)
			}
		})
	}
}

func nested(t *testing.T, data []byte, depth int) []byte {
	for range depth {
		data = zip(t, data)
	}
	return data
}

func nestedMail(text string, depth int) string {
	m := report1("Content-Type: application/tlsrpt+json", text)
	for range depth {
		m = message("Content-Type: message/rfc822", m)
	}
	return m
}

// RPT-82: the members of a gzip file are bounded together.
func TestParseManyMembers(t *testing.T) {
	t.Parallel()
	members := strings.Repeat(string(zip(t, make([]byte, report.MaxSize/10))), 50)
	if _, err := report.Parse(strings.NewReader(members)); !errors.Is(err, report.ErrTooLarge) {
		t.Errorf("the error is %v", err)
	}
}

// RPT-32: times in the forms that senders write.
func TestParseTimesInAllForms(t *testing.T) {
	t.Parallel()
	const start, dayAfter = "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"
	tests := map[string]string{
		`"2026-03-01T00:00:00Z"`:             start,
		`"2026-03-01t00:00:00z"`:             start,
		`"2026-03-01T00:00:00.000Z"`:         start,
		`"2026-03-01T00:00:00.000000+00:00"`: start,
		`"2026-03-01T00:00:00,5Z"`:           "2026-03-01T00:00:00.5Z",
		`"2026-03-01T00:00:00+00:00"`:        start,
		`"2026-03-01T01:00:00+01:00"`:        start,
		`"2026-03-01T00:00:00+0000"`:         start,
		`"2026-03-01T00:00:00"`:              start,
		`"2026-03-01 00:00:00"`:              start,
		`"2026-03-01 00:00:00Z"`:             start,
		`"2026-03-01 00:00:00 UTC"`:          start,
		`"2026-03-01 00:00:00 +0000 UTC"`:    start,
		`"2026-03-01 00:00:00 +00:00"`:       start,
		`"2026-03-01T00:00Z"`:                start,
		`"2026-03-01T00:00"`:                 start,
		`"2026-03-01"`:                       start,
		`" 2026-03-01 "`:                     start,
		`"20260301T000000Z"`:                 start,
		`"20260301"`:                         start,
		`"2026-03-01T24:00:00Z"`:             dayAfter,
		`"2026-03-01 24:00:00"`:              dayAfter,
		`"2026-03-01T24:00:00.000+00:00"`:    dayAfter,
		`"Sun, 01 Mar 2026 00:00:00 GMT"`:    start,
		`"Sun, 1 Mar 2026 00:00:00 +0000"`:   start,
		`"1 Mar 2026 00:00:00 +0000"`:        start,
		`"Sun Mar  1 00:00:00 2026"`:         start,
		`1772323200`:                         start,
		`"1772323200"`:                       start,
		`1772323200.0`:                       start,
		`1772323200000`:                      start,

		`"2026-03-01 00:00:00 CET"`: "", // Go does not know the zone
		`"3/1/2026 12:00:00 AM"`:    "", // or January 3
		`"01.03.2026"`:              "",
		`"0001-01-01T00:00:00Z"`:    "",
		`"1970-01-01T00:00:00Z"`:    "",
		`"2026-02-30T00:00:00Z"`:    "",
		`"2026-03-01T25:00:00Z"`:    "",
		`0`:                         "",
		`-1`:                        "",
		`1e300`:                     "",
		`"NaN"`:                     "",
		`"Inf"`:                     "",
		`""`:                        "",
		`null`:                      "",
		`{}`:                        "",
		`true`:                      "",
	}
	for written, want := range tests {
		t.Run(written, func(t *testing.T) {
			t.Parallel()
			received := fmt.Sprintf(`{"date-range":{"start-datetime":%s,"end-datetime":"2026-03-03T00:00:00Z"},"policies":[]}`, written)
			rep, err := report.Parse(strings.NewReader(received))
			if want == "" {
				if err == nil || !strings.Contains(err.Error(), "date-range.start-datetime: ") || !strings.Contains(err.Error(), "is not a time") {
					t.Errorf("read as %+v, %v", rep, err)
				}
				return
			}
			if err != nil || rep.Dates.Start.Format(time.RFC3339Nano) != want {
				t.Errorf("read as %+v, %v", rep, err)
			}
		})
	}
}

// RPT-39, RPT-45: numbers in the forms that senders write.
func TestParseCountsInAllForms(t *testing.T) {
	t.Parallel()
	for written, want := range map[string]int64{
		`5`: 5, `"5"`: 5, `" 5 "`: 5, `5.0`: 5, `5e0`: 5, `"5.0"`: 5, `""`: 0, `null`: 0, `"0"`: 0,
		`9007199254740991`: 1<<53 - 1, `"005"`: 5,
		`-5`: -1, `"-5"`: -1, `5.5`: -1, `"five"`: -1, `"5,000"`: -1, `9007199254740992`: -1, `[5]`: -1, `{}`: -1, `true`: -1,
		`"NaN"`: -1, `"Inf"`: -1, `"0x5"`: -1,
	} {
		t.Run(written, func(t *testing.T) {
			t.Parallel()
			received := fmt.Sprintf(`{"date-range":{"start-datetime":"2026-03-01","end-datetime":"2026-03-01"},
				"policies":[{"failure-details":[{"failed-session-count":%s}]}]}`, written)
			rep, err := report.Parse(strings.NewReader(received))
			switch {
			case want < 0 && (err == nil || !strings.Contains(err.Error(), "policies[0].failure-details[0].failed-session-count: ")):
				t.Errorf("read as %+v, %v", rep, err)
			case want >= 0 && (err != nil || rep.Policies[0].Details[0].Sessions != want):
				t.Errorf("read as %+v, %v", rep, err)
			}
		})
	}
}

// An error names the part that is wrong.
func TestParseNamesTheWrongPart(t *testing.T) {
	t.Parallel()
	const dates = `"date-range":{"start-datetime":"2026-03-01","end-datetime":"2026-03-02"}`
	for received, part := range map[string]string{
		`{"date-range":{"start-datetime":"2026-03-02","end-datetime":"2026-03-01"},"policies":[]}`: "date-range",
		`{` + dates + `,"report-id":{},"policies":[]}`:                                             "report-id",
		`{` + dates + `,"contact-info":["x"],"policies":[]}`:                                       "contact-info",
		`{` + dates + `,"organization-name":{"x":1},"policies":[]}`:                                "organization-name",
		`{` + dates + `,"policies":{}}`:                                                            "policies",
		`{` + dates + `,"policies":[{"policy":"sts"}]}`:                                            "policies.policy",
		`{` + dates + `,"policies":[{"failure-details":[{"failure-reason-code":{}}]}]}`:            "policies[0].failure-details[0].failure-reason-code",
		`{"date-range":"2026-03-01","policies":[]}`:                                                "date-range",
	} {
		_, err := report.Parse(strings.NewReader(received))
		var reportErr *report.Error
		if !errors.As(err, &reportErr) || reportErr.Part != part {
			t.Errorf("%s: the error is %v", received, err)
		}
	}
}

// These reports have the form of those that large senders and common programs send.
func TestParseReportsOfLargeSenders(t *testing.T) {
	t.Parallel()
	const dates = `"date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-01T23:59:59Z"}`
	tests := []struct{ sender, received, want string }{
		{"a fetch failure without address and policy",
			`{"organization-name":"Large Corporation",` + dates + `,"contact-info":"tls@large.example","report-id":"133944884956529435+","policies":[{"policy":{"policy-type":"sts","policy-domain":"example.com"},"summary":{"total-successful-session-count":0,"total-failure-session-count":3},"failure-details":[{"result-type":"sts-policy-fetch-error","failed-session-count":3}]}]}`,
			`[{"policy":{"policy-type":"sts","policy-domain":"example.com"},"summary":{"total-successful-session-count":0,"total-failure-session-count":3},"failure-details":[{"result-type":"sts-policy-fetch-error","failed-session-count":3}]}]`},
		{"empty arrays and empty strings",
			`{"organization-name":"Go program",` + dates + `,"contact-info":"tls@go.example","report-id":"20260301.example.com@go.example","policies":[{"policy":{"policy-type":"no-policy-found","policy-string":[],"policy-domain":"example.com","mx-host":[]},"summary":{"total-successful-session-count":1,"total-failure-session-count":1},"failure-details":[{"result-type":"validation-failure","sending-mta-ip":"","receiving-mx-hostname":"","receiving-ip":"","failed-session-count":1,"additional-information":"","failure-reason-code":"tls-remote-alert-40-handshake-failure"}]}]}`,
			`[{"policy":{"policy-type":"no-policy-found","policy-domain":"example.com"},"summary":{"total-successful-session-count":1,"total-failure-session-count":1},"failure-details":[{"result-type":"validation-failure","failed-session-count":1,"failure-reason-code":"tls-remote-alert-40-handshake-failure"}]}]`},
		{"the whole reply to EHLO",
			`{"organization-name":"Library",` + dates + `,"contact-info":"tls@lib.example","report-id":"1","policies":[{"policy":{"policy-type":"tlsa","policy-string":["3 1 1 AB"],"policy-domain":"mx.example.com"},"summary":{"total-successful-session-count":0,"total-failure-session-count":1},"failure-details":[{"result-type":"validation-failure","sending-mta-ip":"192.0.2.1","receiving-mx-hostname":"mx.example.com","receiving-mx-helo":"250-mx.example.com\r\n250-PIPELINING\r\n250 CHUNKING","receiving-ip":"192.0.2.2","failed-session-count":1,"failure-reason-code":"self-signed_certificate"}]}]}`,
			`[{"policy":{"policy-type":"tlsa","policy-domain":"mx.example.com","policy-string":["3 1 1 AB"]},"summary":{"total-successful-session-count":0,"total-failure-session-count":1},"failure-details":[{"result-type":"validation-failure","sending-mta-ip":"192.0.2.1","receiving-mx-hostname":"mx.example.com","receiving-mx-helo":"250-mx.example.com\r\n250-PIPELINING\r\n250 CHUNKING","receiving-ip":"192.0.2.2","failed-session-count":1,"failure-reason-code":"self-signed_certificate"}]}]`},
		{"no contact, and the end is the next day",
			`{"organization-name":"small.example","date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-02T00:00:00Z"},"contact-info":null,"report-id":1768089600,"policies":[{"policy":{"policy-type":"STS","policy-string":"version: STSv1","policy-domain":"example.com","mx-host":"mx.example.com"},"summary":{"total-successful-session-count":"1","total-failure-session-count":"0"},"failure-details":null}]}`,
			`[{"policy":{"policy-type":"sts","policy-domain":"example.com","policy-string":["version: STSv1"],"mx-host":["mx.example.com"]},"summary":{"total-successful-session-count":1,"total-failure-session-count":0}}]`},
		{"names of drafts, one failure in place of an array",
			`{"organization-name":"Old",` + dates + `,"contact-info":"tls@old.example","report-id":"1","policies":[{"policy":{"policy-type":"tlsa","policy-domain":"mx.example.com"},"summary":{"total-successful-session-count":0,"total-failure-session-count":1},"failure-details":{"result-type":"CERTIFICATE_EXPIRED","failed-session-count":1,"additional-info-uri":"https://old.example/","failure-error-code":7}}]}`,
			`[{"policy":{"policy-type":"tlsa","policy-domain":"mx.example.com","policy-string":[]},"summary":{"total-successful-session-count":0,"total-failure-session-count":1},"failure-details":[{"result-type":"certificate-expired","failed-session-count":1,"additional-information":"https://old.example/","failure-reason-code":"7"}]}]`},
	}
	for _, test := range tests {
		t.Run(test.sender, func(t *testing.T) {
			t.Parallel()
			rep, err := report.Parse(strings.NewReader(test.received))
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(rep.Policies)
			if err != nil || string(got) != test.want {
				t.Errorf("read as\n%s, %v\nwant\n%s", got, err, test.want)
			}
			if want := (report.DateRange{Start: day, End: day.Add(24*time.Hour - time.Second)}); rep.Dates != want && test.sender[:10] != "no contact" {
				t.Errorf("the dates are %v", rep.Dates)
			}
		})
	}
}

// RPT-64: other spellings of registered names are the registered ones.
func TestParseSpellingsOfNames(t *testing.T) {
	t.Parallel()
	for spelled, want := range map[string]tlsrpt.ResultType{
		"STARTTLS_NOT_SUPPORTED": tlsrpt.STARTTLSNotSupported, " tlsa-invalid ": tlsrpt.TLSAInvalid,
		"Sts-Policy-Invalid": tlsrpt.STSPolicyInvalid, "weather": "weather", "Weather_Bad": "Weather_Bad",
	} {
		rep, err := report.Parse(strings.NewReader(fmt.Sprintf(`{"date-range":{"start-datetime":"2026-03-01","end-datetime":"2026-03-01"},
			"policies":[{"failure-details":[{"result-type":%q}]}]}`, spelled)))
		if err != nil || rep.Policies[0].Details[0].Type != want {
			t.Errorf("%q: %+v, %v", spelled, rep, err)
		}
	}
}
