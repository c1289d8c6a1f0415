package report_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mxseal/mxseal/internal/test/vectorfile"
	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/report/internal/envelope"
)

// receivedInput and receivedResult are a case of testdata/reports.json, which
// docs/vectors.md explains.
type receivedInput struct {
	What   string `json:"what"`
	Text   string `json:"text,omitempty"`
	Octets []byte `json:"base64,omitempty"` // in place of text
}

type receivedResult struct {
	Result string        `json:"result"` // ok, repaired, invalid or no-report
	Report *reportVector `json:"report,omitempty"`
}

// reportVector has the names of RFC 8460 section 4.4.
type reportVector struct {
	Organization string `json:"organization-name"`
	Dates        struct {
		Start time.Time `json:"start-datetime"`
		End   time.Time `json:"end-datetime"`
	} `json:"date-range"`
	Contact  string                `json:"contact-info"`
	ID       string                `json:"report-id"`
	Policies []report.PolicyResult `json:"policies"`
}

func newReceived(what, received string) receivedInput {
	if utf8.ValidString(received) && !strings.ContainsRune(received, 0) {
		return receivedInput{What: what, Text: received}
	}
	return receivedInput{What: what, Octets: []byte(received)}
}

func readReceived(t *testing.T, input receivedInput) receivedResult {
	received := append([]byte(input.Text), input.Octets...)
	r, err := report.Parse(bytes.NewReader(received))
	switch {
	case errors.Is(err, report.ErrNoReport):
		return receivedResult{Result: "no-report"}
	case err != nil:
		return receivedResult{Result: "invalid"}
	}
	v := &reportVector{Organization: r.Organization, Contact: r.Contact, ID: r.ID, Policies: r.Policies}
	v.Dates.Start, v.Dates.End = r.Dates.Start, r.Dates.End
	if conforms(t, received, r) {
		return receivedResult{"ok", v}
	}
	return receivedResult{"repaired", v}
}

// conforms reports whether a report was received in the form of RFC 8460 section 4: it can be
// written, and every field was received as it is then written. Further fields are permitted.
func conforms(t *testing.T, received []byte, r *report.Report) bool {
	written, err := r.MarshalJSON()
	if err != nil {
		return false
	}
	texts, err := envelope.Open(received, report.MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	decoder := json.NewDecoder(bytes.NewReader(texts[0]))
	decoder.UseNumber()
	if err := errors.Join(decoder.Decode(&got), json.Unmarshal(written, &want)); err != nil {
		t.Fatal(err)
	}
	return isWritten(got, want)
}

// reportNames are the names of RFC 8460 section 4.4.
var reportNames = strings.Fields(`organization-name date-range start-datetime end-datetime contact-info report-id policies policy
	policy-type policy-string policy-domain mx-host summary total-successful-session-count total-failure-session-count failure-details
	result-type sending-mta-ip receiving-mx-hostname receiving-mx-helo receiving-ip failed-session-count additional-information failure-reason-code`)

func isWritten(got, want any) bool {
	switch got := got.(type) {
	case map[string]any:
		object, ok := want.(map[string]any)
		for name, value := range got {
			empty, isArray := value.([]any)
			wanted, written := object[name]
			switch {
			case written && !isWritten(value, wanted):
				return false
			case !written && slices.Contains(reportNames, name) && !(isArray && len(empty) == 0):
				return false
			}
		}
		return ok && !slices.ContainsFunc(reportNames, func(name string) bool { return object[name] != nil && got[name] == nil })
	case []any:
		array, ok := want.([]any)
		return ok && slices.EqualFunc(got, array, isWritten)
	case json.Number:
		n, err := got.Int64()
		return err == nil && float64(n) == want
	case string:
		a, err := time.Parse(time.RFC3339, strings.ToUpper(got)) // section 5.6: in any case
		text, _ := want.(string)
		if b, errB := time.Parse(time.RFC3339, text); err == nil && errB == nil {
			return a.Truncate(time.Second).Equal(b)
		}
		return any(got) == want
	default:
		return false
	}
}

// receivedInputs are what domains receive.
func receivedInputs(t *testing.T) []receivedInput {
	text := string(marshal(t, newReport()))
	appendix, err := os.ReadFile("testdata/appendix-b.json")
	if err != nil {
		t.Fatal(err)
	}
	inputs := []receivedInput{newReceived("a report", text), newReceived("appendix B of RFC 8460", string(appendix))}
	inputs = append(inputs, packedInputs(t, text)...)
	// Each changes one thing in a report.
	for _, c := range []struct{ what, old, new string }{
		{"an extension", `"report-id":`, `"x":{"y":[1,null]},"report-id":`},
		{"the name of an extension twice", `"report-id":`, `"x":{"y":1,"y":2},"report-id":`},
		{"the same name in different objects", `"report-id":`, `"x":[{"a":1},{"a":{"a":2}}],"report-id":`},
		{"policies twice", `"policies":`, `"policies":[],"policies":`},
		{"policies twice, in different cases", `"policies":`, `"Policies":[],"policies":`},
		{"a name twice, once with an escape", `"report-id":`, `"report\u002did":"x","report-id":`},
		{"a count twice", `"total-failure-session-count":2`, `"total-failure-session-count":2,"total-failure-session-count":3`},
		{"no organization", `"organization-name":"Sender Söhne",`, ``}, {"organization null", `"Sender Söhne"`, `null`}, {"organization a number", `"Sender Söhne"`, `7`},
		{"organization an object", `"Sender Söhne"`, `{}`}, {"organization with space around it", `"Sender Söhne"`, `" Sender Söhne\n"`}, {"an escape in the organization", `Söhne`, `S\u00f6hne`},
		{"no contact", `"contact-info":"tls-reports@sender.example",`, ``}, {"contact null", `"tls-reports@sender.example"`, `null`}, {"contact an array", `"tls-reports@sender.example"`, `["a@sender.example"]`},
		{"contact no address", `"tls-reports@sender.example"`, `"https://sender.example/"`}, {"contact with a scheme", `"tls-reports@`, `"mailto:tls-reports@`},
		{"no id", `"report-id":"1",`, ``}, {"id a number", `"report-id":"1"`, `"report-id":1`}, {"id a great number", `"report-id":"1"`, `"report-id":12345678901234567890`}, {"id an array", `"report-id":"1"`, `"report-id":[]`},
		{"policies null", `"policies":[`, `"policies":null,"x":[`}, {"no policies", `"policies":[`, `"x":[`}, {"policies an object", `"policies":[`, `"policies":{},"x":[`}, {"policies empty", `"policies":[`, `"policies":[],"x":[`},
		{"a policy that is a string", `"policies":[`, `"policies":["x",`}, {"a policy without anything", `"policies":[`, `"policies":[{},`},
		{"no dates", `"date-range":`, `"x":`}, {"dates a string", `"date-range":{`, `"date-range":"2026-03-01","x":{`}, {"dates that end before they start", `2026-03-01T23:59:59Z`, `2026-02-28T23:59:59Z`}, {"dates that end as they start", `2026-03-01T23:59:59Z`, `2026-03-01T00:00:00Z`},
		{"dates that end with the next day", `2026-03-01T23:59:59Z`, `2026-03-02T00:00:00Z`}, {"dates of an hour", `2026-03-01T23:59:59Z`, `2026-03-01T01:00:00Z`},
		{"policy type in capitals", `"policy-type":"sts"`, `"policy-type":"STS"`}, {"policy type with underscores", `"no-policy-found"`, `"no_policy_found"`}, {"an unknown policy type", `"policy-type":"sts"`, `"policy-type":"dane"`}, {"no policy type", `"policy-type":"sts",`, ``},
		{"policy type a number", `"policy-type":"sts"`, `"policy-type":1`}, {"policy domain with space around it", `"policy-domain":"example.com","policy-string"`, `"policy-domain":" example.com ","policy-string"`},
		{"policy domain in capitals", `"policy-domain":"example.com","policy-string"`, `"policy-domain":"Example.COM","policy-string"`}, {"policy domain in U-labels", `"policy-domain":"example.com","policy-string"`, `"policy-domain":"bücher.example","policy-string"`},
		{"policy domain null", `"policy-domain":"example.com","policy-string"`, `"policy-domain":null,"policy-string"`}, {"no policy domain", `"policy-domain":"example.com",`, ``},
		{"policy-string a string", `["3 1 1 1f850a"]`, `"3 1 1 1f850a"`}, {"policy-string null", `["3 1 1 1f850a"]`, `null`}, {"policy-string empty", `["3 1 1 1f850a"]`, `[]`}, {"no policy-string", `,"policy-string":["3 1 1 1f850a"]`, ``}, {"policy-string an object", `["3 1 1 1f850a"]`, `{}`}, {"policy-string of numbers", `["3 1 1 1f850a"]`, `[3]`},
		{"mx-host a string", `["*.example.com"]`, `"*.example.com"`}, {"mx-host null", `["*.example.com"]`, `null`}, {"mx-host empty", `["*.example.com"]`, `[]`}, {"mx-host no pattern", `["*.example.com"]`, `["*"]`}, {"mx-host for TLSA", `["3 1 1 1f850a"]`, `["3 1 1 1f850a"],"mx-host":["mx.example.com"]`},
		{"policy-string for no policy", `"policy-type":"no-policy-found"`, `"policy-type":"no-policy-found","policy-string":["x"]`}, {"policy-string empty for no policy", `"policy-type":"no-policy-found"`, `"policy-type":"no-policy-found","policy-string":[]`},
		{"no summary", `"summary":{"total-successful-session-count":5,"total-failure-session-count":0}`, `"x":0`}, {"a summary that is a number", `{"total-successful-session-count":5,"total-failure-session-count":0}`, `5`},
		{"details an object", `"total-failure-session-count":0}}`, `"total-failure-session-count":1},"failure-details":{"result-type":"tlsa-invalid","failed-session-count":1}}`}, {"details null", `"total-failure-session-count":0}}`, `"total-failure-session-count":0},"failure-details":null}`},
		{"details empty", `"total-failure-session-count":0}}`, `"total-failure-session-count":0},"failure-details":[]}`}, {"failures without details", `"total-failure-session-count":0}}`, `"total-failure-session-count":4}}`}, {"details a string", `"total-failure-session-count":0}}`, `"total-failure-session-count":0},"failure-details":"x"}`},
		{"more failed sessions in a detail than in all", `"total-failure-session-count":2`, `"total-failure-session-count":0`}, {"a detail about the search for a policy in sessions that met it", `sts-policy-fetch-error","failed-session-count":1`, `sts-policy-fetch-error","failed-session-count":5`},
		{"a detail about the search for a policy in more sessions than all", `sts-policy-fetch-error","failed-session-count":1`, `sts-policy-fetch-error","failed-session-count":6`}, {"details that count sessions twice", `"failed-session-count":1`, `"failed-session-count":2`},
		{"result type in capitals", `"certificate-not-trusted"`, `"CERTIFICATE_NOT_TRUSTED"`}, {"result type with space around it", `"certificate-not-trusted"`, `" certificate-not-trusted "`}, {"an unknown result type", `"certificate-not-trusted"`, `"weather"`}, {"no result type", `"result-type":"certificate-not-trusted",`, ``}, {"result type null", `"certificate-not-trusted"`, `null`},
		{"an address in brackets", `"2001:db8::1"`, `"[2001:DB8::1]"`}, {"an address in capitals", `"2001:db8::1"`, `"2001:DB8::1"`}, {"an address with zeros", `"2001:db8::1"`, `"2001:0db8:0:0:0:0:0:1"`}, {"an address with a zone", `"2001:db8::1"`, `"fe80::1%eth0"`}, {"an IPv4 address in IPv6 form", `"2001:db8::1"`, `"::ffff:192.0.2.9"`},
		{"an unknown address", `"2001:db8::1"`, `"unknown"`}, {"an empty address", `"2001:db8::1"`, `""`}, {"an address null", `"2001:db8::1"`, `null`}, {"an address with a port", `"192.0.2.1"`, `"192.0.2.1:25"`}, {"an address with leading zeros", `"192.0.2.1"`, `"192.0.2.01"`}, {"an address that is a number", `"192.0.2.1"`, `1`}, {"no address", `"sending-mta-ip":"192.0.2.1",`, ``},
		{"a helo of several lines", `"mx<1>.example.com"`, `"250-mx.example.com\r\n250 CHUNKING"`}, {"helo null", `"mx<1>.example.com"`, `null`}, {"helo empty", `"mx<1>.example.com"`, `""`}, {"no mx host", `"receiving-mx-hostname":"mx.example.com",`, ``}, {"mx host with space around it", `"receiving-mx-hostname":"mx.example.com"`, `"receiving-mx-hostname":" mx.example.com "`}, {"mx host an array", `"receiving-mx-hostname":"mx.example.com"`, `"receiving-mx-hostname":["mx.example.com"]`},
		{"information with spaces", `"https://sender.example/why?x=1#y"`, `"https://sender.example/a b"`}, {"information that is no URI", `"https://sender.example/why?x=1#y"`, `"see above"`}, {"information under the name of a draft", `"additional-information"`, `"additional-info-uri"`}, {"information null", `"https://sender.example/why?x=1#y"`, `null`},
		{"a reason that is a number", `"self-signed"`, `7`}, {"a reason under the name of a draft", `"failure-reason-code"`, `"failure-error-code"`}, {"a reason that is an object", `"self-signed"`, `{}`}, {"a reason null", `"self-signed"`, `null`}, {"a long reason", `"self-signed"`, `"` + strings.Repeat("x", 500) + `"`}, {"no count in a detail", `"failed-session-count":1,`, ``},
		{"something behind the report", `"total-failure-session-count":0}}]}`, `"total-failure-session-count":0}}]}x`}, {"something before the report", `{"organization-name"`, `x{"organization-name"`}, {"a comma too many", `"report-id":"1",`, `"report-id":"1",,`}, {"no end", `}}]}`, `}}]`}, {"an invalid escape", `"report-id":"1"`, `"report-id":"\x31"`},
	} {
		if changed := strings.Replace(text, c.old, c.new, 1); changed != text {
			inputs = append(inputs, newReceived(c.what, changed))
		} else {
			t.Errorf("%s: %q is not in the report", c.what, c.old)
		}
	}
	for _, written := range []string{
		`"2026-03-01t00:00:00z"`, `"2026-03-01T00:00:00.000Z"`, `"2026-03-01T00:00:00.5Z"`, `"2026-03-01T00:00:00+00:00"`, `"2026-03-01T01:00:00+01:00"`, `"2026-02-28T19:00:00-05:00"`, `"2026-03-01T00:00:00+0000"`, `"2026-03-01T00:00:00"`, `"2026-03-01 00:00:00"`, `"2026-03-01 00:00:00Z"`,
		`"2026-03-01 00:00:00 UTC"`, `"2026-03-01 00:00:00 +0000 UTC"`, `"2026-03-01 00:00:00 +00:00"`, `"2026-03-01T00:00Z"`, `"2026-03-01T00:00"`, `"2026-03-01"`, `" 2026-03-01 "`, `"20260301T000000Z"`, `"20260301"`, `"2026-03-01T24:00:00Z"`, `"Sun, 01 Mar 2026 00:00:00 GMT"`, `"Sun, 1 Mar 2026 00:00:00 +0000"`, `"1 Mar 2026 00:00:00 +0000"`, `"Sun Mar  1 00:00:00 2026"`,
		`1772323200`, `"1772323200"`, `1772323200.0`, `1772323200000`, `"2026-03-01 00:00:00 CET"`, `"3/1/2026 12:00:00 AM"`, `"01.03.2026"`, `"0001-01-01T00:00:00Z"`, `"1970-01-01T00:00:00Z"`, `"2026-02-30T00:00:00Z"`, `"2026-03-01T25:00:00Z"`, `0`, `-1`, `1e300`, `"NaN"`, `""`, `null`, `{}`, `true`,
	} {
		end := strings.Replace(text, "2026-03-01T23:59:59Z", "2026-03-03T00:00:00Z", 1)
		inputs = append(inputs, newReceived("start-datetime "+written, strings.Replace(end, `"2026-03-01T00:00:00Z"`, written, 1)))
	}
	for _, written := range []string{
		`5`, `"5"`, `" 5 "`, `5.0`, `5e0`, `"5.0"`, `""`, `null`, `"0"`, `9007199254740991`, `"005"`, `-5`, `"-5"`, `5.5`, `"five"`, `"5,000"`, `9007199254740992`, `[5]`, `{}`, `true`, `"NaN"`, `"0x5"`, `1e300`, `05`,
	} {
		inputs = append(inputs, newReceived("total-successful-session-count "+written, strings.Replace(text, `"total-successful-session-count":5`, `"total-successful-session-count":`+written, 1)))
	}
	return inputs
}

// packedInputs are one report in all forms in which it may come, and what is none.
func packedInputs(t *testing.T, text string) (inputs []receivedInput) {
	zipped := string(zip(t, []byte(text)))
	lines, half, flipped := base64Lines([]byte(zipped)), len(text)/2, []byte(zipped)
	flipped[len(flipped)-8] ^= 1 // the checksum
	const gz, plain = "Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64", "Content-Type: application/tlsrpt+json"
	good := report1(gz, lines)
	mixed := func(parts ...string) string {
		return message("Content-Type: multipart/mixed; boundary=m", "--m\r\n"+strings.Join(parts, "\r\n--m\r\n")+"\r\n--m--\r\n")
	}
	attached := func(header, data string) string {
		return report1(header+"\r\nContent-Transfer-Encoding: base64", base64Lines([]byte(data)))
	}
	for _, form := range [][2]string{
		{"gzip", zipped}, {"gzip in two members", string(zip(t, []byte(text[:half]))) + string(zip(t, []byte(text[half:])))}, {"gzip in gzip", string(zip(t, []byte(zipped)))}, {"gzip with NUL octets behind it", zipped + strings.Repeat("\x00", 512)}, {"gzip with text behind it", zipped + "\r\n-- \r\nA mailing list"},
		{"gzip in base64", lines}, {"JSON with a byte order mark", "\ufeff\r\n" + text + "\n"}, {"JSON with NUL octets behind it", text + "\r\n\x00\x00"}, {"JSON in UTF-16", utf16Of(text, "\xff\xfe", 1, 0)}, {"JSON in UTF-16, high octets first", utf16Of(text, "\xfe\xff", 0, 1)},
		{"mail with gzip", good}, {"mail with JSON", report1(plain, text)}, {"mail with lines that end in LF", strings.ReplaceAll(good, "\r\n", "\n")}, {"mail with quoted-printable", report1(plain+"\r\nContent-Transfer-Encoding: quoted-printable", strings.NewReplacer("=", "=3D", "ö", "=C3=B6").Replace(text))},
		{"gzip called JSON", report1(plain+"\r\nContent-Transfer-Encoding: BASE64", lines)}, {"gzip called octets", report1("Content-Type: application/octet-stream; name=x.json.gz\r\nContent-Transfer-Encoding: base64", lines)}, {"gzip called text", report1("Content-Type: text/plain; name=r.json.gz\r\nContent-Transfer-Encoding: base64", lines)},
		{"mail of one part", message(gz, lines)}, {"JSON in the text of a mail", message("Content-Type: text/plain", text)}, {"mail without type", message("X: y", text)}, {"a part in a part", message("Content-Type: multipart/mixed; boundary=o", "--o\r\nContent-Type: multipart/report; boundary=i\r\n\r\n--i\r\n"+plain+"\r\n\r\n"+text+"\r\n--i--\r\n--o--\r\n")},
		{"forwarded", inner("message/rfc822", good)}, {"forwarded twice", message("Content-Type: message/rfc822", inner("message/rfc822", report1(plain, text)))}, {"beside text", mixed("Content-Type: text/plain\r\n\r\nhello", gz+"\r\n\r\n"+lines, "Content-Type: text/plain\r\n\r\n-- \r\nA mailing list")},
		{"beside other attachments", mixed("Content-Type: application/json\r\n\r\n{\"a\": 1}", gz+"\r\n\r\n"+lines)}, {"two reports: the first counts", mixed(plain+"\r\n\r\n"+text, plain+"\r\n\r\n"+strings.Replace(text, `"report-id":"1"`, `"report-id":"2"`, 1))},
		{"from an mbox", "From tls@sender.example Mon Mar  2 00:00:00 2026\n" + good}, {"cut off behind the report", good[:strings.LastIndex(good, "\r\n--=_b--")]}, {"a header for another domain", "TLS-Report-Domain: other.example\r\nTLS-Report-Submitter: other.example\r\n" + good},
		{"nothing", ""}, {"prose", "hello\n"}, {"an array", "[]"}, {"a string", `"policies"`}, {"half an object", `{"policies":`}, {"half of a gzip", zipped[:len(zipped)/2]}, {"gzip with another checksum", string(flipped)}, {"gzip of prose", string(zip(t, []byte("hello")))},
		{"half of a gzip in a mail", attached("Content-Type: application/tlsrpt+gzip", zipped[:len(zipped)/2])}, {"mail without report", message("Content-Type: text/plain", "hello")}, {"mail with something else", report1("Content-Type: application/pdf", "%PDF")}, {"mail with a DMARC report", attached("Content-Type: application/gzip; name=\"a!b!1!2.xml.gz\"", string(zip(t, []byte("<feedback/>"))))},
		{"mail with other JSON", attached("Content-Type: application/json; name=x.json", `{"a":1}`)}, {"prose in a mail, called a report", attached("Content-Type: application/tlsrpt+gzip", "hello")}, {"an empty object", "{}"}, {"base64 without padding", report1(gz, base64.RawStdEncoding.EncodeToString([]byte(zipped)))},
	} {
		inputs = append(inputs, newReceived(form[0], form[1]))
	}
	return inputs
}

// The vectors for other readers of reports have the results of this one.
// Another reader, in Python, finds them by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	inputs := receivedInputs(t)
	if len(inputs) < 200 {
		t.Errorf("only %d reports", len(inputs))
	}
	vectorfile.Check(t, "testdata/reports.json", inputs, readReceived)
}
