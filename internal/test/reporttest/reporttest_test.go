package reporttest_test

import (
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/reporttest"
)

// The schema takes what RFC 8460 section 4.4 asks for, and nothing else.
func TestCheck(t *testing.T) {
	t.Parallel()
	const good = `{"organization-name":"Sender","date-range":{"start-datetime":"2026-03-01T00:00:00Z","end-datetime":"2026-03-01T23:59:59Z"},` +
		`"contact-info":"tls@sender.example","report-id":"1","policies":[{"policy":{"policy-type":"sts","policy-domain":"example.com",` +
		`"mx-host":["mx.example.com"]},"summary":{"total-successful-session-count":1,"total-failure-session-count":1},` +
		`"failure-details":[{"result-type":"certificate-expired","failed-session-count":1}]}]}`
	if err := reporttest.Check([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"null for what is absent":      {`"report-id":"1"`, `"report-id":null`},
		"an empty string":              {`"report-id":"1"`, `"report-id":""`},
		"a string for an array":        {`["mx.example.com"]`, `"mx.example.com"`},
		"a string for a number":        {`-session-count":1,`, `-session-count":"1",`},
		"a fraction":                   {`-session-count":1,`, `-session-count":1.5,`},
		"a negative number":            {`-session-count":1,`, `-session-count":-1,`},
		"a time without zone":          {`00:00:00Z`, `00:00:00`},
		"a U-label":                    {`"policy-domain":"example.com"`, `"policy-domain":"grün.example"`},
		"a result type that is not":    {`certificate-expired`, `certificate-old`},
		"a policy type that is not":    {`"sts"`, `"mta-sts"`},
		"no summary":                   {`"summary"`, `"sum"`},
		"an empty array of policies":   {good[strings.Index(good, `"policies":`):], `"policies":[]}`},
		"no JSON":                      {`{`, `[`},
		"nothing but the organization": {good, `{"organization-name":"Sender"}`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: no change", name)
		}
		if err := reporttest.Check([]byte(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What is no delivery is refused before it is parsed.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	for _, octets := range []string{"", "{}", "Content-Type: text/plain\r\n\r\nx", "Content-Type: multipart/report; boundary=b\r\n\r\n--b--\r\n"} {
		if _, err := reporttest.Posted([]byte(octets)); err == nil {
			t.Errorf("posted %q: no error", octets)
		}
		if _, err := reporttest.Mailed([]byte(octets)); err == nil {
			t.Errorf("mailed %q: no error", octets)
		}
	}
}
