package report_test

import (
	"fmt"
	"log"
	"os"
	"strings"
	"testing/fstest"

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
	// company-y.example by MTA-STS in mode testing
	//   5326 sessions met the policy, 303 did not (5.4 %)
	//
	//   1. starttls-not-supported
	//      What:       The host offered no STARTTLS.
	//      Where:      200 sessions at mx2.mail.company-y.example (203.0.113.56)
	//      Effect:     The mail was sent. In the mode enforce it would have waited.
	//      What to do: Turn TLS on there; if it is on, an attacker or a device between
	//                  the sender and the host removes the offer.
	//
	//   2. certificate-expired
	//      What:       The host's certificate has expired.
	//      Where:      100 sessions at mx1.mail.company-y.example
	//      Effect:     The mail was sent. In the mode enforce it would have waited.
	//      What to do: Renew the certificate, and make the server load it.
	//
	//   3. validation-failure, X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED
	//      What:       The chain of certificates is longer than one of them allows.
	//      Where:      3 sessions at mx-backup.mail.company-y.example (203.0.113.58)
	//      Effect:     The mail was sent. In the mode enforce it would have waited.
	//      What to do: Get another certificate, from a public authority.
}

// The reports of two senders on two days, in one directory.
func ExampleDigest() {
	const text = `{"organization-name":%q,"date-range":{"start-datetime":"2026-03-0%[2]dT00:00:00Z","end-datetime":"2026-03-0%[2]dT23:59:59Z"},
		"contact-info":"tls@sender.example","report-id":"%[2]d","policies":[{
			"policy":{"policy-type":"tlsa","policy-domain":"mx.example.com"},
			"summary":{"total-successful-session-count":%d,"total-failure-session-count":%d},
			"failure-details":[{"result-type":"tlsa-invalid","receiving-mx-hostname":"mx.example.com","failed-session-count":%[4]d}]}]}`
	dir := fstest.MapFS{
		"a.json": {Data: fmt.Appendf(nil, text, "Sender A", 1, 90, 10)},
		"b.json": {Data: fmt.Appendf(nil, text, "Sender A", 2, 0, 100)},
		"c.json": {Data: fmt.Appendf(nil, text, "Sender B", 2, 0, 20)},
	}

	var digest report.Digest
	for r, err := range report.ReadFS(dir) {
		if err != nil {
			log.Print(err)
			continue
		}
		digest.Add(r)
	}
	if err := digest.Overview().Explain(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 3 reports, 2026-03-01 to 2026-03-02
	//
	// mx.example.com by DANE
	//   90 sessions met the policy, 130 did not (59.1 %)
	//
	//            day  met  failed
	//     2026-03-01   90      10
	//     2026-03-02    0     120
	//
	//     met  failed  sender
	//      90     110  Sender A
	//       0      20  Sender B
	//
	//   1. tlsa-invalid
	//      What:       No TLSA record matches the host's certificate.
	//      Where:      130 sessions at mx.example.com
	//      When:       since 2026-03-01, last on 2026-03-02
	//      Who:        Sender A, Sender B
	//      Effect:     The mail waited, or another host got it.
	//      What to do: Publish the record of the certificate that the host uses;
	//                  before a change of the certificate, publish the new record
	//                  first.
}
