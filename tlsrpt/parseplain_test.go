package tlsrpt

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

// plainReports are reports, and whether they are written plainly.
func plainReports() map[string]bool {
	return map[string]bool{
		`{}`:                              true,
		"\t{\r\n \"policies\" : [ ] } \n": true,
		`{"policies":[{}]}`:               true,
		`{"organization-name":"a","contact-info":"b","report-id":"c","date-range":{"start-datetime":"d","end-datetime":"e"}}`:                                                                                                                                                                   true,
		`{"policies":[{"policy":{"policy-type":"a","policy-domain":"b","policy-string":["c","d"],"mx-host":[]},"summary":{"total-successful-session-count":0}},{"failure-details":[]}]}`:                                                                                                        true,
		`{"policies":[{"summary":{"total-failure-session-count":12},"failure-details":[{},{"result-type":"a","sending-mta-ip":"b","receiving-mx-hostname":"c","receiving-mx-helo":"d","receiving-ip":"e","failed-session-count":12,"additional-information":"f","failure-reason-code":"g"}]}]}`: true,
		`{"report-id":"a","report-id":"b"}`:                                       true, // the last one counts
		`{"policies":[{"policy":{"mx-host":["a","b"],"mx-host":["c"]}}]}`:         true,
		`{"date-range":{"start-datetime":"a"},"date-range":{"end-datetime":"b"}}`: true,

		`{"report-id":"a\"\\"}`: true,
		`{"report-id":"a\"}`:    false,
		`{"report-id":"\x"}`:    false,

		``: false, `{`: false, `{}{}`: false, `{}x`: false, `null`: false, `[]`: false, `"x"`: false,
		`{"report-id"}`: false, `{"report-id":}`: false, `{"report-id":"a",}`: false, `{"report-id":"a" "contact-info":"b"}`: false,
		`{,}`: false, `{"policies":[,]}`: false, `{"policies":[{},]}`: false, `{"policies":[{}}`: false, `{"policies":{}}`: false,
		`{"report-id":null}`:                                                       false,
		`{"report-id":5}`:                                                          false,
		`{"report-id":"a`:                                                          false,
		`{"report-id":"\u0061"}`:                                                   true,
		`{"report-id":"gr\u00fcn"}`:                                                true,
		"{\"report-id\":\"gr\u00fcn\"}":                                            true,
		"{\"report-id\":\"\xff\"}":                                                 true,
		"{\"report-id\":\"\n\"}":                                                   false,
		`{"Report-ID":"a"}`:                                                        false, // which encoding/json takes for report-id
		`{"report-id":"a","x":{}}`:                                                 false,
		`{"date-range":{"x":1}}`:                                                   false,
		`{"policies":[{"x":1}]}`:                                                   false,
		`{"policies":[{"policy":{"x":1}}]}`:                                        false,
		`{"policies":[{"policy":{"mx-host":"a"}}]}`:                                false,
		`{"policies":[{"policy":{"mx-host":[null]}}]}`:                             false,
		`{"policies":[{"summary":{"x":1}}]}`:                                       false,
		`{"policies":[{"summary":{"total-failure-session-count":"5"}}]}`:           false,
		`{"policies":[{"summary":{"total-failure-session-count":05}}]}`:            false,
		`{"policies":[{"summary":{"total-failure-session-count":-5}}]}`:            false,
		`{"policies":[{"summary":{"total-failure-session-count":5.0}}]}`:           false,
		`{"policies":[{"failure-details":[{"x":1}]}]}`:                             false,
		`{"policies":[{"failure-details":[{}],"failure-details":[{}]}]}`:           false,
		`{"policies":[{"failure-details":[{"result-type":"a"}]}],"policies":[{}]}`: false,
	}
}

// checkPlain fails the test if the two ways to read a report differ.
func checkPlain(t *testing.T, text string) bool {
	t.Helper()
	got, ok := readPlain(text)
	if !ok {
		return false
	}
	want := new(receivedReport)
	if err := json.Unmarshal([]byte(text), want); err != nil {
		t.Fatalf("%q: read as %+v, but %v", text, got, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q: read as\n%+v, want\n%+v", text, got, want)
	}
	return true
}

func TestReadPlain(t *testing.T) {
	t.Parallel()
	for text, want := range plainReports() {
		if ok := checkPlain(t, text); ok != want {
			t.Errorf("%q: plain is %v", text, ok)
		}
	}
}

// The report of appendix B is plain but for the mx-host in it (AMB-5).
func TestReadPlainAppendixB(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/appendix-b.json")
	if err != nil {
		t.Fatal(err)
	}
	if checkPlain(t, string(text)) {
		t.Error("a string for an array is plain")
	}
	const host = `"*.mail.company-y.example"`
	if !checkPlain(t, strings.Replace(string(text), `: `+host, `: [`+host+`]`, 1)) {
		t.Error("not plain")
	}
}

func FuzzReadPlain(f *testing.F) {
	for text := range plainReports() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkPlain(t, text) })
}
