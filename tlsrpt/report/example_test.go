package report_test

import (
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/mxseal/mxseal/tlsrpt/report"
)

func ExampleParse() {
	// A report as it was received by https or by mail, compressed or not.
	received := strings.NewReader(`{
		"organization-name": "Sender",
		"date-range": {"start-datetime": "2026-03-01T00:00:00Z", "end-datetime": "2026-03-01T23:59:59Z"},
		"contact-info": "tls@sender.example",
		"report-id": "1",
		"policies": [{
			"policy": {"policy-type": "tlsa", "policy-domain": "mx.example.com", "policy-string": ["3 1 1 1f850a"]},
			"summary": {"total-successful-session-count": 98, "total-failure-session-count": 2},
			"failure-details": [{"result-type": "certificate-expired", "failed-session-count": 2}]
		}]
	}`)

	r, err := report.Parse(received)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range r.Policies {
		fmt.Println(p.Policy.Domain, p.Summary.Successes, p.Summary.Failures)
		for _, d := range p.Details {
			fmt.Println(d.Sessions, d.Type)
		}
	}
	// Output:
	// mx.example.com 98 2
	// 2 certificate-expired
}

func ExampleReport_Explain() {
	file, err := os.Open("testdata/appendix-b.json")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	r, err := report.Parse(file)
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Explain(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Company-X <sts-reporting@company-x.example>, report 5065427c-23d3-47ca-b6e0-946ea0e8c4be
	// 2016-04-01T00:00:00Z to 2016-04-01T23:59:59Z
	//
	// sts company-y.example: 5326 sessions met the policy, 303 did not (5.4 %)
	//   SESSIONS  RESULT                  REASON                                 MX HOST                           ADDRESS       FROM
	//   200       starttls-not-supported  -                                      mx2.mail.company-y.example        203.0.113.56  2001:db8:abcd:13::1
	//   100       certificate-expired     -                                      mx1.mail.company-y.example        -             2001:db8:abcd:12::1
	//   3         validation-failure      X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED  mx-backup.mail.company-y.example  203.0.113.58  198.51.100.62
	//
	// What to do
	//   starttls-not-supported (mx2.mail.company-y.example): the host offered no STARTTLS: turn TLS on there. If it is on, an attacker or a middlebox between the sender and the host removes the offer
	//   certificate-expired (mx1.mail.company-y.example): renew the host's certificate, and make the server load it
	//   validation-failure (mx-backup.mail.company-y.example): the TLS handshake failed for another reason: see the reason code, and the server's log of that day
}
