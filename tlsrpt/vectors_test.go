package tlsrpt_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/vectorfile"
	"github.com/mxseal/mxseal/tlsrpt"
)

// recordInput and recordResult are a case of testdata/records.json, which docs/vectors.md
// explains.
type recordInput struct {
	TXT []string `json:"txt"`
}

type recordResult struct {
	Result    string           `json:"result"` // ok, none or invalid
	Endpoints []endpointVector `json:"endpoints,omitempty"`
}

type endpointVector struct {
	Mail string `json:"mail,omitempty"`
	URL  string `json:"url,omitempty"`
}

func selectRecord(_ *testing.T, input recordInput) (r recordResult) {
	record, err := tlsrpt.SelectRecord(input.TXT)
	switch {
	case err == nil:
		r.Result = "ok"
	case errors.Is(err, tlsrpt.ErrNoRecord):
		r.Result = "none"
	default:
		r.Result = "invalid"
	}
	for _, endpoint := range record.Endpoints {
		r.Endpoints = append(r.Endpoints, endpointVector(endpoint))
	}
	return r
}

// recordInputs are what domains publish at _smtp._tls.
func recordInputs() []recordInput {
	const good = "v=TLSRPTv1; rua=mailto:t@example.com"
	name32, local, nine := strings.Repeat("n", 32), strings.Repeat("a", 242), ""
	for i := range 9 {
		nine += fmt.Sprintf(",mailto:%d@example.com", i)
	}
	inputs := []recordInput{
		{TXT: []string{}}, {TXT: []string{good, good}}, {TXT: []string{good, "v=TLSRPTv1;"}}, {TXT: []string{"v=TLSRPTv1;", good}},
		{TXT: []string{"v=spf1 -all", good, "v=TLSRPTv10; x=1"}}, {TXT: []string{"v=spf1 -all", "v=TLSRPTv2; rua=x", "v=TLSRPTv1", ""}},
		{TXT: []string{"v=TLSRPTv1 \t; rua=mailto:t@example.com", "v=STSv1; id=1"}},
	}
	for _, txt := range []string{
		good, "v=TLSRPTv1;rua=mailto:t@example.com", "v=TLSRPTv1; rua=mailto:t@example.com;", "v=TLSRPTv1; rua=mailto:t@example.com; ", "v=TLSRPTv1 \t; \t rua=mailto:t@example.com \t ; \t ",
		"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", "rua=mailto:t@example.com; v=TLSRPTv1", " v=TLSRPTv1; rua=mailto:t@example.com", "V=TLSRPTv1; rua=mailto:t@example.com",
		"v=tlsrptv1; rua=mailto:t@example.com", "v=TLSRPTv10; rua=mailto:t@example.com", "v= TLSRPTv1; rua=mailto:t@example.com", "v =TLSRPTv1; rua=mailto:t@example.com", "v=TLSRPTv1, rua=mailto:t@example.com",
		"v=TLSRPTv1", "v=TLSRPTv1;", "v=TLSRPTv1; ", "v=TLSRPTv1; x=1", "v=TLSRPTv1; rua", "v=TLSRPTv1; rua=", "v=TLSRPTv1; rua=; x=1", "v=TLSRPTv1; rua= ;", "v=TLSRPTv1; rua =mailto:t@example.com", "v=TLSRPTv1; rua= mailto:t@example.com",
		"v=TLSRPTv1;; rua=mailto:t@example.com", "v=TLSRPTv1; rua=mailto:t@example.com;;", "v=TLSRPTv1; RUA=https://example.com/", "v=TLSRPTv1; ruf=mailto:t@example.com",
	} {
		inputs = append(inputs, recordInput{[]string{txt}}, recordInput{[]string{"v=spf1 -all", txt}})
	}
	// Fields after a good one.
	for _, field := range []string{
		"x=1", "a_-.9=!:<>~", name32 + "=x", "n" + name32 + "=x", "_x=1", "-x=1", ".x=1", "x", "x=", "=x", "x=a=b", "x=a b", "x=gr\u00fcn", "x=\x7f", "x=a,b",
		"rua=mailto:u@example.com", "rua=MAILTO:t@EXAMPLE.com", "rua=", "rua=http://example.com/", "rua=https://example.com/,https://example.com/", "v=TLSRPTv1",
	} {
		inputs = append(inputs, recordInput{[]string{good + "; " + field}}, recordInput{[]string{"v=TLSRPTv1; " + field + "; rua=mailto:t@example.com"}})
	}
	// URIs, alone and before a good one.
	for _, uri := range []string{
		"mailto:a.b+c_d@example.com", "MailTo:t@example.com", "mailto:T@Example.COM", "mailto:t@example.com.", "mailto:t@example", "mailto:t@mail.example.com?subject=x&bcc=v@example.net", "mailto:t@example.com#x",
		"mailto:", "mailto:example.com", "mailto:@example.com", "mailto:t@", "mailto:t@192.0.2.1", "mailto:t@[192.0.2.1]", "mailto:a..b@example.com", "mailto:.a@example.com", "mailto:a.@example.com", "mailto:t@-a.example", "mailto:t@a..example",
		"mailto:a%2Bb@example.com", "mailto:a%2bb@example.com", "mailto:a%2Cb@example.com", "mailto:a%21b@example.com", "mailto:a!b@example.com", "mailto:a%20b@example.com", "mailto:t%0D%0A@example.com", "mailto:t%00@example.com", "mailto:t%4", "mailto:t%zz@example.com",
		"mailto:t@gr%C3%BCn.example", "mailto:t@xn--grn-ioa.example", "mailto:t@a_b.example", "mailto:%22a%20b%22@example.com", "mailto:a@b@example.com", "mailto:t%40example.com", "mailto:t@example.com,u@example.com", "mailto:t@example.com,mailto:u@example.com",
		"mailto:" + local + "@example.com", "mailto:a" + local + "@example.com", "mailto:" + strings.Repeat("%61", 242) + "@example.com", "mailto:" + strings.Repeat("%61", 243) + "@example.com",
		"https://example.com/", "https://example.com", "HTTPS://Example.COM/A", "https://example.com/a%2Cb%3Bc%21", "https://example.com/?a=b#c", "https://example.com:8443/a", "https://example.com:/a", "https://example.com:x/", "https://[2001:db8::1]/a", "https://192.0.2.1/",
		"https:///x", "https:x", "https://:443/", "https://u:p@example.com/", "https://u@example.com/", "https://example.com/a!10m", "https://example.com/<a>", "https://example.com/a b", "https://example.com/\u00fc", "https://example.com/a%2", "https://example.com/a|b",
		"https://example.com/" + strings.Repeat("a", 8000-20), "https://example.com/" + strings.Repeat("a", 8001-20), "http://example.com/", "ftp://example.com/", "t@example.com", "example.com", "//example.com/", ":", "%", "mailto:t@example.com \t,\t https://example.com/", ",,", "mailto:t@example.com!10m",
	} {
		inputs = append(inputs, recordInput{[]string{"v=TLSRPTv1; rua=" + uri}}, recordInput{[]string{"v=TLSRPTv1; rua=" + uri + ",mailto:last@example.com"}})
	}
	return append(inputs, recordInput{[]string{"v=TLSRPTv1; rua=" + nine[1:]}}, recordInput{[]string{"v=TLSRPTv1; rua=http://example.com/" + nine}}, recordInput{[]string{"v=TLSRPTv1; rua=mailto:0@example.com" + nine}})
}

// The vectors for other readers of records have the results of this one.
// Another reader, in Python, finds them by itself: see internal/test/interop/vectors.
func TestVectors(t *testing.T) {
	t.Parallel()
	inputs := recordInputs()
	if len(inputs) < 200 {
		t.Errorf("only %d records", len(inputs))
	}
	vectorfile.Check(t, "testdata/records.json", inputs, selectRecord)
}
